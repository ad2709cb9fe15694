"""Pages of lists that UbiOps hands out with a cursor. The cursor is opaque; here it hides a sequence number."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from ubiops_emulator.api.call import Call, number
from ubiops_emulator.refusal import invalid
from ubiops_emulator.store import Doc


def page(call: Call, docs: list[Doc], view: Callable[[Doc], dict[str, Any]], high: int = 250) -> dict[str, Any]:
    """One page of documents that are in the order of their sequence numbers."""
    limit = number(call, "limit", min(50, high), 1, high)
    start, backwards = _position(call.query.get("cursor"))
    before = [doc for doc in docs if doc.seq <= start]
    after = [doc for doc in docs if doc.seq > start]
    if backwards:
        after = [doc for doc in docs if doc.seq < start][-limit:]
        before = [doc for doc in docs if after and doc.seq < after[0].seq]
    results = after[:limit]
    more = bool(results) and docs[-1].seq > results[-1].seq
    return {
        "next": _cursor(call, "a", results[-1].seq) if more else None,
        "previous": _cursor(call, "b", results[0].seq) if before and results else None,
        "results": [view(doc) for doc in results],
    }


def _position(cursor: str | None) -> tuple[int, bool]:
    if not cursor:
        return 0, False
    try:
        text = base64.urlsafe_b64decode(cursor.encode()).decode()
        return int(text[1:]), {"a": False, "b": True}[text[0]]
    except (ValueError, KeyError, IndexError, binascii.Error) as error:
        raise invalid("Invalid cursor") from error


def _cursor(call: Call, direction: str, seq: int) -> str:
    text = base64.urlsafe_b64encode(f"{direction}{seq}".encode()).decode()
    return f"{call.url}?cursor={text}" if call.switches.cursor_is_url else text
