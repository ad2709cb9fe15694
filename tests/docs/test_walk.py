"""The main job on real parts: the tutorial and the notebook's page, typed into a shell as they stand.

One emulator and one endpoint for both, whose instances are real vLLMs. The tutorial is followed to its last section but
one, then every section of the notebook's page on the endpoint that the tutorial made, then what no page shows
(`ASKED`), then the tutorial's clean-up. Each section is a test of its own, and can be run alone: what it needs has run
before it. A start of vLLM takes 30 s of a core. Two are waited for, the tutorial's first and the one that its changed
env var asks for; the notebook's page changes its env var last, while the endpoint is paused, and needs no third.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.docs.blocks import Command, sections
from tests.docs.conftest import MADE_BY_MAKE, with_checkout
from tests.docs.shell import ROOT, Shell, opened_shell
from tests.real.family import descendants, remaining

TUTORIAL = ROOT / "docs" / "tutorial.md"
NOTEBOOK = ROOT / "docs" / "from-the-notebook.md"
pytestmark = [
    pytest.mark.vllm,
    pytest.mark.xdist_group("vllm"),  # one server at a time, in turn with the other tests that start one
    MADE_BY_MAKE,
]
CLEAN_UP, ELSEWHERE, VARIABLES = "Clean up", "On UbiOps itself", "Environment variables"
ASKED = {
    "apply again": "whisperctl apply --yes --format json",
    "another token": "UBIOPS_API_TOKEN='Token 0123456789' bash transcribe.sh",
    "plan after clean-up": "whisperctl plan --destroy --detailed-exitcode specs/demo.yaml",
}
"""Commands that no page shows, on the endpoint that the pages made."""
VLLM = {
    "VLLM_CACHE_ROOT": os.environ.get("VLLM_CACHE_ROOT", str(Path("~/.cache/vllm").expanduser())),
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
"""What makes a start of vLLM cheaper: what an earlier one has written down about Whisper's class, though HOME is
another, and no process of its own for an engine's only worker, which would load everything once more."""


@dataclass(kw_only=True, slots=True)
class Walk:
    """What each section printed, or why it did not do what it says."""

    folder: Path
    printed: dict[str, str] = field(default_factory=dict, repr=False)
    failed: dict[str, AssertionError] = field(default_factory=dict, repr=False)
    answers: dict[str, tuple[str, int]] = field(default_factory=dict, repr=False)
    """What each command of `ASKED` printed on stdout, and its exit code."""
    first_server: set[int] = field(default_factory=set)
    """The processes below the emulator once the tutorial's first apply has ended."""
    left: list[int] = field(default_factory=list)
    """The processes of servers that still ran after the clean-up."""


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """Both pages, followed once."""
    walked = Walk(folder=tmp_path_factory.mktemp("walk"))
    with opened_shell(walked.folder, VLLM) as shell:
        with_checkout(shell)
        tutorial = sections(TUTORIAL)
        last = {name: tutorial.pop(name) for name in (CLEAN_UP, ELSEWHERE)}
        follow(shell, tutorial, walked)
        if "Apply" in walked.printed:
            # The same stack under another file's name: whoever means that says so, on the way there and back.
            shell.type("cd specs && cp demo.yaml stack.yaml && whisperctl apply --yes --allow-delete stack.yaml")
            notebook = sections(NOTEBOOK)
            paused = {VARIABLES: notebook.pop(VARIABLES)}
            follow(shell, notebook, walked)
            ask(shell, walked, "apply again", "another token")
            servers = descendants(shell.behind[0].pid) | walked.first_server
            # A paused stack is not proved: on, and back, without another start.
            shell.type("whisperctl pause")
            follow(shell, paused, walked)
            shell.type("whisperctl apply --yes --allow-delete demo.yaml && cd ..")
            follow(shell, {CLEAN_UP: last[CLEAN_UP]}, walked)
            ask(shell, walked, "plan after clean-up")
            walked.left = remaining(servers)
        follow(shell, {ELSEWHERE: last[ELSEWHERE]}, walked)
        yield walked


