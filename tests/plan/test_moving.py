"""What `moved` is refused for, and when its lines may leave the file."""

from __future__ import annotations

from tests.plan.states import applied, desired, live, planned, relabelled, stack
from whisperctl.plan.plan import Plan
from whisperctl.spec import Moved
from whisperctl.state.moves import Moves
from whisperctl.state.resources import deployment_address

DEPLOYMENT = deployment_address("speech")
WANTED = desired(stack(moved=Moved(stack=("before",))))
RENAMED = applied(desired(stack("before")))


def texts(plan: Plan) -> list[str]:
    return [remark.text.partition("\n")[0] for remark in plan.refused]


def test_every_conflict_of_names_is_refused() -> None:
    conflicts = ("service/a and service/b both exist", "version/v0 and version/v1 both exist")
    assert texts(planned(WANTED, RENAMED, moved=Moves(conflicts=conflicts))) == [f"{text}." for text in conflicts]


def test_a_stack_that_another_file_declares_is_not_renamed() -> None:
    declared = {"alpha", "before"}
    assert texts(planned(WANTED, RENAMED, moved=Moves(), declared=declared)) == [
        "the stack 'before' is declared by a file of its own: it was not renamed to 'alpha'"
    ]
    assert texts(planned(WANTED, RENAMED, moved=Moves(), declared={"alpha", "other"})) == []


def test_a_stack_that_is_protected_under_its_old_name_is_not_renamed() -> None:
    guarded = live({**RENAMED.owned, DEPLOYMENT: relabelled(RENAMED.owned[DEPLOYMENT], protect=True)})
    plan = planned(desired(stack(moved=Moved(stack=("before",)), protect=True)), guarded, moved=Moves())
    assert texts(plan) == ["the stack that `moved` names is protected on UbiOps: it is not renamed to 'alpha'."]


def test_the_lines_may_leave_once_everything_has_its_name() -> None:
    plan = planned(WANTED, applied(desired(stack())), moved=Moves())
    [warning] = plan.warnings
    assert warning.text == "nothing has a name that `moved` gives any more: the lines can leave stack.yaml"
    pending = (
        planned(WANTED, RENAMED, moved=Moves()),
        planned(WANTED, applied(desired(stack())), moved=Moves(renames=((DEPLOYMENT, DEPLOYMENT),))),
        planned(WANTED, applied(desired(stack("alpha", deployment="other"))), moved=Moves()),
        planned(WANTED, applied(desired(stack()))),
    )
    assert [plan.warnings for plan in pending] == [(), (), (), ()]
