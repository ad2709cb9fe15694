"""The work of `transcribe`: what was named is found, done here or on a cluster, printed, and failures are told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from whisperctl.cli.options import token_variable
from whisperctl.cli.target import OpenEndpoint
from whisperctl.cli.transcripts import Printed
from whisperctl.clock import SystemClock
from whisperctl.endpoint.readiness import EndpointWaker
from whisperctl.errors import WhisperctlError
from whisperctl.output import TOKEN_VARIABLE
from whisperctl.transcribe import manifest, outputs
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.folders import Folders
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.outputs import Output
from whisperctl.transcribe.recordings import Named, Recording, find, temporary
from whisperctl.transcribe.results import Failed, Result
from whisperctl.transcribe.retries import RetryingEndpoint
from whisperctl.transcribe.servers import Server
from whisperctl.transcribe.threads import Threads
from whisperctl.views.transcription import RecordingLines, passed_over, watched

if TYPE_CHECKING:
    from whisperctl.transcribe.archive_tasks import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What was named, and how to do it."""

    audio: Sequence[str]
    manifest: str | None
    output: str | Path | None
    parallelism: int | None
    cluster: str | None


def performed(targets: Sequence[OpenEndpoint], options: TranscriptOptions, work: Work) -> list[Failed]:
    """Transcribe everything, print what failed on stderr, and return that."""
    listed = manifest.listed(work.manifest) if work.manifest else []
    with temporary() as spool, outputs.opened(work.output) if work.output else nullcontext() as output:
        recordings = find(work.audio, Path(spool), listed)
        failed = _transcribed(targets, options, work, recordings, Path(spool), output)
    if len(recordings) > 1 and failed:
        click.echo(f"{len(failed)} of {len(recordings)} failed:", err=True)
    for one in failed:
        click.echo(f"{'  ' if len(recordings) > 1 else 'error: '}{one.name}: {one.reason}", err=True)
    return failed


def _transcribed(
    targets: Sequence[OpenEndpoint],
    options: TranscriptOptions,
    work: Work,
    named: Sequence[Named],
    spool: Path,
    output: Output | None,
) -> list[Failed]:
    folders = Folders(named)
    failed: list[Failed] = []
    with watched(len(named)) as lines, _results(targets, options, work, named, spool, output, lines) as results:
        printed = Printed(options, silent=output is not None, several=len(named) > 1, holds=lines.holds)
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
    targets: Sequence[OpenEndpoint],
    options: TranscriptOptions,
    work: Work,
    named: Sequence[Named],
    spool: Path,
    output: Output | None,
    lines: RecordingLines,
) -> Iterator[Iterator[Result]]:
    clock = SystemClock()
    servers = [_server(target, clock, lines) for target in targets]
    if work.cluster is None:
        _wait_for(servers)
        yield Batch(options, servers, work.parallelism, clock, lines, spool=spool, output=output).run(named)
        return
    try:
        from whisperctl.transcribe import archive
    except ImportError as error:
        raise WhisperctlError("--cluster needs Dask.\n  `pip install 'whisperctl-ubiops[archive]'`.") from error
    _refuse_signed(named)
    local = work.cluster == archive.LOCAL
    places = [_place(target, _variables(target, local=local)) for target in targets]
    leases = work.parallelism or archive.LEASES
    _wait_for(servers)
    with archive.cluster(work.cluster, leases * len(places)) as client:
        yield archive.Archive(options, places, leases, client, lines, output).run(named)


def _server(target: OpenEndpoint, clock: SystemClock, lines: RecordingLines) -> Server:
    waker = EndpointWaker(target.endpoint, target.wake, clock, target.stack.rollout.timeout, lines.say)
    return Server(RetryingEndpoint(target.endpoint, clock, waker), target.stack.model.served_name)


def _wait_for(servers: Sequence[Server]) -> None:
    """Return when every endpoint is up; those that sleep are woken at the same time.

    Raises:
        WhisperctlError: one does not come up.
    """
    threads = Threads(len(servers), "ready")
    waiting = [threads.submit(server.retrying.ready) for server in servers]
    try:
        for future in waiting:
            future.result()
    finally:
        threads.dismiss()


def _place(target: OpenEndpoint, variables: tuple[str, ...]) -> Place:
    from whisperctl.transcribe.archive_tasks import Place

    return Place(
        url=target.endpoint.url,
        model=target.stack.model.served_name,
        home=target.api.host,
        timeout=target.endpoint.timeout,
        wake_timeout=target.stack.rollout.timeout,
        variables=variables,
    )


def _variables(target: OpenEndpoint, *, local: bool) -> tuple[str, ...]:
    """Where a worker finds the token; workers of a cluster here have this environment."""
    if target.token is None:
        return ()
    variables = (token_variable(target.api.project), TOKEN_VARIABLE)
    if local and not any(os.environ.get(name, "").strip() for name in variables):
        raise WhisperctlError(f"Workers take the token from their environment: set {TOKEN_VARIABLE}.")
    return variables


def _refuse_signed(named: Sequence[Named]) -> None:
    """Refuse URLs with a query: it may be a signature, and tasks hold no credentials."""
    signed = [one.name for one in named if isinstance(one, Recording) and one.url and "?" in one.url]
    if signed:
        raise WhisperctlError(
            f"{signed[0]} (and {len(signed) - 1} more) has a query, which may be a signature: tasks of a cluster hold"
            " none.\n  Use s3:// or gs:// with the workers' own credentials, or leave out --cluster."
        )
