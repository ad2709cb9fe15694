"""`transcribe`: recordings to text with the live endpoint."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from whisperctl.cli.options import DEFAULT_PATH, Settings
from whisperctl.cli.target import open_endpoint, route
from whisperctl.cli.wishes import (
    checked,
    checked_channels,
    checked_formats,
    checked_language,
    checked_output,
    checked_upload,
)
from whisperctl.errors import EXIT_DONE, EXIT_FAILED

if TYPE_CHECKING:
    from whisperctl.transcribe.channels import Channels
    from whisperctl.transcribe.uploads import Encoding


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
    formats: tuple[str, ...],
    language: str | None,
    translate: bool,
    output: str | None,
    overwrite: bool,
    channels: Channels,
    track: str | None,
    words: bool,
    temperature: float,
    prompt: str | None,
    upload: Encoding,
    line_width: int,
    line_count: int,
    cue_seconds: float,
    parallelism: int | None,
    cluster: str | None,
) -> int:
    """Transcribe recordings with the live endpoint.

    AUDIO is files, folders, patterns in quotes, or - for standard input: wav, and with ffmpeg (or PyAV) installed mp3,
    m4a, flac, ogg, webm and the sound of videos. Long recordings are cut at silence.
    """
    from whisperctl.cli.archives import Work, performed
    from whisperctl.endpoint.transcription import Ask
    from whisperctl.transcribe.cues import Limits
    from whisperctl.transcribe.wishes import Wishes

    if not audio and manifest is None:
        raise click.UsageError("Nothing to transcribe: name AUDIO, or pass --manifest FILE.")
    if cluster is not None and output is None:
        raise click.UsageError("--cluster writes files: pass -o DIR.")
    if len(formats) > 1 and output is None:
        raise click.UsageError("Several formats are several files: pass -o DIR.")
    with ExitStack() as opened:
        targets = [
            opened.enter_context(open_endpoint(settings, path)) for path in dict.fromkeys(paths or (DEFAULT_PATH,))
        ]
        stacks = [target.stack for target in targets]
        model = stacks[0].model
        ask = Ask(
            model=model.served_name,
            task="translation" if translate else route(stacks[0]),
            language=language,
            temperature=temperature,
            prompt=prompt,
        )
        wishes = Wishes(
            ask=ask,
            formats=formats,
            overwrite=overwrite,
            channels=channels,
            track=track,
            words=words,
            limits=Limits(width=line_width, lines=line_count, seconds=cue_seconds),
            upload=upload,
            revision=model.revision,
        )
        work = Work(audio=audio, manifest=manifest, output=output, parallelism=parallelism, cluster=cluster)
        failed = performed(targets, checked(stacks, wishes), work)
    return EXIT_FAILED if failed else EXIT_DONE
