"""What the flags of `transcribe` ask of each transcript, checked with each other, the model and the release first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from whisperctl.errors import WhisperctlError

if TYPE_CHECKING:
    from whisperctl.endpoint.transcription import Ask
    from whisperctl.spec import Stack
    from whisperctl.transcribe.channels import Channels
    from whisperctl.transcribe.options import TranscriptOptions
    from whisperctl.transcribe.uploads import Encoding


class TranscribeFlags(TypedDict):
    """Options of `transcribe` that say what to make of each recording, under the names of its parameters."""

    formats: tuple[str, ...]
    language: str | None
    translate: bool
    overwrite: bool
    channels: Channels
    track: str | None
    words: bool
    temperature: float
    prompt: str | None
    upload: Encoding
    line_width: int
    line_count: int
    cue_seconds: float


def checked_formats(_context: click.Context, _option: click.Parameter, shapes: tuple[str, ...]) -> tuple[str, ...]:
    """Each format once; `text` if none is named.

    Raises:
        click.BadParameter: two that are written to the same file.
    """
    if {"json", "verbose_json"} <= set(shapes):
        raise click.BadParameter("json and verbose_json are both written to NAME.json: take one of them.")
    return tuple(dict.fromkeys(shapes)) or ("text",)


def checked_language(_context: click.Context, _option: click.Parameter, language: str | None) -> str | None:
    """The code of a language that was named by code, name or locale; None for `auto`.

    Raises:
        click.BadParameter: Whisper has no such language.
    """
    from whisperctl.serving import languages

    if language is None or language.strip().casefold() == languages.DETECTED:
        return None
    if (code := languages.code(language)) is None:
        near = languages.nearest(language)
        hint = f" Did you mean {near}?" if near else " Write a code such as en, a name such as English, or auto."
        raise click.BadParameter(f"Whisper has no language {language!r}.{hint}")
    return code


def checked_channels(_context: click.Context, _option: click.Parameter, text: str) -> Channels:
    """What to make of the channels.

    Raises:
        click.BadParameter: neither mix, split nor names.
    """
    from whisperctl.transcribe.channels import parsed

    try:
        return parsed(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not {error}.") from error


def checked_upload(_context: click.Context, _option: click.Parameter, encoding: str) -> str:
    """How sound is sent.

    Raises:
        click.BadParameter: nothing here makes FLAC.
    """
    from whisperctl.transcribe.uploads import can_encode

    if encoding == "flac" and not can_encode():
        raise click.BadParameter("FLAC needs soundfile: `pip install 'whisperctl-ubiops[audio]'`.")
    return encoding


def checked_output(_context: click.Context, _option: click.Parameter, where: str | None) -> str | None:
    """A folder, or the URL of a bucket.

    Raises:
        click.BadParameter: it is a file, or a URL that nothing is written to.
    """
    from whisperctl.transcribe import remote

    if where is None or not remote.is_url(where):
        if where is not None and Path(where).exists() and not Path(where).is_dir():
            raise click.BadParameter(f"{where!r} is a file.")
        return where
    scheme = where.partition("://")[0]
    if scheme not in remote.WRITABLE:
        raise click.BadParameter(f"{scheme}:// is not written to, only a folder, s3:// and gs://.")
    if reason := remote.problem(where.rstrip("/") + "/x"):
        raise click.BadParameter(f"{reason}.")
    return where


def options_for(stacks: Sequence[Stack], flags: TranscribeFlags) -> TranscriptOptions:
    """What the options ask of the stacks' model, as far as it and the releases can fulfil it.

    Raises:
        WhisperctlError: a model or a release cannot do what was asked for, or they are not the same model.
    """
    from whisperctl.cli.target import route
    from whisperctl.endpoint.transcription import Ask
    from whisperctl.transcribe.cues import Limits
    from whisperctl.transcribe.options import TranscriptOptions

    model = stacks[0].model
    ask = Ask(
        model=model.served_name,
        task="translation" if flags["translate"] else route(stacks[0]),
        language=flags["language"],
        temperature=flags["temperature"],
        prompt=flags["prompt"],
    )
    options = TranscriptOptions(
        ask=ask,
        formats=flags["formats"],
        overwrite=flags["overwrite"],
        channels=flags["channels"],
        track=flags["track"],
        words=flags["words"],
        limits=Limits(width=flags["line_width"], lines=flags["line_count"], seconds=flags["cue_seconds"]),
        upload=flags["upload"],
        revision=model.revision,
    )
    return checked(stacks, options)


def checked(stacks: Sequence[Stack], options: TranscriptOptions) -> TranscriptOptions:
    """`options` as far as the stacks' models and releases can fulfil them; a warning for what they do silently.

    Raises:
        WhisperctlError: a model or a release cannot do what was asked for, or they are not the same model.
    """
    from dataclasses import replace

    from whisperctl.serving.capabilities import cannot_detect, cannot_time

    first, ask = stacks[0], options.ask
    for stack in stacks:
        if (stack.model.name, stack.model.revision) != (first.model.name, first.model.revision):
            raise WhisperctlError(
                f"{first.file} serves {_model(first)}, {stack.file} {_model(stack)}: transcripts of one run must not\n"
                "  depend on which of them had room. Name stacks of one model and revision."
            )
        if reason := _refusal(stack, ask):
            raise WhisperctlError(f"{reason}.")
        if not ask.language and (reason := cannot_detect(stack)) and reason.startswith("vLLM"):
            click.echo(f"warning: {reason}. Pass --language.", err=True)
    timed = all(cannot_time(stack) is None for stack in stacks) or _needs_times(options)
    return replace(options, ask=replace(ask, timed=timed))


def _model(stack: Stack) -> str:
    return f"{stack.model.name} at {stack.model.revision}" if stack.model.revision else stack.model.name


def _needs_times(options: TranscriptOptions) -> bool:
    """Whether a release without times is to say so itself: it may be a later one than the stack file says."""
    from whisperctl.transcribe.formats import TIMED

    return bool(TIMED & set(options.formats))


def _refusal(stack: Stack, ask: Ask) -> str | None:
    from whisperctl.serving.capabilities import cannot_prompt, cannot_speak, cannot_translate

    if ask.task == "translation" and (reason := cannot_translate(stack)):
        return reason
    if ask.prompt and (reason := cannot_prompt(stack)):
        return reason
    return cannot_speak(stack, ask.language) if ask.language else None
