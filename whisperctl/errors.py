"""The exception tree, a problem in a file, and the exit codes.

    WhisperctlError                 exit 1
    ├── SpecError                   every problem found in the stack files, each with its place
    ├── ApiError                    UbiOps answered with an error: verb, path, status, its own words
    │   ├── Unauthorized            401: the token is missing, malformed or unknown
    │   ├── Forbidden               403: the token may not do this
    │   ├── NotFound                404
    │   └── Unreachable             no answer at all: no connection, or a time-out
    ├── NotOwned                    a desired name exists without our label
    ├── Refused                     the plan would do what `apply` does not do, such as delete what is protected
    ├── StalePlan                   the live objects changed since the plan was made
    │   └── Contended               another apply of the same stack is at work
    ├── BuildFailed                 a tag or revision did not build: with its last log lines
    ├── Unhealthy                   the endpoint did not come up, or does not do what the spec says
    ├── GateFailed                  a new version did not pass its gate, or did not keep well after the switch
    └── TimedOut                    a wait reached `rollout.timeout`
    Interrupted                     Ctrl-C, exit 130: beside the tree, so that no handler of errors takes it for one

Foreign exceptions are chained as causes and never shown. No message carries a token or a secret.
This module must not import anything of the package.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_CHANGES_PENDING = 2
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A place in a stack file: line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing wrong in a stack file: where, what, and what to do about it."""

    where: Mark
    path: str
    """Dotted path of the value, such as `version.health_check.port`; empty for the whole file."""
    message: str
    hint: str = ""
    severity: str = "error"
    """`error` or `warning`."""
    name: str = ""
    """Of a warning: what `acknowledge` in the stack file calls it."""

    def __str__(self) -> str:
        return f"{self.where}: {self.severity}: {self.text}"

    @property
    def text(self) -> str:
        """What is wrong with which value, in a second line what to do about it, and a warning's name."""
        head = f"{self.path}: " if self.path else ""
        hint = f"\n  {self.hint}" if self.hint else ""
        return head + self.message + hint + (f" [{self.name}]" if self.name else "")


PLACES = 3
"""Of one warning that are named; the others are counted."""


def merged_warnings(warnings: Iterable[Problem]) -> list[str]:
    """The warnings as text; those of the same words, as of stacks that are alike, as one with its places."""
    places: dict[str, list[Mark]] = {}
    for warning in warnings:
        places.setdefault(f"{warning.severity}: {warning.text}", []).append(warning.where)
    texts = []
    for text, marks in places.items():
        more = f" and {len(marks) - PLACES} more" if len(marks) > PLACES else ""
        texts.append(f"{', '.join(map(str, marks[:PLACES]))}{more}: {text}")
    return texts


class WhisperctlError(Exception):
    """Something the user can act on; its text is the whole message."""

    exit_code: ClassVar[int] = EXIT_FAILED


class SpecError(WhisperctlError):
    """The stack files do not hold what they must; `problems` lists everything found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ApiError(WhisperctlError):
    """UbiOps, or `who` may have in its place, answered a request with an error."""

    def __init__(
        self, verb: str, path: str, status: int, reason: str, advice: str = "", *, who: str = "UbiOps"
    ) -> None:
        self.verb, self.path, self.status, self.reason = verb, path, status, reason
        self.reset = 0.0
        """Seconds until the rate limit's next window, of a 429."""
        text = f"{who} answered {status} to {verb} {path}: {reason}" if status else reason
        super().__init__(text + (f"\n  {advice}" if advice else ""))


class Unauthorized(ApiError):
    """The token is missing, malformed or unknown (401)."""


class Forbidden(ApiError):
    """The token is good and its role does not allow this (403)."""


class NotFound(ApiError):
    """The named object does not exist (404)."""


class Unreachable(ApiError):
    """No answer came: the host is wrong, down, or too slow. The request may have had its effect."""


class NotOwned(WhisperctlError):
    """A name that the stack wants is taken by an object that whisperctl does not own."""


class Refused(WhisperctlError):
    """A plan that can be shown and is not performed; the text has every reason."""


class StalePlan(WhisperctlError):
    """The live objects are no longer those that the plan was made from."""


class Contended(StalePlan):
    """Another apply of the same stack is at work: wait for it and plan again."""


class BuildFailed(WhisperctlError):
    """An environment tag or a revision failed to build."""


class Unhealthy(WhisperctlError):
    """The endpoint did not come up, or does not do what the spec says."""


class GateFailed(WhisperctlError):
    """A new version did not pass its gate, or did not keep well after the switch; what served serves on."""


class TimedOut(WhisperctlError):
    """A wait reached its deadline."""


class Interrupted(Exception):
    """The user interrupted the run; the text says what is still running on UbiOps."""

    exit_code: ClassVar[int] = EXIT_INTERRUPTED
