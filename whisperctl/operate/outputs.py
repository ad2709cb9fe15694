"""What a script needs to know of a live stack: its endpoint and the names behind it. Reads only."""

from __future__ import annotations

from whisperctl.control.api import Api
from whisperctl.errors import WhisperctlError
from whisperctl.operate.owned import owned_version
from whisperctl.serving.launch import server_port
from whisperctl.spec import Stack
from whisperctl.state.serving import serving


def read_outputs(api: Api, stack: Stack, needed: str | None = None) -> dict[str, str | None]:
    """`url`, `service_id`, `model`, `version`, `revision` and `project`; None for what there is not.

    Args:
        api: the control plane of the stack's project.
        stack: which.
        needed: the one value that must be there.

    Raises:
        WhisperctlError: the stack was not applied, or the needed value does not exist.
    """
    stack = serving(api, stack)
    version = owned_version(api, stack)
    port = server_port(stack)
    services = sorted(stack.services, key=lambda service: service.port != port)
    service = (api.find_service(services[0].name) if services else None) or {}
    values: dict[str, str | None] = {
        "url": service.get("endpoint") or None,
        "service_id": service.get("id"),
        "model": stack.model.served_name,
        "version": str(version["version"]),
        "revision": version.get("active_revision"),
        "project": api.project,
    }
    if needed is not None and values[needed] is None:
        what = "has no service that is there" if needed in ("url", "service_id") else "has no active revision"
        raise WhisperctlError(
            f"{stack.file}: there is no {needed}: the stack {what}.\n  `whisperctl status` shows more."
        )
    return values
