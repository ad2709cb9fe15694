"""Whether a new version hears as well as the one that serves: the same recordings, in turn, in the same minutes.

Measures through two callables and judges what they gave. Wakes nothing, writes nothing, knows no control plane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

from whisperctl.endpoint.wer import word_error_count, words
from whisperctl.errors import Unhealthy
from whisperctl.spec import Gate, Smoke

ROUNDS = 3
"""Least number of latencies behind a median."""
UNNOTICED = 0.3
"""Seconds by which a median may be longer, whatever the ratio."""

Transcribe = Callable[[Smoke], str]
"""Sends one recording to one version and returns its text."""


@dataclass(slots=True)
class Measured:
    """What one version made of the samples."""

    errors: int = 0
    """Words inserted, deleted and substituted, over all rounds."""
    words: int = 0
    """Words expected, over all rounds."""
    latencies: list[float] = field(default_factory=list)
    """Seconds of each transcription but those of the warm-up."""
    worst: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Recording -> its worst word error rate and the text that gave it."""

    @property
    def wer(self) -> float:
        """Word error rate over all words; 0 where nothing is expected and nothing was heard."""
        return self.errors / self.words if self.words else float(self.errors > 0)

    @property
    def latency(self) -> float:
        """Median seconds of a transcription."""
        return median(self.latencies) if self.latencies else 0.0

    def add(self, smoke: Smoke, text: str, seconds: float | None) -> None:
        """Take in one transcription; `seconds` is None for the warm-up."""
        errors, expected = word_error_count(smoke.expect, text), len(words(smoke.expect))
        self.errors += errors
        self.words += expected
        rate = errors / expected if expected else float(errors > 0)
        name = str(smoke.audio)
        if name not in self.worst or rate > self.worst[name][0]:
            self.worst[name] = (rate, text)
        if seconds is not None:
            self.latencies.append(seconds)


def measure(
    samples: Sequence[Smoke], new: Transcribe, serving: Transcribe | None, monotonic: Callable[[], float]
) -> tuple[Measured, Measured | None]:
    """Transcribe every sample with both versions in turn: once to warm up, then until there are enough latencies.

    Args:
        samples: the recordings of `rollout.smoke`; at least one.
        new: the new version, through the preview service.
        serving: the version that serves, through its own service; None when it cannot be compared with.
        monotonic: the clock of the latencies, in seconds.

    Raises:
        WhisperctlError: whatever a transcription raises.
    """
    measured, beside = Measured(), Measured() if serving else None
    rounds = 1 + max(1, -(-ROUNDS // len(samples)))
    for number in range(rounds):
        for smoke in samples:
            _transcribe(smoke, new, measured, number > 0, monotonic)
            if serving is not None and beside is not None:
                _transcribe(smoke, serving, beside, number > 0, monotonic)
    return measured, beside


def _transcribe(
    smoke: Smoke, transcribe: Transcribe, into: Measured, timed: bool, monotonic: Callable[[], float]
) -> None:
    start = monotonic()
    text = transcribe(smoke)
    into.add(smoke, text, monotonic() - start if timed else None)


def judge(samples: Sequence[Smoke], gate: Gate, new: Measured, serving: Measured | None) -> list[str]:
    """Why the new version does not pass; empty when it does."""
    reasons = []
    for smoke in samples:
        rate, text = new.worst.get(str(smoke.audio), (1.0, ""))
        if rate > smoke.max_wer:
            reasons.append(
                f"{smoke.audio.name} was transcribed with a word error rate of {rate:.2f}, allowed are "
                f"{smoke.max_wer:.2f}.\n  expected: {smoke.expect}\n  heard:    {text or '(nothing)'}"
            )
    if serving is None:
        return reasons
    if new.wer - serving.wer > gate.max_wer_increase:
        reasons.append(
            f"its word error rate is {new.wer:.3f}, that of the version that serves {serving.wer:.3f}: "
            f"more than {gate.max_wer_increase:g} worse."
        )
    if new.latency - serving.latency >= UNNOTICED and new.latency > serving.latency * gate.max_latency_ratio:
        reasons.append(
            f"a transcription takes {new.latency:.2f} s, with the version that serves {serving.latency:.2f} s: "
            f"more than {gate.max_latency_ratio:g} times as long (medians of {len(new.latencies)})."
        )
    return reasons


def figures(new: Measured, serving: Measured | None) -> str:
    """Both versions' figures in one line: `word error rate 0.010 (serving 0.012), 0.52 s (serving 0.50 s)`."""
    if serving is None:
        return f"word error rate {new.wer:.3f}, {new.latency:.2f} s"
    return (
        f"word error rate {new.wer:.3f} (serving {serving.wer:.3f}), "
        f"{new.latency:.2f} s (serving {serving.latency:.2f} s)"
    )


FAILURES = 3
"""Bad checks in a row that end a bake."""


@dataclass(slots=True)
class Bake:
    """The checks of one bake, judged in the order in which they began."""

    seconds: float
    """How long the version must keep well."""
    started: float
    count: int = 0
    """Checks so far."""
    bad: list[str] = field(default_factory=list)
    """Why the latest checks failed, since one passed."""

    def add(self, failure: str | None) -> None:
        """Take in the next check: None passed.

        Raises:
            Unhealthy: as many in a row have failed as end a bake.
        """
        self.count += 1
        if failure is None:
            self.bad.clear()
            return
        self.bad.append(failure)
        if len(self.bad) >= FAILURES:
            raise Unhealthy(f"{len(self.bad)} checks in a row failed after the switch: {self.bad[-1]}")

    def is_over(self, now: float) -> bool:
        """Whether its time is over and the last check was a good one."""
        return now - self.started >= self.seconds and not self.bad
