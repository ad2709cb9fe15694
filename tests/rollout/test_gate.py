"""The gate's judgement and the bake's, on measured figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from whisperctl.endpoint.gate import Bake, Measured, judge, measure
from whisperctl.errors import Unhealthy
from whisperctl.spec import Gate, Smoke

HELLO = Smoke(audio=Path("hello.wav"), expect="hello big world", max_wer=0.4, language="en")
GATE = Gate(max_wer_increase=0.02, max_latency_ratio=1.5)


def measured(*texts: str, latencies: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Measured:
    result = Measured(latencies=list(latencies))
    for text in texts:
        result.add(HELLO, text, None)
    return result


def test_each_recording_is_heard_in_turn_and_three_times_after_a_warm_up() -> None:
    asked: list[str] = []

    def new(_smoke: Smoke) -> str:
        asked.append("new")
        return "hello big world"

    def serving(_smoke: Smoke) -> str:
        asked.append("serving")
        return "hello world"

    times = iter(range(1000))
    a, b = measure([HELLO], new, serving, lambda: float(next(times)))
    assert asked == ["new", "serving"] * 4
    assert (a.wer, len(a.latencies)) == (0.0, 3)
    assert b is not None
    assert b.wer == pytest.approx(1 / 3)


def test_the_same_words_pass() -> None:
    assert judge([HELLO], GATE, measured("hello big world"), measured("hello big world")) == []


def test_a_recording_above_its_own_max_wer_fails_whatever_serves() -> None:
    [reason] = judge([HELLO], GATE, measured("hello"), None)
    assert reason == (
        "hello.wav was transcribed with a word error rate of 0.67, allowed are 0.40.\n"
        "  expected: hello big world\n  heard:    hello"
    )


def test_the_worst_round_counts() -> None:
    assert judge([HELLO], GATE, measured("hello big world", "bye"), None) != []


def test_more_wrong_words_than_the_version_that_serves_fail() -> None:
    [reason] = judge([HELLO], GATE, measured("hello world"), measured("hello big world"))
    assert reason == "its word error rate is 0.333, that of the version that serves 0.000: more than 0.02 worse."
    assert judge([HELLO], GATE, measured("hello world"), measured("hello world")) == []


@pytest.mark.parametrize(
    ("new", "serving", "passes"),
    [(1.29, 1.0, True), (0.5, 0.21, True), (1.6, 1.0, False), (1.5, 1.0, True), (0.9, 0.5, False)],
)
def test_the_latency_may_be_half_as_long_again_or_a_trifle_longer(new: float, serving: float, passes: bool) -> None:
    reasons = judge(
        [HELLO], GATE, measured("hello big world", latencies=(new,) * 3), measured(latencies=(serving,) * 3)
    )
    assert (reasons == []) is passes


def test_a_bake_goes_on_after_a_bad_check_until_one_passes() -> None:
    bake = Bake(seconds=60, started=0)
    bake.add("503")
    assert not bake.is_over(61)
    bake.add(None)
    assert bake.is_over(62)


def test_three_bad_checks_in_a_row_fail_a_bake() -> None:
    bake = Bake(seconds=60, started=0)
    for failure in ("503", "503", None, "500", "500"):
        bake.add(failure)
    with pytest.raises(Unhealthy, match="3 checks in a row failed after the switch: silence"):
        bake.add("silence")
