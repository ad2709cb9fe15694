"""A package that only our own files would change stays; whatever the stack file says anew does not."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from tests.harness.answers import project
from tests.plan.states import applied, changed, changes, desired, line, live, planned, relabelled, stack, without
from whisperctl.plan.package_changes import settings_digest
from whisperctl.plan.takeover import as_it_serves, with_running_package
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired
from whisperctl.state.line import named
from whisperctl.state.live import Live
from whisperctl.state.records import RecordedRevision, Rendering
from whisperctl.state.resources import package_address, service_address, version_address

OLD = "CONFIG = {'port': 8080}\n# as an earlier version renders it"
NOW = "CONFIG = {'port': 8080}\n# as this one does"
OTHER = "CONFIG = {'port': 9090}\n# as this one does"
LINE = ("v1-00000001", "v1-00000002")


def ran(what: Desired, *, tool: str | None = "0.2") -> Live:
    """What is applied, its package recorded; by a version of this tool that left a label unless `tool` is None."""
    state, digest = applied(what), what.package.digest
    version = version_address(what.stack.deployment.name, what.stack.version.name)
    rendering = Rendering(tool, settings_digest(what.package.files), digest) if tool else None
    recorded = {"digest": digest, "rendering": rendering, "revisions": [RecordedRevision("r1", digest, "vllm-1")]}
    return live({**state.owned, version: relabelled(state.owned[version], **recorded)})


BEFORE = desired(stack(), code=OLD)
RUNS = ran(BEFORE)
PACKAGE = package_address("speech", "v1")


def kept(what: Desired, state: Live = RUNS, **answers: Any) -> bool:
    """Whether the package that runs stays."""
    api, _ = project({"deployments/speech/versions/v1/revisions/r1/download": 404, **answers})
    return with_running_package(what, state, api).keeps_package


def test_a_package_that_differs_in_our_own_files_alone_stays_and_nothing_changes() -> None:
    api, asked = project({})
    what = with_running_package(desired(stack(), code=NOW), RUNS, api)
    assert (what.keeps_package, asked.asked) == (True, [])
    plan = planned(what, RUNS)
    assert changes(plan) == []
    assert "was rendered by 0.2" in plan.warnings[0].text


@pytest.mark.parametrize("code", [OLD, OTHER, "no literal", "CONFIG = ["])
def test_the_same_package_and_one_of_other_settings_are_as_they_are_rendered(code: str) -> None:
    assert not kept(desired(stack(), code=code))


def test_other_requirements_are_other_settings() -> None:
    what = desired(stack(), code=NOW)
    package = replace(what.package, files={**what.package.files, "requirements.txt": b"vllm"})
    state = {**what.state, PACKAGE: replace(what.state[PACKAGE], fields={"digest": package.digest})}
    assert not kept(replace(what, package=package, state=state, declared=state))


def test_what_somebody_uploaded_by_hand_is_replaced() -> None:
    assert not kept(
        desired(stack(), code=NOW), changed(RUNS, PACKAGE, digest="revision r9, not uploaded by whisperctl")
    )


def test_where_no_package_runs_there_is_none_to_keep() -> None:
    assert not kept(desired(stack(), code=NOW), without(RUNS, PACKAGE))


def test_what_is_renamed_is_rendered_anew() -> None:
    assert not kept(desired(stack(), code=NOW), replace(RUNS, renamed={PACKAGE: package_address("speech", "v0")}))


@pytest.mark.parametrize(
    ("asked_for", "tool", "stays"),
    [(">=0.3", "0.2", False), (">=0.1", "0.2", True), (">=0.2", "0.3rc1", True), (">=9", "nightly", True)],
)
def test_a_file_that_asks_for_a_later_version_gets_its_package(asked_for: str, tool: str, stays: bool) -> None:
    made: Stack = replace(stack(), whisperctl=asked_for)
    assert kept(desired(made, code=NOW), ran(BEFORE, tool=tool)) is stays


@pytest.mark.parametrize(("code", "stays"), [(NOW, True), (OTHER, False)])
def test_without_a_label_the_package_is_read_back(code: str, stays: bool) -> None:
    archive = io.BytesIO()
    BEFORE.package.write(archive)
    path = "deployments/speech/versions/v1/revisions/r1/download"
    assert kept(desired(stack(), code=code), ran(BEFORE, tool=None), **{path: archive.getvalue()}) is stays


@pytest.mark.parametrize("answer", [404, 500, b"no archive", b""])
def test_one_that_cannot_be_read_back_differs(answer: Any) -> None:
    path = "deployments/speech/versions/v1/revisions/r1/download"
    assert not kept(desired(stack(), code=NOW), ran(BEFORE, tool=None), **{path: answer})


def serves(what: Desired, state: Live) -> str | None:
    """The version of the line that goes on serving as it is."""
    api, _ = project({})
    there = as_it_serves(what, state, api)
    if there is None:
        return None
    assert changes(planned(*there)) == []
    return there[0].stack.version.name


def test_a_line_stays_with_the_version_that_serves_where_our_own_files_alone_differ() -> None:
    state = ran(desired(line(LINE[0]), code=OLD))
    new = desired(line(LINE[1]), code=NOW)
    assert serves(new, state) == LINE[0]
    assert serves(desired(line(LINE[1]), code=OTHER), state) is None
    assert serves(desired(line(LINE[1], env={"A": "1"}), code=NOW), state) is None  # its name tells another content
    assert serves(desired(line(LINE[0]), code=NOW), state) is None  # it has its name already
    api, _ = project({})
    assert with_running_package(new, state, api) is new


def test_a_line_without_its_service_stays_with_the_deployment_s_default() -> None:
    state = without(ran(desired(line(LINE[0]), code=OLD)), service_address("door"))
    new = desired(line(LINE[1]), code=NOW)
    api, _ = project({})
    there = as_it_serves(new, state, api)
    assert there is not None
    assert there[0].stack.version.name == LINE[0]
    nothing = without(state, version_address("speech", LINE[0]), package_address("speech", LINE[0]))
    assert as_it_serves(new, nothing, api) is None


def test_a_version_in_place_or_of_another_name_is_not_the_line_s() -> None:
    assert serves(desired(stack(), code=NOW), RUNS) is None
    by_hand = ran(desired(named(line(), "by-hand"), code=OLD))
    assert serves(desired(line(LINE[1]), code=NOW), by_hand) is None
