"""`ubiops_emulator.testing`, as other people's tests use it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.emulator.conftest import LIVE
from ubiops_emulator import testing

pytestmark = pytest.mark.skipif(LIVE, reason="starts emulators of its own")
BOOKS = ("--runtime", "none", "--speed", "1000")


def test_for_the_length_of_a_block() -> None:
    with testing.running(*BOOKS) as ubiops:
        listed = [sys.executable, "-m", "whisperctl", "doctor"]
        done = subprocess.run(listed, env=os.environ | ubiops.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert ubiops.control("GET", "journal")[0]["path"].startswith("/v2/")
        assert ubiops.token not in done.stdout + done.stderr
    assert ubiops.process.returncode == 0
    assert not ubiops.data.exists(), "temporary, as no folder was named"


def test_a_folder_of_ones_own_is_kept(tmp_path: Path) -> None:
    with testing.running(*BOOKS, data=tmp_path / "data") as ubiops:
        token = ubiops.token
        ubiops.control("POST", "snapshot", {"name": "empty"})
    with testing.running(*BOOKS, data=tmp_path / "data") as again:
        assert again.token == token
        again.control("POST", "restore", {"name": "empty"})


def test_control_tells_what_was_refused() -> None:
    with testing.running(*BOOKS) as ubiops, pytest.raises(httpx.HTTPStatusError, match="400"):
        ubiops.control("POST", "faults", {"kind": "nonsense"})


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_it_may_be_stopped_inside_the_block(number: int, code: int) -> None:
    with testing.running(*BOOKS) as ubiops:
        assert ubiops.stop(number) == code
        assert ubiops.stop() == code, "again is no error"


def test_flags_that_it_refuses_are_told() -> None:
    with pytest.raises(testing.EmulatorError, match="No such option"):
        testing.start("--no-such-flag")


def test_what_listens_too_late_is_ended(tmp_path: Path) -> None:
    with pytest.raises(testing.EmulatorError, match="did not start"):
        testing.start(*BOOKS, data=tmp_path, timeout=0.001)
