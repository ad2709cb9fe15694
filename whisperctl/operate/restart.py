"""`restart`: every running instance of the version that serves is replaced, while its lease is held."""

from __future__ import annotations

from collections.abc import Callable

from whisperctl.apply.awake import schedule_seconds
from whisperctl.apply.renewals import leased
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
            schedule_seconds=schedule_seconds(api, stack.instance_type_group),
            say=say,
        )
        return replace_instances(target)
