"""`transcribe`: recordings to text with the live endpoint."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Unpack

import click

from whisperctl.cli.options import DEFAULT_PATH, Settings
from whisperctl.cli.target import open_endpoint
from whisperctl.cli.transcript_options import (
    checked_channels,
    checked_formats,
    checked_language,
    checked_output,
    checked_upload,
    options_for,
)
from whisperctl.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from whisperctl.cli.transcript_options import TranscribeFlags


@click.command()
@click.argument("audio", nargs=-1, metavar="AUDIO...")
@click.option(
    "-f",
    "--file",
    "paths",
    multiple=True,
    metavar="PATH",
    help="Stack file [stack.yaml]; several of one model share the work.",
)
@click.option("--manifest", metavar="FILE", help="File that lists recordings: a path, URL or JSON object a line.")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["text", "json", "verbose_json", "srt", "vtt"]),
    multiple=True,
    callback=checked_formats,
    help="What to make of each recording [text]; several with -o.",
)
@click.option(
    "--language",
    metavar="CODE",
    callback=checked_language,
    help="Language that is spoken (en, English, en-US); quicker and surer than detection.",
)
@click.option("--translate", is_flag=True, help="Translate to English, if the model can.")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    callback=checked_output,
    help="Write a file per recording and format there (s3:// and gs://, too); those made so already are skipped.",
)
@click.option("--overwrite", is_flag=True, help="Make all of them again.")
@click.option(
    "--channels",
    default="mix",
    metavar="HOW",
    callback=checked_channels,
    help="mix; split: each by itself; or a name for each, as in Agent,Customer [mix].",
)
@click.option("--track", metavar="N", help="Sound track of a video: its number, or its language [1].")
@click.option("--words", is_flag=True, help="Times of words, estimated, in verbose_json and vtt.")
@click.option(
    "--temperature", type=click.FloatRange(0, 1), default=0.0, metavar="T", help="Chance in the choice of words [0]."
)
@click.option("--prompt", metavar="TEXT", help="Text to begin with; no vLLM up to 0.33 can: refused there.")
@click.option(
    "--upload",
    type=click.Choice(["wav", "flac", "auto"]),
    default="auto",
    callback=checked_upload,
    help="How sound is sent; auto: as FLAC where the link is the slower part [auto].",
)
@click.option(
    "--line-width", type=click.IntRange(min=10), default=42, metavar="N", help="Characters of a subtitle's line [42]."
)
@click.option("--line-count", type=click.IntRange(min=1), default=2, metavar="N", help="Lines of a subtitle [2].")
@click.option(
    "--cue-seconds", type=click.FloatRange(min=0.5), default=7.0, metavar="S", help="Seconds of a subtitle [7]."
)
@click.option(
    "--parallelism",
    type=click.IntRange(min=1, max=1024),
    metavar="N",
    help="Requests in flight; without it as many as the endpoint gains from.",
)
@click.option(
    "--cluster", metavar="ADDRESS", help="Dask cluster that does the work: tcp://HOST:PORT, or local for one here."
)
@click.pass_obj
def transcribe(
    settings: Settings,
    audio: tuple[str, ...],
    paths: tuple[str, ...],
    manifest: str | None,
    output: str | None,
    parallelism: int | None,
    cluster: str | None,
    **flags: Unpack[TranscribeFlags],
) -> int:
    """Transcribe recordings with the live endpoint.

    AUDIO is files, folders, patterns in quotes, or - for standard input: wav, and with ffmpeg (or PyAV) installed mp3,
    m4a, flac, ogg, webm and the sound of videos. Long recordings are cut at silence.
    """
    from whisperctl.cli.archives import Work, performed

    if not audio and manifest is None:
        raise click.UsageError("Nothing to transcribe: name AUDIO, or pass --manifest FILE.")
    if cluster is not None and output is None:
        raise click.UsageError("--cluster writes files: pass -o DIR.")
    if len(flags["formats"]) > 1 and output is None:
        raise click.UsageError("Several formats are several files: pass -o DIR.")
    work = Work(audio=audio, manifest=manifest, output=output, parallelism=parallelism, cluster=cluster)
    with ExitStack() as opened:
        files = dict.fromkeys(paths or (DEFAULT_PATH,))
        targets = [opened.enter_context(open_endpoint(settings, path)) for path in files]
        failed = performed(targets, options_for([target.stack for target in targets], flags), work)
    return EXIT_FAILED if failed else EXIT_DONE
