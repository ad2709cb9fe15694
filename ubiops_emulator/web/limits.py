"""UbiOps' rate limit: so many requests a minute from one address, groups of calls counted apart."""

from __future__ import annotations

from ubiops_emulator.clock import Clock
from ubiops_emulator.refusal import Refusal

DOCUMENTED = {"other": 300, "request": 300, "file": 300, "user": 30}
WINDOW = 60.0


class RateLimiter:
    """Fixed windows of a minute. Refuses only when switched on, but always tells the numbers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str], tuple[float, int]] = {}

    def count(self, group: str, address: str, limit: int) -> None:
        """Count one request.

        Args:
            limit: requests a minute for most groups; 0 refuses nothing.

        Raises:
            Refusal: 429 above the limit.
        """
        now = self._clock.now()
        start, used = self._windows.get((group, address), (now, 0))
        if now - start >= WINDOW:
            start, used = now, 0
        self._windows[group, address] = (start, used + 1)
        if limit and used + 1 > allowance(group, limit):
            raise Refusal(429, "Request was throttled: too many requests")

    def headers(self, group: str, address: str, limit: int) -> dict[str, str]:
        """What every answer tells of its group's window."""
        now = self._clock.now()
        start, used = self._windows.get((group, address), (now, 0))
        most = allowance(group, limit)
        reset = max(0, round(WINDOW - (now - start)))
        return {
            "x-ratelimit-limit": str(most),
            "x-ratelimit-remaining": str(max(0, most - used) if limit else most),
            "x-ratelimit-reset": str(reset),
        }


def allowance(group: str, limit: int) -> int:
    """The documented limit of a group, scaled like the switch (whose documented value is 300)."""
    most = DOCUMENTED[group]
    return max(1, most * limit // 300) if limit else most
