"""Which operations of an apply begin when, and which are never tried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperctl.apply.outcome import OperationResult, ResultStatus
from whisperctl.apply.schedule import Schedule
from whisperctl.plan.operations import Operation
from whisperctl.state.resources import service_address


def operation(number: int, *needs: int) -> Operation:
    return Operation(id=number, kind="create", address=service_address(f"s{number}"), needs=needs)


def schedule(**plans: list[Operation]) -> Schedule[str]:
    made: Schedule[str] = Schedule()
    for key, operations in plans.items():
        made.put(key, operations)
        made.release(key)
    return made


def begun(made: Schedule[str]) -> list[int]:
    return [o.id for _, o in made.begin()]


def end(made: Schedule[str], number: int, status: ResultStatus = "done") -> None:
    made.end(OperationResult(operation=operation(number), status=status))


def status(made: Schedule[str], number: int) -> str:
    return made.results[number].status


def test_an_operation_begins_once_and_after_what_it_needs() -> None:
    made = schedule(alpha=[operation(1), operation(2, 1), operation(3)])
    assert begun(made) == [1, 3]
    assert begun(made) == []
    end(made, 1)
    assert begun(made) == [2]
    end(made, 2)
    assert made.is_busy("alpha")
    end(made, 3)
    assert not made.is_busy("alpha")
    made.check_over()


@pytest.mark.parametrize("ending", ["failed", "interrupted", "not tried"])
def test_what_needs_a_failure_is_not_tried_and_nothing_else_is_stopped(ending: ResultStatus) -> None:
    made = schedule(alpha=[operation(1), operation(2, 1), operation(3, 2), operation(4)], beta=[operation(5, 3)])
    assert begun(made) == [1, 4]
    end(made, 1, ending)
    assert begun(made) == []
    assert [status(made, number) for number in (2, 3, 5)] == ["not tried"] * 3
    end(made, 4)
    made.check_over()


def test_a_need_of_another_stack_is_waited_for_also_before_that_begins() -> None:
    made = schedule(alpha=[operation(1, 2)])
    made.put("beta", [operation(2)])
    assert begun(made) == []
    made.release("beta")
    assert begun(made) == [2]
    end(made, 2)
    assert begun(made) == [1]


def test_a_need_that_no_plan_has_any_more_is_none() -> None:
    made = schedule(alpha=[operation(1)], beta=[operation(2, 1)])
    made.withdraw("alpha")
    made.put("alpha", [])
    assert begun(made) == [2]


def test_what_is_planned_again_begins_anew() -> None:
    made = schedule(alpha=[operation(1), operation(2, 1)])
    assert begun(made) == [1]
    made.withdraw("alpha")
    assert begun(made) == []
    made.put("alpha", [operation(3), operation(4, 3)])
    made.release("alpha")
    assert begun(made) == [3]


def test_a_plan_that_is_given_up_takes_along_what_needs_it() -> None:
    made = schedule(beta=[operation(3, 2)])
    made.put("alpha", [operation(1), operation(2, 1)])
    made.give_up("alpha", "not tried")
    assert begun(made) == []
    assert [status(made, number) for number in (1, 2, 3)] == ["not tried"] * 3


def test_operations_that_wait_for_each_other_are_an_error_and_no_endless_loop() -> None:
    made = schedule(alpha=[operation(1, 2), operation(2, 1)])
    assert begun(made) == []
    with pytest.raises(RuntimeError, match=r"1 create service/s1 \(needs \(2,\)\)"):
        made.check_over()


@st.composite
def graphs(draw: st.DrawFn) -> list[Operation]:
    """Operations that need some of those before them."""
    numbers = range(1, draw(st.integers(1, 12)) + 1)
    return [operation(n, *draw(st.sets(st.sampled_from(range(1, n)) if n > 1 else st.nothing()))) for n in numbers]


@given(graphs(), st.data())
def test_whatever_fails_everything_ends_and_nothing_begins_before_its_needs(
    operations: list[Operation], data: st.DataObject
) -> None:
    made = schedule(alpha=operations)
    running: list[Operation] = []
    while True:
        for _, ready in made.begin():
            assert all(status(made, need) == "done" for need in ready.needs)
            running.append(ready)
        if not running:
            break
        ended = running.pop(data.draw(st.integers(0, len(running) - 1)))
        end(made, ended.id, data.draw(st.sampled_from(["done", "done", "done", "failed"])))
    made.check_over()
    for o in operations:
        lost = any(status(made, need) != "done" for need in o.needs)
        assert (status(made, o.id) == "not tried") is lost
