"""`bench`: load on the live endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from whisperctl.cli.options import DEFAULT_PATH, Settings
from whisperctl.cli.sample import sample
from whisperctl.cli.target import OpenEndpoint, open_endpoint, route, wake_up
from whisperctl.errors import EXIT_DONE, EXIT_FAILED, WhisperctlError

if TYPE_CHECKING:
    from whisperctl.endpoint.smoke import Sample
    from whisperctl.transcribe.load import LoadLevel
    from whisperctl.transcribe.pieces import Piece


def _levels(_context: click.Context, _option: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        levels = tuple(int(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or min(levels) < 1:
        raise click.BadParameter(f"{text!r} is not numbers from 1 with commas between them, as in 1,8,64.")
    return levels


@click.command()
@click.argument("path", default=DEFAULT_PATH)
@click.option(
    "--audio", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE", help="Recording to send."
)
@click.option("--expect", metavar="TEXT", help="What the recording says, for the word error rate.")
@click.option(
    "--concurrency", default="1,8,64", metavar="N,N,...", callback=_levels, help="Requests at a time [1,8,64]."
)
@click.option(
    "--seconds", type=click.FloatRange(min=0.1), default=10.0, metavar="S", help="How long each of them lasts [10]."
)
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text", help="Output format [text].")
@click.pass_obj
def bench(
    settings: Settings,
    path: str,
    audio: Path | None,
    expect: str | None,
    concurrency: tuple[int, ...],
    seconds: float,
    shape: str,
) -> int:
    """Put load on the live endpoint: audio seconds per second, latencies, errors, word error rate.

    PATH is a stack file [stack.yaml]. The recording is that of rollout.smoke unless --audio is given; it is cut as
    transcribe does. It costs what so many requests cost. Exit code 1 if nothing was answered.
    """
    from whisperctl.views import bench

    with open_endpoint(settings, path) as target:
        recording = _recording(target, audio, expect)
        pieces = _pieces(recording.audio)
        levels = _run(target, recording, pieces, concurrency, seconds)
    if shape == "json":
        click.echo(bench.as_json(target.stack.name, target.endpoint.url, str(recording.audio), pieces[-1].end, levels))
    else:
        click.echo(bench.as_table(levels))
    return EXIT_DONE if all(level.p50 is not None for level in levels) else EXIT_FAILED


def _recording(target: OpenEndpoint, audio: Path | None, expect: str | None) -> Sample:
    """The recording that is sent.

    Raises:
        WhisperctlError: neither the flags nor the stack file name one.
    """
    from whisperctl.endpoint.smoke import NO_AUDIO

    recording = sample(target.stack, audio, expect)
    if recording is None:
        raise WhisperctlError(f"There is {NO_AUDIO}.")
    return recording


def _pieces(path: Path) -> list[Piece]:
    """The recording as it would be sent.

    Raises:
        WhisperctlError: it cannot be decoded, or holds no sound.
    """
    from whisperctl.transcribe import audio
    from whisperctl.transcribe.channels import mixed
    from whisperctl.transcribe.pieces import pieces

    try:
        with audio.opened(path) as sound:
            if sound is None:
                raise WhisperctlError(f"cannot be decoded here. {audio.INSTALL}")
            cut = list(pieces(mixed(block) for block in sound.blocks))
    except WhisperctlError as error:
        raise WhisperctlError(f"{path} {error}") from error
    if not cut:
        raise WhisperctlError(f"{path} holds no sound.")
    return cut


def _run(
    target: OpenEndpoint, recording: Sample, pieces: list[Piece], concurrency: tuple[int, ...], seconds: float
) -> list[LoadLevel]:
    from whisperctl.clock import SystemClock
    from whisperctl.endpoint.transcription import Ask
    from whisperctl.transcribe.load import Load

    wake_up(target)
    task = route(target.stack)
    ask = Ask(model=target.stack.model.served_name, task=task, language=recording.language)
    expect = recording.expect if task == "transcription" else None
    load = Load(target.endpoint, ask, pieces, expect, SystemClock())
    load.warm_up()
    levels = []
    for count in concurrency:
        click.echo(f"{count} at a time, {seconds:g} s ...", err=True)
        levels.append(load.level(count, seconds))
    return levels
