"""A plan in a file: what makes it stale, and what is no plan of ours."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.plan.states import NOTHING, applied, changed, desired, planned, stack
from whisperctl.errors import StalePlan, WhisperctlError
from whisperctl.plan import saved
from whisperctl.plan.plan import Plan
from whisperctl.plan.selection import EVERYTHING, Selection
from whisperctl.state.live import Live
from whisperctl.state.resources import version_address

VERSION = version_address("speech", "v1")


def plan(state: Live = NOTHING, secret: str = "first-secret", **more: Any) -> Plan:
    return planned(desired(stack(secrets={"S": secret}, **more)), state)


@cache
def _text() -> str:
    """Of a saved plan; the fingerprint of its secret is slow by intention, and made once."""
    with TemporaryDirectory() as folder:
        name = f"{folder}/a.plan"
        saved.save(name, [plan()], ["stack.yaml"], False, EVERYTHING)
        assert [(each.name, each.stat().st_mode & 0o777) for each in Path(folder).iterdir()] == [("a.plan", 0o600)]
        return Path(name).read_text()


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A saved plan."""
    name = tmp_path / "a.plan"
    name.write_text(_text())
    return str(name)


def test_a_saved_plan_is_the_one_that_is_made_again(file: str) -> None:
    saved.check(file, saved.load(file), [plan()])


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (plan(maximum_instances=7), "the stack files or the model changed"),
        (plan(secret="second-secret"), "the secret env_var/speech/v1/S has another value now"),
        (plan(applied(desired(stack()))), "the live objects changed"),
    ],
    ids=["file", "secret", "live"],
)
def test_it_is_stale_once_file_secret_or_live_objects_changed(file: str, now: Plan, reason: str) -> None:
    with pytest.raises(StalePlan, match=f"is stale: {reason}") as caught:
        saved.check(file, saved.load(file), [now])
    assert f"Plan again: whisperctl plan -o {file} stack.yaml" in str(caught.value)
    assert "secret-" not in str(caught.value)


def test_a_field_that_no_change_names_makes_it_stale_too(tmp_path: Path) -> None:
    what, file = desired(stack(maximum_instances=7)), str(tmp_path / "a.plan")
    before = applied(desired(stack()))
    saved.save(file, [planned(what, before)], ["stack.yaml"], True, Selection(only=("version/*",)))
    there = saved.load(file)
    assert (there.allow_delete, there.selection, there.destroy) == (True, Selection(only=("version/*",)), False)
    after = changed(before, VERSION, maximum_instances=1)
    with pytest.raises(StalePlan, match="the live objects changed"):
        saved.check(file, there, [planned(what, after)])


def content(file: str, **more: object) -> str:
    return json.dumps({**json.loads(Path(file).read_text()), **more})


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"kind": "something"}, "is not a saved plan"),
        ({"format_version": "1"}, "was made by another version of whisperctl.\n  Plan again: whisperctl plan -o"),
        ({"paths": [7]}, "is damaged"),
        ({"paths": ["a\0b"]}, "is damaged"),
        ({"secrets": ["S"]}, "is damaged"),
        ({"plans": [{}]}, "is damaged"),
        ({"wanted": None}, "is damaged"),
    ],
)
def test_what_is_no_plan_of_this_version_is_refused(file: str, more: dict[str, object], refusal: str) -> None:
    Path(file).write_text(content(file, **more))
    with pytest.raises(WhisperctlError) as caught:
        saved.load(file)
    assert f"{file} {refusal}" in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "stack: alpha", "\0", "[" * 10_000])
def test_any_other_file_is_refused_and_never_replaced(file: str, text: str) -> None:
    Path(file).write_text(text)
    with pytest.raises(WhisperctlError, match="is not a saved plan"):
        saved.load(file)
    if text:  # an empty one is mktemp's
        with pytest.raises(WhisperctlError, match="exists and is not a saved plan: it is left as it is"):
            saved.check_target(file)


def test_a_plan_is_saved_over_an_older_one_and_into_no_directory(file: str, tmp_path: Path) -> None:
    saved.check_target(file)
    saved.check_target(str(tmp_path / "new.plan"))
    with pytest.raises(WhisperctlError, match="it is a directory"):
        saved.check_target(str(tmp_path))
    missing = str(tmp_path / "no" / "new.plan")
    with pytest.raises(WhisperctlError, match=r"cannot be saved to .*: No such file or directory"):
        saved.save(missing, [plan()], ["stack.yaml"], False, EVERYTHING)


def test_a_plan_file_and_stack_files_that_are_not_here_are_named(file: str, tmp_path: Path) -> None:
    with pytest.raises(WhisperctlError, match=r"The plan file .*none\.plan cannot be read"):
        saved.load(str(tmp_path / "none.plan"))
    with pytest.raises(WhisperctlError, match=r"there is no .*stack\.yaml"):
        saved.refuse_missing(file, saved.load(file))
