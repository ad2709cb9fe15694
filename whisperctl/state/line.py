"""A line of versions: with `strategy: blue_green` live versions are called `v1-` and eight digits of their content.

Whatever is part of the content makes a new version beside the one that serves when it changes; everything else is
changed in place. The name can be told before anything exists. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from whisperctl.spec import Stack
from whisperctl.state import secret
from whisperctl.state.desired import Desired
from whisperctl.state.resources import SERVER_DEFAULTS, Kind, package_address, version_address

CONTENT_FIELDS: Final = frozenset(
    {"environment_name", "environment_tag", "instance_type_group_name", "health_check", "instance_processes",
     "command", "args"}
)  # fmt: skip
"""Fields of a version whose change replaces instances or decides whether they answer."""
DIGITS: Final = 8
LONGEST_LINE: Final = 52
"""Characters of a line's name: UbiOps takes 64 for a version's, and a number may follow the digits."""


def is_line(stack: Stack) -> bool:
    """Whether `version.name` names a line of versions."""
    return stack.rollout.strategy == "blue_green"


def line_of(stack: Stack) -> str:
    """The name of the stack's line: `version.name` of its file."""
    return stack.version.line or stack.version.name


def content_digest(desired: Desired, project: str) -> str:
    """Eight hex digits of what a version is made from: package, environment, group, env vars, secrets, health check."""
    stack = desired.stack
    names = (stack.deployment.name, stack.version.name)
    fields = desired.declared[version_address(*names)].fields
    defaults = SERVER_DEFAULTS[Kind.VERSION]
    ignored = {path[0] for path in desired.declared[version_address(*names)].ignored if path}
    content = {
        "version": {name: fields.get(name, defaults.get(name)) for name in sorted(CONTENT_FIELDS - ignored)},
        "package": desired.declared[package_address(*names)].fields["digest"],
        "env": {
            item.name: [secret.fingerprint(item.value, project, stack.name, item.name) if item.secret else item.value,
                        item.secret]
            for item in stack.env
            if f"env.{item.name}" not in stack.ignore_changes
        },
    }  # fmt: skip
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def version_name(line: str, digest: str, number: int = 1) -> str:
    """`v1-0123abcd`, and `v1-0123abcd-2` where the name is taken by other content."""
    return f"{line}-{digest}" + (f"-{number}" if number > 1 else "")


def free_name(line: str, digest: str, taken: Iterable[str]) -> str:
    """The first name of that content that is not `taken`."""
    others = set(taken)
    number = 1
    while version_name(line, digest, number) in others:
        number += 1
    return version_name(line, digest, number)


def is_of_line(name: str, line: str) -> bool:
    """Whether a version's name is one that this line gives."""
    return re.fullmatch(rf"{re.escape(line)}-[0-9a-f]{{{DIGITS}}}(-\d+)?", name) is not None


def named(stack: Stack, version: str) -> Stack:
    """The stack with its version under another name; where its values stand in the file stays as it is."""
    return replace(stack, version=replace(stack.version, name=version, line=line_of(stack)))
