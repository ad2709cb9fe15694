"""What the loader says against a small stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from whisperctl.errors import SpecError
from whisperctl.loading import load_stacks


def refusal(folder: Path, **changes: Any) -> str:
    """What is wrong with the stack that has these top-level keys; empty: nothing."""
    stack = {
        "apiVersion": "whisperctl/v1", "stack": "any", "model": {"name": "openai/whisper-small"},
        "vllm": {"version": "0.33.0"}, "deployment": {"name": "any"},
        "instance_type_group": {"name": "g", "gpu": "L4"}, "version": {"name": "v1"},
    }  # fmt: skip
    file = folder / "stack.yaml"
    file.write_text(json.dumps(stack | changes, ensure_ascii=False), encoding="utf-8")
    try:
        load_stacks([file], {})
    except SpecError as error:
        return str(error)
    return ""
