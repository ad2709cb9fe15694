"""apply, destroy and rollback on a terminal: a line for each operation in progress, plain lines for what has ended."""

from __future__ import annotations

import re
import signal
from collections import deque

import pytest

from tests.harness.project import Project
from tests.harness.terminal import Terminal
from whisperctl.views.screen import Row, frame

MOVES_UP = "\x1b[1A"
CANARY = "canary-hunter2"


def progress(terminal: Terminal) -> list[str]:
    """What is seen below the plan, with `T` for every time."""
    text = re.sub(r"\d+\.\d s", "T", terminal.shown)
    return re.sub(r"vllm-0\.24\.0-\w+", "TAG", text).partition("unchanged.\n")[2].split("\n")


def test_what_has_ended_stays_and_logs_are_folded_away(project: Project) -> None:
    file = str(project.write())
    terminal = project.terminal("apply", "--yes", file)
    assert terminal.end() == 0
    seen = progress(terminal)
    assert re.fullmatch(r"environment_tag/whisperctl/TAG: built \(T, \d+ log lines\)", seen[2])
    assert re.fullmatch(r"package/alpha/v1: built and active \(T, \d+ log lines\)", seen[4])
    assert [line for number, line in enumerate(seen) if number not in (2, 4)][:-1] == [
        "deployment/alpha: created (T)",
        "environment/whisperctl: created (T)",
        "version/alpha/v1: created (T)",
        "service/alpha: created (T)",
        "version/alpha/v1: the endpoint answers (T)",
        "Applied alpha: 6 created. Nothing differs any more.",
        "  healthy and serving openai/whisper-small; nothing was transcribed: no rollout.smoke",
    ]
    assert not terminal.screen.cursor.hidden
    again = project.terminal("destroy", "--yes", file)
    assert again.end() == 0
    assert progress(again)[-2:] == ["deployment/alpha: deleted (T)", "Destroyed alpha: 6 deleted."]


def test_verbose_keeps_the_log(project: Project) -> None:
    terminal = project.terminal("apply", "--yes", "-v", str(project.write()))
    assert terminal.end() == 0
    assert "environment_tag/whisperctl/TAG: | Build started" in progress(terminal)
    assert "package/alpha/v1: | Build finished" in progress(terminal)
    assert "version/alpha/v1: creating..." in progress(terminal)


def test_what_is_in_progress_has_its_time_and_its_last_lines_and_goes_when_interrupted(project: Project) -> None:
    file = str(project.write())
    project.fault("build-endless", count=1)
    terminal = project.terminal("apply", "--yes", file)
    terminal.until(r"^environment_tag/whisperctl/\S+: building\.\.\. \d+ s\n    building on \S+\n    \| Build started$")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    seen = progress(terminal)
    assert seen[3] == "Interrupted: nothing more is started. Press Ctrl-C again to leave at once."
    assert seen[4] == "alpha: interrupted."
    assert seen[-1] == "  What was done stays done: apply again to finish."
    assert not terminal.screen.cursor.hidden
    assert terminal.screen.cursor.x == 0


def test_interrupted_twice_it_leaves_a_clean_terminal(project: Project) -> None:
    file = str(project.write())
    project.fault("latency", method="POST", path="/build$", ms=8000, count=1)
    terminal = project.terminal("apply", "--yes", file)
    terminal.until(r"building\.\.\. \d+ s\n    building on")
    terminal.process.send_signal(signal.SIGINT)
    terminal.until("Press Ctrl-C again")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 130
    assert progress(terminal)[-1] == "Interrupted: nothing more is started. Press Ctrl-C again to leave at once."
    assert not terminal.screen.cursor.hidden
    assert terminal.screen.cursor.x == 0


def test_a_narrow_terminal_cuts_lines(project: Project) -> None:
    file = str(project.write())
    project.fault("build-endless", count=1)
    terminal = project.terminal("apply", "--yes", file, columns=40, rows=12)
    terminal.until(r"^environment_tag/whisperctl/vllm-0\.\w*… [12] s\n    building on ubiops-ubuntu24-04-pyth…$")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 130
    assert "building..." not in terminal.shown
    assert "…" not in terminal.shown


def test_a_failure_is_told_once_with_its_last_lines(project: Project) -> None:
    file = str(project.write(env={"HUB": {"value": "${HUB_SECRET}", "secret": True}}))
    project.fault("build-fail", count=1, text=f"\x1b[2J{CANARY}\nno space left")
    terminal = project.terminal("apply", "--yes", file, HUB_SECRET=CANARY)
    assert terminal.end() == 1
    seen = progress(terminal)
    assert seen[2:4] == ["environment_tag/whisperctl/TAG: failed after T", "alpha: not finished."]
    assert seen.count("          (secret)") == 1
    assert seen.count("          Build started") == 1
    assert "\x1b[2J" not in terminal.raw
    assert CANARY not in terminal.raw
    assert project.emulator.token not in terminal.raw


def test_a_failure_shows_its_last_lines_at_once_while_others_go_on(project: Project) -> None:
    one = str(project.write("one.yaml"))
    other = {"deployment": {"name": "beta"}, "service": {"name": "beta"}, "environment": {"requirements": ["anyio"]}}
    two = str(project.write("two.yaml", stack="beta", **other))
    project.fault("build-endless", count=1)
    project.fault("build-fail", count=1, text="no space left")
    terminal = project.terminal("apply", "--yes", one, two, rows=40)
    terminal.until(
        r"^\[\w+\] environment_tag/\S+: failed after .*\n"
        r"    building on .*\n    \| Build started\n    \| no space left\n"
        r"(.*\n)*\[\w+\] environment_tag/\S+: building\.\.\. \d+ s\n    building on .*\n    \| Build started$"
    )
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "\n[beta] deployment/beta: created" in terminal.shown


