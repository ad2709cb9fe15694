"""What holds of every plan, whatever the file says and whatever is on UbiOps."""

from __future__ import annotations

import json
from itertools import count, pairwise
from typing import Any, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.sweeps import EXHAUSTIVE
from tests.plan.states import (
    NOTHING,
    NOTHING_MOVED,
    applied,
    changed,
    desired,
    line,
    planned,
    stack,
    with_version,
    without,
)
from whisperctl.errors import NotOwned
from whisperctl.plan.changes import Change
from whisperctl.plan.encoding import decode, encode, structure
from whisperctl.plan.operations import Operation, after_other_stacks
from whisperctl.plan.plan import Plan
from whisperctl.spec import Moved
from whisperctl.state.desired import Desired
from whisperctl.state.line import is_line
from whisperctl.state.live import Live
from whisperctl.state.records import RolloutState
from whisperctl.state.renames import renamed
from whisperctl.state.resources import Address, Kind, Masked, deployment_address, environment_address, tag_address

EXAMPLES = settings(max_examples=300 if EXHAUSTIVE else 30, deadline=None)
NAMES = st.sampled_from(["one", "two", "three"])
LINE = [f"v1-0000000{number}" for number in range(3)]
"""Names of versions of a line."""
STACKS = st.fixed_dictionaries(
    {
        "deployment": NAMES,
        "version": NAMES,
        "group": st.lists(NAMES, unique=True, max_size=2),
        "env": st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["1", "(secret)"])),
        "services": st.lists(NAMES, unique=True, max_size=3),
        "input_type": st.sampled_from(["plain", "plain", "structured"]),
        "maximum_instances": st.integers(1, 3),
        "protect": st.booleans(),
    }
)
RENDERED = st.fixed_dictionaries({"code": NAMES, "tag": NAMES})
RECORDS = st.sampled_from(get_args(RolloutState))
GLOBS = st.lists(
    st.sampled_from(["*one*", "*two*", "*", *(f"{kind.name.lower()}/*" for kind in Kind)]), max_size=2, unique=True
)
PARTS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}), st.just({}), st.fixed_dictionaries({"only": GLOBS}), st.fixed_dictionaries({"exclude": GLOBS})
)
ORDER_OF_DELETION = [Kind.SERVICE, Kind.VERSION, Kind.INSTANCE_TYPE_GROUP, Kind.ENVIRONMENT_TAG, Kind.ENVIRONMENT,
                     Kind.DEPLOYMENT]  # fmt: skip
WRITES = ("create", "update", "upload", "build", "claim", "record")
PROOFS = ("gate", "probe", "bake")


@st.composite
def desired_states(draw: st.DrawFn, name: str = "alpha", moved: Moved = NOTHING_MOVED) -> Desired:
    """What any file wants, in place or with a line of versions."""
    fields: dict[str, Any] = draw(STACKS)
    if not draw(st.booleans()):
        return desired(stack(name, moved=moved, **fields), **draw(RENDERED))
    del fields["version"]
    made = line(draw(st.sampled_from(LINE)), keep=draw(st.integers(0, 2)), name=name, moved=moved, **fields)
    return desired(made, **draw(RENDERED))


@st.composite
def states(draw: st.DrawFn, before: Desired) -> Live:
    """What an earlier file left: all of it, a part, or a line with versions that came so far, and any led to."""
    state = applied(before, proven=draw(st.booleans()))
    deployment = before.stack.deployment.name
    if is_line(before.stack):
        others = [name for name in LINE if name != before.stack.version.name]
        for name in draw(st.lists(st.sampled_from(others), unique=True)):
            state = with_version(
                state, name, draw(RECORDS), deployment=deployment, at=f"2026-11-0{LINE.index(name) + 1}"
            )
        for address in [address for address in state.owned if address.kind is Kind.SERVICE]:
            state = changed(state, address, version=draw(st.sampled_from(sorted(state.versions(deployment)))))
    return without(state, *draw(st.sets(st.sampled_from(sorted(state.owned)), max_size=3)))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """From any earlier file, applied in full or in part, to any other one, or to nothing; whole, or a part of it."""
    destroy = draw(st.sampled_from([False, False, False, True]))
    name = "alpha" if destroy else draw(st.sampled_from(["alpha", "alpha", "before"]))
    before = draw(desired_states(name))
    old = before.stack.deployment.name
    moved = draw(st.sampled_from([NOTHING_MOVED, Moved(stack=("before",), deployment=(old,))]))
    if name == "before":
        moved = Moved(stack=("before",), deployment=(old,))
    what = draw(desired_states(moved=moved))
    state = draw(st.one_of(st.just(NOTHING), states(before), states(before)))
    addresses = deployment_address(old), deployment_address(what.stack.deployment.name)
    if moved is not NOTHING_MOVED and not destroy and addresses[0] in state.owned and addresses[0] != addresses[1]:
        state = renamed(what, state, *addresses)
    parts: dict[str, Any] = draw(PARTS)
    try:
        return planned(what, state, destroy=destroy, retired=_retired(state, what), **parts)
    except NotOwned:
        raise AssertionError("nothing is anybody else's") from None


