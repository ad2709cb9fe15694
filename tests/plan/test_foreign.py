"""Nothing that is not the stack's is touched, whatever stands in the project beside it, and whatever it is called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.answers import page, project
from tests.harness.sweeps import EXHAUSTIVE
from tests.plan.states import applied, desired, line, planned, stack
from tests.plan.test_properties import NAMES, desired_states
from whisperctl.control.api import Json
from whisperctl.errors import NotOwned
from whisperctl.plan.plan import Plan
from whisperctl.state.desired import Desired
from whisperctl.state.labels import Labels, new
from whisperctl.state.live import Live
from whisperctl.state.ownership import owner
from whisperctl.state.reading import read_live
from whisperctl.state.records import RecordedRevision
from whisperctl.state.resources import (
    Address,
    Kind,
    deployment_address,
    env_var_address,
    group_address,
    package_address,
    service_address,
    version_address,
)

EXAMPLES = settings(max_examples=300 if EXHAUSTIVE else 40, deadline=None)
Objects = Mapping[Address, Json]
WHOSE = {
    "nobody's": {},
    "another stack's": new(owner="beta", id="x1", digest="d"),
    "labelled like ours": new(owner="alpha"),  # whoever may write labels can write this one
    "a copy of ours": new(owner="alpha", id="d1", digest="d"),
    "what is shared": new(owner="shared", id="x1"),
}
"""Labels of objects that are not the stack's; the id of each is `x1`."""


T4 = {"id": "g0", "name": "T4", "instance_types": []}
"""The group of stacks that manage none."""


def _group(address: Address, raw: Json) -> Json:
    types = [{"id": "y1", **each} for each in raw["instance_types"]]
    return {**raw, "name": address.names[0], "instance_types": types}


def answers(objects: Objects) -> dict[str, Any]:
    """What UbiOps answers in a project that holds these objects."""
    below = defaultdict[Kind, dict[Address, Json]](dict)
    for address, raw in objects.items():
        below[address.kind][address] = raw
    deployments = {a.names[0]: {**raw, "name": a.names[0]} for a, raw in below[Kind.DEPLOYMENT].items()}
    services = {a.names[0]: {**raw, "name": a.names[0]} for a, raw in below[Kind.SERVICE].items()}
    by_path: dict[str, Any] = {
        "deployments": list(deployments.values()),
        "services": list(services.values()),
        "instance-type-groups": page(T4, *(_group(a, raw) for a, raw in below[Kind.INSTANCE_TYPE_GROUP].items())),
        "instance-types": page(),
        "environment-variables": [],
        "environments/whisperctl/tags": [{**raw, "name": a.names[1]} for a, raw in below[Kind.ENVIRONMENT_TAG].items()],
        **{f"deployments/{name}": raw for name, raw in deployments.items()},
        **{f"deployments/{name}/versions": [] for name in deployments},
        **{f"services/{name}": raw for name, raw in services.items()},
        **{f"environments/{a.names[0]}": {**raw, "name": a.names[0]} for a, raw in below[Kind.ENVIRONMENT].items()},
    }
    for address, raw in below[Kind.VERSION].items():
        deployment, version = address.names
        detail = {**raw, "deployment": deployment, "version": version}
        path = f"deployments/{deployment}/versions"
        by_path[path].append(detail)
        variables = [each for a, each in below[Kind.ENV_VAR].items() if a.names[:2] == address.names]
        by_path |= {f"{path}/{version}": detail, f"{path}/{version}/environment-variables": variables}
    return by_path


def as_written(what: Desired) -> dict[Address, Json]:
    """The objects of a stack as an apply leaves them, with what its labels tell of those that carry none."""
    owned = dict(applied(what).owned)
    deployment = deployment_address(what.stack.deployment.name)
    version = version_address(what.stack.deployment.name, what.stack.version.name)
    package = owned.pop(package_address(*version.names))
    revisions = [RecordedRevision("r1", package["digest"], "")]
    recorded = Labels.of(owned[version]).written(digest=package["digest"], revisions=revisions)
    owned[version] = {**owned[version], "active_revision": "r1", "labels": recorded}
    groups = ["g1"] if any(address.kind is Kind.INSTANCE_TYPE_GROUP for address in owned) else []
    owned[deployment] = {**owned[deployment], "labels": Labels.of(owned[deployment]).written(group_ids=groups)}
    return owned


