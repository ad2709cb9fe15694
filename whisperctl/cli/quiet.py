"""Stack files for commands that run what is applied.

Read without their warnings, which `validate` and `plan` tell, and without secrets: whoever pauses an endpoint or looks
at its logs need not hold them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from whisperctl.cli.world import DEFAULT_PATH
from whisperctl.errors import WhisperctlError

if TYPE_CHECKING:
    from whisperctl.spec import Stack


def quiet_stacks(paths: Sequence[str]) -> tuple[Stack, ...]:
    """The stacks of the given files and directories (default `stack.yaml`)."""
    from whisperctl.loading import load_stacks

    return load_stacks([Path(path) for path in paths or (DEFAULT_PATH,)], os.environ, secrets=False).stacks


def quiet_stack(path: str) -> Stack:
    """The one stack at `path`.

    Raises:
        WhisperctlError: there are none or several.
    """
    stacks = quiet_stacks([path])
    if len(stacks) != 1:
        names = ", ".join(stack.file for stack in stacks) or "none"
        raise WhisperctlError(f"{path} must hold exactly one stack; found: {names}.")
    return stacks[0]
