"""The names of all warnings about a stack file: what `acknowledge` takes.

A name says what the warning is about and stays as it is: files acknowledge it.
"""

from __future__ import annotations

from typing import Literal, get_args

WarningName = Literal[
    "attention-choice",
    "audio-limit",
    "backend-variable",
    "bare-variable",
    "common-secret",
    "cpu-float16",
    "folder-revision",
    "group-types",
    "idle-gpus",
    "ignored-option",
    "inherited-variable",
    "invisible-character",
    "no-smoke",
    "no-value",
    "nvidia-driver",
    "offline-model",
    "other-models-revision",
    "package-size",
    "passed-over",
    "public-service",
    "revision-branch",
    "revision-missing",
    "scale-to-zero",
    "secret-in-file",
    "secret-white-space",
    "served-names",
    "short-secret",
    "unknown-model",
    "unmarked-secret",
    "vllm-advisory",
    "vllm-key",
    "vllm-unlisted",
    "without-effect",
]

NAMES: frozenset[str] = frozenset(get_args(WarningName))
