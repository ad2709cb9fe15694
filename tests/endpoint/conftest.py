"""A fresh test server and a client for it, per test; a clock that only the code under test moves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.endpoint.fake_vllm import TOKEN, FakeVllm, serving
from tests.endpoint.hand_clock import HandClock
from whisperctl.endpoint.client import Endpoint


@pytest.fixture
def vllm() -> Iterator[FakeVllm]:
    with serving() as server:
        yield server


@pytest.fixture
def endpoint(vllm: FakeVllm) -> Iterator[Endpoint]:
    with Endpoint(vllm.url, TOKEN, 5.0) as client:
        yield client


@pytest.fixture
def clock() -> HandClock:
    return HandClock()
