"""What no plan may do: touch or delete what others have or use, cost too much, or set what cannot be recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from whisperctl.errors import NotOwned, Refused
from whisperctl.plan.changes import Change, Remark
from whisperctl.plan.cost import Cost
from whisperctl.plan.proposal import Proposal
from whisperctl.state.desired import Desired, spec_path, tracked_names
from whisperctl.state.label_text import fits
from whisperctl.state.live import Live
from whisperctl.state.ownership import owner
from whisperctl.state.resources import service_address


def refuse_foreign(desired: Desired, live: Live) -> None:
    """Return if no desired name is taken, and a group that must exist does.

    Raises:
        NotOwned: one message for all that are in the way.
    """
    stack = desired.stack
    lines = [
        f"{stack.source(*spec_path(stack, address))}: {address} exists and belongs to "
        + (f"the stack {owner(raw)!r}." if owner(raw) else "nobody that whisperctl knows.")
        for address, raw in sorted(live.foreign.items())
    ]
    if lines and all(owner(raw) for raw in live.foreign.values()):
        lines.append(
            "  Nothing was changed. Choose other names; `moved: {stack: OLD}` renames a stack that had another name."
        )
    elif lines:
        lines.append(
            "  Nothing was changed. Choose other names, or take over what nobody owns with\n"
            f"    whisperctl adopt {stack.file}"
        )
    group = stack.instance_type_group
    if not group.instance_types and not live.group_exists:
        known = ", ".join(repr(name) for name in sorted(set(live.group_names))) or "none"
        lines.append(
            f"{stack.source('instance_type_group', 'name')}: there is no instance type group {group.name!r} in this "
            f"project.\n  It has: {known}. Name one of them, or list instance_types so that the group is made."
        )
    if lines:
        raise NotOwned("\n".join(lines))


def refusals(
    desired: Desired, live: Live, changes: Sequence[Change], cost: Cost, max_credits: float | None
) -> list[Remark]:
    """Why `apply` does not perform a plan with these changes; `plan`, `drift` and `show` only say it."""
    return [*_unrecordable(desired, changes), *_used(desired, live, changes), *_too_dear(desired, cost, max_credits)]


def _unrecordable(desired: Desired, changes: Iterable[Change]) -> Iterator[Remark]:
    """Names of labels that are too long for the label that remembers who set them."""
    for address in (change.address for change in changes if change.action != "delete"):
        for name in tracked_names(desired.declared[address]) if address in desired.declared else ():
            if not fits(name):
                text = "this label's name is too long to be recorded.\n  Choose a shorter one."
                yield Remark(source=desired.stack.source(*spec_path(desired.stack, address, name)), text=text)


def _too_dear(desired: Desired, cost: Cost, max_credits: float | None) -> Iterator[Remark]:
    """More credits per hour at maximum_instances than the policy, or `--max-credits`, allows."""
    policy = desired.stack.policy.max_credits_per_hour
    limits = [(policy, desired.stack.source("policy", "max_credits_per_hour")), (max_credits, "--max-credits")]
    for limit, source in limits:
        if limit is None:
            continue
        after = cost.maximum.after
        if after is None:
            yield Remark(
                source=source, text=f"what the stack costs is not known, and {limit:g} credits an hour are allowed"
            )
        elif after > limit:
            text = (
                f"the stack would cost up to {after:g} credits an hour, and {limit:g} are allowed.\n"
                "  Lower version.maximum_instances, or choose cheaper instance types."
            )
            yield Remark(source=source, text=text)


def _used(desired: Desired, live: Live, changes: Iterable[Change]) -> Iterator[Remark]:
    """Services that are not ours route to what would be deleted: UbiOps refuses that half-way."""
    for address in (change.address for change in changes if change.action in ("delete", "replace")):
        if address in live.used_by:
            services = ", ".join(str(service_address(name)) for name in live.used_by[address])
            text = (
                f"{address} would be deleted, and is used by {services}, not ours.\n"
                "  Let those services route elsewhere first; one that names no version follows the deployment's\n"
                "  default."
            )
            yield Remark(source=desired.stack.file, text=text)


def refuse(plans: Iterable[Proposal]) -> None:
    """Return if each of the plans may be performed.

    Raises:
        Refused: every reason of every plan.
    """
    reasons = dict.fromkeys(f"{remark.source}: {remark.text}" for plan in plans for remark in plan.refused)
    if reasons:
        raise Refused("\n".join([*reasons, "  Nothing was changed."]))
