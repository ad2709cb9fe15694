"""Where UbiOps' documentation is silent, the strictest reading is the default and a switch offers the other one.

Contract: data and its parsing. Every row is listed in docs/emulator.md.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from ubiops_emulator.numbers import whole
from ubiops_emulator.refusal import invalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """The undocumented choices. Booleans are true for `on`; numbers are plain integers."""

    duplicate_status: int = 400
    in_use_status: int = 400
    reject_unknown_fields: bool = True
    service_traffic_wakes: bool = False
    service_traffic_keeps_awake: bool = False
    service_blocks_delete: bool = True
    status_follows_instances: bool = True
    restart_on_change: bool = False
    legacy_environment_names: bool = True
    legacy_api_path: bool = True
    trim_text: bool = False
    cursor_is_url: bool = False
    maximum_instances: int = 20
    upstream_timeout: int = 300
    upload_mebibytes: int = 2048
    unpacked_mebibytes: int = 8192
    rate_limit: int = 0


def switched(switches: Switches, changes: dict[str, Any]) -> Switches:
    """Switches with some of them set.

    Raises:
        Refusal: 400 for an unknown name or a value of the wrong type.
    """
    kinds = {field.name: type(field.default) for field in fields(Switches)}
    for name, value in changes.items():
        kind = kinds.get(name)
        if kind is None:
            raise invalid(f"unknown switch {name}; known: {', '.join(kinds)}")
        if type(value) is not kind:
            raise invalid(f"switch {name} takes {'on or off' if kind is bool else 'a number'}")
    return replace(switches, **changes)


def parse(text: str) -> dict[str, Any]:
    """`name=on|off|NUMBER` as given on the command line.

    Raises:
        Refusal: 400 for text of another form.
    """
    name, sign, word = text.partition("=")
    value = {"on": True, "off": False}.get(word, whole(word))
    if not sign or value is None or value < 0:
        raise invalid(f"switch {text!r} is not name=on, name=off or name=NUMBER")
    return {name.replace("-", "_"): value}
