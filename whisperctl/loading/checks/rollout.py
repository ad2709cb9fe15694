"""How an apply moves and proves: the strategy, and the recordings that it ends with."""

from __future__ import annotations

from collections.abc import Iterator

from whisperctl.loading.checks.finding import Finding, warning
from whisperctl.spec import Path_, Smoke, Stack

LONGEST_LINE = 52
"""Characters of `version.name` under blue_green: live versions have `-` and eight digits, or more, behind it."""
OF_BLUE_GREEN = ("gate", "bake", "keep")


def recordings(stack: Stack) -> Iterator[tuple[Path_, Smoke]]:
    """Each recording with the path where it is written."""
    listed = ("rollout", "smoke", 0) in stack.marks
    for index, smoke in enumerate(stack.rollout.smokes):
        yield ("rollout", "smoke", index) if listed else ("rollout", "smoke"), smoke


def strategy(stack: Stack) -> Iterator[Finding]:
    """What the rollout says is what an apply does."""
    if stack.rollout.strategy == "blue_green":
        if not stack.rollout.smokes:
            message = "without recordings a new version is judged by its health and its name alone"
            yield warning(("rollout", "strategy"), "no-smoke", message, "Write rollout.smoke.")
        if len(stack.version.name) > LONGEST_LINE:
            yield Finding(("version", "name"), f"with blue_green it may have {LONGEST_LINE} characters")
        return
    for key in OF_BLUE_GREEN:
        if ("rollout", key) in stack.marks:
            message = "this counts with strategy: blue_green only"
            yield warning(("rollout", key), "without-effect", message, "Leave it out, or change the strategy.")


CHECKS = (strategy,)
