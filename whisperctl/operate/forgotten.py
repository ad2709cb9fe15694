"""A stack that is on UbiOps and in no file: found by its name, so that it can be destroyed. Reads only."""

from __future__ import annotations

from whisperctl.control.api import Api
from whisperctl.errors import WhisperctlError
from whisperctl.loading.undeclared import undeclared
from whisperctl.operate.inventory import read_inventory
from whisperctl.spec import Stack


def forgotten_stack(api: Api, name: str) -> Stack:
    """The stack of that name in the project, as far as its objects tell; enough to destroy it.

    Raises:
        WhisperctlError: the project has no such stack.
    """
    entries = read_inventory(api)
    forgotten = next((entry for entry in entries if entry.stack == name), None)
    if forgotten is None:
        known = ", ".join(dict.fromkeys(entry.stack for entry in entries)) or "none"
        raise WhisperctlError(
            f"The project {api.project} has no stack {name!r}.\n  It has: {known}. Nothing was changed."
        )
    return undeclared(name, forgotten.deployment or name, forgotten.version or "none")
