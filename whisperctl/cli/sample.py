"""The recording that `smoke` and `bench` send: the flags', else the stack's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from whisperctl.endpoint.smoke import Sample
    from whisperctl.spec import Stack

_MAX_WER = 0.2


def sample(stack: Stack, audio: Path | None, expect: str | None, max_wer: float | None = None) -> Sample | None:
    """The recording, or None where there is none; what is known of the stack's says nothing about another.

    Raises:
        click.UsageError: something is said of a recording that there is not.
        WhisperctlError: the flag's is no regular file; the stack's was looked at when that was read.
    """
    from whisperctl.endpoint.smoke import Sample
    from whisperctl.errors import WhisperctlError
    from whisperctl.files import refusal

    declared = stack.rollout.smoke
    if audio:
        if (reason := refusal(audio)) is not None:
            raise WhisperctlError(f"The recording {audio} cannot be read: {reason}.")
        return Sample(audio=audio, expect=expect, max_wer=_MAX_WER if max_wer is None else max_wer, language=None)
    if declared is None and (expect or max_wer is not None):
        raise click.UsageError("--expect and --max-wer need --audio, or rollout.smoke in the stack file.")
    if declared is None:
        return None
    return Sample(
        audio=declared.audio,
        expect=expect or declared.expect,
        max_wer=declared.max_wer if max_wer is None else max_wer,
        language=declared.language,
    )
