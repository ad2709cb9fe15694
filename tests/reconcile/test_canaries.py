"""Canaries: a secret, the token and an unmarked secret through commands, formats, levels and faults; none is seen."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from tests.harness.program import Ran
from tests.harness.project import Project

SECRET = "CANARYsecret/VALUE+1234"
UNMARKED = "CANARYunmarkedVALUE5678"
ENV = {"HUB": {"value": "${HUB}", "secret": True}, "MY_TOKEN": "${MY_TOKEN}", "PLACE": "${PLACE}"}
GIVEN = {"HUB": SECRET, "MY_TOKEN": UNMARKED, "PLACE": "the-north"}

COMMANDS = [
    "validate", "validate --format json", "validate --format github", "plan", "plan --format json",
    "plan --format markdown", "-vv plan", "drift", "drift --format json", "status", "status --format json",
    "-vv status", "history", "doctor", "logs", "curl", "list", "output",
]  # fmt: skip


def seen(project: Project, ran: Ran) -> list[str]:
    """The canaries in what a command printed, in any encoding."""
    words = [SECRET, UNMARKED, project.emulator.token]
    forms = {form for word in words for form in (word, quote(word, safe=""), base64.b64encode(word.encode()).decode())}
    return sorted(form for form in forms if form in ran.all)


@pytest.fixture
def file(project: Project) -> str:
    return str(project.write(env=ENV))


def test_no_command_shows_a_secret(project: Project, file: str) -> None:
    new = project.cli("plan", "--format", "json", file, **GIVEN)
    assert seen(project, new) == []
    fields = {
        change["address"]: field
        for change in new.json["stacks"][0]["changes"]
        for field in change["fields"]
        if change["address"].startswith("env_var/") and field["path"] == "value"
    }
    assert fields["env_var/alpha/v1/PLACE"] == {
        "path": "value", "before": None, "after": "the-north", "from": ["PLACE"],
    }  # fmt: skip
    assert fields["env_var/alpha/v1/MY_TOKEN"]["after"] == "(not shown: its name looks like a secret's)"
    assert fields["env_var/alpha/v1/MY_TOKEN"]["from"] == ["MY_TOKEN"]
    text = project.cli("plan", file, **GIVEN)
    assert '"the-north" (from ${PLACE})' in text.out
    assert "(from ${MY_TOKEN})" in text.out
    assert project.cli("apply", "--yes", file, **GIVEN).code == 0
    for command in COMMANDS:
        assert seen(project, project.cli(*command.split(), file, **GIVEN)) == [], command


def test_a_saved_plan_holds_no_secret(project: Project, file: str) -> None:
    plan = project.folder / "p.plan"
    assert project.cli("plan", "-o", str(plan), file, **GIVEN).code == 0
    text = plan.read_text()
    assert SECRET not in text
    assert UNMARKED not in text
    assert project.emulator.token not in text


@pytest.mark.parametrize(
    "changes",
    [
        {"deployment": {"name": "alpha", "description": "x ${HUB}"}},
        {"deployment": {"name": "alpha", "labels": {"leak": SECRET}}},
        {"deployment": {"name": "alpha", "labels": {f"a{SECRET}": "x"}}},
        {"env": {**ENV, "AUTH": "Basic " + base64.b64encode(f"user:{SECRET}".encode()).decode()}},
        {"env": {**ENV, "URL": f"https://user:{quote(SECRET, safe='')}@elsewhere.test/"}},
        {"env": {**ENV, "PLAIN": "before ${HUB} behind"}},
        {"vllm": {"version": "0.24.0", "args": {"chat-template": SECRET}}},
        {"deployment": {"name": "alpha", "description": "${UBIOPS_API_TOKEN}"}},
    ],
)
def test_a_secret_outside_of_its_place_is_an_error_at_its_line(project: Project, changes: dict[str, object]) -> None:
    file = str(project.write(**{"env": ENV, **changes}))
    ran = project.cli("plan", file, **GIVEN)
    assert ran.code == 1
    assert "which would be readable for others" in ran.err or "UBIOPS_API_TOKEN does not belong here" in ran.err
    assert seen(project, ran) == []


def test_a_short_secret_is_refused_where_it_came_from_the_same_variable(project: Project) -> None:
    short = {"HUB": {"value": "${HUB}", "secret": True}, "OTHER": "${HUB}", "NUMBER": "123"}
    ran = project.cli("plan", str(project.write(env=short)), HUB="123")
    assert ran.code == 1
    assert ran.err.count("which would be readable for others") == 1


def test_the_password_of_a_host_is_not_shown(project: Project, file: str) -> None:
    for command in ("plan", "doctor"):
        ran = project.cli(command, file, **{**GIVEN, "UBIOPS_API_HOST": "http://user:s3cretPW@127.0.0.1:9/v2"})
        assert ran.code == 1
        assert "s3cretPW" not in ran.all