def ask(shell: Shell, walked: Walk, *names: str) -> None:
    for name in names:
        walked.answers[name] = shell.type(f"{{ {ASKED[name]}; }} 2> /dev/null")


def follow(shell: Shell, pages: dict[str, list[Command]], walked: Walk) -> None:
    """Run section by section; a failure ends its section only."""
    for name, block in pages.items():
        try:
            walked.printed[name] = "".join(shell.run(command) for command in block)
        except AssertionError as failure:
            walked.failed[name] = failure
        if name == "Apply":
            walked.first_server = descendants(shell.behind[0].pid)


@pytest.mark.parametrize("section", [*sections(TUTORIAL), *sections(NOTEBOOK)])
def test_section_does_what_it_shows(walk: Walk, section: str) -> None:
    if section in walk.failed:
        raise walk.failed[section]
    assert section in walk.printed, f"not reached: the section {next(iter(walk.failed))!r} failed"


def test_without_a_terminal_all_lines_are_plain(walk: Walk) -> None:
    coloured = [name for name, printed in walk.printed.items() if "\x1b" in printed or "\r" in printed]

    assert coloured == []


def test_every_row_of_the_notebook_has_a_section_that_runs() -> None:
    table = NOTEBOOK.read_text().partition("|---|---|\n")[2].partition("\n\n")[0]
    rows = [line.split("](")[0].removeprefix("| [") for line in table.splitlines()]

    assert len(rows) == 17
    assert list(sections(NOTEBOOK)) == rows


def test_every_command_that_a_row_names_is_run() -> None:
    table = NOTEBOOK.read_text().partition("|---|---|\n")[2].partition("\n\n")[0]
    named = re.findall(r"`(whisperctl [a-z]+)(?: (--[a-z]+))?`|`(--[a-z]+)`", table)
    run = "\n".join(one.text for page in (TUTORIAL, NOTEBOOK) for block in sections(page).values() for one in block)

    assert len(named) > 15
    assert [word for words in named for word in words if word not in run] == []


@pytest.mark.parametrize(
    ("section", "word"),
    [
        ("Requirements", "vllm"),
        ("System packages", "ffmpeg"),
        ("Deployment class", "class Deployment"),
        ("Models", "11 checks: 11 ok, 0 failed, 0 skipped"),
        ("Service", "healthy"),
        ("Upload and build", "success"),
    ],
)
def test_what_the_page_leaves_out_is_there(walk: Walk, section: str, word: str) -> None:
    assert section in walk.printed, "see the section's own test"
    assert word in walk.printed[section]


def test_the_files_that_were_written_hold_what_they_should(walk: Walk) -> None:
    here = walk.folder / "here" / "specs"
    assert json.loads((here / "plan.json").read_text())["stacks"][0]["changes"] == []
    assert "whisper-demo" in (here / "status.json").read_text()
    assert "UBIOPS_API_TOKEN" in (here / "transcribe.sh").read_text()
    assert "river empty" in (here.parent / "subtitles" / "forty-seconds.srt").read_text()
    assert "00:00:38," in (here.parent / "subtitles" / "forty-seconds.srt").read_text()


def test_a_second_apply_does_nothing(walk: Walk) -> None:
    printed, code = walk.answers["apply again"]

    assert (code, json.loads(printed)["stacks"][0]["operations"]) == (0, [])


def test_the_service_wants_the_token(walk: Walk) -> None:
    printed, code = walk.answers["another token"]

    assert code == 22  # curl's, for an HTTP error
    assert "text" not in printed


def test_no_process_of_a_server_outlives_its_stack(walk: Walk) -> None:
    assert len(walk.first_server) >= 4, "two supervisors, the front end and its engine"
    assert walk.left == []


def test_nothing_is_left_to_destroy(walk: Walk) -> None:
    assert walk.answers["plan after clean-up"][1] == 0
