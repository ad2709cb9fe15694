"""The property: whatever was applied before, applying a stack ends in one state, and then nothing differs any more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tests.harness.project import CPU, T4, Project
from tests.harness.sweeps import EXHAUSTIVE

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: each example takes a second, and a pair of stacks is read easily as it is."""
TYPES = ("12288mb-t4", "16384mb")
text = st.sampled_from(["", "x", 'quotes " and {braces} é 🎙️', "two\nlines"])
labels = st.dictionaries(st.sampled_from(["team", "cost", "a.b"]), st.sampled_from(["1", "speech"]), max_size=2)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of the fields, or none."""
    return st.fixed_dictionaries({}, optional=fields)


variables = st.dictionaries(
    st.sampled_from(["ALPHA", "BETA", "GAMMA"]),
    st.one_of(
        st.sampled_from(["", "1", "two words"]),
        st.fixed_dictionaries({"value": st.sampled_from(["p", "q"]), "secret": st.booleans()}),
    ),
    max_size=3,
)
versions = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["v1", "v1", "v2"]),
        "minimum_instances": st.sampled_from([0, 1]),
        "maximum_instances": st.sampled_from([1, 2]),
        "labels": labels,
    },
    optional={
        "description": text,
        "maximum_idle_time": st.sampled_from([300, 900]),
        "scaling_strategy": st.sampled_from(["default", "moderate"]),
        "maximum_queue_size": st.sampled_from([100000, 10]),
        "request_retention_mode": st.sampled_from(["none", "full"]),
        "restart_request_interruption": st.booleans(),
        "health_check": optional(interval=st.sampled_from([10, 30]), failure_threshold=st.just(5)),
    },
)
one_service = optional(
    labels=labels,
    description=text,
    rate_limit=st.sampled_from([600, 1000]),
    rate_limit_user_default=st.just(300),
    concurrency_limit=st.just(8),
    authentication_header_pass_through=st.booleans(),
    request_logging_excluded_paths=st.sampled_from(["", "^/health"]),
    request_logging_excluded_extensions=st.sampled_from([[], ["wav", "mp3"]]),
    cache_aware_llm_routing=st.booleans(),
)
services = st.one_of(
    st.none(),
    one_service.map(lambda fields: {"name": "front", "port": 8080} | fields),
    st.lists(one_service, min_size=1, max_size=2).map(
        lambda several: [{"name": f"front-{n}", "port": 8080} | fields for n, fields in enumerate(several)]
    ),
)
choices = st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.tuples(
        *(
            st.one_of(
                st.just(name),
                st.fixed_dictionaries({"name": st.just(name)}, optional={"priority": st.sampled_from([1, 5])}),
            )
            for name in names
        )
    ).map(list)
)
groups = st.one_of(
    st.sampled_from([{"name": T4, "gpu": "T4"}, {"name": CPU, "gpu": "T4"}]),
    st.builds(
        lambda name, types: {"name": name, "gpu": "T4", "instance_types": types},
        st.sampled_from(["mine", "other"]),
        choices,
    ),
)
environments = optional(
    mode=st.sampled_from(["managed", "managed", "package"]),
    requirements=st.sampled_from([[], ["six"]]),
    apt=st.sampled_from([["ffmpeg"], ["ffmpeg", "git"]]),
)
deployments = st.fixed_dictionaries(
    {"name": st.sampled_from(["alpha", "alpha", "renamed"])}, optional={"description": text, "labels": labels}
)
stacks = st.fixed_dictionaries(
    {
        "deployment": deployments,
        "version": versions,
        "service": services,
        "instance_type_group": groups,
        "environment": environments,
        "env": variables,
        "vllm": st.fixed_dictionaries({"max_model_len": st.sampled_from([448, 300])}),
    }
)


def fresh(project: Project) -> None:
    project.calm()
    project.control("POST", "reset")


def settled(project: Project) -> dict[str, Any]:
    """The books but for what is kept for a rollback."""
    return {name: value for name, value in project.books().items() if not name.startswith(("tag/", "environment"))}


@pytest.mark.exhaustive
@settings(
    max_examples=300 if EXHAUSTIVE else 6,
    derandomize=not EXHAUSTIVE,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=PHASES,
)
@given(first=stacks, second=stacks)
@example(
    first={"service": {"description": "d", "rate_limit": 300}, "version": {"description": "x", "labels": {"a": "b"}}},
    second={},
)
@example(first={"env": {"A": {"value": "p", "secret": True}}}, second={"env": {"A": "p"}})
def test_the_way_to_a_stack_does_not_matter(project: Project, first: dict[str, Any], second: dict[str, Any]) -> None:
    fresh(project)
    project.apply(**first)
    project.apply(**second)
    assert project.plan_one(**second).is_empty
    by_way_of_first = settled(project)
    fresh(project)
    project.apply(**second)
    assert by_way_of_first == settled(project)


@pytest.mark.exhaustive
@settings(
    max_examples=100 if EXHAUSTIVE else 4,
    derandomize=not EXHAUSTIVE,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=PHASES,
)
@given(stack=stacks)
def test_nothing_is_left_of_a_destroyed_stack(project: Project, stack: dict[str, Any]) -> None:
    fresh(project)
    before = project.books()
    project.apply(**stack)
    project.destroy(**stack)
    assert project.books() == before
