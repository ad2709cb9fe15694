"""`transcribe`: recordings to text with the live endpoint."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whisperctl.cli.options import DEFAULT_PATH, Settings
from whisperctl.cli.target import Live, live, route
from whisperctl.endpoint.transcription import Ask
from whisperctl.errors import EXIT_DONE, EXIT_FAILED, WhisperctlError
from whisperctl.transcribe.batch import Failed, Order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whisperctl.endpoint.transcription import Task
    from whisperctl.spec import Stack
    from whisperctl.transcribe.batch import Result
    from whisperctl.transcribe.recordings import Missing, Recording


_DOCUMENTS = ("json", "verbose_json")


@click.command()
@click.argument("audio", nargs=-1, required=True, metavar="AUDIO...")
@click.option("-f", "--file", "path", default=DEFAULT_PATH, metavar="PATH", help="Stack file [stack.yaml].")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "json", "verbose_json", "srt", "vtt"]),
    default="text",
    help="What to make of each recording [text].",
)
@click.option(
    "--language", metavar="CODE", help="Language that is spoken, such as en; quicker and surer than detection."
)
@click.option("--translate", is_flag=True, help="Translate to English, if the model can.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write one file per recording there; those that are there already are skipped.",
)
@click.option(
    "--parallelism", type=click.IntRange(min=1), default=10, metavar="N", help="Requests in flight at most [10]."
)
@click.pass_obj
def transcribe(
    settings: Settings,
    audio: tuple[str, ...],
    path: str,
    shape: str,
    language: str | None,
    translate: bool,
    folder: Path | None,
    parallelism: int,
) -> int:
    """Transcribe recordings with the live endpoint.

    AUDIO is files, folders, patterns in quotes, or - for standard input: wav, and with ffmpeg (or PyAV) installed mp3,
    m4a, flac, ogg, webm and the sound of videos. Long recordings are cut at silence.
    """
    from whisperctl.endpoint.transcription import Ask
    from whisperctl.transcribe.batch import Order
    from whisperctl.transcribe.recordings import find, temporary

    with live(settings, path) as target, temporary() as spool:
        task: Task = "translation" if translate else route(target.stack)
        ask = Ask(model=target.stack.model.served_name, task=task, language=language and language.lower())
        _say_limits(target.stack, ask)
        found = find(audio, Path(spool))
        _make(folder)
        failed = _transcribe(target, Order(ask=ask, shape=shape, folder=folder), found, parallelism)
    if len(found) > 1 and failed:
        click.echo(f"{len(failed)} of {len(found)} failed:", err=True)
    for one in failed:
        click.echo(f"{'  ' if len(found) > 1 else 'error: '}{one.name}: {one.reason}", err=True)
    return EXIT_FAILED if failed else EXIT_DONE


def _make(folder: Path | None) -> None:
    """Have the output folder before anything is sent."""
    try:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise WhisperctlError(f"{folder} cannot be written to.")
    except OSError as error:
        raise WhisperctlError(f"{folder} cannot be made: {error.strerror}.") from error


def _say_limits(stack: Stack, ask: Ask) -> None:
    """Refuse what the model cannot do; warn of what the release does silently."""
    from whisperctl.serving.capabilities import cannot_detect, cannot_translate

    if ask.task == "translation" and (reason := cannot_translate(stack)):
        raise WhisperctlError(f"{reason}.")
    if not ask.language and (reason := cannot_detect(stack)) and reason.startswith("vLLM"):
        click.echo(f"warning: {reason}. Pass --language.", err=True)


def _transcribe(target: Live, order: Order, found: Sequence[Recording | Missing], parallelism: int) -> list[Failed]:
    from whisperctl.clock import SystemClock
    from whisperctl.endpoint.readiness import Alarm
    from whisperctl.transcribe.batch import Batch, Failed
    from whisperctl.transcribe.retries import Patient
    from whisperctl.views.transcription import watched

    clock = SystemClock()
    with watched(found, parallelism) as lines:
        alarm = Alarm(target.endpoint, target.rouse, clock, target.stack.rollout.timeout, lines.say)
        patient = Patient(target.endpoint, clock, alarm)
        patient.ready()
        several = len(found) > 1
        results: list[Result] = []
        held: list[Result] = []
        for result in Batch(order, patient, parallelism, clock, lines).run(found):
            results.append(result)
            held.append(result)
            if not lines.holds and not order.folder:
                _print(held.pop(), order.shape, several=several)
    if not order.folder:
        for result in held:
            _print(result, order.shape, several=several)
        if several and order.shape in _DOCUMENTS:
            _print_list(results, order.shape)
    return [one for one in results if isinstance(one, Failed)]


def _print(result: Result, shape: str, *, several: bool) -> None:
    """A lone transcript as it is; one of several under its name, as `tail` does; JSON is kept for one list."""
    from whisperctl.output import verbatim
    from whisperctl.transcribe.batch import Done
    from whisperctl.transcribe.formats import rendered

    if not isinstance(result, Done) or (several and shape in _DOCUMENTS):
        return
    heading = f"==> {result.recording.name} <==\n" if several else ""
    text = heading + rendered(result.transcript, shape) + "\n" * several
    click.echo(text, nl=False, file=verbatim(sys.stdout))


def _print_list(results: Sequence[Result], shape: str) -> None:
    """All results as one JSON list, failures included."""
    import json

    from whisperctl.output import verbatim
    from whisperctl.transcribe.batch import Done, Failed
    from whisperctl.transcribe.formats import document

    listed: list[dict[str, Any]] = []
    for one in results:
        if isinstance(one, Done):
            listed.append({"file": one.recording.name, **document(one.transcript, shape)})
        elif isinstance(one, Failed):
            listed.append({"file": one.name, "error": one.reason})
    click.echo(json.dumps(listed, ensure_ascii=False, indent=2), file=verbatim(sys.stdout))
