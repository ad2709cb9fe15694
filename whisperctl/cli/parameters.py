"""`--since` as people write it: `10m`, `2h`, `3d`, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import click

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Since(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.3 on
    """Seconds since 1970 of a moment in the past: an age, or an ISO-8601 date (UTC unless it says otherwise)."""

    name = "since"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,  # noqa: ARG002 - click's signature
    ) -> float:
        """The moment; an age counts from now."""
        if isinstance(value, float):
            return value
        text = str(value).strip()
        now = datetime.now(UTC)
        if match := re.fullmatch(r"(\d+)([smhd])", text):
            return max(now.timestamp() - int(match[1]) * SECONDS[match[2]], 0.0)
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither an age such as 30s, 10m, 2h, 3d nor a date such as 2026-01-31T09:05", param)
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        if when > now:
            self.fail(f"{text!r} lies in the future (it is {now:%Y-%m-%dT%H:%M:%S} UTC)", param)
        return max(when.timestamp(), 0.0)