@st.composite
def others(draw: st.DrawFn, ours: Objects) -> dict[Address, Json]:
    """Objects of others, some below what is ours, or called as what the stack wants."""
    made: dict[Address, Json] = {}
    labels = {"id": "x1", "labels": WHOSE[draw(st.sampled_from(sorted(WHOSE)))]}
    deployments = draw(st.lists(NAMES, unique=True, max_size=2))
    for name in deployments:
        made[deployment_address(name)] = {**labels, "description": "", "input_type": "plain", "output_type": "plain"}
    for name in draw(st.lists(NAMES, unique=True, max_size=2)):
        leads = {"deployment": draw(NAMES), "version": draw(NAMES), "port": 8080}
        made[service_address(name)] = {**labels, **leads}
    versions = {address.names for address in ours if address.kind is Kind.VERSION}
    holders = sorted({address.names[0] for address in ours if address.kind is Kind.DEPLOYMENT} | {*deployments})
    for deployment in holders:
        for name in draw(st.lists(NAMES, unique=True, max_size=2)):
            made[version_address(deployment, name)] = {**labels, "minimum_instances": 1}
    for deployment, version in sorted(versions):
        name = draw(st.sampled_from(["A", "B", "C"]))
        made[env_var_address(deployment, version, name)] = {
            "id": "x1",
            "name": name,
            "value": "theirs",
            "secret": False,
        }
    if draw(st.booleans()):
        made[group_address(f"{draw(NAMES)}-group")] = {"id": "x1", "instance_types": []}
    return {address: raw for address, raw in made.items() if address not in ours}


@st.composite
def plans(draw: st.DrawFn) -> tuple[Plan | None, Objects]:
    """A plan of any earlier file to any other one, or to nothing, in a project with objects of others; and these.

    None where it stops at names that are taken.
    """
    before, what = draw(desired_states()), draw(desired_states())
    ours = as_written(before) if draw(st.sampled_from([True, True, False])) else {}
    theirs: dict[Address, Json] = draw(others(ours))
    destroy = draw(st.sampled_from([False, False, True]))
    state = read(what, {**ours, **theirs}, destroy=destroy)
    try:
        return planned(what, state, destroy=destroy), theirs
    except NotOwned:
        assert theirs
        assert not destroy
        return None, theirs


def read(what: Desired, objects: Objects, *, destroy: bool = False) -> Live:
    """What is read of a project that holds these objects."""
    api, asked = project(answers(objects))
    [state] = read_live(api, [what], 1, destroy)
    assert all(line.startswith("GET ") for line in asked.asked)
    return state


def touched(plan: Plan) -> Iterator[Address]:
    """What is written, and what is deleted along with it."""
    for operation in plan.operations:
        yield operation.address
        if operation.kind == "delete" and operation.address.kind is Kind.DEPLOYMENT:
            yield from (address for address in plan.live.owned if address.names[:1] == operation.address.names)


@EXAMPLES
@given(plans())
def test_nothing_of_anybody_else_is_written_or_deleted(drawn: tuple[Plan | None, Objects]) -> None:
    plan, theirs = drawn
    if plan is None:
        return
    # Somebody may write our label alone on an object that the file names: then it is the stack's.
    named = {a for a, raw in theirs.items() if a in plan.desired.state and owner(raw) == "alpha"}
    assert set(touched(plan)).isdisjoint(theirs.keys() - named)
    for operation in plan.operations:
        if operation.kind == "delete" and operation.address.kind is Kind.DEPLOYMENT:
            versions = {address for address in theirs.keys() - named if address.kind is Kind.VERSION}
            below = [address for address in versions if address.names[:1] == operation.address.names]
            assert below == []


@EXAMPLES
@given(desired_states())
def test_what_was_applied_is_read_as_the_stack_s_and_differs_in_nothing(what: Desired) -> None:
    state = read(what, as_written(what))
    assert state.foreign == {}
    assert state.owned.keys() == what.state.keys()
    assert planned(what, state).changes == ()


def test_a_deployment_with_a_version_of_somebody_else_is_never_deleted() -> None:
    what = desired(stack())
    by_hand = {version_address("speech", "by-hand"): {"id": "x1", "labels": {}, "minimum_instances": 1}}
    state = read(what, {**as_written(what), **by_hand}, destroy=True)
    deleted = [str(operation.address) for operation in planned(what, state, destroy=True).operations]
    assert deleted == ["service/door", "version/speech/v1"]


def test_a_version_of_a_line_that_somebody_copied_is_left_alone() -> None:
    what, new_version = desired(line("v1-00000001")), desired(line("v1-00000002"), code="two")
    written = as_written(what)
    original = written[version_address("speech", "v1-00000001")]
    copied = {version_address("speech", "v1-00000009"): {**original, "id": "x1"}}
    plan = planned(new_version, read(new_version, {**written, **copied}))
    assert copied.keys().isdisjoint({*touched(plan), *plan.live.owned})
