"""Which version of a stack serves: commands that look at it or act on it mean that one. Reads only."""

from __future__ import annotations

from whisperctl.control.api import Api
from whisperctl.spec import Stack
from whisperctl.state.labels import Labels, owner
from whisperctl.state.line import is_line, named


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
    default = next((name for name, raw in versions.items() if raw.get("default")), None)
    for service in stack.services:
        raw = api.find_service(service.name)
        if raw is not None and raw.get("deployment") == stack.deployment.name:
            name = raw.get("version") or default
            if name in versions:
                return named(stack, str(name))
    served = [name for name, raw in versions.items() if _has_served(raw)]
    if not stack.services and default in served:
        return named(stack, str(default))
    return named(stack, max(served or versions, key=lambda name: str(versions[name].get("creation_date") or "")))


def _has_served(raw: dict[str, object]) -> bool:
    record = Labels.of(raw).rollout
    return record is None or record.state in ("passed", "served", "left")
