"""One digest of the live objects of a stack: as an apply left them, and as they are now. Pure.

It tells that nothing has changed on UbiOps since the last apply, even where the spec has. It is no judge of what
differs: it covers fields that no spec names, too, so two that are not the same do not tell whose change it was.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from whisperctl.api import Json
from whisperctl.live import VOLATILE, Live, names_in
from whisperctl.recorded import paused_minimum
from whisperctl.resources import FIELDS_LABEL, OWN_PREFIX, SERVICE_LIST_FIELDS, Address, Kind

_SHARED = (Kind.ENVIRONMENT, Kind.ENVIRONMENT_TAG)
"""Other stacks change them; which tag is used stands in the version."""


def live_digest(live: Live) -> str:
    """32 hex digits over everything that the stack owns, without our own labels."""
    owned = sorted((str(a), _kept(a, raw)) for a, raw in live.owned.items() if a.kind not in _SHARED)
    return hashlib.sha256(json.dumps(owned, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _kept(address: Address, raw: Json) -> dict[str, Any]:
    """What of an object changes only when somebody changes it."""
    if address.kind is Kind.INSTANCE_TYPE_GROUP:
        return {item["name"]: [item.get("priority"), item.get("schedule_timeout")] for item in raw["instance_types"]}
    kept = {key: value for key, value in raw.items() if key not in VOLATILE}
    if address.kind is Kind.SERVICE:
        # The list tells less than the detail: what it tells, and what we set.
        kept = {key: raw.get(key) for key in SERVICE_LIST_FIELDS | set(names_in(raw, FIELDS_LABEL))}
    labels = raw.get("labels") or {}
    if address.kind is Kind.VERSION and (minimum := paused_minimum(raw)) is not None:
        kept["minimum_instances"] = minimum  # a pause and its end are our own
    return kept | {"labels": {key: value for key, value in labels.items() if not key.startswith(OWN_PREFIX)}}
