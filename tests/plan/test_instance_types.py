"""GPUs of a group, as UbiOps lists its instance types, against the stack's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.states import NOTHING, applied, desired, planned, stack
from whisperctl.plan.instance_types import group_refusals, group_warning
from whisperctl.spec import InstanceTypeChoice, Stack


def made_for(gpu: Any, count: int = 1) -> Stack:
    made = stack()
    return replace(made, instance_type_group=replace(made.instance_type_group, gpu=gpu, gpu_count=count))


def a_type(name: str, accelerator: int | None, display: str | None = None) -> dict[str, Any]:
    return {"name": name, "display_name": display, "accelerator": accelerator}


T4 = a_type("12288mb-t4", 1, "12288 MB + NVIDIA Tesla T4")
TWO_A100 = a_type("big", 2, "2x NVIDIA A100")
PLAIN = a_type("512mb", 0)


@pytest.mark.parametrize(
    ("gpu", "count", "types", "refused"),
    [
        ("T4", 1, [T4], ""),
        ("T4", 4, [T4], "T4 has no instance type with 4 T4: 12288mb-t4 (1 T4)."),
        ("A100", 1, [T4], "T4 has no instance type with 1 A100: 12288mb-t4 (1 T4)."),
        ("A100", 2, [T4, TWO_A100], ""),
        ("CPU", 1, [PLAIN], ""),
        ("CPU", 1, [T4], "T4 has no instance type with no GPU: 12288mb-t4 (1 T4)."),
        ("L4", 1, [a_type("large", 1)], ""),  # which GPU, nothing tells
        ("L4", 1, [a_type("large", 2)], "T4 has no instance type with 1 L4: large (2 GPUs)."),
        ("L4", 2, [a_type("large", None)], ""),
        ("L4", 1, [], ""),
    ],
)
def test_a_group_without_the_gpus_is_refused(gpu: str, count: int, types: list[Any], refused: str) -> None:
    texts = [remark.text for remark in group_refusals(made_for(gpu, count), replace(NOTHING, group_types=types))]
    assert [text.partition("\n")[0] for text in texts] == ([refused] if refused else [])


def test_it_names_the_groups_that_would_do() -> None:
    groups = [{"name": "two", "instance_types": [TWO_A100]}, {"name": "T4", "instance_types": [T4]}]
    [remark] = group_refusals(made_for("A100", 2), replace(NOTHING, group_types=[T4], groups=groups))
    assert remark.text.endswith("\n  Name one of 'two', or write what it has.")


def test_a_type_that_the_project_lacks_is_refused() -> None:
    state = replace(NOTHING, group_types=[T4], missing_types=["nope"])
    [remark] = group_refusals(made_for("T4"), state)
    assert remark.text.startswith("this project has no instance type 'nope'.")


def test_types_beside_the_right_one_are_a_warning_that_can_be_acknowledged() -> None:
    made = made_for("T4")
    [remark] = group_warning(made, [T4, PLAIN])
    assert remark.text == (
        "an instance may start on 512mb (no GPU), too: flags and checks are those of 1 T4. [group-types]"
    )
    assert not list(group_warning(replace(made, acknowledge=("group-types",)), [T4, PLAIN]))


def test_types_that_the_file_itself_lists_are_a_warning() -> None:
    made = made_for("T4")
    types = (InstanceTypeChoice(name="512mb", priority=0, schedule_timeout=None),)
    made = replace(made, instance_type_group=replace(made.instance_type_group, instance_types=types))
    assert not list(group_refusals(made, replace(NOTHING, group_types=[PLAIN])))
    [remark] = group_warning(made, [PLAIN])
    assert list(group_warning(made_for("T4"), [PLAIN])) == [replace(remark, source=made.source("instance_type_group"))]
    assert remark.text == "T4 has no instance type with 1 T4: 512mb (no GPU). [group-types]"


def test_the_plan_is_refused_before_anything_is_built_and_a_destroy_is_not() -> None:
    what = desired(made_for("T4", 4))
    state = replace(applied(what), group_types=[T4])
    [remark] = planned(what, state).refused
    assert remark.source == "stack.yaml:1"
    assert not planned(what, state, destroy=True).refused
