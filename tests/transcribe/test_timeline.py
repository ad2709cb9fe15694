"""Times of a container: late starts and gaps are kept, broken clocks are not, and no sound is ever dropped."""

from __future__ import annotations

import numpy as np
import pytest

from whisperctl.transcribe.sound import BLOCK, RATE, Samples
from whisperctl.transcribe.timeline import placed

FRAME = 320


def blocks(*starts: float | None) -> list[tuple[float | None, Samples]]:
    """Blocks of 20 ms of ones at these times."""
    return [(start, np.ones((FRAME, 2), np.int16)) for start in starts]


def result(*starts: float | None) -> tuple[list[float], float, list[tuple[float, float]]]:
    """Where sound begins after silence, the length, and the gaps, in seconds."""
    gaps: list[tuple[float, float]] = []
    sound = np.concatenate([*placed(blocks(*starts), gaps), np.zeros((0, 2), np.int16)])[:, 0]
    begins = np.flatnonzero(np.diff(np.concatenate(([0], sound))) > 0) / RATE
    return [round(float(at), 3) for at in begins], round(len(sound) / RATE, 3), gaps


def test_sound_that_follows_itself_is_as_it_is() -> None:
    assert result(0.0, 0.02, 0.04) == ([0.0], 0.06, [])
    assert result(None, None) == ([0.0], 0.04, [])
    assert result() == ([], 0.0, [])


def test_a_late_start_is_silence_and_no_gap() -> None:
    assert result(5.0, 5.02) == ([5.0], 5.04, [])


def test_a_gap_is_silence_and_told() -> None:
    begins, length, gaps = result(0.0, 0.02, 3.04, 3.06)
    assert (begins, length) == ([0.0, 3.04], 3.08)
    assert gaps == [pytest.approx((0.04, 3.04))]


def test_jitter_is_no_gap() -> None:
    assert result(0.0, 0.035, 0.03, 0.09) == ([0.0], 0.08, [])


@pytest.mark.parametrize("back", [0.0, -50.0])
def test_a_clock_that_is_set_back_drops_nothing(back: float) -> None:
    """As where two recordings were put one after the other; a gap behind it counts from the new time."""
    first = [0.02 * number for number in range(50)]
    again = [back + start for start in first]
    begins, length, gaps = result(*first, *again, back + 2.0)
    assert (begins, length) == ([0.0, 3.0], 3.02)
    assert gaps == [pytest.approx((2.0, 3.0))]


def test_a_jump_of_more_than_an_hour_is_no_gap() -> None:
    assert result(0.0, 4000.0, 4000.02) == ([0.0], 0.06, [])


def test_a_time_that_the_next_block_contradicts_is_none() -> None:
    """ffmpeg's first block after a change of the sample rate; what it writes then counts on by a millisecond."""
    assert result(0.0, 0.6, 0.601, 0.602, 0.603) == ([0.0], 0.1, [])


def test_a_long_gap_comes_in_blocks() -> None:
    made = list(placed(blocks(0.0, 100.0), []))
    assert max(map(len, made)) < 2 * BLOCK
    assert sum(map(len, made)) == 100 * RATE + FRAME
