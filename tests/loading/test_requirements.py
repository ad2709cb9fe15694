"""Lines of `environment.requirements`: what pip takes is taken."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.harness.sweeps import EXHAUSTIVE
from tests.refusals import refusal

NAMES = st.sampled_from(
    ["numpy", "Ruamel.Yaml", "a-b_c.d", "x", "3to2", "foo [all]", "foo[a, b]", "foo []", "_x", "x-"]
)
CLAUSES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["==", "!=", "<=", ">=", "<", ">", "~=", "===", " == ", "=", "=>"]),
    st.sampled_from(["", " "]),
    st.sampled_from(["1", "1.2.3", "1!2.0", "2.0rc1", "1.0.post1", "1.0.dev3", "v1.0", "1.2.*", "1.0+cu121", "2004d"]),
)
MARKERS = st.sampled_from([
    "", ";", " ; ", "; python_version < '3.12'", ';sys_platform=="linux"', "; os_name == 'nt' and extra == 'x'",
    "; (python_version >= '3.9' or platform_machine != 'arm64')", "; 'linux' in sys_platform", "; python_version < 3",
])  # fmt: skip
REST = st.sampled_from(["", " ", " # why", "#egg", " --hash=sha256:00", " --config-settings=a=b", " -x", " more"])
LINES = st.builds(
    "{}{}{}{}".format,
    NAMES,
    st.lists(CLAUSES, max_size=3).map(",".join) | CLAUSES.map("({})".format) | st.just(">=1,"),
    MARKERS,
    REST,
)
TEXT = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"], exclude_characters="=<>!"), min_size=1, max_size=12)
NOT_AS_PIP = ("==2004d", "== 2004d", "==  2004d")
"""Below 24.1 pip takes it, and finds no such version."""


def refusal_of(folder: Path, line: str) -> str:
    return refusal(folder, environment={"requirements": [line.replace("$", "$$")]})


@pytest.fixture(scope="module")
def pip_takes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bool]:
    """Whether pip itself reads a line out of a requirements.txt."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = pytest.importorskip("pip._internal.network.session").PipSession()
        req_file = pytest.importorskip("pip._internal.req.req_file")
        constructors = pytest.importorskip("pip._internal.req.constructors")
    file = tmp_path_factory.mktemp("pip") / "requirements.txt"

    def takes(line: str) -> bool:
        file.write_text(line, encoding="utf-8")
        try:
            for read in req_file.parse_requirements(str(file), session):
                constructors.install_req_from_parsed_requirement(read)
        except Exception:
            return False
        return True

    return takes


@settings(max_examples=500 if EXHAUSTIVE else 200, deadline=None, suppress_health_check=list(HealthCheck))
@given(line=LINES | TEXT)
@example(line="numpy;")
@example(line="--extra-index-url https://example.org/simple")
@example(line="name @ https://example.org/name-1.0-py3-none-any.whl")
@example(line="git+https://example.org/name.git@main#egg=name")
def test_what_pip_takes_is_taken(tmp_path: Path, pip_takes: Callable[[str], bool], line: str) -> None:
    assume("file of this machine" not in (said := refusal_of(tmp_path, line)))
    assume(not any(each in line for each in NOT_AS_PIP))
    assert not said or not pip_takes(line), said
