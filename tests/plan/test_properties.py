"""What holds of every plan, whatever the file says and whatever is on UbiOps."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plan.states import NOTHING, applied, planned, stack, wanted, without
from whisperctl.plan.encoding import decode, encode, structure
from whisperctl.plan.operations import Operation, after_other_stacks
from whisperctl.plan.plan import Plan
from whisperctl.state.desired import Wanted
from whisperctl.state.live import Live
from whisperctl.state.resources import SHARED_KINDS, Address, Kind, Masked, environment_address, tag_address

EXAMPLES = settings(max_examples=60, deadline=None)
NAMES = st.sampled_from(["one", "two", "three"])
STACKS = st.fixed_dictionaries(
    {
        "deployment": NAMES,
        "version": NAMES,
        "group": st.lists(NAMES, unique=True, max_size=2),
        "env": st.dictionaries(st.sampled_from(["A", "B"]), st.sampled_from(["1", "(secret)"])),
        "services": st.lists(NAMES, unique=True, max_size=3),
        "input_type": st.sampled_from(["plain", "structured"]),
        "maximum_instances": st.integers(1, 3),
    }
)
RENDERED = st.fixed_dictionaries({"code": NAMES, "tag": NAMES})
ORDER_OF_DELETION = [Kind.SERVICE, Kind.VERSION, Kind.INSTANCE_TYPE_GROUP, Kind.ENVIRONMENT_TAG, Kind.ENVIRONMENT,
                     Kind.DEPLOYMENT]  # fmt: skip


@st.composite
def wishes(draw: st.DrawFn, name: str = "alpha") -> Wanted:
    fields: dict[str, Any] = draw(STACKS)
    return wanted(stack(name, **fields), **draw(RENDERED))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """From any earlier file, applied in full or in part, to any other one, or to nothing."""
    what, before = draw(wishes()), draw(wishes())
    state = draw(st.sampled_from([NOTHING, applied(before), applied(before, proven=False)]))
    for address in draw(st.sets(st.sampled_from(list(state.owned)), max_size=3)) if state.owned else ():
        state = without(state, address)
    return planned(what, state, destroy=draw(st.booleans()), retired=_retired(state, what))


def _retired(state: Live, what: Wanted) -> list[Address]:
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
    probes = [o for o in plan.operations if o.kind == "probe"]
    seals = [o for o in plan.operations if o.kind == "seal"]
    assert (len(probes) <= 1, len(seals) <= 1) == (True, True)
    for probe in probes:
        made = {o.id for o in plan.operations if o.kind in ("create", "update", "upload", "build", "claim", "record")}
        first = {o.id for o in plan.operations if o.kind == "delete" and o.id < min(made, default=0)}
        assert made - first <= _before(plan, probe)
    for seal in seals:
        assert seal == plan.operations[-1]
        assert plan.destroy is False


@EXAMPLES
@given(plans())
def test_an_upload_follows_what_it_runs_in_and_with(plan: Plan) -> None:
    for upload in (o for o in plan.operations if o.kind == "upload"):
        below = (Kind.VERSION, Kind.ENV_VAR, Kind.ENVIRONMENT_TAG)
        needed = {
            o.id
            for o in plan.operations
            if o.kind not in ("delete", "probe")
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
    late = [o for o in deleted if not replaced or all(m.id < o.id for m in made if m.kind != "seal")]
    order = [ORDER_OF_DELETION.index(o.address.kind) for o in late]
    assert order == sorted(order)
    if not replaced and not plan.destroy:
        assert all(m.id in _before(plan, o) for o in late for m in made if m.kind == "probe")


@EXAMPLES
@given(plans())
def test_nothing_is_deleted_that_is_not_ours(plan: Plan) -> None:
    for operation in plan.operations:
        if operation.kind in ("delete", "update"):
            is_shared = operation.address.kind in SHARED_KINDS  # which of those go was decided by who uses them
            assert operation.address in plan.live.owned or is_shared


@EXAMPLES
@given(plans())
def test_each_change_is_performed_and_nothing_else_is(plan: Plan) -> None:
    changed = {change.address for change in plan.changes}
    written = {o.address for o in plan.operations if o.kind in ("create", "update", "delete", "build", "upload")}
    assert written <= changed
    goes_along = {Kind.PACKAGE, Kind.ENV_VAR}  # with their version
    deleted = {change.address for change in plan.changes if change.action == "delete"}
    assert {
        address for address in changed - written if address.kind not in goes_along or address not in deleted
    } == set()


@EXAMPLES
@given(wishes(), st.booleans())
def test_what_was_applied_differs_in_nothing(what: Wanted, sealed: bool) -> None:
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
    what = wanted(stack(secrets={"S": "the-secret"}, env={"E": "(secret)"}))
    text = json.dumps(encode(planned(what, NOTHING)))
    assert "the-secret" not in text
    values = [f.after for change in decode(json.loads(text)).changes for f in change.fields if f.path == "value"]
    assert values == ["(secret)", Masked.SECRET]


@EXAMPLES
@given(wishes("alpha"), wishes("beta"), st.booleans())
def test_plans_of_one_project_together_have_no_circle(one: Wanted, two: Wanted, destroy: bool) -> None:
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
