"""On a terminal: colours, and a question before anything is changed; without one: plain lines."""

from __future__ import annotations

import os
import signal

import httpx
import pytest

from tests.harness.operator import Operator
from tests.operate.conftest import SECOND, writes
from whisperctl.cli.options import Settings


@pytest.mark.parametrize("args", [("status",), ("history",), ("doctor",), ("logs", "--since", "1h")])
def test_colours_are_for_terminals(operator: Operator, args: tuple[str, ...]) -> None:
    screen = operator.terminal(*args)
    assert screen.end() == 0
    assert "\x1b[" in screen.raw
    plain = operator.good(*args)
    assert "\x1b" not in plain.all
    quiet = operator.terminal(*args, NO_COLOR="1")
    quiet.end()
    assert "\x1b[" not in quiet.raw
    assert "\x1b[" in operator.good(*args, "--color", "always").out
    assert operator.good("--color", "never", *args).out.splitlines()[0] == plain.out.splitlines()[0]


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "dumb"}, False),  # Jenkins, Emacs, expect
        ({"TERM": "unknown"}, False),
        ({}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
    ],
)
def test_colours_are_for_terminals_that_have_some(
    environ: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    settings, ours, theirs = Settings(), *os.openpty()
    with open(ours), open(theirs, "w") as stream:  # noqa: PTH123 - a descriptor
        assert settings.use_color(stream) is coloured
        settings.color = "always"
        assert settings.use_color(stream)


def test_rollback_takes_no_for_an_answer(operator: Operator, control: httpx.Client) -> None:
    screen = operator.terminal("rollback")
    screen.until(r"Roll back\? \[y/N\]:")
    assert "goes back to an earlier revision" in screen.shown
    screen.type("n\n")
    assert screen.end() == 1
    assert "Nothing was changed." in screen.shown
    assert writes(control) == []


def test_rollback_goes_ahead_when_told_to(operator: Operator) -> None:
    screen = operator.terminal("rollback")
    screen.until(r"Roll back\? \[y/N\]:")
    screen.type("y\n")
    assert screen.end() == 0
    assert "Rolled back speech" in screen.shown


def test_adopt_asks_and_ctrl_c_is_a_no(operator: Operator, control: httpx.Client) -> None:
    operator.write(SECOND.replace(" speech", " fresh"))
    from whisperctl.control.api import Api

    api = Api(operator.emulator.host, "demo", operator.emulator.token)
    api.create_deployment({"name": "fresh", "input_type": "plain", "output_type": "plain"})
    api.rest.session.close()
    control.delete("/journal")
    screen = operator.terminal("adopt", "stack.yaml")
    screen.until(r"Take them over\? \[y/N\]:")
    screen.rests()
    screen.process.send_signal(signal.SIGINT)
    assert screen.end() == 130
    assert writes(control) == []


@pytest.mark.parametrize("command", ["history", "list", "status", "validate"])
def test_what_is_wide_fits_a_narrow_terminal(operator: Operator, command: str) -> None:
    wide, after = operator.good(command).out, None
    while after != wide:  # an instance may start or end meanwhile
        wide = after or wide
        screen = operator.terminal(command, COLUMNS="60", NO_COLOR="1")
        assert screen.end() == 0
        after = operator.good(command).out
    lines = [line.rstrip() for line in screen.raw.replace("\r", "").splitlines()]
    assert max(map(len, wide.splitlines())) > 60
    assert max(map(len, lines)) <= 60
    cells = {cell for line in wide.splitlines() for cell in line.split()}
    assert cells <= {cell for line in lines for cell in line.split()}
