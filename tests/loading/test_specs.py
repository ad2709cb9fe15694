"""Every file in tests/specs: the valid ones load, the invalid ones say exactly what stands beside them.

`--update-golden` rewrites the expectations; review reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from whisperctl import __version__
from whisperctl.errors import SpecError
from whisperctl.loading import load_stacks

SPECS = Path(__file__).parents[1] / "specs"
INVALID = sorted((SPECS / "invalid").glob("*.yaml"))
VALID = sorted((SPECS / "valid").glob("*.yaml"))
ENVIRON = {"WHISPERCTL_TEST_TOKEN": "hf_never_shown", "WHISPERCTL_TEST_PORT": "8080", "WHISPERCTL_TEST_EMPTY": ""}


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_an_invalid_file_says_all_that_is_wrong(
    file: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[[Path, str], None]
) -> None:
    monkeypatch.chdir(SPECS / "invalid")
    with pytest.raises(SpecError) as caught:
        load_stacks([Path(file.name)], ENVIRON)
    golden(file.with_suffix(".txt"), f"{caught.value}\n".replace(f"this is {__version__}", "this is VERSION"))


@pytest.mark.parametrize("file", VALID, ids=lambda file: file.stem)
def test_a_valid_file_loads(file: Path, monkeypatch: pytest.MonkeyPatch, golden: Callable[[Path, str], None]) -> None:
    monkeypatch.chdir(SPECS / "valid")
    loaded = load_stacks([Path(file.name)], ENVIRON)
    assert [stack.file for stack in loaded.stacks] == [file.name]
    golden(file.with_suffix(".txt"), "".join(f"{warning}\n" for warning in loaded.warnings))


def test_there_are_cases() -> None:
    assert len(INVALID) > 20
    assert len(VALID) > 4
