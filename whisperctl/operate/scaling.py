"""How many instances a stack's version has, set by hand: scale, pause, resume.

Each is one PATCH of the version while its lease is held. A pause is written on the version, so that plans know of it.
Nothing here touches the stack file: what differs from it shows in the next plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from whisperctl.apply.awake import stop_instances
from whisperctl.apply.fresh import change_now
from whisperctl.apply.renewals import leased
from whisperctl.apply.replacement import minimum_of
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.errors import WhisperctlError
from whisperctl.operate.owned import owned_version
from whisperctl.spec import Stack
from whisperctl.state.labels import Labels
from whisperctl.state.line import is_line
from whisperctl.state.ownership import owner
from whisperctl.state.resources import version_address
from whisperctl.state.serving import serving


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """How many instances a version has at least and at most."""

    minimum: int
    maximum: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaled:
    """What `scale` found and left."""

    before: Bounds
    after: Bounds


@dataclass(frozen=True, kw_only=True, slots=True)
class Paused:
    """What `pause` did."""

    minimum: int
    """minimum_instances that `resume` puts back."""
    already: bool
    """Whether the version was paused before."""
    stopped: int
    """Instances that were told to stop."""


def scale(
    api: Api, stack: Stack, minimum: int | None, maximum: int | None, clock: StoppableClock, say: Callable[[str], None]
) -> Scaled:
    """Set the version's minimum and maximum; None leaves one as it is.

    Raises:
        WhisperctlError: it is not there or not ours, is paused, or the minimum would be above the maximum.
    """
    stack = serving(api, stack)
    owned_version(api, stack)
    with leased(api, stack.deployment.name, clock, say) as lease:
        stack = serving(api, stack)  # whoever was waited for may have rolled another version out
        raw = owned_version(api, stack)
        before = Bounds(minimum=minimum_of(raw), maximum=raw["maximum_instances"])
        after = Bounds(
            minimum=before.minimum if minimum is None else minimum,
            maximum=before.maximum if maximum is None else maximum,
        )
        _check(raw, after, minimum)
        if after != before or raw["minimum_instances"] != after.minimum:
            body = {"minimum_instances": after.minimum, "maximum_instances": after.maximum}
            lease.api.update_version(stack.deployment.name, stack.version.name, body)
    return Scaled(before=before, after=after)


def _check(raw: Json, after: Bounds, minimum: int | None) -> None:
    name = f"version/{raw['deployment']}/{raw['version']}"
    resting = Labels.of(raw).paused_minimum
    if resting is not None and minimum is not None:
        raise WhisperctlError(
            f"{name} is paused: its minimum stays 0.\n  Run `whisperctl resume` first; --max alone may be set now."
        )
    if max(after.minimum, resting or 0) > after.maximum:
        what = f"the minimum that resume puts back is {resting}" if resting else f"the minimum is {after.minimum}"
        raise WhisperctlError(
            f"{name}: {what}, more than a maximum of {after.maximum}.\n"
            "  Nothing was changed. Pass --min and --max that fit together."
        )


def pause(api: Api, stack: Stack, clock: StoppableClock, say: Callable[[str], None]) -> Paused:
    """Put the version to sleep: minimum_instances 0, written down as a pause, and its instances stopped.

    The instances are stopped at once instead of after maximum_idle_time, because until then they cost; a stopping
    instance still ends the requests that it works on.

    Raises:
        WhisperctlError: the version is not there or not ours.
    """
    stack = serving(api, stack)
    owned_version(api, stack)
    with leased(api, stack.deployment.name, clock, say) as lease:
        stack = serving(api, stack)  # whoever was waited for may have rolled another version out
        names = (stack.deployment.name, stack.version.name)
        raw = owned_version(api, stack)
        resting = Labels.of(raw).paused_minimum
        minimum = minimum_of(raw) if resting is None else resting
        if resting is None or raw["minimum_instances"]:
            change_now(
                lease.api,
                version_address(*names),
                lambda now: {"minimum_instances": 0, "labels": Labels.of(now).written(paused_minimum=minimum)},
            )
        return Paused(minimum=minimum, already=resting is not None, stopped=stop_instances(lease.api, *names))


def resume(api: Api, stack: Stack, clock: StoppableClock, say: Callable[[str], None]) -> Bounds | None:
    """End a pause: the minimum of before, from which on UbiOps starts that many instances; None if it is not paused.

    Raises:
        WhisperctlError: the version is not there or not ours.
    """
    stack = serving(api, stack)
    owned_version(api, stack)
    with leased(api, stack.deployment.name, clock, say) as lease:
        stack = serving(api, stack)  # whoever was waited for may have rolled another version out
        raw = owned_version(api, stack)
        if is_line(stack):
            _take_pauses_off_others(lease.api, stack)
        resting = Labels.of(raw).paused_minimum
        if resting is None:
            return None
        minimum = min(resting, raw["maximum_instances"])
        change_now(
            lease.api,
            version_address(stack.deployment.name, stack.version.name),
            lambda now: {"minimum_instances": minimum, "labels": Labels.of(now).written(paused_minimum=None)},
        )
        return Bounds(minimum=minimum, maximum=raw["maximum_instances"])


def _take_pauses_off_others(api: Api, stack: Stack) -> None:
    """Of versions of the line that do not serve: one made during the pause carries it, also where its gate failed.

    The next plan would take that for the line's own, and an apply put what serves to sleep again.
    """
    for raw in api.versions(stack.deployment.name):
        is_other = raw["version"] != stack.version.name and owner(raw) in stack.owners
        if is_other and Labels.of(raw).paused_minimum is not None:
            address = version_address(stack.deployment.name, raw["version"])
            change_now(api, address, lambda now: {"labels": Labels.of(now).written(paused_minimum=None)})
