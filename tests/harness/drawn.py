"""Stacks that Hypothesis draws."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import assume

from whisperctl.errors import SpecError
from whisperctl.loading import load_stacks
from whisperctl.spec import Stack


def loaded_stack(folder: Path, written: Mapping[str, Any]) -> Stack:
    """The stack of a file that holds `written`; the example is dropped if the checks refuse it."""
    file = folder / "stack.yaml"
    file.write_text(json.dumps(written, ensure_ascii=False).replace("$", "$$"), encoding="utf-8")
    try:
        [stack] = load_stacks([file], {}).stacks
    except SpecError:
        assume(False)
    return stack
