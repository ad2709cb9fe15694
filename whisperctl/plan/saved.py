"""A plan in a file: what was approved is what runs, or nothing does.

The file holds what each plan proposes, which stack files it was made from, and two digests: of all that is desired and
of every live object. Applying it plans again from the same files and refuses when what would be done differs; words,
such as reasons and lines of the file, are kept to be shown and decide nothing. It holds no secret, only slow salted
fingerprints: the values are taken from the environment again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisperctl.errors import StalePlan, WhisperctlError
from whisperctl.files import NotText, Unreadable, read_text
from whisperctl.loading.document import SAVED_PLAN
from whisperctl.output import json_text
from whisperctl.plan.encoding import decode, encode, structure
from whisperctl.plan.plan import Plan
from whisperctl.plan.proposal import Proposal
from whisperctl.plan.selection import EVERYTHING, Selection
from whisperctl.state import secret
from whisperctl.state.resources import env_var_address

LARGEST = 256 << 20
"""Bytes of a plan file; one of a thousand new stacks has some ten million."""
FORMAT_VERSION = "2"
"""Of the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """What a plan file holds."""

    paths: tuple[str, ...]
    destroy: bool
    allow_delete: bool
    """Whether a stack of another file may be taken over."""
    selection: Selection
    """The part of the stacks that it is of."""
    plans: tuple[Proposal, ...]
    desired: tuple[str, ...]
    secrets: Mapping[str, str]
    """Address of an env var -> salted fingerprint of its value."""


def check_target(file: str) -> None:
    """Return if a plan may be saved there: nothing but an older saved plan is ever replaced.

    Raises:
        WhisperctlError: something else is there.
    """
    try:
        there = Path(file).stat()
    except OSError:
        return  # nothing is there; whether something can be, saving tells
    if stat.S_ISDIR(there.st_mode):
        raise WhisperctlError(f"The plan cannot be saved to {file or '(no name)'}: it is a directory.\n  Name a file.")
    # Only what is a plain file is read: a device or a pipe might never end. An empty one is mktemp's.
    if not (stat.S_ISREG(there.st_mode) and (there.st_size == 0 or _is_saved_plan(_content(file)))):
        raise WhisperctlError(
            f"{file} exists and is not a saved plan: it is left as it is.\n"
            "  Name another file with `-o FILE`, or remove this one first."
        )


def save(file: str, plans: Sequence[Plan], paths: Sequence[str], allow_delete: bool, selection: Selection) -> None:
    """Write the plan file, readable by its owner only; a crash leaves the old file or the new one.

    Raises:
        WhisperctlError: the file cannot be written.
    """
    content = {
        "kind": SAVED_PLAN,
        "format_version": FORMAT_VERSION,
        "paths": list(paths),
        "destroy": any(plan.destroy for plan in plans),
        "allow_delete": allow_delete,
        "only": list(selection.only),
        "exclude": list(selection.exclude),
        "wanted": [_desired(plan) for plan in plans],
        "secrets": {address: secret.fingerprint(value) for address, value in _secrets(plans).items()},
        "plans": [encode(plan) for plan in plans],
    }
    target = Path(file)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(json_text(content))
        partial.replace(target)
    except OSError as error:
        with suppress(OSError):  # where nothing can be written, nothing can be removed either
            partial.unlink()
        raise WhisperctlError(f"The plan cannot be saved to {file}: {error.strerror}.") from None


