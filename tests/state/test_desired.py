"""What live labels alone can tell of what is desired: secrets that are as they were, a pause, what left the file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.states import applied, desired, line, live, relabelled, stack
from whisperctl.errors import Mark
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired, desired_state, digest_of, resolve, spec_path, tracked_names
from whisperctl.state.labels import Labels, new
from whisperctl.state.resources import (
    Kind,
    Masked,
    deployment_address,
    env_var_address,
    environment_address,
    group_address,
    package_address,
    service_address,
    tag_address,
    version_address,
)

VERSION, DEPLOYMENT, DOOR = version_address("speech", "v1"), deployment_address("speech"), service_address("door")
SECRET = env_var_address("speech", "v1", "S")


def resolved(what: Desired, **versions: dict[str, Any]) -> Desired:
    """Beside versions of these names with these labels."""
    return resolve(what, {version_address("speech", name): Labels(new(**made)) for name, made in versions.items()})


@pytest.mark.parametrize(
    ("written", "value", "shown"),
    [
        ("first-secret", "first-secret", Masked.SECRET),
        ("first-secret", "second-secret", Masked.SECRET_CHANGED),
        (None, "first-secret", Masked.SECRET_CHANGED),  # nobody knows what was set
    ],
    ids=["as it was", "another", "no fingerprint"],
)
def test_a_secret_is_judged_by_its_fingerprint(written: str | None, value: str, shown: Masked) -> None:
    state = applied(desired(stack(secrets={"S": written or "first-secret"})))
    if written is None:
        state = live({**state.owned, VERSION: relabelled(state.owned[VERSION], secrets={})})
    what = resolve(desired(stack(secrets={"S": value})), state.labels)
    assert what.state[SECRET].fields == {"value": shown, "secret": True}
    assert value not in str(what.state)


def test_a_secret_that_is_new_or_that_somebody_else_sets_is_not_said_to_have_changed() -> None:
    made = stack(secrets={"S": "first-secret"})
    assert resolve(desired(made), {}).state[SECRET].fields["value"] is Masked.SECRET
    ignored = resolve(desired(replace(made, ignore_changes=("env.S",))), {SECRET: Labels({}), VERSION: Labels({})})
    assert ignored.state[SECRET].fields == {}


@pytest.mark.parametrize(
    ("versions", "paused"),
    [
        ({}, None),
        ({"v1": {}}, None),
        ({"v1": {"paused_minimum": 3}}, 3),
        ({"v0": {"paused_minimum": 2}}, 2),  # whose place a new one takes
        ({"v1": {}, "v0": {"paused_minimum": 2}}, None),
        ({"v0": {"paused_minimum": 2}, "v00": {}}, None),  # one that is awake outweighs the others
    ],
)
def test_a_pause_holds_the_minimum_at_nothing(versions: dict[str, Any], paused: int | None) -> None:
    what = resolved(desired(stack()), **versions)
    assert what.paused == paused
    assert what.state[VERSION].fields["minimum_instances"] == (1 if paused is None else 0)


def test_of_a_line_the_version_that_serves_is_paused() -> None:
    what = resolved(desired(line("v1-00000002")), **{"v1-00000001": {"paused_minimum": 2}, "v1-0000000a": {}})
    assert what.paused == 2


def test_what_left_the_file_goes_back_to_the_default_and_a_label_goes() -> None:
    labels = {
        DOOR: Labels(new(tracked=["rate_limit", "labels.team", "labels.kept"])),
        VERSION: Labels(new(tracked=["instance_processes", "unknown-field"])),
    }
    made = stack()
    service = replace(made.services[0], labels={"kept": "1"})
    what = resolve(desired(replace(made, services=(service,))), labels)
    assert what.state[DOOR].fields["rate_limit"] is None
    assert what.state[DOOR].fields["labels"] == {"team": None, "kept": "1"}
    assert what.state[VERSION].fields["instance_processes"] == 1
    assert "unknown-field" not in what.state[VERSION].fields


def test_what_is_set_is_what_the_label_remembers() -> None:
    made = desired(stack(instance_processes=2)).state
    assert tracked_names(made[VERSION]) == ["health_check", "instance_processes"]
    labels = replace(made[DOOR], fields={"rate_limit": 1, "port": 8080, "labels": {"team": "a", "gone": None}})
    assert tracked_names(labels) == ["labels.team", "rate_limit"]


def test_what_somebody_else_sets_is_wanted_until_the_object_exists() -> None:
    what = desired(replace(stack(), ignore_changes=("version.maximum_instances", "service.port")))
    assert resolve(what, {}).state[VERSION].fields["maximum_instances"] == 2
    there = resolve(what, {VERSION: Labels({}), DOOR: Labels({})})
    assert "maximum_instances" not in there.state[VERSION].fields
    assert "port" not in there.state[DOOR].fields
    assert there.state[VERSION].fields["minimum_instances"] == 1


def test_a_digest_is_of_every_field_and_of_no_secret_s_value() -> None:
    first, second, other = (desired(stack(secrets={name: value})) for name, value in
                            (("S", "first-secret"), ("S", "second-secret"), ("T", "first-secret")))  # fmt: skip
    assert first.digest == second.digest == digest_of(first.declared)
    assert first.digest != other.digest
    assert len({desired(stack(), code=code, tag=tag).digest for code, tag in (("1", "1"), ("1", "2"), ("2", "1"))}) == 3
    package = first.package
    assert (
        desired_state(stack(env={"A": "1"}), package, None).digest
        != desired_state(stack(env={"A": "2"}), package, None).digest
    )


def written(*paths: tuple[str | int, ...], services: tuple[str, ...] = ("door",)) -> Stack:
    """A stack whose file has these places."""
    return replace(stack(services=services), marks={path: Mark(file="stack.yaml", line=7, column=1) for path in paths})


@pytest.mark.parametrize(
    ("address", "field", "path"),
    [
        (group_address("g"), "instance_types", ("instance_type_group", "instance_types")),
        (environment_address("whisperctl"), "description", ("vllm", "version")),
        (tag_address("whisperctl", "t"), "", ("vllm", "version")),
        (DEPLOYMENT, "labels.a.b", ("deployment", "labels", "a.b")),
        (VERSION, "instance_type_group_name", ("instance_type_group", "name")),
        (VERSION, "environment_tag", ("vllm", "version")),
        (VERSION, "health_check.interval", ("version", "health_check", "interval")),
        (SECRET, "value", ("env", "S")),
        (package_address("speech", "v1"), "digest", ("model",)),
        (DOOR, "port", ("service", "port")),
    ],
)
def test_where_a_value_stands_in_the_file(address: Any, field: str, path: tuple[str | int, ...]) -> None:
    assert spec_path(written(), address, field) == path


def test_a_list_of_services_and_a_written_environment_have_their_own_places() -> None:
    made = written(("service", 1), ("environment",), services=("door", "side"))
    assert spec_path(made, service_address("side"), "port") == ("service", 1, "port")
    assert spec_path(made, service_address("left"), "port") == ("service", "port")
    assert spec_path(made, environment_address("whisperctl")) == ("environment",)
    assert {address.kind for address in desired(stack(group=["t"], env={"A": "1"})).state} == set(Kind)
