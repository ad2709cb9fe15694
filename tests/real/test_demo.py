"""`make demo`'s script when it is interrupted; .ci/run runs it to its end before the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.endpoint.project import until
from tests.real.conftest import ROOT, surroundings

TIMEOUT = 60.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(number: int, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    mark = {"WHISPERCTL_TEST_MARK": str(tmp_path)}
    demo = subprocess.Popen(
        [sys.executable, ROOT / "scripts" / "demo.py"],
        env={**surroundings(), **mark, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with demo:
        assert demo.stdout is not None
        assert any(line.startswith("$ whisperctl plan") for line in demo.stdout)
        assert len(marked(tmp_path)) >= 2, "the demo and its emulator run"
        demo.send_signal(number)
        last_words = demo.communicate(timeout=TIMEOUT)[0]

    assert demo.returncode == 128 + number
    assert "Interrupted" in last_words
    assert "Traceback" not in last_words
    until(lambda: marked(tmp_path) == [], 10)  # what was told to end may not be gone in the same moment
    assert list(scratch.iterdir()) == []


def marked(tmp_path: Path) -> list[int]:
    """The processes whose environment has this test's mark."""
    collected = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
        if os.fsencode(f"WHISPERCTL_TEST_MARK={tmp_path}") in environment:
            collected.append(int(process.name))
    return collected
