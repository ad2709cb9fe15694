"""Live objects under the names that they will have: what hangs on them and what leads to them goes along."""

from __future__ import annotations

from dataclasses import replace

from tests.harness.answers import project
from tests.plan.states import applied, desired, live, stack
from whisperctl.spec import Moved
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.live import Live
from whisperctl.state.moves import Moves
from whisperctl.state.renames import read_moves, renamed
from whisperctl.state.resources import Address, deployment_address, service_address, version_address

OLD = desired(stack(deployment="old", version="v0", env={"A": "1"}, services=["gate"]))
NOW = desired(stack(env={"A": "1"}))
DEPLOYMENTS = (deployment_address("old"), deployment_address("speech"))
VERSIONS = (version_address("speech", "v0"), version_address("speech", "v1"))
SERVICES = (service_address("gate"), service_address("door"))


def all_renamed(state: Live) -> Live:
    for old, new in (DEPLOYMENTS, VERSIONS, SERVICES):
        state = renamed(NOW, state, old, new)
    return state


def names(addresses: object) -> list[str]:
    return sorted(map(str, addresses))  # type: ignore[call-overload]


def test_what_hangs_on_a_deployment_and_a_version_goes_along() -> None:
    state = all_renamed(applied(OLD))
    assert names(state.owned) == names(NOW.state)
    assert state.renamed == {new: old for old, new in (DEPLOYMENTS, VERSIONS, SERVICES)}
    # What is written at the object itself is UbiOps' until it is renamed.
    assert state.owned[DEPLOYMENTS[1]] == applied(OLD).owned[DEPLOYMENTS[0]]


def test_services_lead_to_the_new_names_since_ubiops_knows_what_they_lead_to_by_its_id() -> None:
    elsewhere = Address(SERVICES[0].kind, ("elsewhere",))
    owned = applied(OLD).owned
    to_another = {**owned[SERVICES[0]], "version": "v9"}
    to_another_deployment = {**owned[SERVICES[0]], "deployment": "third"}
    there = Address(SERVICES[0].kind, ("there",))
    state = all_renamed(live({**owned, elsewhere: to_another, there: to_another_deployment}))
    leads = {str(a): (raw["deployment"], raw["version"]) for a, raw in state.owned.items() if a.kind is there.kind}
    assert leads == {
        "service/door": ("speech", "v1"),
        "service/elsewhere": ("speech", "v9"),
        "service/there": ("third", "v0"),
    }


def test_what_else_is_known_of_a_name_is_known_of_the_new_one() -> None:
    theirs = version_address("old", "theirs")
    state = replace(
        applied(OLD),
        foreign={theirs: {"labels": {}}},
        unowned_versions={"old": ["theirs"], "third": ["x"]},
        used_by={DEPLOYMENTS[0]: ["pipe"], version_address("old", "v0"): ["pipe"]},
    )
    after = all_renamed(state)
    assert names(after.foreign) == ["version/speech/theirs"]
    assert after.unowned_versions == {"speech": ["theirs"], "third": ["x"]}
    assert after.used_by == {DEPLOYMENTS[1]: ["pipe"], VERSIONS[1]: ["pipe"]}
    version_only = renamed(NOW, state, *VERSIONS)
    assert version_only.unowned_versions == state.unowned_versions


def test_fingerprints_are_those_of_the_same_objects_and_of_what_is_wanted_and_not_there() -> None:
    state = all_renamed(live({a: raw for a, raw in applied(OLD).owned.items() if a != SERVICES[0]}))
    assert state.fingerprints[SERVICES[1]] == "absent"
    assert state.fingerprints[VERSIONS[1]] == fingerprint(VERSIONS[1], state.owned[VERSIONS[1]], NOW.state)


def test_moves_are_read_of_stacks_whose_file_declares_some_and_of_no_other() -> None:
    api, asked = project({})
    assert read_moves(api, [stack(), stack("beta")]) == {}
    assert asked.asked == []
    raw = applied(OLD).owned[DEPLOYMENTS[0]]
    api, asked = project({"deployments": [{**raw, "name": "old"}], "services": [], "deployments/old/versions": []})
    declares = stack(moved=Moved(deployment=("old",)))
    assert read_moves(api, [stack("beta"), declares]) == {1: Moves(renames=(DEPLOYMENTS,))}
    assert asked.asked == ["GET deployments", "GET services", "GET deployments/old/versions"]
