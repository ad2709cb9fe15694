"""The question before a command changes something: asked on a terminal, refused without one."""

from __future__ import annotations

import sys

import click

from whisperctl.errors import WhisperctlError


def confirm(question: str, yes: bool) -> None:
    """Return if the user agrees, by `--yes` or by the answer.

    Raises:
        WhisperctlError: there is nobody to ask, or the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise WhisperctlError("This asks before it changes anything, and there is no terminal.\n  Pass --yes.")
    if not click.confirm(question, default=False, err=True):
        raise WhisperctlError("Nothing was changed.")


def to_stderr(line: str) -> None:
    """Print a line on stderr."""
    click.echo(line, err=True)
