"""The schema: an editor has something to say about every key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.harness.operator import Operator


def keys(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every declared key of every object, with its own schema."""
    if isinstance(schema, dict):
        for name, part in schema.get("properties", {}).items():
            yield f"{path}.{name}".lstrip("."), part
            yield from keys(part, f"{path}.{name}")
        for word, part in schema.items():
            if word != "properties":
                yield from keys(part, path)
    elif isinstance(schema, list):
        for part in schema:
            yield from keys(part, path)


def test_every_key_is_described(newcomer: Operator) -> None:
    schema = json.loads(newcomer.good("schema").out)
    parts = dict(keys(schema))
    assert {"model.name", "vllm.version", "rollout.gate.max_wer_increase", "version.health_check.port"} <= parts.keys()
    silent = [path for path, part in parts.items() if len(part.get("description", "")) < 10 and "$ref" not in part]
    assert silent == []


def test_what_it_refers_to_is_described_too(newcomer: Operator) -> None:
    schema = json.loads(newcomer.good("schema").out)
    for name, part in schema.get("$defs", {}).items():
        assert part.get("description") or all(part.get("description") for _, part in keys(part)), name
