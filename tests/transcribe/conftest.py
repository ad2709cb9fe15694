"""A fresh test server, a client for it, and a batch to run against it, per test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.endpoint.conftest import clock, endpoint, vllm
from tests.endpoint.fake_vllm import FakeVllm
from tests.transcribe.bench import Bench
from whisperctl.endpoint.client import Endpoint

__all__ = ["clock", "endpoint", "vllm"]


@pytest.fixture
def bench(vllm: FakeVllm, endpoint: Endpoint, tmp_path: Path) -> Bench:
    return Bench(vllm, endpoint, tmp_path)
