"""One check of the doctor, and the ways it can end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from whisperctl.errors import WhisperctlError

Verdict = Literal["ok", "warning", "failed", "skipped"]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What was looked at, how it is, and what to do about it."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


def ok(name: str, found: str) -> Check:
    """Nothing to do."""
    return Check(name=name, verdict="ok", found=found)


def warning(name: str, found: str, fix: str) -> Check:
    """Works, but."""
    return Check(name=name, verdict="warning", found=found, fix=fix)


def failed(name: str, found: str, fix: str) -> Check:
    """An apply would fail."""
    return Check(name=name, verdict="failed", found=found, fix=fix)


def skipped(name: str, why: str) -> Check:
    """Could not be looked at."""
    return Check(name=name, verdict="skipped", found=why)


def guarded(name: str, ask: Callable[[], T], found: str) -> tuple[T | None, Check]:
    """The value of `ask` and a check that says `found`; None and its error's own words if it raises."""
    try:
        return ask(), ok(name, found)
    except WhisperctlError as error:
        first, _, rest = str(error).partition("\n")
        return None, failed(name, first, " ".join(rest.split()))
