"""Which version of a stack serves: commands that look at it or act on it mean that one. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from whisperctl.control.api import Api, Json
from whisperctl.spec import Stack
from whisperctl.state.labels import Labels
from whisperctl.state.line import is_line, named
from whisperctl.state.ownership import owner


def serving(api: Api, stack: Stack) -> Stack:
    """The stack with its version under the name of the one that serves; as it is where it is changed in place.

    Of a line that is the version that the first live service leads to, without services the deployment's default.
    Where nothing serves yet, the newest version of the line; the name in the file where there is none.

    Raises:
        ApiError: UbiOps cannot be read.
    """
    if not is_line(stack):
        return stack
    versions = {raw["version"]: raw for raw in api.versions(stack.deployment.name) if owner(raw) in stack.owners}
    if not versions:
        return stack
    served = {name: raw for name, raw in versions.items() if _has_served(raw)}
    default = next((name for name, raw in versions.items() if raw.get("default")), None)
    name = _led_to(api, stack, versions.keys(), default) if stack.services else default if default in served else None
    return named(stack, name or _newest(served or versions))


def _led_to(api: Api, stack: Stack, versions: AbstractSet[str], default: str | None) -> str | None:
    """The version that the first live service leads to; one without a version of its own leads to the default."""
    for service in stack.services:
        raw = api.find_service(service.name)
        if raw is not None and raw.get("deployment") == stack.deployment.name:
            name = raw.get("version") or default
            if name in versions:
                return str(name)
    return None


def _newest(versions: Mapping[str, Json]) -> str:
    return max(versions, key=lambda name: str(versions[name].get("creation_date") or ""))


def _has_served(raw: dict[str, object]) -> bool:
    record = Labels.of(raw).rollout
    return record is None or record.state in ("passed", "served", "left")
