"""One digest of the live objects of a stack: as an apply left them, and as they are now. Pure.

It tells that nothing has changed on UbiOps since the last apply, even where the spec has. It is no judge of what
differs: it covers fields that no spec names, too, so two that are not the same do not tell whose change it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from whisperctl.control.api import Json
from whisperctl.state.ignored import without
from whisperctl.state.labels import Labels
from whisperctl.state.resources import (
    SERVICE_LIST_FIELDS,
    SHARED_KINDS,
    VERSION_LIST_FIELDS,
    Address,
    Kind,
    Resource,
    State,
)


def live_digest(objects: Mapping[Address, Json], desired: State) -> str:
    """32 hex digits over everything that the stack owns, without our own labels and what it ignores."""
    ignored = {address: resource.ignored for address, resource in desired.items()}
    owned = sorted(
        (str(a), without(_lasting_fields(a, raw), ignored.get(a, ())))
        for a, raw in objects.items()
        if a.kind not in SHARED_KINDS  # other stacks change them; which tag is used stands in the version
    )
    return hashlib.sha256(json.dumps(owned, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _lasting_fields(address: Address, raw: Json) -> dict[str, Any]:
    """What of an object changes only when somebody changes it."""
    if address.kind is Kind.INSTANCE_TYPE_GROUP:
        return {item["name"]: [item.get("priority"), item.get("schedule_timeout")] for item in raw["instance_types"]}
    labels = Labels.of(raw)
    fields = {key: value for key, value in raw.items() if key not in VOLATILE}
    if address.kind is Kind.SERVICE:
        # The list tells less than the detail: what it tells, and what we set.
        fields = {key: raw.get(key) for key in SERVICE_LIST_FIELDS | set(labels.tracked)}
    if address.kind is Kind.VERSION and (minimum := labels.paused_minimum) is not None:
        fields["minimum_instances"] = minimum  # a pause and its end are our own
    return fields | {"labels": labels.of_others}


VOLATILE = frozenset(
    {"last_updated", "time_updated", "status", "last_file_upload", "latest_revision", "has_request_method",
     "has_requests_method", "default", "default_version", "size"}
)  # fmt: skip
"""Fields that change without anybody changing the object; outside every fingerprint."""


def fingerprint(address: Address, raw: Json | None, desired: State) -> str:
    """What tells whether an object was changed by anybody: 16 hex digits, or `absent`."""
    if raw is None:
        return "absent"
    if address.kind is Kind.ENVIRONMENT:
        # All stacks share it and write its digest: only what a plan compares, and whose it is.
        compared = [raw["id"], raw["description"], Labels.of(raw).owner]
        return hashlib.sha256(json.dumps(compared).encode()).hexdigest()[:16]
    resource = desired.get(address)
    fields = {key: value for key, value in raw.items() if key not in VOLATILE}
    if resource is not None and resource.ignored:
        fields = without(fields, resource.ignored) | {"id": raw.get("id")}
    if (listed := _listed_keys(address, raw, resource)) is not None:
        fields = {key: value for key, value in fields.items() if key in listed}
    if address.kind is Kind.DEPLOYMENT:
        fields = {key: value for key, value in fields.items() if not key.endswith("_fields")}
    if "labels" in fields:
        fields["labels"] = Labels.of(raw).without_lease
    text = json.dumps(fields, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _listed_keys(address: Address, raw: Json, resource: Resource | None) -> AbstractSet[str] | None:
    """The fields of what is known from a list, which tells less than the detail; None of what is read whole."""
    if address.kind is Kind.SERVICE:  # whichever of the two was read, with what a plan compares
        compared = resource.fields.keys() | Labels.of(raw).tracked_fields if resource is not None else set()
        return SERVICE_LIST_FIELDS | {"id"} | compared
    if address.kind is Kind.VERSION and resource is None:  # one that leaves or sleeps
        return VERSION_LIST_FIELDS
    return None


def combined(fingerprints: Iterable[tuple[Address, str]]) -> str:
    """One fingerprint of many: 32 hex digits."""
    text = "\n".join(f"{address} {value}" for address, value in sorted(fingerprints))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
