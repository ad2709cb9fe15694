"""The work of `transcribe`: what was named is found, done here or on a cluster, printed, and failures are told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import click

from whisperctl.cli.options import token_variable
from whisperctl.cli.target import Live
from whisperctl.cli.transcripts import Printed
from whisperctl.cli.wishes import make_folder
from whisperctl.clock import SystemClock
from whisperctl.endpoint.readiness import Alarm
from whisperctl.errors import WhisperctlError
from whisperctl.output import TOKEN_VARIABLE
from whisperctl.transcribe import ledger, manifest, output
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.folders import Folders
from whisperctl.transcribe.ledger import Ledger
from whisperctl.transcribe.recordings import Named, Recording, find, temporary
from whisperctl.transcribe.results import Failed, Result
from whisperctl.transcribe.retries import Patient
from whisperctl.transcribe.wishes import Wishes
from whisperctl.views.transcription import Lines, passed_over, watched


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What was named, and how to do it."""

    audio: Sequence[str]
    manifest: str | None
    parallelism: int | None
    cluster: str | None


def performed(target: Live, wishes: Wishes, work: Work) -> list[Failed]:
    """Transcribe everything; the failures, told."""
    listed = manifest.listed(work.manifest) if work.manifest else []
    make_folder(wishes.folder)
    if wishes.folder:
        output.clear(wishes.folder)
    with (
        temporary() as spool,
        ledger.opened(wishes.folder) if wishes.folder else nullcontext() as kept,
    ):
        found = find(work.audio, Path(spool), listed)
        failed = _transcribed(target, wishes, work, found, Path(spool), kept)
    if len(found) > 1 and failed:
        click.echo(f"{len(failed)} of {len(found)} failed:", err=True)
    for one in failed:
        click.echo(f"{'  ' if len(found) > 1 else 'error: '}{one.name}: {one.reason}", err=True)
    return failed


def _transcribed(
    target: Live, wishes: Wishes, work: Work, found: Sequence[Named], spool: Path, kept: Ledger | None
) -> list[Failed]:
    folders = Folders(found)
    failed: list[Failed] = []
    with watched(len(found)) as lines, _results(target, wishes, work, found, spool, kept, lines) as results:
        printed = Printed(wishes, several=len(found) > 1, holds=lines.holds)
        for result in results:
            folders.take(result)
            printed.take(result)
            if isinstance(result, Failed):
                failed.append(result)
    printed.end()
    if folders.passed_over:
        click.echo(passed_over(folders.passed_over), err=True)
    return [*failed, *folders.without_recordings()]


@contextmanager
def _results(
    target: Live, wishes: Wishes, work: Work, found: Sequence[Named], spool: Path, kept: Ledger | None, lines: Lines
) -> Iterator[Iterator[Result]]:
    clock = SystemClock()
    alarm = Alarm(target.endpoint, target.rouse, clock, target.stack.rollout.timeout, lines.say)
    patient = Patient(target.endpoint, clock, alarm)
    if work.cluster is None:
        patient.ready()
        yield Batch(wishes, patient, work.parallelism, clock, lines, spool=spool, ledger=kept).run(found)
        return
    from whisperctl.transcribe import archive

    _refuse_signed(found)
    place = archive.Place(
        url=target.endpoint.url,
        home=target.api.host,
        timeout=target.endpoint.timeout,
        wake_timeout=target.stack.rollout.timeout,
        variables=_variables(target, here=work.cluster == archive.LOCAL),
    )
    leases = work.parallelism or archive.LEASES
    patient.ready()
    with archive.cluster(work.cluster, leases) as client:
        yield archive.Archive(wishes, place, leases, client, lines, kept).run(found)


def _variables(target: Live, *, here: bool) -> tuple[str, ...]:
    """Where a worker finds the token; workers of a cluster here have this environment."""
    if target.token is None:
        return ()
    variables = (token_variable(target.api.project), TOKEN_VARIABLE)
    if here and not any(os.environ.get(name, "").strip() for name in variables):
        raise WhisperctlError(f"Workers take the token from their environment: set {TOKEN_VARIABLE}.")
    return variables


def _refuse_signed(found: Sequence[Named]) -> None:
    """Refuse URLs with a query: it may be a signature, and tasks hold no credentials."""
    signed = [one.name for one in found if isinstance(one, Recording) and one.url and "?" in one.url]
    if signed:
        raise WhisperctlError(
            f"{signed[0]} (and {len(signed) - 1} more) has a query, which may be a signature: tasks of a cluster hold"
            " none.\n  Use s3:// or gs:// with the workers' own credentials, or leave out --cluster."
        )