def _retired(state: Live, what: Desired) -> list[Address]:
    return [a for a in state.owned if a.kind is Kind.ENVIRONMENT_TAG and a not in what.state]


def _before(plan: Plan, operation: Operation) -> set[int]:
    """All that must have been done before it: what it needs, and what that needs."""
    needs = {o.id: o.needs for o in plan.operations}
    before: set[int] = set()
    left = list(operation.needs)
    while left:
        number = left.pop()
        before.add(number)
        left += needs[number]
    return before


@EXAMPLES
@given(plans())
def test_operations_form_an_order_without_circles(plan: Plan) -> None:
    done: set[int] = set()
    for operation in plan.operations:
        assert done.issuperset(operation.needs)
        done.add(operation.id)
    assert len(done) == len(plan.operations)


@EXAMPLES
@given(plans())
def test_every_write_comes_before_its_proof_and_every_proof_before_the_seal(plan: Plan) -> None:
    proofs = [o for o in plan.operations if o.kind in PROOFS]
    assert len({proof.kind for proof in proofs}) == len(proofs)
    made = {o.id for o in plan.operations if o.kind in WRITES}
    again = {o.id for o in plan.operations if o.kind == "delete" and o.id < min(made, default=0)}
    for proof in proofs:
        # What a gate has not passed, no service leads to: new ones are made after it.
        later = {o.id for o in plan.operations if o.address.kind is Kind.SERVICE} if proof.kind == "gate" else set()
        assert made - again - later <= _before(plan, proof)
    for seal in (o for o in plan.operations if o.kind == "seal"):
        assert seal == plan.operations[-1]
        assert plan.destroy is False
        assert {o.id for o in plan.operations if o.kind != "seal"} == _before(plan, seal)


@EXAMPLES
@given(plans())
def test_a_rollout_is_gated_before_it_is_switched_to_and_proven_before_anything_gives_way(plan: Plan) -> None:
    steps = [o for o in plan.operations if o.kind in ("gate", "switch", "bake", "probe", "retire")]
    if plan.rollout is None:
        assert {o.kind for o in steps} <= {"probe"}
        return
    for earlier, later in pairwise(steps):
        assert earlier.id in _before(plan, later)
    kinds = [o.kind for o in steps]
    assert kinds == [kind for kind in ("gate", "switch", "bake", "probe", "retire") if kind in kinds]
    if plan.rollout.gated and kinds:
        assert kinds[:2] == ["gate", "switch"]
        for o in plan.operations:
            if o.address.kind is Kind.SERVICE and o.kind != "rename":
                assert o.kind in ("create", "delete")
                assert steps[1].id in _before(plan, o)
    for o in plan.operations:
        if o.kind == "delete" and o.address.kind is Kind.VERSION:
            assert {step.id for step in steps} <= _before(plan, o)
            names = [(plan.rollout.deployment, name) for name in (plan.rollout.new, *plan.rollout.kept)]
            assert o.address.names not in names


@EXAMPLES
@given(plans())
def test_names_move_before_anything_else_is_written_and_the_deployment_s_first(plan: Plan) -> None:
    renames = [o for o in plan.operations if o.kind == "rename"]
    assert renames == list(plan.operations[: len(renames)])
    assert [o.address.kind for o in renames] == sorted(o.address.kind for o in renames)
    for o in plan.operations[len(renames) :]:
        assert {rename.id for rename in renames} <= _before(plan, o)


