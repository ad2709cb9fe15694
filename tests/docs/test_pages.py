"""The generated pages are up to date, the site builds, and the GitOps guide runs as it stands."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.docs_generate import COMMAND, pages
from scripts.docs_llms import pages as navigation
from tests.docs.blocks import commands, differs
from tests.docs.conftest import with_specs
from tests.docs.shell import ROOT, Shell

ALL = sorted((ROOT / "docs").glob("*.md"))
TOUCHING = ("cp", "mv", "rm", "sed", "mkdir", "cd")
"""Programs of the tutorial that make, change or remove files."""


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_generated_pages_are_up_to_date(page: Path) -> None:
    assert page.exists(), f"run `{COMMAND}`"
    assert page.read_text() == pages()[page], f"{page.name} is out of date: run `{COMMAND}`"


def test_what_is_to_be_installed_is_this_project_and_not_the_foreign_one_of_the_command_s_name() -> None:
    foreign = re.compile(r"(?<!un)install\s+(?:-\S+\s+)*['\"]?whisperctl(?!-ubiops)\b")
    folders = [ROOT / name for name in ("docs", "templates", "whisperctl", "ubiops_emulator", "scripts")]
    files = [path for folder in folders for end in ("md", "py", "yaml", "yml") for path in folder.rglob(f"*.{end}")]
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *files)}
    assert sum("whisperctl-ubiops" in text for text in texts.values()) > 10
    assert [path.name for path, text in texts.items() if foreign.search(text)] == []


def test_the_man_page_is_one() -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    page = [groff, "-man", "-Tutf8", "-ww", str(ROOT / "man/whisperctl.1")]
    done = subprocess.run(page, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "EXIT STATUS" in re.sub(".\x08", "", done.stdout)  # bold is a letter struck twice


def test_every_page_is_reached_from_the_first() -> None:
    titles = dict(navigation())
    assert set(titles.values()) == {page.name for page in ALL}
    links = {page.name: set(re.findall(r"\]\(([\w-]+\.md)", page.read_text())) for page in ALL}
    reached, following = {"index.md"}, {"index.md"}
    while following:
        following = {to for page in following for to in links[page]} - reached
        reached |= following
    assert reached == set(titles.values()), f"no link leads to {sorted(set(titles.values()) - reached)}"


def test_the_site_builds_without_a_warning_and_asks_no_other_host(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="MkDocs is not installed: run `make setup`")
    site = tmp_path / "site"
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    assert (site / "llms.txt").read_text() == (ROOT / "llms.txt").read_text()
    fetched = re.compile(
        r"<(?!link rel=\"?(?:canonical|prev|next|alternate)\b)(?:link|script|img|iframe)\b[^>]*?\b(?:href|src)=\"?(https?://[^\s\">]+)"
    )
    assert {url for page in site.rglob("*.html") for url in fetched.findall(page.read_text())} == set()


@pytest.mark.parametrize("name", ["plan", "apply", "transcribe", "smoke"])
def test_pictures_are_small_coloured_and_fetch_nothing(name: str) -> None:
    picture = (ROOT / "docs" / "img" / f"{name}.svg").read_text()

    assert f"$&#160;whisperctl&#160;{name}" in picture
    assert len(picture) < 40_000
    assert len(set(re.findall(r"fill: (#[0-9a-f]{6})", picture))) > 1
    assert "@font-face" not in picture
    assert "url(http" not in picture


def test_the_gitops_guide_runs_as_it_stands(shell: Shell) -> None:
    with_specs(shell)
    recording = shell.folder / "stacks" / "samples" / "en.flac"
    recording.parent.mkdir(parents=True)
    recording.write_bytes((ROOT / "templates" / "init" / "recordings" / "en.flac").read_bytes())

    assert len([shell.run(command) for command in commands(ROOT / "docs" / "gitops.md")]) > 5


def test_the_tutorial_leaves_the_repository_as_it_was(tmp_path: Path) -> None:
    """Its commands that touch files, in their order, in a checkout: what git says afterwards."""
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "specs", checkout / "specs")
    shutil.copy(ROOT / ".gitignore", checkout)
    touching = [c.text for c in commands(ROOT / "docs" / "tutorial.md") if c.text.split()[0] in TOUCHING]
    assert len(touching) > 5
    begin = 'git init -q . && git add . && git -c user.name=t -c user.email=t@t commit -q -m "as it was"'
    lines = ["set -e", begin, *touching, f"cd {checkout}", "git status --porcelain"]
    ran = subprocess.run(["bash"], input="\n".join(lines), cwd=checkout, capture_output=True, text=True, check=True)
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("a\n...\nz (1.2 s)", "a\nb\nc\nz (1 min 22 s)\n", True),
        ("a\n...", "a\n", True),
        ("...", "", True),
        ("a ... c", "a b c\n", True),
        ("a\nb", "a\nc\n", False),
        ("a", "a\nb\n", False),
        ("a", "f.yaml:1:2: warning: mind\n  the gap\na\n", True),
        ("http://127.0.0.1:1", "http://127.0.0.1:22\n", True),
    ],
)
def test_comparing_what_is_shown_with_what_was_printed(shown: str, printed: str, same: bool) -> None:
    assert (differs(shown, printed) is None) == same


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.name)
def test_no_page_names_a_command_or_option_that_does_not_exist(page: Path) -> None:
    from whisperctl.cli.main import COMMANDS

    named = set(
        re.findall(r"whisperctl ([a-z]+)\b", " ".join(re.findall(r"`[^`\n]+`|^\$ .*$", page.read_text(), re.MULTILINE)))
    )

    assert named <= COMMANDS.keys()


def test_troubleshooting_quotes_messages_that_exist() -> None:
    """Each quoted message, piece by piece between its dots, is somewhere in the sources."""
    said = "\n".join(message for file in sources() for message in messages(file))
    titles = re.findall(r"^### (`.*`)", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    quoted = [message for title in titles for message in re.findall(r"`([^`]+)`", title)]
    pieces = {piece.strip() for message in quoted for piece in re.split(r"\.\.\.|\b\d{3}\b", message)}

    assert len(quoted) > 30
    assert {piece for piece in pieces - {"", ":", ","} if piece not in said} == set()


def sources() -> list[Path]:
    folders = [
        (ROOT / folder, pattern) for folder in ("whisperctl", "ubiops_emulator") for pattern in ("*.py", "*.json")
    ]
    folders.append((ROOT / "templates", "*.py"))
    folders.append((ROOT / "tests" / "specs", "*.txt"))  # what validate prints, as its own tests hold it
    return [file for folder, pattern in folders for file in folder.rglob(pattern)]


def messages(file: Path) -> list[str]:
    """Every string of a Python file, those written in several parts or with values in them as one; else its text."""
    text = file.read_text()
    if file.suffix != ".py":
        return [text]
    texts = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts.append(node.value)
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
            texts.append("".join(str(part) for part in parts))
    return texts
