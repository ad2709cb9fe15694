"""What another environment tag changes: its requirements, apt packages and base, beside those of the tag in use.

Two names of tags tell that they differ, not how. This explains and decides nothing: where UbiOps does not hand out what
the tag in use was built from, the plan is the same without it. What came from `${NAME}` is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError
from whisperctl.package.build import EnvironmentBuild
from whisperctl.plan.changes import Change
from whisperctl.plan.plan import Plan
from whisperctl.state.diff import FieldChange
from whisperctl.state.live import ENVIRONMENT
from whisperctl.state.resources import Kind, Masked
from whisperctl.untrusted import harmless

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?=\s*($|[\[<>=!~;@( ]))")
"""The package that a pip line speaks of (PEP 508)."""
_APT = re.compile(r'^\s+- "?([^"\s]+)"?$', re.MULTILINE)
_HASHES = re.compile(r"\s+--hash=\S+")
_ADDRESS = re.compile(r"(\w+://)(?:[^/\s]*@)?([^/\s?#@]*)\S*")
"""Scheme and host of a URL; a name, a password or a path before and behind may be a token."""


def is_other_environment(change: Change) -> bool:
    """Whether a version moves from one managed tag to another."""
    fields = {field.path for field in change.fields}
    return change.address.kind is Kind.VERSION and "environment_tag" in fields and "environment_name" not in fields


def environment_contents(plan: Plan, change: Change, api: Api) -> tuple[FieldChange, ...]:
    """What the new tag of `change` has that the old one has not, and the reverse; empty where it cannot be read."""
    build = plan.desired.build
    before = next(field.before for field in change.fields if field.path == "environment_tag")
    if build is None or (live := _live_tag(api, before)) is None:
        return ()
    hidden = any(path[:1] == ("environment",) for path in plan.desired.stack.substituted)
    changes = environment_differences(*live, build)
    return tuple(_hidden(change) if hidden and change.path != "base" else change for change in changes)


def _live_tag(api: Api, name: object) -> tuple[Json, dict[str, str]] | None:
    """A tag and the texts of its files; None where it is none's name, they cannot be read, or it has none."""
    if not isinstance(name, str):
        return None
    try:
        tag, files = api.tag(ENVIRONMENT, name), api.dependency_files(ENVIRONMENT, name)
        texts = {str(file["name"]): str(file["content"] or "") for file in files or ()}
    except (ApiError, KeyError, TypeError):
        return None
    return (tag, texts) if tag is not None and texts else None


def environment_differences(
    tag: Mapping[str, Any], files: Mapping[str, str], build: EnvironmentBuild
) -> Iterator[FieldChange]:
    """Base, requirements by package, and apt packages that differ between a live tag with its files, and `build`."""
    live_base = (tag.get("base_environment_name"), tag.get("base_environment_tag"))
    if build.base_name != live_base[0] or build.base_tag not in (None, live_base[1]):
        before, after = (":".join(filter(None, base)) for base in (live_base, (build.base_name, build.base_tag)))
        yield FieldChange(path="base", before=before, after=after)
    desired = {name: data.decode() for name, data in build.files.items()}
    for kind, name, read in (("requirements", "requirements.txt", _packages), ("apt", "ubiops.yaml", _apt)):
        sides = read(files.get(name, "")), read(desired.get(name, ""))
        for key in sorted({*sides[0], *sides[1]}):
            if sides[0].get(key) != sides[1].get(key):
                shown = [_shown(side.get(key)) for side in sides]
                yield FieldChange(path=f"{kind}.{harmless(key)}", before=shown[0], after=_distinct(*shown))


def _packages(text: str) -> dict[str, str]:
    """Each line of a requirements.txt by its package, or by what it begins with."""
    lines: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        named = _NAME.match(line)
        lines.setdefault(re.sub(r"[-_.]+", "-", named[0].lower()) if named else line.split()[0], []).append(line)
    return {name: " | ".join(sorted(each)) for name, each in lines.items()}


def _apt(text: str) -> dict[str, str]:
    return dict.fromkeys(_APT.findall(text), "installed")


def _shown(line: str | None) -> str | None:
    """A line without hashes, and of its addresses scheme and host only."""
    return line if line is None else _ADDRESS.sub(r"\1\2/…", _HASHES.sub("", line))


def _distinct(before: str | None, after: str | None) -> str | None:
    return f"{after} (another address or hash)" if after is not None and after == before else after


def _hidden(change: FieldChange) -> FieldChange:
    before, after = (None if value is None else Masked.FROM_VARIABLE for value in (change.before, change.after))
    return FieldChange(path=change.path, before=before, after=after)
