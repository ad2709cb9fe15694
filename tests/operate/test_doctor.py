"""doctor: every check, each way it can end, and that none stops the others."""

from __future__ import annotations

import sys

import httpx
import pytest

from tests.harness.official import service_user
from tests.harness.operator import Operator
from tests.operate.conftest import SECOND, writes
from whisperctl.control.api import Api
from whisperctl.operate.doctor import Check
from whisperctl.views.doctor import checks_text


def verdicts(out: str) -> dict[str, str]:
    """Name of a check -> its verdict."""
    lines = [line for line in out.splitlines() if line.split(" ")[0] in ("ok", "warning", "failed", "skipped")]
    return {line[9:].split("  ")[0].strip(): line.split(" ")[0] for line in lines}


def line_of(out: str, name: str) -> str:
    """What was found, and the fix below it."""
    lines = out.splitlines()
    [number] = [number for number, line in enumerate(lines) if line[9:].startswith(f"{name}  ")]
    return "\n".join(lines[number : number + 2])


def test_a_good_project_and_a_good_stack(operator: Operator, control: httpx.Client) -> None:
    ran = operator.good("doctor")
    verdict_of = verdicts(ran.out)
    assert ran.err == ""
    for name in ("ubiops client", "token", "host", "API version", "token accepted", "project", "may read", "may change",
                 "quota", "speech: instance types", "speech: base environment", "speech: names"):  # fmt: skip
        assert verdict_of[name] == "ok", ran.out
    assert "its own: deployment/speech, version/speech/v1, service/speech-door" in ran.out
    assert operator.emulator.token not in ran.out
    assert writes(control) == []


def test_without_a_stack_file_the_project_alone_is_checked(newcomer: Operator) -> None:
    ran = newcomer.good("doctor")
    assert "no PATH was given and there is no stack.yaml here: nothing of a stack is checked" in ran.out
    assert not any(name.startswith("speech") for name in verdicts(ran.out))


def test_without_token_and_project_it_still_says_what_it_can(operator: Operator) -> None:
    ran = operator.run("doctor", UBIOPS_API_TOKEN="", UBIOPS_PROJECT="")
    verdict_of = verdicts(ran.out)
    assert ran.code == 1
    assert (verdict_of["token"], verdict_of["project name"], verdict_of["host"]) == ("failed", "failed", "ok")
    assert "fix: Set UBIOPS_API_TOKEN" in line_of(ran.out, "token")
    assert verdict_of["token accepted"] == verdict_of["project"] == verdict_of["speech: names"] == "skipped"


def test_a_token_that_is_not_accepted(operator: Operator) -> None:
    ran = operator.run("doctor", UBIOPS_API_TOKEN="f" * 40)
    assert ran.code == 1
    assert verdicts(ran.out)["token accepted"] == "failed"
    assert "make a new token" in line_of(ran.out, "token accepted")
    assert "ffff" not in ran.all


def test_a_project_that_is_not_there(operator: Operator) -> None:
    ran = operator.run("doctor", UBIOPS_PROJECT="nowhere")
    assert ran.code == 1
    assert verdicts(ran.out)["project"] == "failed"
    assert "check the name (--project, UBIOPS_PROJECT" in line_of(ran.out, "project")


def test_a_host_that_does_not_answer(operator: Operator) -> None:
    ran = operator.run("doctor", UBIOPS_API_HOST="http://127.0.0.1:9/v2.1")
    verdict_of = verdicts(ran.out)
    assert ran.code == 1
    assert (verdict_of["host"], verdict_of["API version"], verdict_of["token accepted"]) == (
        "failed",
        "warning",
        "skipped",
    )
    assert "made for v2" in ran.out


@pytest.mark.parametrize("host", ["ftp://somebody:hunter2@x/v2", "HTTPS://x/v2"])
@pytest.mark.parametrize("command", ["doctor", "plan"])
def test_a_host_of_another_scheme_is_wrong_usage(operator: Operator, command: str, host: str) -> None:
    for ran in (operator.run(command, "--host", host), operator.run(command, UBIOPS_API_HOST=host)):
        assert ran.code == 64
        assert f"The host begins with {host.partition(':')[0]}://: write https:// (or http://)" in ran.err
        assert "hunter2" not in ran.all


