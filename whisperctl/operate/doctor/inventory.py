"""What the project holds that costs and that nobody looks after: orphans and leaks."""

from __future__ import annotations

from collections.abc import Collection

from whisperctl.control.api import Api
from whisperctl.errors import ApiError
from whisperctl.operate.doctor.check import Check, ok, skipped, warning
from whisperctl.operate.inventory import read_inventory

NAME = "stacks"


def inventory_check(api: Api, declared: Collection[str] | None) -> Check:
    """The stacks of the project; `declared` are those of the files at hand, None where they need not be all."""
    try:
        entries = read_inventory(api, declared)
    except ApiError as error:
        return skipped(NAME, f"cannot be read: {error.reason}")
    leaks = [
        f"version/{entry.deployment}/{leak.name} costs {_number(leak.credits_per_day)} credits per day, serving nobody"
        for entry in entries
        for leak in entry.leaks
    ]
    orphans = [f"{entry.stack} is in none of these files" for entry in entries if entry.orphan]
    if leaks or orphans:
        fix = "whisperctl list shows them; whisperctl apply, or destroy --stack NAME, ends them"
        return warning(NAME, "; ".join([*leaks, *orphans]), fix)
    names = ", ".join(dict.fromkeys(entry.stack for entry in entries))
    return ok(NAME, f"nothing leaks: {names}" if names else "none is in the project")


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}"
