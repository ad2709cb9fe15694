"""What a new package changes about the server: the package that runs, read back, beside the one that would be uploaded.

A digest tells that two packages differ, not how. A rendered `deployment.py` holds one literal, so what differs can be
told option by option. This explains and decides nothing: where UbiOps cannot hand the package out, the plan is the same
without it.
"""

from __future__ import annotations

import ast
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from whisperctl.api import Api
from whisperctl.diff import FieldChange
from whisperctl.engine import World
from whisperctl.errors import ApiError
from whisperctl.foreign import harmless
from whisperctl.live import recorded_revisions
from whisperctl.operations import Change
from whisperctl.package import Package
from whisperctl.plan import Plan
from whisperctl.resources import Kind, version_address

LARGEST = 16 << 20
"""Bytes of a package that is still fetched to explain a plan; one that carries a model is larger."""
_CODE = "deployment.py"
_TEXT = (".txt", ".yaml")
_CONDITION = "unless"
"""In `sharing`: which arguments forbid it. No setting of the server."""


def explained(plans: Sequence[Plan], world: World) -> list[Plan]:
    """The plans with `contents` in each change of a package whose predecessor can be read.

    Raises:
        Interrupted: the user interrupted.
    """
    with ThreadPoolExecutor(world.parallelism) as pool:
        return list(pool.map(lambda plan: _explained(plan, world.api(plan.wanted.stack)), plans))


def _explained(plan: Plan, api: Api) -> Plan:
    changes = [
        replace(change, contents=_contents(plan, change, api)) if _is_new_package(change) else change
        for change in plan.changes
    ]
    return replace(plan, changes=tuple(changes))


def _is_new_package(change: Change) -> bool:
    return change.address.kind is Kind.PACKAGE and change.action == "update"


def _contents(plan: Plan, change: Change, api: Api) -> tuple[FieldChange, ...]:
    deployment, version = change.address.names
    labels = plan.live.labels.get(version_address(deployment, version), {})
    # Only what we uploaded is read: somebody else's package may hold what must not be shown.
    ours = [item.revision for item in recorded_revisions(labels) if item.digest == change.fields[0].before]
    if not ours:
        return ()
    kept = _Bounded()
    try:
        api.download(deployment, version, ours[0], kept)
        return differences(kept, plan.wanted.package)
    except (ApiError, _TooLargeError, zipfile.BadZipFile):
        return ()


class _TooLargeError(Exception):
    """The package is not worth its transfer."""


class _Bounded(io.BytesIO):
    """Bytes in memory, up to a bound."""

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > LARGEST:
            raise _TooLargeError
        return super().write(data)


def differences(active: BinaryIO, package: Package) -> tuple[FieldChange, ...]:
    """What `package` changes in the zip `active`: settings of the server first, then whole files.

    Raises:
        zipfile.BadZipFile: it is no zip archive.
    """
    with zipfile.ZipFile(active) as archive:
        # The archive's one top folder is not part of a name.
        names = (name for name in archive.namelist() if not name.endswith("/"))
        old = {name.partition("/")[2] or name: archive.read(name) for name in names}
    new = {name: file.read_bytes() if isinstance(file, Path) else file for name, file in package.files.items()}
    before, after = old.get(_CODE, b""), new.get(_CODE, b"")
    settings = _compared(_flat(config(before)), _flat(config(after)))
    return (*settings, *_compared(_files(old, _around(before)), _files(new, _around(after))))


def _compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FieldChange]:
    return [
        FieldChange(path=harmless(name), before=before.get(name), after=after.get(name))
        for name in [*after, *(name for name in before if name not in after)]
        if before.get(name) != after.get(name)
    ]


def _files(files: Mapping[str, bytes], code: str) -> dict[str, Any]:
    """Each file's lines if it is text to read, else the start of its SHA-256."""
    found = {
        name: content.decode(errors="replace").splitlines() if name.endswith(_TEXT) else _seal(content)
        for name, content in sorted(files.items())
    }
    return found | {_CODE: _seal(code.encode())}


def _seal(content: bytes) -> str:
    return f"sha256 {hashlib.sha256(content).hexdigest()[:12]}"


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Name -> value: mappings with dots, arguments of `vllm serve` by option."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if name == _CONDITION:
            continue
        if isinstance(value, dict):
            found |= _flat(value, f"{above}{name}.")
        elif name == "arguments":
            found |= {f"{above}{option}": words for option, words in _options(value)}
        else:
            found[above + name] = value
    return found


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each option with its words behind it."""
    starts = [at for at, word in enumerate(words) if word.startswith("--")]
    for at, end in zip(starts, [*starts[1:], len(words)], strict=True):
        yield words[at], " ".join(words[at + 1 : end]) or "on"


def config(source: bytes) -> dict[str, Any]:
    """The one literal of a rendered `deployment.py`; {} for code that has none."""
    try:
        found = ast.literal_eval(node.value) if (node := _literal(source)) else {}
    except (SyntaxError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _around(source: bytes) -> str:
    """The code without its literal."""
    try:
        node = _literal(source)
    except (SyntaxError, ValueError):
        node = None
    lines = source.decode(errors="replace").splitlines()
    return "\n".join(lines[: node.lineno - 1] + lines[node.end_lineno :] if node else lines)


def _literal(source: bytes) -> ast.Assign | None:
    return next((node for node in ast.parse(source).body if isinstance(node, ast.Assign) and _is_config(node)), None)


def _is_config(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "CONFIG" for target in node.targets)
