"""Which live objects still have an earlier name of a stack's, and what stands against renaming them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.states import applied, desired, line, stack
from whisperctl.spec import Moved
from whisperctl.state.labels import new
from whisperctl.state.moves import Moves, is_declared, moves_of, other_owners
from whisperctl.state.resources import deployment_address, service_address, version_address

DEPLOYED = Moved(deployment=("old", "older"))
VERSIONED = Moved(version=("v0", "v00"))
SERVED = Moved(services={"door": ("gate",)})
BOTH = "'alpha' (deployment/speech) and 'before' (deployment/old)"


def objects(key: str, *names: str, owner: str = "alpha") -> dict[str, dict[str, Any]]:
    """Objects of UbiOps by name, each of this owner's."""
    return {name: {"id": f"i-{name}", key: name, "labels": new(owner=owner, id=f"i-{name}")} for name in names}


def deployments(*names: str, owner: str = "alpha") -> dict[str, dict[str, Any]]:
    return objects("name", *names, owner=owner)


def versions(*names: str, owner: str = "alpha") -> list[dict[str, Any]]:
    return list(objects("version", *names, owner=owner).values())


def moves(moved: Moved, *, services: Any = None, **there: Any) -> Moves:
    made = stack(moved=moved)
    return moves_of(made, there.get("deployments", {}), there.get("versions", {}), services or {})


def renames(of: Moves) -> list[str]:
    return [f"{old} -> {new}" for old, new in of.renames]


def test_whether_a_file_says_anything_moved() -> None:
    assert [is_declared(stack(moved=moved)) for moved in (Moved(), DEPLOYED, SERVED)] == [False, True, True]


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        (("old",), ["deployment/old -> deployment/speech"]),
        (("older", "other"), ["deployment/older -> deployment/speech"]),
        (("speech",), []),
        (("other",), []),
        ((), []),
    ],
)
def test_a_deployment_of_ours_under_an_earlier_name_is_renamed(there: tuple[str, ...], expected: list[str]) -> None:
    result = moves(DEPLOYED, deployments=deployments(*there))
    assert (renames(result), result.conflicts) == (expected, ())


def test_what_somebody_else_calls_so_is_nobody_s_business_here() -> None:
    nobody = {"old": {"id": "d1", "name": "old", "labels": {}}}
    copied = {"old": {"id": "d1", "name": "old", "labels": new(owner="alpha", id="d2")}}
    for there in (deployments("old", owner="beta"), nobody, copied):
        assert moves(DEPLOYED, deployments=there) == Moves()


def test_what_a_stack_of_an_earlier_name_owns_is_ours() -> None:
    both = Moved(stack=("before",), deployment=("old",))
    assert renames(moves(both, deployments=deployments("old", owner="before"))) == [
        "deployment/old -> deployment/speech"
    ]


def test_a_version_is_looked_for_below_the_deployment_s_earlier_name_and_has_todays_in_both() -> None:
    both = Moved(deployment=("old",), version=("v0",))
    result = moves(both, deployments=deployments("old"), versions={"old": versions("v0", "v9"), "speech": []})
    assert renames(result) == ["deployment/old -> deployment/speech", "version/speech/v0 -> version/speech/v1"]
    assert moves(VERSIONED, versions={"speech": versions("v0", owner="beta")}) == Moves()


def test_services_are_renamed_each_by_itself() -> None:
    several = Moved(services={"door": ("gate",), "side": ("a", "b")})
    result = moves(several, services={**objects("name", "gate", "b"), **objects("name", "a", owner="beta")})
    assert renames(result) == ["service/gate -> service/door", "service/b -> service/side"]


@pytest.mark.parametrize(
    ("moved", "there", "conflict"),
    [
        (
            DEPLOYED,
            {"deployments": deployments("old", "speech")},
            "deployment/old and deployment/speech both exist: one cannot be renamed to the other",
        ),
        (
            DEPLOYED,  # also where somebody else has the name
            {"deployments": {**deployments("old"), **deployments("speech", owner="beta")}},
            "deployment/old and deployment/speech both exist: one cannot be renamed to the other",
        ),
        (
            DEPLOYED,
            {"deployments": deployments("old", "older")},
            "deployment/old and deployment/older both exist: which one is deployment/speech?",
        ),
        (
            VERSIONED,
            {"versions": {"speech": versions("v0", "v1")}},
            "version/v0 and version/v1 both exist: one cannot be renamed to the other",
        ),
        (
            SERVED,
            {"services": objects("name", "gate", "door")},
            "service/gate and service/door both exist: one cannot be renamed to the other",
        ),
        (
            Moved(stack=("before",)),
            {"deployments": {**deployments("speech"), **deployments("old", owner="before")}},
            f"the stacks {BOTH} both exist: one of them cannot have been renamed to the other",
        ),
    ],
    ids=["both names", "a foreign one", "two earlier names", "version", "service", "two stacks"],
)
def test_two_things_of_both_names_are_a_conflict_and_nothing_is_renamed(
    moved: Moved, there: dict[str, Any], conflict: str
) -> None:
    also = Moved(
        stack=moved.stack,
        deployment=moved.deployment,
        version=moved.version,
        services={"side": ("aside",), **moved.services},
    )
    there = {**there, "services": {**there.get("services", {}), **objects("name", "aside")}}
    assert moves(also, **there) == Moves(conflicts=(conflict,))


def test_every_version_of_a_line_follows_the_line_s_new_name() -> None:
    made = replace(line("v1-00000001"), moved=VERSIONED)
    there = versions("v0-00000001", "v0-00000002-2", "v0", "v0-1", "v00-00000003")
    result = moves_of(made, {}, {"speech": there}, {})
    assert renames(result) == [
        "version/speech/v0-00000001 -> version/speech/v1-00000001",
        "version/speech/v0-00000002-2 -> version/speech/v1-00000002-2",
        "version/speech/v00-00000003 -> version/speech/v1-00000003",
    ]
    taken = moves_of(made, {}, {"speech": versions("v0-00000001", "v1-00000001")}, {})
    assert taken.conflicts == (
        "version/v0-00000001 and version/v1-00000001 both exist: one cannot be renamed to the other",
    )


def test_the_stack_before_has_the_names_that_its_objects_have() -> None:
    pairs = (
        (deployment_address("old"), deployment_address("speech")),
        (version_address("speech", "v0"), version_address("speech", "v1")),
        (service_address("gate"), service_address("door")),
    )
    before = Moves(renames=pairs).before(stack(services=["door", "side"]))
    assert (before.deployment.name, before.version.name) == ("old", "v0")
    assert [service.name for service in before.services] == ["gate", "side"]
    assert Moves().before(stack()) == stack()


def test_objects_that_carry_an_earlier_name_of_the_stack_get_todays() -> None:
    owned = applied(desired(stack("before"))).owned
    assert list(map(str, other_owners(stack(moved=Moved(stack=("before",))), owned))) == [
        "deployment/speech",
        "version/speech/v1",
        "service/door",
    ]
    assert other_owners(stack(moved=DEPLOYED), owned) == []
    assert other_owners(stack(moved=Moved(stack=("shared",))), owned) == []  # nobody's stack: what stacks share
