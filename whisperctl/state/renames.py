"""Live objects that had another name: taken for the wanted ones, so that they are renamed and not made again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from whisperctl.state.desired import Wanted
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.live import Live
from whisperctl.state.resources import Address, Kind

T = TypeVar("T")


def renamed(wanted: Wanted, live: Live, old: Address, new: Address) -> Live:
    """`live` with the object at `old`, and what hangs on it, under the name that it will have.

    What is `live.renamed` afterwards is what has to be renamed on UbiOps before anything else is written.
    """
    assert old.kind is new.kind
    owned = {_moved(address, old, new): raw for address, raw in live.owned.items()}
    fingerprints = {address: fingerprint(address, owned.get(address), wanted.state) for address in wanted.state}
    fingerprints |= {address: fingerprint(address, raw, wanted.state) for address, raw in owned.items()}
    return replace(
        live,
        owned=owned,
        fingerprints=fingerprints,
        unowned_versions=_of_deployment(live.unowned_versions, old, new),
        used_by={_moved(address, old, new): names for address, names in live.used_by.items()},
        renamed={**live.renamed, new: old},
    )


def _moved(address: Address, old: Address, new: Address) -> Address:
    """The address under the new name; of a deployment with its versions, of a version with its env vars and package."""
    below = {
        Kind.DEPLOYMENT: (Kind.VERSION, Kind.ENV_VAR, Kind.PACKAGE),
        Kind.VERSION: (Kind.ENV_VAR, Kind.PACKAGE),
    }.get(old.kind, ())
    if address.kind is not old.kind and address.kind not in below:
        return address
    count = len(old.names)
    if address.names[:count] != old.names:
        return address
    return Address(address.kind, (*new.names, *address.names[count:]))


def _of_deployment(found: Mapping[str, T], old: Address, new: Address) -> dict[str, T]:
    if old.kind is not Kind.DEPLOYMENT:
        return dict(found)
    return {new.names[0] if name == old.names[0] else name: value for name, value in found.items()}
