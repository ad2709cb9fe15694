"""Plain lines on stderr while an apply or a rollback runs: for pipes and files, and what other views leave behind."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import assert_never

import click

from whisperctl.apply.events import Event, Message, OperationEnded, OperationFailed, OperationStarted, OperationStopped
from whisperctl.plan.downtime import duration_in_words
from whisperctl.plan.operations import Operation, OperationKind
from whisperctl.state.resources import Address

VERBS: Mapping[OperationKind, tuple[str, str]] = {
    "create": ("creating", "created"),
    "update": ("updating", "updated"),
    "delete": ("deleting", "deleted"),
    "build": ("building", "built"),
    "upload": ("uploading", "built and active"),
    "claim": ("claiming env vars", "env vars claimed"),
    "record": ("recording env vars", "env vars recorded"),
    "rename": ("renaming", "renamed"),
    "gate": ("gating the new version", "the gate is passed"),
    "switch": ("switching services and default version", "switched"),
    "bake": ("baking", "baked well"),
    "restart": ("replacing running instances", "runs new instances"),
    "retire": ("putting earlier versions to sleep", "serves, earlier versions sleep"),
    "probe": ("proving the endpoint", "the endpoint answers"),
    "seal": ("recording success", "success recorded"),
}
BOOKKEEPING: tuple[OperationKind, ...] = ("claim", "record", "seal")
"""Operations that are shown only when they fail."""


class EventLines:
    """Prints a line for each thing that happens; called from several threads."""

    def __init__(self, *, several: bool, color: bool, verbose: bool) -> None:
        self.several, self.color, self.verbose = several, color, verbose
        self._lock = threading.RLock()  # a signal may come while its own thread holds it

    def __enter__(self) -> None:
        """Called when the work begins; a view of a screen starts to draw here."""

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Show what was held back, leave nothing behind that moves; also from a signal, while another thread shows."""

    def __call__(self, event: Event) -> None:
        """Say what happened."""
        line = self.line(event)
        if line is not None:
            self.show(line)

    def show(self, text: str) -> None:
        """Print a line above what is in progress."""
        with self._lock:
            click.echo(text, err=True)

    def line(self, event: Event, lines: int = 0) -> str | None:
        """The line about an event, None if it is not worth one; `lines` of a log were folded away."""
        match event:
            case OperationStarted(operation=operation) | OperationEnded(operation=operation) if self._is_hidden(
                operation
            ):
                return None
            case OperationStarted(operation=operation):
                return self._line(event, f"{VERBS[operation.kind][0]}...{expected(operation)}")
            case OperationEnded(operation=operation, seconds=seconds):
                took = elapsed(seconds) + (f", {counted(lines)}" if lines else "")
                return self._line(event, f"{VERBS[operation.kind][1]} ({took})", "green")
            case OperationFailed(seconds=seconds):
                return self._line(event, f"failed after {elapsed(seconds)}", "red")
            case OperationStopped():
                return None
            case Message(level=level, text=text):
                return self._line(event, f"| {text}" if level == "log" else text)
            case _:
                assert_never(event)

    def _is_hidden(self, operation: Operation) -> bool:
        return operation.kind in BOOKKEEPING and not self.verbose

    def _line(self, event: Event, text: str, color: str | None = None) -> str:
        line = f"{about(event)}: {text}"
        return self.prefix(event) + (click.style(line, fg=color) if color and self.color else line)

    def prefix(self, event: Event) -> str:
        """Whose event it is, where there are several stacks."""
        return f"[{event.stack}] " if self.several else ""


def about(event: Event) -> Address:
    """The object that an event is about."""
    return event.address if isinstance(event, Message) else event.operation.address


def expected(operation: Operation) -> str:
    """How long an operation will take, in brackets; nothing where that was never measured."""
    return f" ({duration_in_words(operation.seconds)})" if operation.seconds else ""


def counted(lines: int) -> str:
    """`1 log line`, `214 log lines`."""
    return f"{lines} log line" + ("" if lines == 1 else "s")


def elapsed(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
