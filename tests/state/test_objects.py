"""Each kind of object is read, created, changed and deleted at its own place, by its name or its id."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.answers import page, project
from whisperctl.state.objects import access
from whisperctl.state.resources import (
    Address,
    Kind,
    deployment_address,
    env_var_address,
    environment_address,
    group_address,
    package_address,
    service_address,
    tag_address,
    version_address,
)

GROUPS, VARIABLES = "instance-type-groups", "deployments/d/versions/v/environment-variables"
CALLS = [
    (deployment_address("d"), "deployments/d", "deployments", "deployments/d"),
    (version_address("d", "v"), "deployments/d/versions/v", "deployments/d/versions", "deployments/d/versions/v"),
    (env_var_address("d", "v", "A"), VARIABLES, VARIABLES, f"{VARIABLES}/i1"),
    (service_address("s"), "services/s", "services", "services/s"),
    (group_address("g"), GROUPS, GROUPS, f"{GROUPS}/i1"),
    (environment_address("e"), "environments/e", "environments", "environments/e"),
]
"""Address, where it is read, where it is created, and where it is changed and deleted."""
THERE: dict[str, Any] = {"id": "i1", "name": "n", "version": "v", "deployment": "d", "labels": {}}


@pytest.mark.parametrize(("address", "read", "create", "change"), CALLS, ids=str)
def test_the_four_calls_of_a_kind(address: Address, read: str, create: str, change: str) -> None:
    listed = {VARIABLES: [{**THERE, "name": "A"}], GROUPS: page({**THERE, "name": "g"})}
    api, asked = project({read: listed.get(read, THERE)})
    row = access(api, address)
    assert row is not None
    raw = row.read()
    assert raw is not None
    assert raw["id"] == "i1"
    row.create({"name": "n"})
    row.change(raw, {"description": "x"})
    row.delete(raw)
    assert asked.asked == [f"GET {read}", f"POST {create}", f"PATCH {change}", f"DELETE {change}"]


@pytest.mark.parametrize("address", [address for address, *_ in CALLS], ids=str)
def test_one_that_is_not_there_is_none(address: Address) -> None:
    api, _ = project({VARIABLES: [], GROUPS: page()})
    row = access(api, address)
    assert row is not None
    assert row.read() is None


def test_what_is_uploaded_and_built_has_no_calls_and_every_kind_is_looked_at() -> None:
    api, _ = project({})
    assert access(api, tag_address("e", "t")) is None
    assert access(api, package_address("d", "v")) is None
    assert {address.kind for address, *_ in CALLS} | {Kind.ENVIRONMENT_TAG, Kind.PACKAGE} == set(Kind)


def test_an_inherited_variable_of_that_name_is_not_the_version_s() -> None:
    inherited = {**THERE, "name": "A", "inheritance_type": "project"}
    own = {**THERE, "id": "i2", "name": "A", "inheritance_type": None}
    for variables, ident in (([inherited], None), ([inherited, own], "i2")):
        api, _ = project({VARIABLES: variables})
        row = access(api, env_var_address("d", "v", "A"))
        assert row is not None
        raw = row.read()
        assert (raw and raw["id"]) == ident


def test_groups_of_one_name_are_told_apart_by_the_id_that_is_known() -> None:
    groups = page(*({**THERE, "id": ident, "name": name} for ident, name in (("i1", "x"), ("i2", "g"), ("i3", "g"))))
    for known, ident in (({"id": "i3"}, "i3"), ({"id": "gone"}, "i2"), (None, "i2")):
        api, _ = project({GROUPS: groups})
        row = access(api, group_address("g"), known)
        assert row is not None
        raw = row.read()
        assert raw is not None
        assert raw["id"] == ident
