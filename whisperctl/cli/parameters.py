"""Values as people write them: `--since` 10m, 2h, 3d or a date; `--metrics-port` 9464 or 0.0.0.0:9464."""

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


class HostPort(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic from click 8.3 on
    """`[HOST:]PORT`; of 127.0.0.1 without a host."""

    name = "port"

    def convert(
        self,
        value: object,
        param: click.Parameter | None,
        ctx: click.Context | None,  # noqa: ARG002 - click's signature
    ) -> tuple[str, int]:
        """Host and port."""
        if isinstance(value, tuple):
            return value
        host, _, port = str(value).rpartition(":")
        if not port.isascii() or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            self.fail(f"{value!r} is no port such as 9464, and no address and port such as 0.0.0.0:9464", param)
        return host.strip("[]") or "127.0.0.1", int(port)
