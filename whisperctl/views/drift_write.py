"""What `drift --write` wrote into stack files, and what it only tells."""

from __future__ import annotations

from collections.abc import Sequence

from whisperctl.operate.drift_write import WrittenDrift


def written_text(written: Sequence[WrittenDrift]) -> str:
    """What was written into each stack file, and what was not and why: a block a stack."""
    return "\n\n".join(_text(entry) for entry in written)


def _text(entry: WrittenDrift) -> str:
    head = f"{entry.file} ({entry.stack}): {len(entry.values)} written, {len(entry.unwritten)} only told"
    lines = [*(f"  {value}" for value in entry.values), *(f"  not written: {text}" for text in entry.unwritten)]
    return "\n".join([head, *lines])