@EXAMPLES
@given(plans())
def test_an_upload_follows_what_it_runs_in_and_with(plan: Plan) -> None:
    for upload in (o for o in plan.operations if o.kind == "upload"):
        below = (Kind.VERSION, Kind.ENV_VAR, Kind.ENVIRONMENT_TAG)
        needed = {
            o.id
            for o in plan.operations
            if o.kind in WRITES
            and o.address.kind in below
            and (o.kind == "build" or o.address.names[:2] == upload.address.names)
        }
        assert needed <= _before(plan, upload)


@EXAMPLES
@given(plans())
def test_deletions_go_from_the_outside_in_and_after_what_takes_their_place(plan: Plan) -> None:
    deleted = [o for o in plan.operations if o.kind == "delete" and o.address.kind is not Kind.ENV_VAR]
    made = [o for o in plan.operations if o.kind != "delete"]
    replaced = any(change.action == "replace" and change.address.kind is Kind.DEPLOYMENT for change in plan.changes)
    late = [o for o in deleted if not replaced or all(m.id < o.id for m in made if m.kind not in ("seal", "rename"))]
    order = [ORDER_OF_DELETION.index(o.address.kind) for o in late]
    assert order == sorted(order)
    for outer, inner in pairwise(late):
        assert outer.address.kind is inner.address.kind or outer.id in _before(plan, inner)
    if not replaced and not plan.destroy:
        proofs = {m.id for m in made if m.kind in (*PROOFS, "switch", "retire")}
        assert all(proofs <= _before(plan, o) for o in late)


@EXAMPLES
@given(plans())
def test_each_change_is_performed_and_nothing_else_is(plan: Plan) -> None:
    changed = {change.address: change for change in plan.changes}
    written = {o.address for o in plan.operations if o.kind in ("create", "update", "delete", "build", "upload")}
    assert written <= changed.keys()
    assert {address for address, change in changed.items() if address not in written} <= {
        address for address, change in changed.items() if _goes_along(plan, change)
    }


def _goes_along(plan: Plan, change: Change) -> bool:
    """Whether a change is made with another operation than one of its own."""
    steps = {o.kind for o in plan.operations}
    if change.action == "delete":
        return change.address.kind in (Kind.PACKAGE, Kind.ENV_VAR)  # with their version
    if {field.path for field in change.fields} <= {"name", "version", "deployment", "stack"} and "rename" in steps:
        return True
    leads_on = change.address.kind is Kind.SERVICE and "switch" in steps
    falls_asleep = change.address.kind is Kind.VERSION and "retire" in steps
    return change.action == "update" and (leads_on or falls_asleep)


@EXAMPLES
@given(desired_states(), st.booleans())
def test_what_was_applied_differs_in_nothing(what: Desired, sealed: bool) -> None:
    plan = planned(what, applied(what, sealed=sealed))
    assert plan.changes == ()
    assert [o.kind for o in plan.operations] == ([] if sealed else ["seal"])


@EXAMPLES
@given(plans())
def test_a_saved_plan_comes_back_as_it_was(plan: Plan) -> None:
    back = decode(json.loads(json.dumps(encode(plan))))
    assert (back.changes, back.operations) == (plan.changes, plan.operations)
    assert structure(back) == structure(plan)


def test_a_saved_plan_holds_no_secret_and_knows_what_was_masked() -> None:
    what = desired(stack(secrets={"S": "the-secret"}, env={"E": "(secret)"}))
    text = json.dumps(encode(planned(what, NOTHING)))
    assert "the-secret" not in text
    values = [f.after for change in decode(json.loads(text)).changes for f in change.fields if f.path == "value"]
    assert values == ["(secret)", Masked.SECRET]


@EXAMPLES
@given(desired_states("alpha"), desired_states("beta"), st.booleans())
def test_plans_of_one_project_together_have_no_circle(one: Desired, two: Desired, destroy: bool) -> None:
    ids = count(1)
    retired = [tag_address("whisperctl", one.build.tag if one.build else ""), environment_address("whisperctl")]
    made = [
        planned(one, applied(one), destroy=True, retired=retired, ids=ids),
        planned(two, applied(two) if destroy else NOTHING, destroy=destroy, ids=ids),
    ]
    operations = [o for plan in after_other_stacks([plan.operations for plan in made]) for o in plan]
    done: set[int] = set()
    while ready := [o for o in operations if o.id not in done and done.issuperset(o.needs)]:
        done |= {o.id for o in ready}
    assert len(done) == len(operations)
