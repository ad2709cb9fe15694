"""What scripts/set_up.py decides from the machine that it runs on."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "set_up.py"


@pytest.fixture(scope="module")
def set_up() -> ModuleType:
    found = importlib.util.spec_from_file_location("set_up", SCRIPT)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("answer", "supported"),
    [
        ("7.5, 580.65.06", True),
        ("9.0, 590.12\n9.0, 590.12", True),
        ("7.0, 580.65.06", False),
        ("9.0, 570.133.20", False),
        ("[N/A], 580.65.06", False),
        ("No devices were found", False),
        ("", False),
    ],
)
def test_a_gpu_counts_when_card_and_driver_are_new_enough(
    answer: str, supported: bool, set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert set_up.supported_gpu() is supported


@pytest.mark.parametrize("content", [None, "#!/bin/sh\nexit 9\n"], ids=["no nvidia-smi", "no driver"])
def test_without_a_working_nvidia_smi_there_is_no_gpu(
    content: str | None, set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "nvidia-smi").write_text(content)
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert set_up.supported_gpu() is False


def test_uv_gets_the_settings_of_pip(set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nfind-links =\n    /wheels\n    /more\nindex-url = http://index.test/simple\nretries = 2\n"
        "extra-index-url = http://overridden.test\n[install]\ncert = /install.pem\n"
    )
    for name in ("FIND_LINKS", "INDEX_URL", "EXTRA_INDEX_URL", "CERT"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://one.test http://two.test")

    settings = set_up.pip_settings()

    assert settings["UV_FIND_LINKS"].split() == ["/wheels", "/more"]
    assert settings["UV_DEFAULT_INDEX"] == "http://index.test/simple"
    assert settings["SSL_CERT_FILE"] == "/install.pem"
    # The main index comes first: uv takes a version from the first index that has it.
    assert settings["UV_INDEX"].split() == ["http://index.test/simple", "http://one.test", "http://two.test"]
    assert not [name for name in settings if "RETRIES" in name]


def test_the_index_that_pip_asks_by_itself_comes_before_the_extra_ones(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("INDEX_URL", "EXTRA_INDEX_URL"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    (tmp_path / "pip.conf").write_text("[global]\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "http://extra.test")

    first, *extra = set_up.pip_settings()["UV_INDEX"].split()

    assert first.startswith("https://")
    assert first.endswith("/simple")
    assert extra == ["http://extra.test"]


def test_a_change_of_what_is_installed_changes_the_digest(set_up: ModuleType) -> None:
    assert set_up.digest(["one"]) == set_up.digest(["one"])
    assert set_up.digest(["one"]) != set_up.digest(["two"])
