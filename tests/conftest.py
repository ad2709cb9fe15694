"""Golden files for every test, and no secret of another; nothing else that is not asked for by name."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.harness.sweeps import EXHAUSTIVE
from whisperctl.output import forget

# A shell without job control starts background jobs with SIGINT ignored, and nohup with SIGHUP, which programs started
# from here would inherit: those that tests interrupt would never notice.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# Some machines never write compiled modules: each of some hundred processes would compile whisperctl anew, and each of
# pytest's workers all test files.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# What is printed depends on who reads it: tests that run in a CI job, or in a worker of pytest, must not notice.
for name in ("GITHUB_ACTIONS", "GITLAB_CI", "COLUMNS", "LINES"):
    os.environ.pop(name, None)


# How long an example takes is the machine's business: a busy one fails no test. Each run draws others, so that several
# runs of fewer find what one of many would.
settings.register_profile(
    "any machine",
    max_examples=100 if EXHAUSTIVE else 40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> None:
    """What one test calls a secret (`x`, `alpha`) may be an ordinary word in the next one of this process."""
    forget()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Let the garbage collector pass over the collected tests: they stay, and a look at all of them takes 0.15 s."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share what their file sets up (a server, torch) on one worker: else each would set it up."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None and isinstance(item, pytest.Function) and _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _shares(item: pytest.Function) -> bool:
    definitions = item._fixtureinfo.name2fixturedefs.values()
    return any(fixture.scope == "module" for fixtures in definitions for fixture in fixtures)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites the expected files; review reads them."""
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files with what is produced now")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Compare a text with a golden file, or write the file with --update-golden."""

    def compare(file: Path, produced: str) -> None:
        if request.config.getoption("--update-golden"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(produced, encoding="utf-8")
        assert file.exists(), f"{file} is missing: run pytest --update-golden and read what it writes"
        assert produced == file.read_text(encoding="utf-8")

    return compare
