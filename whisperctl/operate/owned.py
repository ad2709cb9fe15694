"""The deployment and version of one stack, for commands that act on them outside a plan: owned, and held by a lease.

What carries no label of ours, or another stack's, is refused before anything is written. This module writes nothing
but the lease.
"""

from __future__ import annotations

from whisperctl.control.api import Api, Json
from whisperctl.errors import NotOwned, WhisperctlError
from whisperctl.spec import Stack
from whisperctl.state.ownership import owner
from whisperctl.state.resources import Address, deployment_address, version_address


def owned_version(api: Api, stack: Stack) -> Json:
    """The stack's version as UbiOps tells it.

    Raises:
        NotOwned: it, or its deployment, belongs to somebody else.
        WhisperctlError: it does not exist.
    """
    deployment, version = stack.deployment.name, stack.version.name
    _refuse_foreign(stack, deployment_address(deployment), api.deployment(deployment))
    raw = api.version(deployment, version)
    _refuse_foreign(stack, version_address(deployment, version), raw)
    if raw is None:
        raise absent(api, stack)
    return raw


def absent(api: Api, stack: Stack) -> WhisperctlError:
    """That the stack's version does not exist.

    Raises:
        NotFound: its project does not exist either, for which UbiOps has the same status.
    """
    api.deployments()
    address = version_address(stack.deployment.name, stack.version.name)
    return WhisperctlError(
        f"{address} does not exist in project {api.project}.\n  Run `whisperctl apply {stack.file}` first."
    )


def _refuse_foreign(stack: Stack, address: Address, raw: Json | None) -> None:
    if raw is None or owner(raw) == stack.name:
        return
    whose = f"the stack {owner(raw)!r}" if owner(raw) else "nobody that whisperctl knows"
    raise NotOwned(
        f"{address} belongs to {whose}, not to {stack.name!r}.\n"
        f"  Nothing was changed. Take it over with `whisperctl adopt {stack.file}`, or choose another name."
    )
