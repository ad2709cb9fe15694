"""Where everything comes from: no major release by surprise, every file by its hash, no foreign index in between."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
REQUIRED = [*PROJECT["project"]["dependencies"], *(line for lines in EXTRAS.values() for line in lines)]


@pytest.mark.parametrize("text", sorted({line for line in REQUIRED if not line.startswith("whisperctl")}))
def test_each_dependency_ends_below_its_next_major(text: str) -> None:
    specifier = Requirement(text).specifier
    bounds = [one.version for one in specifier if one.operator in ("<", "==")]
    assert len(bounds) == 1, f"{text}: no upper bound"
    assert not specifier.contains(f"{int(bounds[0].split('.')[0]) + 1}.0")


def test_every_file_of_the_lock_has_a_hash_and_comes_from_one_index() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    packages = [one for one in lock["package"] if "registry" in one["source"]]
    assert len(packages) > 100
    assert {one["source"]["registry"] for one in packages} == {"https://pypi.org/simple"}
    files = [file for one in packages for file in [*one.get("wheels", ()), *([one["sdist"]] if "sdist" in one else ())]]
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"]) for file in files)
    others = [one["name"] for one in lock["package"] if "registry" not in one["source"]]
    assert others == ["whisperctl-ubiops"]


def test_no_script_and_no_pipeline_lets_a_foreign_index_win() -> None:
    files = [path for folder in ("scripts", "templates", ".github") for path in (ROOT / folder).rglob("*")]
    for file in (
        path for path in (*files, ROOT / "Makefile", ROOT / "Dockerfile", ROOT / "action.yml") if path.is_file()
    ):
        text = file.read_bytes().decode("utf-8", "replace").lower()
        assert not re.search("unsafe-best-match|--extra-index-url|uv_index_strategy", text), file
