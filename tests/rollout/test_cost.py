"""Credits per hour, and the room that a rollout needs beside what serves."""

from __future__ import annotations

from typing import Any

import pytest

from whisperctl.plan.cost import Price, PricedBounds, cost, dearest, surge

T4 = {"name": "t4", "accelerator": 1, "memory": 12288, "credit_rate": 30}
CPU = {"name": "cpu", "accelerator": 0, "memory": 4096, "credit_rate": 2}


def test_each_instance_costs_the_dearest_type_of_its_group() -> None:
    assert dearest([CPU, T4]) == 30
    assert dearest([{"name": "x", "credit_rate": None}, T4]) is None
    assert dearest([]) is None
    price = cost([PricedBounds(minimum=0, maximum=1, rate=30)], [PricedBounds(minimum=1, maximum=2, rate=30)])
    assert (price.minimum, price.maximum) == (Price(before=0, after=30), Price(before=30, after=60))


def test_an_unknown_rate_makes_the_sum_unknown() -> None:
    price = cost([], [PricedBounds(minimum=1, maximum=2, rate=None)])
    assert (price.minimum, price.maximum) == (Price(before=0, after=None), Price(before=0, after=None))


def instance(name: str | None) -> dict[str, Any]:
    return {"instance_type": name and {"name": name}}


@pytest.mark.parametrize(
    ("needed", "quotas", "running", "expected"),
    [
        (0, [("instances", 0)], [], "none"),
        (1, [], [], "unknown"),
        (1, [("deployments", 5)], [], "unknown"),
        (1, [("instances", None)], [], "unknown"),
        (1, [("instances", 2)], [instance("t4")], "fits"),
        (1, [("instances", 1)], [instance("t4")], "does not fit"),
        (1, [("instances", 1)], [instance(None)], "does not fit"),
        (2, [("gpus", 2)], [instance("t4")], "does not fit"),
        (1, [("gpus", 2)], [instance("t4"), instance("cpu")], "fits"),
        (1, [("memory", 20000)], [instance("t4")], "does not fit"),
        (1, [("t4", 1)], [instance("cpu")], "fits"),
        (1, [("t4", 1)], [instance("t4")], "does not fit"),
    ],
)
def test_only_a_quota_that_can_be_read_proves_anything(
    needed: int, quotas: list[tuple[str, float | None]], running: list[dict[str, Any]], expected: str
) -> None:
    listed = [{"resource": name, "quota": value} for name, value in quotas]
    assert surge(needed, [T4], listed, running, [T4, CPU])[0] == expected


def test_another_type_of_the_group_may_have_room() -> None:
    quotas = [{"resource": "t4", "quota": 1}]
    assert surge(1, [T4, CPU], quotas, [instance("t4")], [T4, CPU])[0] == "unknown"
    quotas.append({"resource": "cpu", "quota": 3})
    assert surge(1, [T4, CPU], quotas, [instance("t4")], [T4, CPU])[0] == "fits"
