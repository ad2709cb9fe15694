"""Live objects that had another name: taken for the desired ones, so that they are renamed and not made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from whisperctl.control.api import Api, Json
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired, desired_state
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.live import Live
from whisperctl.state.moves import Moves, is_declared, moves_of
from whisperctl.state.reading import read_live
from whisperctl.state.resources import Address, Kind, hangs_on

T = TypeVar("T")


def renamed(desired: Desired, live: Live, old: Address, new: Address) -> Live:
    """`live` with the object at `old`, and what hangs on it and leads to it, under the name that it will have.

    What is `live.renamed` afterwards is what has to be renamed on UbiOps before anything else is written.
    """
    assert old.kind is new.kind
    live = _following(live, old, new)
    owned = {_moved(address, old, new): raw for address, raw in live.owned.items()}
    fingerprints = {address: fingerprint(address, owned.get(address), desired.state) for address in desired.state}
    fingerprints |= {address: fingerprint(address, raw, desired.state) for address, raw in owned.items()}
    return replace(
        live,
        owned=owned,
        foreign={_moved(address, old, new): raw for address, raw in live.foreign.items()},
        fingerprints=fingerprints,
        unowned_versions=_of_deployment(live.unowned_versions, old, new),
        used_by={_moved(address, old, new): names for address, names in live.used_by.items()},
        renamed={**live.renamed, new: old},
    )


def read_moves(api: Api, stacks: Sequence[Stack]) -> dict[int, Moves]:
    """What has an earlier name, of each stack whose file says that something had one; by position."""
    positions = [position for position, stack in enumerate(stacks) if is_declared(stack)]
    if not positions:
        return {}
    deployments = {raw["name"]: raw for raw in api.deployments()}
    services = {raw["name"]: raw for raw in api.services()}
    moves = {}
    for position in positions:
        stack = stacks[position]
        names = {stack.deployment.name, *stack.moved.deployment} & deployments.keys()
        versions = {name: api.versions(name) for name in names}
        moves[position] = moves_of(stack, deployments, versions, services)
    return moves


def read_moved(api: Api, desired: Desired, moves: Moves, parallelism: int) -> Live:
    """The live side of one stack, every version looked at, with what is to be renamed under its new names."""
    before = moves.before(desired.stack)
    [live] = read_live(api, [desired_state(before, desired.package, desired.build)], parallelism, destroy=True)
    for old, new in moves.renames:
        live = renamed(desired, live, old, new)
    return live


def _following(live: Live, old: Address, new: Address) -> Live:
    """With the services that lead to what is renamed leading to its new name: UbiOps knows it by its id."""
    field = {Kind.DEPLOYMENT: "deployment", Kind.VERSION: "version"}.get(old.kind)
    if field is None:
        return live

    def led(address: Address, raw: Json) -> Json:
        leads = raw.get(field) == old.names[-1] and (field == "deployment" or raw.get("deployment") == old.names[0])
        return raw | {field: new.names[-1]} if address.kind is Kind.SERVICE and leads else raw

    return replace(live, owned={address: led(address, raw) for address, raw in live.owned.items()})


def _moved(address: Address, old: Address, new: Address) -> Address:
    """The address under the new name; of a deployment with its versions, of a version with its env vars and package."""
    if address != old and not hangs_on(address, old):
        return address
    return Address(address.kind, (*new.names, *address.names[len(old.names) :]))


def _of_deployment(by_name: Mapping[str, T], old: Address, new: Address) -> dict[str, T]:
    if old.kind is not Kind.DEPLOYMENT:
        return dict(by_name)
    return {new.names[0] if name == old.names[0] else name: value for name, value in by_name.items()}
