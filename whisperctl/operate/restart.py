"""`restart`: every running instance of the version that serves is replaced, while its lease is held."""

from __future__ import annotations

from collections.abc import Callable

from whisperctl.apply.awake import SCHEDULE_TIMEOUT
from whisperctl.apply.lease import leased
from whisperctl.apply.replacement import Replaced, Target, replace_instances
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api
from whisperctl.operate.owned import owned_version
from whisperctl.spec import Stack
from whisperctl.state.serving import serving


def restart(api: Api, stack: Stack, clock: StoppableClock, say: Callable[[str], None]) -> Replaced:
    """Replace the running instances, one after the other.

    Raises:
        WhisperctlError: the version is not there or not ours, or a successor does not come up.
    """
    stack = serving(api, stack)
    owned_version(api, stack)
    with leased(api, stack.deployment.name, clock, say) as lease:
        stack = serving(api, stack)  # whoever was waited for may have rolled another version out
        owned_version(api, stack)
        target = Target(
            api=lease.api,
            deployment=stack.deployment.name,
            version=stack.version.name,
            clock=clock,
            timeout=float(stack.rollout.timeout),
            schedule_seconds=schedule_seconds(api, stack),
            say=say,
        )
        return replace_instances(target)


def schedule_seconds(api: Api, stack: Stack) -> float:
    """How long UbiOps tries to schedule an instance of the stack's group, over all of its instance types."""
    groups = [group for group in api.groups() if group["name"] == stack.instance_type_group.name]
    types = groups[0].get("instance_types") or () if groups else ()
    return float(sum(item.get("schedule_timeout") or SCHEDULE_TIMEOUT for item in types) or SCHEDULE_TIMEOUT)
