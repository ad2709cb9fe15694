"""`--only` and `--exclude`: the part of a plan that is asked for, and what it cannot be without. Pure.

GLOBs match addresses, and `*` also matches `/`. What does not exist yet and an included address needs comes along; a
pending change of what exists does not. Versions, packages and env vars of a line are one unit: it rolls out as a whole,
or its services go on leading where they lead. Nothing is deleted that something left out still uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import assert_never

from whisperctl.plan.changes import DEPLOYMENT_REPLACED, Change, Remark
from whisperctl.plan.reasons import OWNER
from whisperctl.state.desired import Desired
from whisperctl.state.line import is_line
from whisperctl.state.live import Live
from whisperctl.state.resources import (
    BELOW,
    SHARED_KINDS,
    Address,
    Kind,
    State,
    deployment_address,
    hangs_on,
    package_address,
    version_address,
)
from whisperctl.state.rollout import LineRollout

_RUNS = (Kind.VERSION, Kind.PACKAGE)
ROUTE = ("deployment", "version", "port")
"""The fields of a service that say where it leads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which addresses a plan is asked for; without a glob, all."""

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.only or self.exclude)

    def includes(self, addresses: Iterable[Address]) -> bool:
        """Whether a unit of these addresses is asked for: one is, and none is excluded."""
        texts = [str(address) for address in addresses]
        asked = not self.only or any(fnmatchcase(text, glob) for text in texts for glob in self.only)
        return asked and not any(fnmatchcase(text, glob) for text in texts for glob in self.exclude)

    def unmatched(self, addresses: Iterable[Address]) -> list[str]:
        """The globs that match none of these addresses."""
        texts = {str(address) for address in addresses}
        globs = dict.fromkeys((*self.only, *self.exclude))
        return [glob for glob in globs if not any(fnmatchcase(text, glob) for text in texts)]


EVERYTHING = Selection()


@dataclass(frozen=True, kw_only=True, slots=True)
class Selected:
    """The part of a plan that is performed."""

    desired: Desired
    """Services that do not follow a rollout that is left out want to lead nowhere else."""
    changes: tuple[Change, ...]
    rollout: LineRollout | None
    left_out: tuple[Address, ...] = ()
    """Where something differs that is left as it is."""
    along: tuple[Address, ...] = ()
    """What was not asked for and comes along, since something that was needs it."""
    refused: tuple[Remark, ...] = ()
    """Why this part cannot be performed by itself."""
    warnings: tuple[Remark, ...] = ()
    """What was asked for and is not done, since something that is left out stands in its way."""


def selected(
    selection: Selection, desired: Desired, live: Live, rollout: LineRollout | None, changes: Sequence[Change]
) -> Selected:
    """The changes that are asked for, with those that they need."""
    if not selection:
        return Selected(desired=desired, changes=tuple(changes), rollout=rollout)
    parts = _Parts(selection, desired, live, rollout, {change.address: change for change in changes})
    return parts.selected()


class _Parts:
    """The changes of one plan, as far as they are asked for."""

    def __init__(
        self,
        selection: Selection,
        desired: Desired,
        live: Live,
        rollout: LineRollout | None,
        changes: Mapping[Address, Change],
    ) -> None:
        self.selection, self.desired, self.live, self.rollout, self.changes = selection, desired, live, rollout, changes
        known = dict.fromkeys((*desired.state, *live.owned, *changes))
        self.line = [a for a in known if is_line(desired.stack) and self._is_of_the_line(a)]
        """The unit of a line."""
        self.asked = {address for address in changes if selection.includes(self._unit(address))}
        self.rolls = bool(self.line) and selection.includes(self.line)
        """Whether the line is asked for."""

    def selected(self) -> Selected:
        chosen = self._without_what_is_used(self._with_needs(self.asked))
        taken = {address: change for address, change in self.changes.items() if address in chosen}
        desired, rollout, pointed = self.desired, self.rollout, set[Address]()
        if rollout is not None and not rollout.is_over:
            pending = {a for a, c in self.changes.items() if self._leads_elsewhere(c)}
            if self.rolls:
                pointed = pending - taken.keys()
                taken |= {address: _only_route(self.changes[address]) for address in pointed}
                rollout = replace(rollout, only_pointed=tuple(sorted(address.names[0] for address in pointed)))
            else:
                taken |= {address: _without_route(taken[address]) for address in pending & taken.keys()}
                taken = {a: change for a, change in taken.items() if a not in pending or change.fields}
                desired, rollout = replace(desired, state=_led_as_now(desired.state, pending)), None
        return Selected(
            desired=desired,
            changes=tuple(taken.values()),
            rollout=rollout,
            left_out=tuple(sorted(self.changes.keys() - taken.keys())),
            along=tuple(sorted(taken.keys() - self.asked)),
            refused=tuple(self._refusals(taken.keys())),
            warnings=tuple(self._remarks(chosen, taken.keys())),
        )

    def _remarks(self, chosen: AbstractSet[Address], taken: AbstractSet[Address]) -> Iterator[Remark]:
        for address in sorted(self.asked - chosen):
            text = f"{address} is asked for and not deleted: what is left out still uses it, or goes with it"
            yield Remark(source=str(address), text=text)
        for address in sorted(a for a in self.asked & chosen if self._leads_elsewhere(self.changes[a])):
            if self.rollout is not None and not (self.rollout.is_over or self.rolls):
                there = "leads where it leads" if address in taken else "stays as it is, and leads where it leads"
                yield Remark(source=str(address), text=f"{address} {there}: the new version is left out")

    def _is_of_the_line(self, address: Address) -> bool:
        return hangs_on(address, deployment_address(self.desired.stack.deployment.name))

    def _unit(self, address: Address) -> Sequence[Address]:
        """What is taken together with it: the line, or a version that leaves with all that hangs on it."""
        if self._is_of_the_line(address) and self.line:
            return self.line
        return self._goes_with(address) or [address]

    def _goes_with(self, address: Address) -> Sequence[Address]:
        """The version that is deleted, of what hangs on it."""
        version = (
            self.changes.get(version_address(*address.names[:2])) if address.kind in BELOW[Kind.DEPLOYMENT] else None
        )
        return [version.address] if version is not None and version.action == "delete" else []

    def _leads_elsewhere(self, change: Change) -> bool:
        paths = {field.path for field in change.fields}
        return change.address.kind is Kind.SERVICE and change.action == "update" and not paths.isdisjoint(ROUTE)

    def _with_needs(self, asked: Iterable[Address]) -> set[Address]:
        """With what does not exist yet and is needed."""
        selected, look_at = set[Address](), list(asked)
        while look_at:
            address = look_at.pop()
            if address in selected:
                continue
            selected.add(address)
            needed = list(self._needs(address)) if self.changes[address].action != "delete" else []
            look_at += [a for a in needed if a in self.changes and self.changes[a].action == "create"]
            if not set(self.line).isdisjoint([address, *needed]):
                self.rolls = True  # also where its version is there already: it has still to pass its gate
                look_at += [a for a in self.line if a in self.changes]
        return selected

    def _needs(self, address: Address) -> Iterator[Address]:
        """What an object cannot be made or changed without, by the references of UbiOps' objects."""
        stack = self.desired.stack
        version = version_address(stack.deployment.name, stack.version.name)
        if address.kind is not Kind.DEPLOYMENT:
            yield deployment_address(stack.deployment.name)
        if address in self.line:
            yield from self.line
            # Which version serves is told by the services: a line is not rolled out before it has them.
            yield from (service for service in self._desired_of(Kind.SERVICE) if service not in self.live.owned)
        match address.kind:
            case Kind.ENVIRONMENT_TAG:
                yield from self._desired_of(Kind.ENVIRONMENT)
            case Kind.VERSION:
                yield from (version, *self._desired_of(*SHARED_KINDS, Kind.INSTANCE_TYPE_GROUP))
            case Kind.ENV_VAR | Kind.PACKAGE:
                yield version
            case Kind.SERVICE if self.line:
                yield from () if address in self.live.owned else (version,)
            case Kind.SERVICE if address not in self.live.owned or self._leads_elsewhere(self.changes[address]):
                # Where requests go on to, there must be all that answers them.
                yield from (version, package_address(*version.names))
                variables = self._desired_of(Kind.ENV_VAR)
                yield from (variable for variable in variables if variable.names[:2] == version.names)
            case Kind.SERVICE | Kind.DEPLOYMENT | Kind.ENVIRONMENT | Kind.INSTANCE_TYPE_GROUP:
                pass  # nothing beside the deployment
            case kind:
                assert_never(kind)

    def _desired_of(self, *kinds: Kind) -> list[Address]:
        return [address for address in self.desired.state if address.kind in kinds]

    def _without_what_is_used(self, chosen: set[Address]) -> set[Address]:
        """Without deletions of what something that stays as it is still uses."""
        while True:
            left_out = self.changes.keys() - chosen
            used = {
                address
                for address in chosen
                if self.changes[address].action == "delete"
                and (any(self._users(address, left_out)) or not left_out.isdisjoint(self._goes_with(address)))
            }
            if not used:
                return chosen
            chosen = chosen - used

    def _users(self, address: Address, left_out: Iterable[Address]) -> Iterator[Address]:
        """Those of `left_out` that hold on to an object, or may do so."""
        for other in left_out:
            raw = self.live.owned.get(other, {})
            below = hangs_on(other, address)
            leads = other.kind is Kind.SERVICE and raw.get("deployment") == address.names[0]
            match address.kind:
                case Kind.DEPLOYMENT:
                    # A managed group and its id go with the deployment that tells them.
                    holds_on = below or leads or self.changes[other].action == "delete"
                case Kind.VERSION:
                    holds_on = leads and raw.get("version") in (None, address.names[1])
                case Kind.INSTANCE_TYPE_GROUP | Kind.ENVIRONMENT_TAG | Kind.ENVIRONMENT:
                    holds_on = other.kind in _RUNS
                case Kind.ENV_VAR | Kind.PACKAGE | Kind.SERVICE:
                    holds_on = False
                case kind:
                    assert_never(kind)
            if holds_on:
                yield other

    def _refusals(self, taken: Iterable[Address]) -> Iterator[Remark]:
        """Names that move, and a deployment that is made again, take everything along or nothing."""
        taken = set(taken)
        left_out = self.changes.keys() - taken
        whole = {
            "it has still its earlier name, or owner": [a for a, c in self.changes.items() if self._is_renamed(a, c)],
            DEPLOYMENT_REPLACED: [
                a for a, c in self.changes.items() if a.kind is Kind.DEPLOYMENT and c.action == "replace"
            ]
            + [a for a, c in self.changes.items() if c.reason == DEPLOYMENT_REPLACED],
        }
        for reason, addresses in whole.items():
            missing = sorted(left_out.intersection(addresses))
            if taken and missing and not (reason == DEPLOYMENT_REPLACED and taken.isdisjoint(addresses)):
                names = ", ".join(map(str, missing))
                text = f"the selection leaves out {names}: {reason}.\n  Select it as well, or apply the whole first."
                yield Remark(source="--only, --exclude", text=text)

    def _is_renamed(self, address: Address, change: Change) -> bool:
        return address in self.live.renamed or any(field.path == OWNER for field in change.fields)


def _only_route(change: Change) -> Change:
    return replace(change, fields=tuple(field for field in change.fields if field.path in ROUTE))


def _without_route(change: Change) -> Change:
    return replace(change, fields=tuple(field for field in change.fields if field.path not in ROUTE))


def _led_as_now(state: State, services: Iterable[Address]) -> State:
    """The wanted state in which these services say nothing of where they lead."""
    fields = {a: {n: v for n, v in state[a].fields.items() if n not in ROUTE} for a in services}
    return {a: replace(r, fields=fields[a]) if a in fields else r for a, r in state.items()}
