"""docs/emulator.md tells every option, switch, fault and control call, with the defaults that the code has."""

from __future__ import annotations

from dataclasses import Field, fields
from pathlib import Path
from typing import Any

import pytest

from ubiops_emulator.switches import Switches, parse
from ubiops_emulator.web.faults import KINDS
from whisperctl.cli.commands.emulator import emulator

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "emulator.md").read_text()


@pytest.mark.parametrize("field", fields(Switches), ids=lambda field: field.name)
def test_switches(field: Field[Any]) -> None:
    default = getattr(Switches(), field.name)
    shown = {True: "on", False: "off"}[default] if isinstance(default, bool) else default
    assert f"| `{field.name}` | {shown} |" in TEXT
    assert parse(f"{field.name}={shown}") == {field.name: default}


@pytest.mark.parametrize("kind", KINDS)
def test_faults(kind: str) -> None:
    assert f"| `{kind}` |" in TEXT


@pytest.mark.parametrize("option", [opt for parameter in emulator.params for opt in parameter.opts if "--" in opt])
def test_options(option: str) -> None:
    globals_ = {"--host", "--project", "--token-file", "--color", "--timeout", "--insecure-http"}
    assert option in globals_ or f"| `{option}" in TEXT


@pytest.mark.parametrize(
    "call", ["journal", "faults", "switches", "clock", "reset", "snapshot", "restore", "processes"]
)
def test_control_calls(call: str) -> None:
    assert f"/{call}" in TEXT