@pytest.mark.parametrize(
    ("role", "read", "change"),
    [("project-viewer", "ok", "failed"), ("project-admin", "ok", "ok"), (None, "failed", "skipped")],
)
def test_what_a_service_user_may_do(operator: Operator, role: str | None, read: str, change: str) -> None:
    ran = operator.run("doctor", UBIOPS_API_TOKEN=service_user(operator.emulator, "ci", role))
    verdict_of = verdicts(ran.out)
    assert ran.code == (0 if change == "ok" else 1)
    if role is None:  # it may not even see the project
        assert verdict_of["project"] == "failed"
        return
    assert (verdict_of["may read"], verdict_of["may change"]) == (read, change), ran.out
    if change == "failed":
        assert "deployments.create" in line_of(ran.out, "may change")
        assert "the role project-admin, or these" in line_of(ran.out, "may change")


@pytest.mark.parametrize(
    ("old", "new", "check", "message"),
    [
        ("12288 MB + NVIDIA Tesla T4", "no such group", "speech: instance types", "name one of '12288 MB + NVIDIA"),
        ("gpu: T4}", "gpu: T4, instance_types: [nope]}", "speech: instance types", "there is no instance type 'nope'"),
        ("{requirements: [anyio]}", "{base: no-such-base}", "speech: base environment", "there is no environment"),
        (
            "{requirements: [anyio]}",
            "{base: 'ubiops-ubuntu24-04-python3-12:v0'}",
            "speech: base environment",
            "has no usable tag 'v0'",
        ),
        ("stack: speech", "stack: other", "other: names", "deployment/speech (of the stack 'speech')"),
        ("max_model_len: 448", "max_model_len: 4480", "stack file", "stack.yaml:4:"),
    ],
)
def test_what_is_wrong_with_a_stack(operator: Operator, old: str, new: str, check: str, message: str) -> None:
    operator.write(SECOND.replace(old, new))
    ran = operator.run("doctor", "stack.yaml")
    assert ran.code == 1
    assert verdicts(ran.out)[check] == "failed", ran.out
    assert message in line_of(ran.out, check)
    assert "fix: " in line_of(ran.out, check)
    assert verdicts(ran.out)["quota"] == "ok"


def test_names_that_nobody_owns_point_to_adopt(operator: Operator, api: Api) -> None:
    api.update_service("speech-door", {"labels": {}})
    ran = operator.run("doctor")
    assert ran.code == 1
    assert "whisperctl adopt stack.yaml" in line_of(ran.out, "speech: names")


def test_missing_programs_are_warnings(operator: Operator) -> None:
    ran = operator.run("doctor", PATH="/nowhere")
    verdict_of = verdicts(ran.out)
    assert verdict_of["curl"] == "warning"
    assert verdict_of["python"] == "ok"
    assert "quota" in verdict_of
    assert sys.version.split()[0] in ran.out


def test_the_table_counts() -> None:
    checks = [
        Check(name="one", verdict="ok", detail="good"),
        Check(name="second", verdict="failed", detail="bad", fix="mend it"),
    ]
    assert checks_text(checks, color=False) == (
        "ok       one     good\nfailed   second  bad\n                 fix: mend it\n1 ok, 1 failed."
    )


@pytest.mark.parametrize("columns", [100, 60, 40])
def test_the_table_fits_its_terminal(columns: int) -> None:
    name = "a-stack-with-a-long-name: instance types"
    checks = [Check(name=name, verdict="failed", detail="no such group " * 9, fix="name one of the groups " * 5)]
    lines = checks_text(checks, False, columns).splitlines()
    assert max(map(len, lines)) <= max(columns, len(name) + 9)
    assert " ".join(" ".join(lines).split()) == (
        f"failed {name} {'no such group ' * 9}fix: {'name one of the groups ' * 5}1 failed."
    )
