"""Which operations of several plans may begin, and which never will, by what has become of the others. Pure.

An operation begins once everything that it needs is done. What needs something that was not done is not tried.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from whisperctl.apply.outcome import OperationResult, ResultStatus
from whisperctl.plan.operations import Operation

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class Schedule(Generic[K]):
    """The operations of plans, each plan under a key of its own. Ids are unique among all of them."""

    plans: dict[K, Sequence[Operation]] = field(default_factory=dict)
    released: set[K] = field(default_factory=set)
    """Plans whose operations may begin."""
    begun: set[int] = field(default_factory=set)
    results: dict[int, OperationResult] = field(default_factory=dict)

    def put(self, key: K, operations: Sequence[Operation]) -> None:
        """Have these operations under `key`, in place of others that it had; others may need them from now on."""
        self.plans[key] = operations

    def release(self, key: K) -> None:
        """Let the operations of a plan begin."""
        self.released.add(key)

    def withdraw(self, key: K) -> None:
        """Let nothing of a plan begin until it is released again; what has begun counts as not begun."""
        self.released.discard(key)
        self.begun -= {operation.id for operation in self.plans[key]}

    def give_up(self, key: K, status: ResultStatus) -> None:
        """Nothing of a plan is done."""
        self.results |= {o.id: OperationResult(operation=o, status=status) for o in self.plans[key]}

    def end(self, result: OperationResult) -> None:
        """Take in what became of an operation."""
        self.results[result.operation.id] = result

    def begin(self) -> list[tuple[K, Operation]]:
        """The operations that may begin now; they count as begun."""
        known = {operation.id for operations in self.plans.values() for operation in operations}
        while lost := [o for _, o in self._waiting() if any(self._is_lost(need) for need in o.needs)]:
            self.results |= {o.id: OperationResult(operation=o, status="not tried") for o in lost}
        ready = [(key, o) for key, o in self._waiting() if all(n in self.results for n in o.needs if n in known)]
        self.begun |= {operation.id for _, operation in ready}
        return ready

    def is_busy(self, key: K) -> bool:
        """Whether something of a plan is still to be done."""
        return any(operation.id not in self.results for operation in self.plans[key])

    def check_over(self) -> None:
        """Return if nothing waits any more.

        Raises:
            RuntimeError: nothing runs, and operations still wait for each other; a plan was wrong.
        """
        if left := [f"{o.id} {o.kind} {o.address} (needs {o.needs})" for _, o in self._waiting()]:
            raise RuntimeError(f"These operations wait for something that never ends: {'; '.join(left)}")

    def _waiting(self) -> Iterator[tuple[K, Operation]]:
        for key in self.plans:
            if key in self.released:
                yield from ((key, o) for o in self.plans[key] if o.id not in self.begun and o.id not in self.results)

    def _is_lost(self, number: int) -> bool:
        return number in self.results and self.results[number].status != "done"
