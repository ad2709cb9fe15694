"""What a stack inherits from its project or deployment and does not show in its file: told, never changed. Pure.

An inherited variable reaches the server as one of the version's own does, so the file's checks judge it as if the file
had set it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from whisperctl.loading.checks import of_variables
from whisperctl.output import looks_secret
from whisperctl.plan.changes import Remark
from whisperctl.spec import EnvVar, Stack
from whisperctl.state.inherited import Inherited
from whisperctl.untrusted import printable_lines

NAME = "inherited-variable"
"""What `acknowledge` calls these warnings."""
_SHOWN = 60
_OPTION = re.compile(r"--([\w.-]+)")


def inherited_remarks(stack: Stack, inherited: Sequence[Inherited], project: str) -> Iterator[Remark]:
    """A warning for each variable, unless the file acknowledges them."""
    if NAME in stack.acknowledge:
        return
    wrong = _problems(stack, inherited)
    for var in inherited:
        level = f"project {project}" if var.level == "project" else f"deployment {stack.deployment.name}"
        doubts = "".join(f"\n  {text}" for text in wrong.get(var.name, []))
        text = (
            f"{_shown_variable(var)} is set on the {level}, not in {stack.file}, and reaches the server.{doubts}\n"
            f"  `env: {{{var.name}: …}}` in the file takes its place. [{NAME}]"
        )
        yield Remark(source=stack.source("env"), text=text)


def _shown_variable(var: Inherited) -> str:
    """`` `NAME=VALUE` ``, as far as it may be shown; no backtick of the value's ends that in a Markdown plan."""
    if var.value is None:
        return f"{var.name} (secret)"
    options = (option.replace("-", "_").upper() for option in _OPTION.findall(var.value))
    if looks_secret(var.name) or any(map(looks_secret, options)):
        return var.name
    line = " ".join(printable_lines(var.value)).replace("`", "'")
    return f"`{var.name}={line if len(line) <= _SHOWN else line[: _SHOWN - 1] + '…'}`"


def _problems(stack: Stack, inherited: Sequence[Inherited]) -> dict[str, list[str]]:
    """Name of a variable -> what the file's checks say of it."""
    read = [EnvVar(name=var.name, value=var.value, secret=False) for var in inherited if var.value is not None]
    problems: dict[str, list[str]] = {}
    for name, text in of_variables(replace(stack, env=(*stack.env, *read)), {var.name for var in read}):
        problems.setdefault(name, []).append(text)
    return problems
