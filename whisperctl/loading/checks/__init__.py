"""What a schema cannot say: whether the parts of a stack fit each other, and the facts of the catalogue.

Each check is a function from a stack to findings; a finding names the path of the value that is to blame.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from whisperctl.errors import Problem
from whisperctl.loading.checks import (
    arguments,
    capacity,
    declarations,
    group,
    model,
    release,
    requirements,
    rollout,
    secrets,
    ubiops,
    variables,
)
from whisperctl.loading.checks.collisions import between
from whisperctl.loading.checks.finding import Finding
from whisperctl.loading.paths import dotted
from whisperctl.spec import Path_, Stack

__all__ = ["between", "of_variables", "within"]

CHECKS = (
    *declarations.CHECKS,
    *model.CHECKS,
    *release.CHECKS,
    *arguments.CHECKS,
    *variables.CHECKS,
    *requirements.CHECKS,
    *group.CHECKS,
    *capacity.CHECKS,
    *ubiops.CHECKS,
    *rollout.CHECKS,
    *secrets.CHECKS,
)


def within(stack: Stack) -> Iterator[tuple[Path_, Problem]]:
    """Everything wrong or doubtful inside one stack, with the path that is to blame."""
    for check in CHECKS:
        for finding in check(stack):
            if finding.name not in stack.acknowledge:
                yield finding.path, _problem(stack, finding)


OF_VARIABLES = (arguments.extra_arguments, *variables.CHECKS, capacity.cache_format, capacity.decoder_length,
                model.task, ubiops.ports, ubiops.reach)  # fmt: skip
"""Checks that judge env vars."""


def of_variables(stack: Stack, names: AbstractSet[str]) -> Iterator[tuple[str, str]]:
    """What is wrong or doubtful about these env vars of the stack: each one's name, and the problem in a line."""
    for check in OF_VARIABLES:
        for finding in check(stack):
            if finding.path[0] == "env" and finding.path[1] in names and finding.name not in stack.acknowledge:
                yield str(finding.path[1]), " ".join(filter(None, (f"{finding.message}.", finding.hint)))


def _problem(stack: Stack, finding: Finding) -> Problem:
    return Problem(
        where=stack.mark(*finding.path),
        path=dotted(finding.path),
        message=finding.message,
        hint=finding.hint,
        severity=finding.severity,
        name=finding.name,
    )
