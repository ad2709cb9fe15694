"""One write, all or nothing: what a rule stores, the trace it leaves, and the text of its answer.

Contract: an answer that cannot be serialised undoes its write, so that nobody is told of a failure that took effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse, Response

from ubiops_emulator.api.call import Call, FileAnswer, Waiting
from ubiops_emulator.store import Store

Answer = Response | Waiting | FileAnswer


def performed(
    store: Store, call: Call, rule: Callable[[Call], Any], status: int, trace: Callable[[Any], None]
) -> Answer:
    """Do what a rule says, and put its answer into words, inside one transaction.

    Args:
        trace: told the rule's result, to record the write.
    """
    with store.transaction():
        result = rule(call)
        trace(result)
        return worded(result, status)


def worded(result: Any, status: int) -> Answer:
    """A rule's result as a response; those that are known later, or are files, stay what they are."""
    if isinstance(result, Waiting | FileAnswer):
        return result
    return Response(status_code=204) if status == 204 else JSONResponse(result, status)
