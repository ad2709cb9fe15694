"""The shell blocks of a page, and whether what a command printed is what the page shows.

Blocks fenced as `console` hold `$ command` lines, each followed by its output where the page shows it; blocks fenced
as `bash`, `sh` or `shell` hold nothing but commands; any block with a `title` is a file of that name. An HTML comment
on the line before a fence says what is special about it:

    <!-- not run: WHY -->                 the block is left alone
    <!-- not run, lines with A|B: WHY --> only its lines with one of these words are
    <!-- exit code N -->                  its last command ends so, not with 0
    <!-- runs on: WHY -->                 it is started in the background, and goes on until the end of the page

A command whose shown output answers a question (`[y/N]: y`) is run on a terminal, where that is typed.

In shown output a line `...` stands for any lines, and `...` inside a line for any text. Ids, ports, digests, dates and
times are compared as such, not by value; warnings that a page does not show are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHELLS = {"bash", "sh", "shell"}
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)(?: title=\"(?P<title>[^\"]+)\")?\s*$")
NOT_RUN = re.compile(r"<!-- not run(?:, lines with (?P<words>.+?))?: (?P<reason>.+) -->")
EXIT_CODE = re.compile(r"<!-- exit code (\d+) -->")
RUNS_ON = re.compile(r"<!-- runs on: .+ -->")
QUESTION = "[y/N]: "

ALIKE = (
    (re.compile(r"\r?\x1b\[[0-?]*[ -/]*[@-~]"), ""),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{12,64}\b"), "DIGEST"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|\+00:00| UTC)?"), "DATE"),
    (re.compile(r"(\d+ h )?(\d+ min )?\d+(\.\d+)? s\b"), "TIME"),
    (re.compile(r"\b\d+ min\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)?x\b"), "SPEED"),
    (re.compile(r"[ \t]+"), " "),
)
WARNING = re.compile(r"^\S+: warning: .*\n(  .*\n)*", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What a reader types, and what the page shows of the answer."""

    text: str
    shown: str
    exit_code: int
    runs_on: bool
    where: str
    """PAGE:LINE."""

    @property
    def answers(self) -> list[str]:
        """What is typed when it asks."""
        return [line.partition(QUESTION)[2] for line in self.shown.splitlines() if QUESTION in line]


def commands(page: Path) -> list[Command]:
    """Every command of the page that is to be run, in order."""
    return [command for block in _blocks(page) for command in _commands(block)]


def sections(page: Path) -> dict[str, list[Command]]:
    """The page's commands by second-level heading, in order; those without any left out, "" for what is above."""
    headings_ = [(0, ""), *headings(page)]
    by_heading: dict[str, list[Command]] = {}
    for command in commands(page):
        line = int(command.where.rpartition(":")[2])
        by_heading.setdefault([text for number, text in headings_ if number < line][-1], []).append(command)
    return by_heading


def left_out(page: Path) -> list[str]:
    """Why blocks of the page are not run."""
    return [reason for _, reason in NOT_RUN.findall(page.read_text())]


def headings(page: Path) -> list[tuple[int, str]]:
    """Line and text of the page's second-level headings."""
    lines = enumerate(page.read_text().splitlines(), start=1)
    return [(number, line.removeprefix("## ")) for number, line in lines if line.startswith("## ")]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Block:
    language: str
    title: str | None
    lines: list[str]
    before: str
    where: str
    first: int


def _blocks(page: Path) -> Iterator[_Block]:
    lines = page.read_text().splitlines()
    number = 0
    while number < len(lines):
        opened = FENCE.match(lines[number])
        if not opened:
            number += 1
            continue
        end = next(i for i in range(number + 1, len(lines)) if lines[i].strip() == "```")
        before = lines[number - 1].strip() if number else ""
        if opened["title"] or opened["language"] in SHELLS | {"console"}:
            inside = [line.removeprefix(opened["indent"]) for line in lines[number + 1 : end]]
            yield _Block(
                language=opened["language"],
                title=opened["title"],
                lines=inside,
                before=before,
                where=page.name,
                first=number + 2,
            )
        number = end + 1


def _commands(block: _Block) -> Iterator[Command]:
    left_out = NOT_RUN.fullmatch(block.before)
    if left_out and not left_out["words"]:
        return
    words = left_out["words"].split("|") if left_out else []
    typed = list(_typed(block))
    expected = EXIT_CODE.fullmatch(block.before)
    for position, (line, text, shown) in enumerate(typed):
        last = position == len(typed) - 1
        if any(word in text for word in words):
            continue
        yield Command(
            text=text,
            shown=shown,
            exit_code=int(expected[1]) if expected and last else 0,
            runs_on=bool(RUNS_ON.fullmatch(block.before)),
            where=f"{block.where}:{block.first + line}",
        )


def _typed(block: _Block) -> Iterator[tuple[int, str, str]]:
    """Line in the block, command, shown output."""
    if block.title:
        text = "\n".join(block.lines)
        yield 0, f"mkdir -p $(dirname {block.title}) && cat > {block.title} <<'END OF FILE'\n{text}\nEND OF FILE", ""
        return
    if block.language in SHELLS:
        yield from ((number, line, "") for number, line in enumerate(block.lines) if line.split("#")[0].strip())
        return
    starts = [i for i, line in enumerate(block.lines) if line.startswith("$ ")]
    for start, end in zip(starts, [*starts[1:], len(block.lines)], strict=True):
        typed, rest = [block.lines[start].removeprefix("$ ")], block.lines[start + 1 : end]
        while rest and (rest[0].startswith("> ") or typed[-1].endswith("\\")):
            typed.append(rest.pop(0).removeprefix("> "))
        yield start, "\n".join(typed), "\n".join(rest).strip("\n")


def differs(shown: str, printed: str) -> str | None:
    """None when the page shows what was printed, else both as they were compared."""
    if "warning:" not in shown:
        printed = WARNING.sub("", printed)
    expected, got = _alike(shown), _alike(printed)
    if re.fullmatch("".join(map(_pattern, expected.splitlines())), got):
        return None
    return f"--- the page shows\n{expected}--- printed\n{got}"


def _alike(text: str) -> str:
    for pattern, word in ALIKE:
        text = pattern.sub(word, text)
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())


def _pattern(line: str) -> str:
    if line.strip() == "...":
        return r"(?:[^\n]*\n)*?"
    return r"[^\n]*?".join(re.escape(part) for part in line.split("...")) + "\n"
