"""What a live version's code runs in -> `environment` of a stack file, and the lock file that it may name.

Of a managed tag the section is the one whose content names that very tag, where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from whisperctl.loading.assemble import APT
from whisperctl.loading.document import Malformed, parse
from whisperctl.loading.values import plain
from whisperctl.operate.importing.draft import Draft
from whisperctl.operate.importing.launched import REQUIREMENTS, requirement_lines, so_far
from whisperctl.operate.importing.objects import Objects
from whisperctl.package.build import ENVIRONMENT_NAME, build_environment
from whisperctl.serving import catalog
from whisperctl.serving.requirements import normalised

BASE = "ubiops-ubuntu24-04-python3-12"
LOCK = "requirements.lock"


def describe_environment(draft: Draft, objects: Objects) -> None:
    """Put the section as far as it differs from the default; the draft knows the release of vLLM."""
    package = objects.package or {}
    name = str(objects.version.get("environment_name") or "")
    if objects.dependencies:
        _from_files(draft, objects.dependencies)
        if name == ENVIRONMENT_NAME:
            _as_built(draft, objects)
        else:
            _base(draft, objects.tag)
            text = f"it ran in {name}, which stays as it is; this is built from the same files."
            draft.note(("environment",), text)
    elif REQUIREMENTS in package:
        draft.put(("environment", "mode"), "package")
        if name and name != BASE:
            draft.put(("environment", "base"), name)
        _from_files(draft, package)
    elif name and name not in (BASE, ENVIRONMENT_NAME):
        draft.ask(
            ("environment",), f"it ran in {name}, and nothing tells what is installed there: what else is needed?"
        )
        draft.put(("environment", "requirements"), [])


def _from_files(draft: Draft, files: Mapping[str, str]) -> None:
    """Requirements beyond vLLM's own, and apt packages that are not the default ones."""
    version = str(draft.data.get("vllm", {}).get("version", ""))
    listed = catalog.release(version)
    also = {normalised(line) for line in (listed.also_require if listed else ())}
    lines = [line for line in requirement_lines(files.get(REQUIREMENTS, "")) if normalised(line) not in also]
    if lines:
        draft.put(("environment", "requirements"), lines)
    apt = apt_packages(files.get("ubiops.yaml", ""))
    if sorted(apt) != sorted(APT):
        draft.put(("environment", "apt"), apt)


def apt_packages(text: str) -> list[str]:
    """The Debian packages that a `ubiops.yaml` names."""
    if not text.strip():
        return []
    try:
        data: Any = plain(parse(text, "ubiops.yaml", Path(), []))
    except Malformed:
        return []
    packages = data.get("apt", {}).get("packages", []) if isinstance(data.get("apt"), dict) else []
    return [str(name) for name in packages] if isinstance(packages, list) else []


def _base(draft: Draft, tag: Mapping[str, Any] | None) -> None:
    name = str((tag or {}).get("base_environment_name") or BASE)
    if name != BASE:
        draft.put(("environment", "base"), name)


def _as_built(draft: Draft, objects: Objects) -> None:
    """Choose among what a managed tag may have been made from: its name tells which it was."""
    tag = objects.tag or {}
    live = str(objects.version.get("environment_tag"))
    name, base_tag = str(tag.get("base_environment_name") or BASE), tag.get("base_environment_tag")
    stack = so_far(draft)
    for pinned in (None, str(base_tag) if base_tag else None):
        environment = replace(stack.environment, base_name=name, base_tag=pinned)
        built = build_environment(replace(stack, environment=environment))
        if built is not None and built.tag == live:
            _put_base(draft, name, pinned)
            return
    _base(draft, tag)
    requirements = objects.dependencies.get(REQUIREMENTS, "")
    if "==" in requirements.partition("\n")[2] and _all_pinned(requirements.splitlines()):
        draft.files[LOCK] = requirements
        draft.put(("environment", "lock"), LOCK)
        draft.data["environment"].pop("requirements", None)


def _put_base(draft: Draft, name: str, tag: str | None) -> None:
    if tag or name != BASE:
        draft.put(("environment", "base"), f"{name}:{tag}" if tag else name)


def _all_pinned(lines: Sequence[str]) -> bool:
    return all("==" in line or line.startswith("-") or not line.strip() for line in lines)
