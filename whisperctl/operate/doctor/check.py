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
    detail: str
    fix: str = ""


def ok(name: str, detail: str) -> Check:
    """A check that passed."""
    return Check(name=name, verdict="ok", detail=detail)


def warning(name: str, detail: str, fix: str) -> Check:
    """A check of something that works and has a risk; `fix` says what would be better."""
    return Check(name=name, verdict="warning", detail=detail, fix=fix)


def failed(name: str, detail: str, fix: str) -> Check:
    """A check of something that an apply would fail by; `fix` says how to mend it."""
    return Check(name=name, verdict="failed", detail=detail, fix=fix)


def skipped(name: str, why: str) -> Check:
    """A check that could not be made, and why."""
    return Check(name=name, verdict="skipped", detail=why)


def guarded(name: str, ask: Callable[[], T], detail: str) -> tuple[T | None, Check]:
    """The value of `ask` and a check that says `detail`; None and its error's own words if it raises."""
    try:
        return ask(), ok(name, detail)
    except WhisperctlError as error:
        first, _, rest = str(error).partition("\n")
        return None, failed(name, first, " ".join(rest.split()))
