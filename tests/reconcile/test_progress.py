"""Without a terminal: plain lines, and in a CI job groups for build logs."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.harness.project import Project
from whisperctl.apply.events import Level, Message, OperationEnded, OperationStarted, OperationStopped
from whisperctl.plan.operations import Operation
from whisperctl.state.resources import Address, Kind
from whisperctl.views.folds import Folds, github, gitlab
from whisperctl.views.long_logs import SHOWN, LongLogs

HOSTILE = "::error::mine hunter2\n##[add-mask]x\n\x1b[0Ksection_end:1:x\r\x1b[0K::endgroup::"


@dataclass(slots=True)
class HandClock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def building(name: str = "one") -> Operation:
    return Operation(id=1, kind="build", address=Address(Kind.ENVIRONMENT_TAG, ("whisperctl", name)))


def text_event(level: Level, text: str, name: str = "one") -> Message:
    return Message(stack="alpha", address=building(name).address, level=level, text=text)


def test_a_build_shows_its_own_lines_only(project: Project) -> None:
    file = str(project.write())
    assert project.cli("apply", "--yes", file).code == 0
    assert project.cli("destroy", "--yes", file).code == 0
    ran = project.cli("apply", "--yes", file)
    assert ran.code == 0
    lines = [line.partition(": | ")[2] for line in ran.err.splitlines() if line.startswith("environment_tag/")]
    assert [line for line in lines if line.startswith("Build ")] == ["Build started", "Build finished"]
    assert "Package structure is valid" not in lines


def test_plain_lines_are_what_pipes_get(project: Project) -> None:
    ran = project.cli("apply", "--yes", str(project.write()))
    assert ran.code == 0
    said = re.sub(r"vllm-0\.24\.0-\w+", "TAG", re.sub(r"\d\.\d s", "T", ran.err)).splitlines()
    start = said.index("deployment/alpha: creating...")
    varying = re.compile(" is up after | is building$|: waking an instance ")
    assert [line for line in said[start:] if not varying.search(line)] == [
        "deployment/alpha: creating...",
        "deployment/alpha: created (T)",
        "environment/whisperctl: creating...",
        "environment/whisperctl: created (T)",
        "environment_tag/whisperctl/TAG: building...",
        "environment_tag/whisperctl/TAG: building on ubiops-ubuntu24-04-python3-12:v5.25.0",
        "environment_tag/whisperctl/TAG: | Build started",
        "environment_tag/whisperctl/TAG: | System packages of ubiops.yaml are noted, not installed, by the emulator",
        "environment_tag/whisperctl/TAG: | Build finished",
        "environment_tag/whisperctl/TAG: built (T)",
        "version/alpha/v1: creating...",
        "version/alpha/v1: created (T)",
        "package/alpha/v1: uploading...",
        "package/alpha/v1: | Build started",
        "package/alpha/v1: | Package structure is valid",
        "package/alpha/v1: | Build finished",
        "package/alpha/v1: built and active (T)",
        "service/alpha: creating...",
        "service/alpha: created (T)",
        "version/alpha/v1: proving the endpoint...",
        "version/alpha/v1: alpha: healthy",
        "version/alpha/v1: alpha: serves openai/whisper-small",
        "version/alpha/v1: the endpoint answers (T)",
    ]


def test_a_build_is_one_group_on_github(project: Project) -> None:
    ran = project.cli("apply", "--yes", str(project.write()), GITHUB_ACTIONS="true")
    assert ran.code == 0
    groups = re.findall(
        r"^::group::(\S+): 3 log lines\n\| Build started\n(?:\| .*\n)*::endgroup::\n(.*)", ran.err, re.MULTILINE
    )
    assert [re.sub(r"\d\.\d s", "T", after) for _, after in groups] == [
        f"{groups[0][0]}: built (T)",
        "package/alpha/v1: built and active (T)",
    ]
    assert ran.err.count("Build started") == 2
    assert "::" not in ran.out


def test_a_build_is_one_section_on_gitlab(project: Project) -> None:
    ran = project.cli("apply", "--yes", str(project.write()), GITLAB_CI="true")
    section = (
        r"^\x1b\[0Ksection_start:(\d+):(package_alpha_v1_\1)\[collapsed=true\]\r\x1b\[0Kpackage/alpha/v1: 3 log lines\n"
        r"(\| .*\n)+\x1b\[0Ksection_end:\d+:\2\r\x1b\[0K\npackage/alpha/v1: built and active"
    )
    assert re.search(section, ran.err, re.MULTILINE)


def test_a_rollback_says_the_same_lines(project: Project) -> None:
    ran = project.cli("rollback", "--yes", project.apply_twice())
    assert ran.code == 0
    said = re.sub(r"revision [0-9a-f-]{36}", "revision R", re.sub(r"\d\.\d s", "T", ran.err)).splitlines()
    varying = re.compile(" is up after |: waking an instance |: waiting for the instances of ")
    assert [line for line in said if not varying.search(line)] == [
        "version/alpha/v1: downloading the package of revision R",
        "package/alpha/v1: uploading...",
        "package/alpha/v1: revision R is building",
        "package/alpha/v1: | Build started",
        "package/alpha/v1: | Package structure is valid",
        "package/alpha/v1: | Build finished",
        "package/alpha/v1: built and active (T)",
        "version/alpha/v1: proving the endpoint...",
        "version/alpha/v1: alpha: healthy",
        "version/alpha/v1: alpha: serves openai/whisper-small",
        "version/alpha/v1: the endpoint answers (T)",
    ]


def test_the_build_of_a_rollback_is_one_group_too(project: Project) -> None:
    ran = project.cli("rollback", "--yes", project.apply_twice(), GITHUB_ACTIONS="true")
    assert ran.code == 0
    assert re.search(
        r"^::group::package/alpha/v1: 3 log lines\n\| Build started\n(\| .*\n)+::endgroup::\n"
        r"package/alpha/v1: built and active",
        ran.err,
        re.MULTILINE,
    )
    assert ran.err.count("Build started") == 1
    assert "::" not in ran.out


@pytest.mark.parametrize("job", ["GITHUB_ACTIONS", "GITLAB_CI"])
def test_a_log_gives_no_commands_to_the_job(project: Project, job: str) -> None:
    project.fault("build-fail", count=1, text=HOSTILE)
    file = str(project.write(env={"HUB": {"value": "${HUB_SECRET}", "secret": True}}))
    ran = project.cli("apply", "--yes", file, HUB_SECRET="hunter2", **{job: "true"})
    assert ran.code == 1
    assert "hunter2" not in ran.err
    assert "| ::error::mine" in ran.err
    if job == "GITHUB_ACTIONS":
        commands = [line.strip() for line in ran.err.splitlines() if line.strip().startswith("::")]
        assert [command for command in commands if not command.startswith("::group::")] == ["::endgroup::"]
        assert "##[" not in ran.err
    else:
        assert [name[:15] for name in re.findall(r"section_end:\d+:(\S*)\r", ran.err)] == ["environment_tag"]


def test_groups_do_not_mix_and_what_is_cut_off_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    folds = Folds(github, HandClock(), several=True, color=False, verbose=False)
    with folds:
        for name in ("one", "two"):
            folds(OperationStarted(stack="alpha", operation=building(name)))
        for line in ("a", "b"):
            folds(text_event("log", line, "one"))
            folds(text_event("log", line * 2, "two"))
        folds(text_event("say", "waiting", "two"))
        folds(OperationEnded(stack="alpha", operation=building("two"), seconds=75.0))
    assert capsys.readouterr().err.splitlines() == [
        "[alpha] environment_tag/whisperctl/one: building...",
        "[alpha] environment_tag/whisperctl/two: building...",
        "[alpha] environment_tag/whisperctl/two: waiting",
        "::group::[alpha] environment_tag/whisperctl/two: 2 log lines",
        "| aa",
        "| bb",
        "::endgroup::",
        "[alpha] environment_tag/whisperctl/two: built (1 min 15 s)",
        "::group::[alpha] environment_tag/whisperctl/one: 2 log lines",
        "| a",
        "| b",
        "::endgroup::",
    ]


def test_a_long_log_in_a_file_goes_on_with_a_line_a_minute_and_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    clock = HandClock()
    lines = LongLogs(clock, several=False, color=False, verbose=False)
    for second in range(SHOWN + 62):
        clock.now = 1000.0 + second
        lines(text_event("log", f"line {second}"))
    lines(OperationEnded(stack="alpha", operation=building(), seconds=75.0))
    shown = capsys.readouterr().err.replace("environment_tag/whisperctl/one: ", "").splitlines()
    assert shown[:SHOWN] == [f"| line {second}" for second in range(SHOWN)]
    assert shown[SHOWN:] == [
        f"the log goes on; after {SHOWN} lines a line a minute is shown (-v: all)",
        f"| line {SHOWN + 59}",
        "61 log lines not shown: `whisperctl logs` has them",
        "built (1 min 15 s)",
    ]


def test_a_long_build_says_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    clock = HandClock()
    folds = Folds(gitlab, clock, several=False, color=False, verbose=False)
    for second in range(150):
        clock.now = 1000.0 + second
        folds(text_event("log", f"line {second}"))
    address = "environment_tag/whisperctl/one"
    assert capsys.readouterr().err.splitlines() == [f"{address}: | line 60", f"{address}: | line 120"]
    folds(OperationStopped(stack="alpha", operation=building()))
    said = capsys.readouterr().err.split("\n")
    name = "environment_tag_whisperctl_one_1700001000"
    assert said[0] == f"\x1b[0Ksection_start:1700001000:{name}[collapsed=true]\r\x1b[0K{address}: 150 log lines"
    assert said[1:151] == [f"| line {second}" for second in range(150)]
    assert said[151] == f"\x1b[0Ksection_end:1700001149:{name}\r\x1b[0K"