def test_a_rollback_is_shown_like_an_apply(project: Project) -> None:
    file = project.apply_twice()
    terminal = project.terminal("rollback", file, columns=200)
    terminal.until(r"Roll back\? \[y/N\]:")
    assert "\x1b[2K" not in terminal.raw
    terminal.type("y\n")
    assert terminal.end() == 0
    seen = re.sub(r"\d+\.\d s", "T", terminal.shown).partition("Roll back? [y/N]: y\n")[2].split("\n")
    assert re.fullmatch(r"version/alpha/v1: downloading the package of revision \S+", seen[0])
    assert re.fullmatch(r"package/alpha/v1: built and active \(T, \d+ log lines\)", seen[1])
    assert seen[2] == "version/alpha/v1: the endpoint answers (T)"
    assert seen[3].startswith("Rolled back alpha: ")
    assert not terminal.screen.cursor.hidden


def test_a_rollback_in_progress_has_its_time_and_its_last_lines_and_goes_when_interrupted(project: Project) -> None:
    file = project.apply_twice()
    project.fault("build-endless", count=1)
    terminal = project.terminal("rollback", "--yes", file, columns=400)
    terminal.until(r"^package/alpha/v1: uploading\.\.\. \d+ s\n    revision \S+ is building\n    \| Build started$")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "uploading..." not in terminal.shown
    assert (
        "\n\nInterrupted: nothing more is started. Press Ctrl-C again to leave at once.\n"
        "error: Interrupted. What UbiOps is building goes on there; finish with\n"
        f"  whisperctl rollback {file} --to "
    ) in terminal.shown
    assert not terminal.screen.cursor.hidden
    assert terminal.screen.cursor.x == 0


def test_a_rollback_that_fails_is_told_once_with_its_last_lines(project: Project) -> None:
    file = project.apply_twice()
    project.fault("build-fail", count=1, text="no space left")
    terminal = project.terminal("rollback", "--yes", file, columns=200)
    assert terminal.end() == 1
    assert re.search(
        r"^package/alpha/v1: failed after \d\.\d s\nerror: package/alpha/v1: ", terminal.shown, re.MULTILINE
    )
    assert terminal.shown.count("    Build started\n") == 1


def test_the_question_comes_before_the_view(project: Project) -> None:
    terminal = project.terminal("apply", str(project.write()))
    terminal.until(r"Apply these changes\? \[y/N\]:")
    assert "\x1b[2K" not in terminal.raw
    terminal.type("y\n")
    assert terminal.end() == 0
    assert "Applied alpha" in terminal.shown


def test_colours_are_left_out_when_they_are_not_wanted(project: Project) -> None:
    file = str(project.write())
    coloured = re.compile(r"\x1b\[[0-9;]*m")
    terminal = project.terminal("apply", "--yes", file)
    assert terminal.end() == 0
    assert "\x1b[32mdeployment/alpha: created" in terminal.raw
    for args, no_color in (((), "1"), (("--color", "never"), "")):
        terminal = project.terminal("destroy", "--yes", *args, file, NO_COLOR=no_color)
        assert terminal.end() == 0
        assert not coloured.search(terminal.raw)


@pytest.mark.parametrize(
    ("args", "term"), [(("--format", "json"), "xterm"), (("-vv",), "xterm"), ((), "dumb"), ((), "")]
)
def test_lines_stay_plain_where_a_view_would_be_in_the_way(project: Project, args: tuple[str, ...], term: str) -> None:
    terminal = project.terminal("apply", "--yes", *args, str(project.write()), columns=200, TERM=term)
    assert terminal.end() == 0
    assert MOVES_UP not in terminal.raw
    assert "package/alpha/v1: | Build finished" in terminal.shown


def drawn(rows: list[Row], width: int = 80, height: int = 24) -> list[str]:
    return [line.plain for line in frame(rows, 75.0, width, height)]


def test_a_frame_is_never_larger_than_the_terminal() -> None:
    rows = [Row(what=f"service/number-{n}: creating...", since=70.0, tail=deque(["語" * 50] * 5)) for n in range(30)]
    for width in (1, 7, 40, 200):
        for height in (1, 2, 3, 10, 24, 100):
            for count in (0, 1, 2, 9, 30):
                lines = frame(rows[:count], 75.0, width, height)
                assert len(lines) <= max(height, 2)
                assert all(line.cell_len <= max(width, 5) for line in lines)
    assert drawn(rows, height=6)[3:] == ["and 27 more", ""]


def test_a_frame_says_what_since_when_and_the_last_lines() -> None:
    tag = Row(what="environment_tag/e/t: building...", since=5.0, tail=deque(["| a\tb", "| c"], maxlen=5))
    service = Row(what="service/s: creating...", since=74.2)
    assert drawn([tag, service]) == [
        "environment_tag/e/t: building... 1 min 10 s",
        "    | a b",
        "    | c",
        "service/s: creating... 1 s",
        "",
    ]
    assert drawn([tag, service], width=22, height=5)[:3] == [
        "environmen… 1 min 10 s",
        "    | c",
        "service/s: creati… 1 s",
    ]
