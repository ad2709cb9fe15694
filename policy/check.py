#!/usr/bin/env python3
"""The three policies beside this file in plain Python, for a pipeline without a Rego engine:

    whisperctl plan --format json stacks > plan.json
    python policy/check.py plan.json --limit 100 --group "12288 MB + NVIDIA Tesla T4"

Prints each objection and exits 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Document = dict[str, Any]


def public_services(plan: Document) -> Iterator[str]:
    """Services that would ask for no token."""
    for stack, change, field in fields(plan):
        opened = field["path"] == "authentication_required" and field["after"] is False
        if opened and change["address"].startswith("service/") and change["action"] != "delete":
            yield f"{stack['stack']}: {change['address']} would be public ({change['source']})"


def above_limit(plan: Document, limit: float) -> Iterator[str]:
    """What all stacks may cost together in an hour, if that is more than `limit` credits or not known."""
    costs = {stack["stack"]: stack["cost"]["credits_per_hour"]["maximum"]["after"] for stack in plan["stacks"]}
    yield from (f"{name}: what it may cost is not known" for name, cost in costs.items() if cost is None)
    total = sum(cost for cost in costs.values() if cost is not None)
    if total > limit:
        yield f"up to {total:g} credits per hour, and {limit:g} is the limit"


def unlisted_groups(plan: Document, listed: Sequence[str]) -> Iterator[str]:
    """Instance type groups that are not among `listed`; without a list any may be used."""
    for stack, change, field in fields(plan):
        named = field["path"] == "instance_type_group_name" and change["action"] != "delete"
        if listed and named and field["after"] not in listed:
            yield f"{stack['stack']}: the instance type group {field['after']} is not listed ({change['source']})"


def fields(plan: Document) -> Iterator[tuple[Document, Document, Document]]:
    """Every field that changes, with its change and its stack."""
    for stack in plan["stacks"]:
        for change in stack["changes"]:
            for field in change["fields"]:
                yield stack, change, field


def main() -> int:
    parser = argparse.ArgumentParser(description="Refuse plans that a team does not want.")
    parser.add_argument("plan", type=Path)
    parser.add_argument("--limit", type=float, default=float("inf"), help="credits per hour")
    parser.add_argument("--group", action="append", default=[], help="an instance type group that may be used")
    given = parser.parse_args()
    plan = json.loads(given.plan.read_text(encoding="utf-8"))
    objections = [*public_services(plan), *above_limit(plan, given.limit), *unlisted_groups(plan, given.group)]
    for objection in objections:
        print(objection)
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(main())
