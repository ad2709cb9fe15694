"""The last requests to the API, for tests that count them. No bodies and no tokens: those may hold secrets."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

MAX_ENTRIES = 20_000


class Journal:
    """A bounded list of what was asked and answered; `n` counts from the start or the last clearing."""

    def __init__(self) -> None:
        self._entries: deque[dict[str, Any]] = deque(maxlen=MAX_ENTRIES)
        self._count = 0

    def add(self, entry: dict[str, Any], began: float) -> None:
        """Note a request that has been answered, or dropped."""
        self._count += 1
        entry.pop("group", None)
        self._entries.append({"n": self._count, **entry, "ms": round((time.perf_counter() - began) * 1000, 2)})

    def since(self, number: int) -> list[dict[str, Any]]:
        """Entries after this number."""
        return [entry for entry in self._entries if entry["n"] > number]

    def clear(self) -> None:
        """Forget every request."""
        self._entries.clear()
        self._count = 0
