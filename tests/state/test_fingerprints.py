"""What counts as a change of an object, and of all that a stack owns: whatever somebody did, nothing that we note."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.states import applied, desired, relabelled, stack
from whisperctl.state.fingerprints import combined, fingerprint, live_digest
from whisperctl.state.records import LeaseHolder
from whisperctl.state.resources import (
    Address,
    Kind,
    deployment_address,
    env_var_address,
    environment_address,
    group_address,
    package_address,
    service_address,
    tag_address,
    version_address,
)

WANTED = desired(stack(group=["t4-small"], env={"A": "1"}, secrets={"S": "hunter2-hunter2"}))
OWNED = dict(applied(WANTED).owned)
DEPLOYMENT, VERSION, DOOR = deployment_address("speech"), version_address("speech", "v1"), service_address("door")
GROUP, ENVIRONMENT = group_address("speech-group"), environment_address("whisperctl")
TAG, PACKAGE = tag_address("whisperctl", "vllm-1"), package_address("speech", "v1")
OPEN, SECRET = (env_var_address("speech", "v1", name) for name in "AS")
BY_ITSELF = ("last_updated", "time_updated", "status", "last_file_upload", "latest_revision", "default_version", "size")
LEASE = LeaseHolder("", "c0ffee", 1, "host", "b00t", 4711, "4026531836")

SOMEBODY_S = [
    (GROUP, {"instance_types": [{"name": "t4-small", "priority": 7}]}),
    (DEPLOYMENT, {"description": "by hand"}),
    (VERSION, {"maximum_instances": 9}),
    (OPEN, {"value": "2"}),
    (PACKAGE, {"digest": "by-hand"}),
    (DOOR, {"port": 9090}),
]
"""A change of each kind that a stack has for itself."""


def marked(address: Address, **fields: Any) -> str:
    """The fingerprint of an object with these fields."""
    return fingerprint(address, {**OWNED[address], **fields}, WANTED.state)


def digest(address: Address | None = None, **fields: Any) -> str:
    """The digest of everything that the stack owns, one object of it with these fields."""
    objects = {**OWNED, **({address: {**OWNED[address], **fields}} if address else {})}
    return live_digest(objects, WANTED.state)


def labels(address: Address, **changes: Any) -> Any:
    return relabelled(OWNED[address], **changes)["labels"]


def test_there_is_a_change_of_every_kind_to_look_at() -> None:
    assert {address.kind for address, _ in SOMEBODY_S} == set(Kind) - {Kind.ENVIRONMENT, Kind.ENVIRONMENT_TAG}
    assert {address.kind for address in OWNED} == set(Kind)


@pytest.mark.parametrize(("address", "fields"), SOMEBODY_S, ids=lambda value: str(value) if value else "")
def test_what_somebody_changes_shows_in_both(address: Address, fields: dict[str, Any]) -> None:
    assert marked(address, **fields) != marked(address)
    assert digest(address, **fields) != digest()


@pytest.mark.parametrize("address", OWNED, ids=str)
def test_what_changes_by_itself_shows_in_neither(address: Address) -> None:
    by_itself = dict.fromkeys(BY_ITSELF, "2026-11-29T00:00:00Z")
    assert marked(address, **by_itself) == marked(address)
    assert digest(address, **by_itself) == digest()


def test_a_lease_shows_in_neither() -> None:
    assert marked(DEPLOYMENT, labels=labels(DEPLOYMENT, lease=LEASE)) == marked(DEPLOYMENT)
    assert digest(DEPLOYMENT, labels=labels(DEPLOYMENT, lease=LEASE)) == digest()


@pytest.mark.parametrize("change", [{"digest": "another"}, {"tags": ["vllm-9"]}, {"protect": True}, {"tool": "9.9"}])
def test_our_other_labels_make_a_plan_stale_and_are_no_drift(change: dict[str, Any]) -> None:
    assert marked(DEPLOYMENT, labels=labels(DEPLOYMENT, **change)) != marked(DEPLOYMENT)
    assert digest(DEPLOYMENT, labels=labels(DEPLOYMENT, **change)) == digest()


@pytest.mark.parametrize("address", [DEPLOYMENT, VERSION, DOOR], ids=str)
def test_a_label_of_somebody_else_shows_in_both(address: Address) -> None:
    theirs = {**OWNED[address]["labels"], "team": "speech"}
    assert marked(address, labels=theirs) != marked(address)
    assert digest(address, labels=theirs) != digest()


def test_what_stacks_share_is_no_stack_s_drift_and_only_what_is_compared_makes_a_plan_stale() -> None:
    for address in (ENVIRONMENT, TAG):
        assert digest(address, description="by hand", base_environment_name="another") == digest()
        without = {a: raw for a, raw in OWNED.items() if a != address}
        assert live_digest(without, WANTED.state) == digest()
    assert marked(ENVIRONMENT, labels=labels(ENVIRONMENT, digest="another")) == marked(ENVIRONMENT)
    for change in ({"description": "x"}, {"id": "n2"}, {"labels": labels(ENVIRONMENT, owner="beta")}):
        assert marked(ENVIRONMENT, **change) != marked(ENVIRONMENT)
    assert marked(TAG, base_environment_name="another") != marked(TAG)


def test_a_secret_has_no_value_to_look_at_and_its_own_fingerprint_makes_a_plan_stale() -> None:
    assert OWNED[SECRET]["value"] is None
    assert marked(SECRET, secret=False, value="x") != marked(SECRET)
    changed = labels(VERSION, secrets={"S": "another.fingerprint"})
    assert marked(VERSION, labels=changed) != marked(VERSION)
    assert digest(VERSION, labels=changed) == digest()


def test_a_pause_is_no_drift_and_what_somebody_scales_meanwhile_neither() -> None:
    asleep = {"minimum_instances": 0, "labels": labels(VERSION, paused_minimum=1)}
    assert digest(VERSION, **asleep) == digest()
    assert digest(VERSION, minimum_instances=0) != digest()
    assert digest(VERSION, **{**asleep, "labels": labels(VERSION, paused_minimum=3)}) != digest()
    assert marked(VERSION, **asleep) != marked(VERSION)


@pytest.mark.parametrize(
    ("path", "address", "fields"),
    [
        ("version.maximum_instances", VERSION, {"maximum_instances": 9}),
        ("version.health_check.interval", VERSION, {"health_check": {**OWNED[VERSION]["health_check"], "interval": 9}}),
        ("service.port", DOOR, {"port": 9090}),
        ("env.A", OPEN, {"value": "2"}),
    ],
)
def test_what_the_file_ignores_shows_in_neither(path: str, address: Address, fields: dict[str, Any]) -> None:
    ignoring = desired(replace(WANTED.stack, ignore_changes=(path,))).state
    after = {**OWNED, address: {**OWNED[address], **fields}}
    assert fingerprint(address, after[address], ignoring) == fingerprint(address, OWNED[address], ignoring)
    assert live_digest(after, ignoring) == live_digest(OWNED, ignoring)
    again = {**OWNED[address], **fields, "id": "made-again"}
    assert fingerprint(address, again, ignoring) != fingerprint(address, OWNED[address], ignoring)


def test_an_object_has_one_fingerprint_whether_it_was_read_from_a_list_or_by_itself() -> None:
    listed = {name: value for name, value in OWNED[DOOR].items() if name != "endpoint"}
    assert fingerprint(DOOR, {**listed, "endpoint": "https://…"}, {}) == fingerprint(DOOR, listed, {})
    asleep = {**OWNED[VERSION], "creation_date": "2026-11-29T00:00:00Z", "command": ["x"]}
    assert fingerprint(VERSION, asleep, {}) == fingerprint(VERSION, OWNED[VERSION], {})
    assert marked(VERSION, command=["x"]) != marked(VERSION)  # a plan of that version compares it


def test_what_is_not_there_is_absent_and_many_make_one() -> None:
    assert fingerprint(DOOR, None, WANTED.state) == "absent"
    pairs = [(DOOR, "a"), (VERSION, "b")]
    assert combined(pairs) == combined(reversed(pairs))
    assert combined(pairs) != combined([(DOOR, "b"), (VERSION, "a")])
    assert len(combined(pairs)) == len(digest()) == 2 * len(marked(DOOR)) == 32


def test_another_id_is_another_object() -> None:
    for address in (DEPLOYMENT, VERSION, OPEN, PACKAGE, GROUP):
        assert marked(address, id="made-again") != marked(address)
