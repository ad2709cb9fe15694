"""A few threads that do what they are handed, and never keep the program from ending.

`concurrent.futures` has the same with threads that are waited for at exit: after Ctrl-C a transcription of a minute
would be sat out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Threads:
    """At most `hands` daemon threads; one is started only when none is free."""

    def __init__(self, hands: int, name: str) -> None:
        self._hands, self._name = hands, name
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._free = 0
        """Threads without a task, less tasks without a thread."""

    def submit(self, task: Callable[[], T]) -> Future[T]:
        """Do `task` as soon as a thread is free."""
        future: Future[T] = Future()
        self._tasks.put((future, task))
        with self._lock:
            self._free -= 1
            if self._free < 0 and len(self._threads) < self._hands:
                self._free += 1
                number = len(self._threads)
                thread = threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def dismiss(self) -> None:
        """Let every thread end when it has done what was submitted so far."""
        with self._lock:
            for _ in self._threads:
                self._tasks.put(None)
            self._threads.clear()

    def _work(self) -> None:
        while (submitted := self._tasks.get()) is not None:
            _done(*submitted)
            del submitted  # what a task was done with must not wait for the next one
            with self._lock:
                self._free += 1


def _done(future: Future[Any], task: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = task()
    except BaseException as error:  # it belongs to whoever asks the future
        future.set_exception(error)
    else:
        future.set_result(result)
