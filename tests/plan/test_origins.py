"""Where a stack was applied from: a copied file is refused, one that moved inside its repository is written down."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plan.states import applied, desired, live, planned, relabelled, stack, steps
from whisperctl.loading.origin import Origin
from whisperctl.plan.plan import Plan
from whisperctl.state.resources import deployment_address

BEFORE = desired(stack())
DEPLOYMENT = deployment_address("speech")
REPOSITORY = "github.com/acme/speech"
LONG = f"{REPOSITORY}//{'stacks/' * 50}stack.yaml"


def origin(text: str, root: Path | None = None) -> Origin:
    repository, separator, path = text.rpartition("//")
    return Origin(repository=repository if separator else None, path=path, root=root)


def plan(recorded: str | None, current: Origin | None, *, destroy: bool = False, allow_delete: bool = False) -> Plan:
    """The plan of a stack that was applied from `recorded`, made from the file `current`."""
    state = applied(BEFORE)
    state = live({**state.owned, DEPLOYMENT: relabelled(state.owned[DEPLOYMENT], origin=recorded)})
    return planned(BEFORE, state, destroy=destroy, origin=current, allow_delete=allow_delete)


@pytest.mark.parametrize(
    ("recorded", "current"),
    [
        (f"{REPOSITORY}//stack.yaml", "github.com/acme/other//stack.yaml"),
        ("one.yaml", "two.yaml"),
        (LONG, f"{REPOSITORY}//stack.yaml"),  # cut, so that nothing more is known of it
    ],
    ids=["another repository", "no repositories", "cut"],
)
def test_a_stack_of_another_file_is_refused_unless_it_may_be_taken_over(recorded: str, current: str) -> None:
    refused = plan(recorded, origin(current))
    [remark] = refused.refused
    assert remark.source == "stack.yaml:1"
    assert remark.text.startswith("the stack 'alpha' was applied from ")
    assert remark.text.partition("\n")[0].endswith(f"and this is {current}.")
    assert refused.warnings == ()
    assert plan(recorded, origin(current), destroy=True).refused != ()
    taken = plan(recorded, origin(current), allow_delete=True)
    assert (taken.refused, taken.origin) == ((), current)
    assert [warning.text.partition(" from ")[0] for warning in taken.warnings] == ["the stack's origin moves"]
    assert steps(taken) == ["1 seal deployment/speech"]


@pytest.mark.parametrize(
    ("recorded", "current", "after"),
    [
        (None, f"{REPOSITORY}//stack.yaml", f"{REPOSITORY}//stack.yaml"),
        (f"{REPOSITORY}//stack.yaml", f"{REPOSITORY}//stack.yaml", f"{REPOSITORY}//stack.yaml"),
        (LONG, LONG, LONG),
        (f"{REPOSITORY}//stack.yaml", "stack.yaml", f"{REPOSITORY}//stack.yaml"),  # a repository is not forgotten
        (f"{REPOSITORY}//stack.yaml", None, f"{REPOSITORY}//stack.yaml"),  # standard input
        (None, None, None),
    ],
)
def test_a_stack_of_this_file_goes_on(recorded: str | None, current: str | None, after: str | None) -> None:
    same = plan(recorded, origin(current) if current else None)
    assert (same.refused, same.warnings, same.origin) == ((), (), after)
    assert steps(same) == ([] if recorded == after else ["1 seal deployment/speech"])


@pytest.mark.parametrize(
    ("recorded", "current"),
    [(f"{REPOSITORY}//old.yaml", f"{REPOSITORY}//new.yaml"), ("old.yaml", f"{REPOSITORY}//new.yaml")],
    ids=["renamed", "first in a repository"],
)
def test_a_file_that_was_moved_is_said_and_written_down(recorded: str, current: str, tmp_path: Path) -> None:
    moved = plan(recorded, origin(current, tmp_path))
    assert [warning.text for warning in moved.warnings] == [f"the stack's origin moves from {recorded} to {current}"]
    assert (moved.refused, steps(moved)) == ((), ["1 seal deployment/speech"])
    assert plan(recorded, origin(current, tmp_path), destroy=True).warnings == ()


def test_a_file_whose_earlier_place_is_still_there_is_a_copy(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").touch()
    [remark] = plan(f"{REPOSITORY}//old.yaml", origin(f"{REPOSITORY}//new.yaml", tmp_path)).refused
    assert remark.text.endswith("--allow-delete takes the stack over, and deletes what is not in this file.")
