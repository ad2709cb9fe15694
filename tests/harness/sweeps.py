"""How much of a long sweep runs: all of it with WHISPERCTL_EXHAUSTIVE=1 (`make test-exhaustive`), else a slice."""

from __future__ import annotations

import os

import pytest

EXHAUSTIVE = os.environ.get("WHISPERCTL_EXHAUSTIVE") == "1"
whole = pytest.mark.skipif(not EXHAUSTIVE, reason="takes minutes: WHISPERCTL_EXHAUSTIVE=1 runs it")
"""Marks a test that has no slice."""
