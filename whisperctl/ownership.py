"""The deployment and version of one stack, for commands that act on them outside a plan: owned, and held by a lease.

What carries no label of ours, or another stack's, is refused before anything is written. This module writes nothing
but the lease.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from whisperctl import lease as leases
from whisperctl.api import Api, Json
from whisperctl.errors import ApiError, NotOwned, WhisperctlError
from whisperctl.lease import RENEW_EVERY, Lease
from whisperctl.live import owner
from whisperctl.resources import LEASE_LABEL, Address, deployment_address, version_address
from whisperctl.spec import Stack
from whisperctl.waiting import StoppableClock


def owned_version(api: Api, stack: Stack) -> Json:
    """The stack's version as UbiOps tells it.

    Raises:
        NotOwned: it, or its deployment, belongs to somebody else.
        WhisperctlError: it does not exist.
    """
    deployment, version = stack.deployment.name, stack.version.name
    _refuse_foreign(stack, deployment_address(deployment), api.deployment(deployment))
    found = api.version(deployment, version)
    _refuse_foreign(stack, version_address(deployment, version), found)
    if found is None:
        raise absent(api, stack)
    return found


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


@contextmanager
def held(api: Api, deployment: str, clock: StoppableClock, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lease of `deployment`: no apply runs meanwhile. Waits for one that does, and says so."""
    lease = leases.take(api, deployment, leases.new_lease(clock.time()), clock, say, unproven=False).lease
    done = threading.Event()
    renewing = threading.Thread(target=_renew, args=(api, deployment, lease, clock, done), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        done.set()
        renewing.join()
        _write(api, deployment, lease, None, say)


def _renew(api: Api, deployment: str, lease: Lease, clock: StoppableClock, done: threading.Event) -> None:
    while not done.wait(RENEW_EVERY):
        _write(api, deployment, lease, str(leases.renewed(lease, clock.time())), lambda _line: None)


def _write(api: Api, deployment: str, lease: Lease, text: str | None, say: Callable[[str], None]) -> None:
    """Renew or remove our lease; that this fails is no failure of the work: the lease runs out by itself."""
    try:
        labels = dict((api.deployment(deployment) or {}).get("labels") or {})
        if lease.nonce in labels.pop(LEASE_LABEL, ""):
            api.update_deployment(deployment, {"labels": labels | ({LEASE_LABEL: text} if text else {})})
    except ApiError as error:
        say(f"the lease of deployment/{deployment} could not be written: {error.reason}")
