"""`drift --write`: live values into the stack file, where a person would have written them.

Only what a file can say in one plain value, and only where every difference was made on UbiOps: of a file that has
moved on nothing tells which side is newer. What comes from `${NAME}`, secrets, names, packages and whole objects is
only told.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisperctl.errors import WhisperctlError
from whisperctl.files import Unreadable, read_file
from whisperctl.loading.document import MAX_BYTES, STANDARD_INPUT
from whisperctl.loading.edits import NotEditable, edited
from whisperctl.operate.drift import Drift
from whisperctl.plan.changes import Change
from whisperctl.spec import Path_, Stack
from whisperctl.state.desired import spec_path
from whisperctl.state.diff import FieldChange
from whisperctl.state.resources import Address, Kind, Masked

EDITABLE = (Kind.DEPLOYMENT, Kind.VERSION, Kind.SERVICE, Kind.ENV_VAR)
NAMES = ("name", "version", "deployment", "instance_type_group_name", "environment_name", "environment_tag", "secret")
"""Fields that a file says by names, or elsewhere than at one value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenDrift:
    """What became of the differences of one stack."""

    stack: str
    file: str
    values: tuple[str, ...]
    """What was written, as `version.minimum_instances: 2`."""
    unwritten: tuple[str, ...]
    """What was not, each with why."""


def write_drift(drifts: Sequence[Drift]) -> list[WrittenDrift]:
    """Write the live values of each stack that drifted into its file; a file is replaced as a whole, or not at all.

    Raises:
        WhisperctlError: a stack file cannot be read or written.
    """
    return [_write(entry) for entry in drifts if entry.drifted]


def _write(entry: Drift) -> WrittenDrift:
    stack = entry.plan.desired.stack
    if entry.basis != "applied":
        why = "the stack file is not what was last applied: nothing tells which side is newer"
        return WrittenDrift(stack=stack.name, file=stack.file, values=(), unwritten=(why,))
    if stack.file == STANDARD_INPUT:
        raise WhisperctlError("What came from standard input cannot be written back.\n  Name the file.")
    file = Path(stack.file)
    text = before = _text(file)
    values: list[str] = []
    unwritten: list[str] = []
    for address, field in _fields(entry.compared.changes, unwritten):
        path = _path(stack, address, field)
        name = ".".join(map(str, path))
        try:
            _refuse(stack, field, path)
            text = edited(text, path, field.before)
            values.append(f"{name}: {_shown(field.before)}")
        except NotEditable as error:
            unwritten.append(f"{address} {field.path}: {error}")
    if text != before:
        _replace(file, text)
    return WrittenDrift(stack=stack.name, file=stack.file, values=tuple(values), unwritten=tuple(unwritten))


def _fields(changes: Sequence[Change], unwritten: list[str]) -> Iterator[tuple[Address, FieldChange]]:
    """The fields that differ; whole objects, and what no value of the file stands for, are told."""
    for change in changes:
        if change.action != "update" or change.address.kind not in EDITABLE:
            what = {"create": "it is gone from UbiOps", "delete": "it is in no file"}.get(change.action, change.reason)
            unwritten.append(f"{change.address}: {what}")
            continue
        yield from ((change.address, field) for field in change.fields)


def _path(stack: Stack, address: Address, field: FieldChange) -> Path_:
    """Where the value stands, or would stand, in the stack file."""
    path = spec_path(stack, address, field.path)
    if address.kind is Kind.ENV_VAR and (*path, "value") in stack.marks:
        return (*path, "value")
    return path


def _refuse(stack: Stack, field: FieldChange, path: Path_) -> None:
    """Raise NotEditable for what is only told."""
    if isinstance(field.before, Masked) or isinstance(field.after, Masked):
        raise NotEditable("a secret is not written into a file")
    if field.path in NAMES or field.path == "protect":
        raise NotEditable("it is a name, or follows from other values")
    names = stack.taken_from.get(path, ())
    if names or path in stack.substituted:
        raise NotEditable(f"the file takes it from {' and '.join('${' + name + '}' for name in names)}")
    if isinstance(field.before, dict | list) or (field.before is None and field.path == "health_check"):
        raise NotEditable("it is no plain value")
    if len(path) < 2:
        raise NotEditable("it is no value of the file")


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _text(file: Path) -> str:
    try:
        return read_file(file, MAX_BYTES).decode("utf-8")
    except Unreadable as error:
        raise WhisperctlError(f"{file} cannot be written: {error}") from None


def _replace(file: Path, text: str) -> None:
    """Put the text in the file's place in one step, with its mode; a link stays one."""
    target = Path(os.path.realpath(file))
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        mode = target.stat().st_mode
        partial.write_bytes(text.encode())
        partial.chmod(mode & 0o7777)
        partial.replace(target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise WhisperctlError(f"{file} cannot be written: {error.strerror}.") from None