def load(file: str) -> Saved:
    """Read a plan file, whether what it was made from is still so or not.

    Raises:
        WhisperctlError: it cannot be read or is no plan of this version.
    """
    content = _content(file)
    if not _is_saved_plan(content):
        raise WhisperctlError(f"{file} is not a saved plan.\n  Make one with `whisperctl plan -o FILE`.")
    if content.get("format_version") != FORMAT_VERSION:
        paths = content.get("paths")
        named = [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []
        advice = _plan_again(file, named, content.get("destroy") is True, EVERYTHING)
        raise WhisperctlError(f"{file} was made by another version of whisperctl.\n  {advice}")
    try:
        return Saved(
            paths=tuple(map(_text, content["paths"])),
            destroy=content["destroy"] is True,
            allow_delete=content["allow_delete"] is True,
            selection=Selection(
                only=tuple(map(_text, content.get("only", ()))), exclude=tuple(map(_text, content.get("exclude", ())))
            ),
            plans=tuple(decode(plan) for plan in content["plans"]),
            desired=tuple(map(_text, content["wanted"])),
            secrets={_text(address): _text(written) for address, written in content["secrets"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise WhisperctlError(
            f"{file} is damaged: it is a saved plan, but not as whisperctl writes one.\n  Make it again with `-o`."
        ) from None


def _text(value: Any) -> str:
    """A text of the file.

    Raises:
        ValueError: it is none, or one that no path can be.
    """
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("no text")
    return value


def refuse_missing(file: str, saved: Saved) -> None:
    """Return if the stack files that the plan was made from are there.

    Raises:
        WhisperctlError: some are not; the message names them.
    """
    paths = saved.paths
    missing = ", ".join(str(Path(path).absolute()) for path in paths if not Path(path).exists())
    if missing:
        raise WhisperctlError(
            f"{file} was made from stack files that are not here: there is no {missing}.\n"
            "  The paths in a saved plan are relative to the folder that it was made in: apply it there."
        )


def _plan_again(file: str, paths: Sequence[str], destroy: bool, selection: Selection) -> str:
    """The command that made the plan file."""
    globs = [f"--only={glob}" for glob in selection.only] + [f"--exclude={glob}" for glob in selection.exclude]
    command = ["whisperctl", "plan", *(["--destroy"] if destroy else []), *globs, "-o", file, *paths]
    return f"Plan again: {shlex.join(command)}"


def _content(file: str) -> Any:
    """What the file holds as JSON; None for anything else."""
    try:
        return json.loads(read_text(file, LARGEST))
    except Unreadable as error:
        if isinstance(error, NotText):
            return None
        raise WhisperctlError(f"The plan file {file} cannot be read: {error}") from None
    except (ValueError, RecursionError):
        return None


def _is_saved_plan(content: Any) -> bool:
    return isinstance(content, dict) and content.get("kind") == SAVED_PLAN


def check(file: str, saved: Saved, plans: Sequence[Plan]) -> None:
    """Return if the plans made now are those in the file.

    Raises:
        StalePlan: the stack files, the secrets or the live objects changed since.
    """
    advice = f"  Nothing was changed. {_plan_again(file, saved.paths, saved.destroy, saved.selection)}"
    if saved.desired != tuple(_desired(plan) for plan in plans):
        raise StalePlan(f"{file} is stale: the stack files or the model changed since it was made.\n{advice}")
    for address, value in _secrets(plans).items():
        if not secret.matches(value, saved.secrets.get(address, "")):
            raise StalePlan(f"{file} is stale: the secret {address} has another value now.\n{advice}")
    if [structure(plan) for plan in saved.plans] != [structure(plan) for plan in plans]:
        raise StalePlan(f"{file} is stale: the live objects changed since it was made.\n{advice}")


def _desired(plan: Plan) -> str:
    """One digest of what is desired, the endings of an apply that leave no trace in the state included."""
    stack = plan.desired.stack
    text = repr((plan.desired.digest, stack.project, stack.rollout, stack.protect))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _secrets(plans: Sequence[Plan]) -> dict[str, str]:
    return {
        str(
            env_var_address(plan.desired.stack.deployment.name, plan.desired.stack.version.name, variable.name)
        ): variable.value
        for plan in plans
        for variable in plan.desired.stack.env
        if variable.secret and not plan.destroy  # whoever destroys needs none
    }
