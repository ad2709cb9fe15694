"""What the package's scheduler sends to the front ends: vLLM's own messages, fewer of them, the same tokens in all."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

# The worker that starts real servers has loaded vLLM for another test, or loads it for one: it takes 12 s of a core.
pytestmark = pytest.mark.xdist_group("vllm")


class Vllm:
    """vLLM's own messages and the scheduler's functions; it takes seconds to import them, so only here."""

    def __init__(self) -> None:
        self.engine: Any = pytest.importorskip("vllm.v1.engine", reason="vLLM is not installed")
        self.scheduler: Any = importlib.import_module("templates.whisperctl_scheduler")
        self.together: int = self.scheduler.TOGETHER

    def step(self, *outputs: Any, client: int = 0, **more: Any) -> dict[int, Any]:
        """What one step of vLLM's scheduler returns for one front end."""
        return {client: self.engine.EngineCoreOutputs(outputs=list(outputs), **more)}

    def token(self, number: int, request: str = "a", **more: Any) -> Any:
        """One token of a request, as vLLM sends it."""
        return self.engine.EngineCoreOutput(request, [number], **more)

    def sent(self, steps: list[dict[int, Any]]) -> list[list[int]]:
        """The tokens of each message, over all steps."""
        unsent: dict[str, list[int]] = {}
        made = [self.scheduler.sent_together(each, unsent) for each in steps]
        assert not unsent
        return [one.new_token_ids for by_client in made for outputs in by_client.values() for one in outputs.outputs]


@pytest.fixture(scope="module")
def vllm() -> Vllm:
    return Vllm()


def test_tokens_go_together_and_none_is_lost_or_twice(vllm: Vllm) -> None:
    last = 3 * vllm.together + 5
    steps = [vllm.step(vllm.token(number)) for number in range(last)]
    steps.append(vllm.step(vllm.token(last, finish_reason=vllm.engine.FinishReason.STOP)))

    messages = vllm.sent(steps)

    assert [number for message in messages for number in message] == list(range(last + 1))
    assert [len(message) for message in messages] == [vllm.together] * 3 + [6]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("finish_reason", lambda engine: engine.FinishReason.LENGTH),
        ("stop_reason", lambda _: "."),
        ("events", lambda engine: [engine.EngineCoreEvent.new_event(engine.EngineCoreEventType.QUEUED)]),
        ("prefill_stats", lambda engine: engine.PrefillStats()),
        ("trace_headers", lambda _: {"traceparent": "00"}),
        ("num_nans_in_logits", lambda _: 1),
    ],
)
def test_whatever_says_more_than_a_token_is_sent_at_once_with_what_waited(
    vllm: Vllm, name: str, value: Callable[[Any], Any]
) -> None:
    last = vllm.token(3, **{name: value(vllm.engine)})
    assert vllm.sent([vllm.step(vllm.token(1)), vllm.step(vllm.token(2)), vllm.step(last)]) == [[1, 2, 3]]


def test_requests_and_front_ends_do_not_mix(vllm: Vllm) -> None:
    step, token, sent_together = vllm.step, vllm.token, vllm.scheduler.sent_together
    end = {"finish_reason": vllm.engine.FinishReason.STOP}
    unsent: dict[str, list[int]] = {}
    assert sent_together(step(token(1, "a"), token(5, "b")) | step(token(9, "c"), client=3), unsent) == {}
    assert unsent == {"a": [1], "b": [5], "c": [9]}

    made = sent_together(step(token(2, "a", **end), token(6, "b")) | step(token(8, "c", **end), client=3), unsent)

    assert {client: [(one.request_id, one.new_token_ids) for one in each.outputs] for client, each in made.items()} == {
        0: [("a", [1, 2])],
        3: [("c", [9, 8])],
    }
    assert unsent == {"b": [5, 6]}


def test_a_message_without_tokens_keeps_what_else_it_says(vllm: Vllm) -> None:
    unsent: dict[str, list[int]] = {}
    steps = vllm.step(vllm.token(1), finished_requests={"b"}) | vllm.step(vllm.token(2, "c"), client=1)
    made = vllm.scheduler.sent_together(steps, unsent)
    assert {client: (each.outputs, each.finished_requests) for client, each in made.items()} == {0: ([], {"b"})}


def test_tokens_of_an_aborted_request_are_forgotten(vllm: Vllm) -> None:
    unsent = {"a": [1, 2], "b": [3]}
    vllm.scheduler.forget_aborted(unsent, {"b": object()})
    assert unsent == {"b": [3]}


def test_what_ends_a_request_comes_with_all_its_tokens_though_vllm_forgot_it_already(vllm: Vllm) -> None:
    unsent: dict[str, list[int]] = {}
    requests: dict[str, object] = {"a": object()}
    ends = [False, False, True]
    received = []
    for number, end in enumerate(ends):
        more = {"finish_reason": vllm.engine.FinishReason.STOP} if end else {}
        if end:
            requests.clear()  # as vLLM's own update_from_output does before it returns
        for outputs in vllm.scheduler.sent_together(vllm.step(vllm.token(number, **more)), unsent).values():
            received += [token for one in outputs.outputs for token in one.new_token_ids]
        vllm.scheduler.forget_aborted(unsent, requests)
    assert received == [0, 1, 2]
