"""The latest round as Prometheus metrics (library prometheus-client, extra `watch`).

Values are made when they are asked for, from the round that was last put in: a stack that is gone has no stale series,
and nothing grows. Labels are `stack` and `project` and what is named below; no URL, no error text, no secret.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from whisperctl.errors import WhisperctlError
from whisperctl.operate.watch.conditions import Condition
from whisperctl.operate.watch.observation import Observation
from whisperctl.operate.watch.probing import Probe

if TYPE_CHECKING:
    from prometheus_client.core import Metric

LABELS = ["project", "stack"]


class Board:
    """What the metrics show. One thread puts rounds in, others read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Sequence[Observation] = ()
        self._open: Sequence[Condition] = ()
        self._probes: Mapping[tuple[str, str], Probe] = {}
        self._heals: Counter[bool] = Counter()
        self._rounds = 0
        self._round_seconds = 0.0
        self._round_ended = 0.0
        self._lost_notices = 0

    def put(
        self,
        seen: Sequence[Observation],
        open_: Sequence[Condition],
        probes: Mapping[tuple[str, str], Probe],
        *,
        seconds: float,
        ended: float,
    ) -> None:
        """Take in a round that took so many seconds and ended then (seconds since 1970)."""
        with self._lock:
            self._seen, self._open, self._probes = seen, open_, dict(probes)
            self._rounds += 1
            self._round_seconds, self._round_ended = seconds, ended

    def healed(self, done: bool) -> None:
        """Count an attempt to heal."""
        with self._lock:
            self._heals[done] += 1

    def lost_notice(self) -> None:
        """Count a notice that no webhook took."""
        with self._lock:
            self._lost_notices += 1

    def collect(self) -> Iterator[Metric]:
        """Every metric with its present value, as prometheus-client asks a collector for them."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        with self._lock:
            observations, open_, probes, heals = self._seen, self._open, self._probes, Counter(self._heals)
            rounds, seconds, ended, lost = self._rounds, self._round_seconds, self._round_ended, self._lost_notices
        yield GaugeMetricFamily("whisperctl_round_seconds", "How long the latest round took.", value=seconds)
        yield GaugeMetricFamily("whisperctl_round_ended_timestamp_seconds", "When it ended.", value=ended)
        yield CounterMetricFamily("whisperctl_rounds", "Rounds since the start.", value=rounds)
        yield CounterMetricFamily("whisperctl_notices_lost", "Notices that the webhook did not take.", value=lost)
        attempts = CounterMetricFamily("whisperctl_heals", "Attempts to heal, by outcome.", labels=["outcome"])
        for done, name in ((True, "done"), (False, "failed")):
            attempts.add_metric([name], heals[done])
        yield attempts
        for name, text, value in _GAUGES:
            gauge = GaugeMetricFamily(f"whisperctl_{name}", text, labels=LABELS)
            for one in observations:
                if (number := value(one)) is not None:
                    gauge.add_metric([one.project, one.stack], number)
            yield gauge
        yield from _with_more_labels(observations, open_)
        yield from _of_probes(list(probes.values()))


def _drifted(observation: Observation) -> float | None:
    return None if observation.drift is None else float(observation.drift.drifted)


def _credits(observation: Observation) -> float | None:
    return observation.status.credits_per_hour if observation.status else None


def _leaking(observation: Observation) -> float | None:
    return None if observation.error else sum(leak.credits_per_hour or 0.0 for leak in observation.leaks)


_GAUGES: tuple[tuple[str, str, Callable[[Observation], float | None]], ...] = (
    ("up", "Whether the stack could be looked at.", lambda seen: float(not seen.error)),
    ("drift", "Whether the project differs from what was last applied.", _drifted),
    ("credits_per_hour", "Credits per hour of the instances that run.", _credits),
    ("leak_credits_per_hour", "Credits per hour of versions that serve nobody.", _leaking),
    ("last_apply_timestamp_seconds", "When the deployment was last written, as an apply does.", lambda s: s.last_apply),
)


def _with_more_labels(observations: Sequence[Observation], open_: Sequence[Condition]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    health = GaugeMetricFamily(
        "whisperctl_healthy",
        "Whether the service answers; absent while no instance is up.",
        labels=[*LABELS, "service"],
    )
    instances = GaugeMetricFamily("whisperctl_instances", "Instances by status.", labels=[*LABELS, "status"])
    for one in observations:
        for door in one.status.doors if one.status else ():
            if door.healthy is not None:
                health.add_metric([one.project, one.stack, door.name], float(door.healthy))
        counts = Counter(item.status for item in one.status.instances) if one.status else Counter[str]()
        for status in sorted({"running", *counts} if one.status else ()):
            instances.add_metric([one.project, one.stack, status], counts[status])
    wrong = GaugeMetricFamily("whisperctl_conditions", "Things that are wrong, by kind.", labels=[*LABELS, "kind"])
    for (project, stack, kind), count in Counter((c.project, c.stack, c.kind) for c in open_).items():
        wrong.add_metric([project, stack, kind], count)
    yield from (health, instances, wrong)


def _of_probes(probes: Sequence[Probe]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    latency = GaugeMetricFamily("whisperctl_probe_seconds", "Time of the latest probe's slowest one.", labels=LABELS)
    wer = GaugeMetricFamily("whisperctl_probe_word_error_rate", "Word error rate of the latest probe.", labels=LABELS)
    good = GaugeMetricFamily("whisperctl_probe_good", "Whether it was within rollout.smoke's max_wer.", labels=LABELS)
    for probe in probes:
        labels = [probe.project, probe.stack]
        good.add_metric(labels, float(not probe.problem))
        if probe.wer is not None:
            latency.add_metric(labels, probe.seconds)
            wer.add_metric(labels, probe.wer)
    yield from (latency, wer, good)


def serve(board: Board, address: str, port: int) -> Callable[[], None]:
    """Serve the metrics over HTTP until the function that comes back is called.

    Raises:
        WhisperctlError: prometheus-client is not installed, or the port is taken.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError:
        raise WhisperctlError(
            "--metrics-port needs prometheus-client.\n  Install it: pip install 'whisperctl-ubiops[watch]'."
        ) from None
    registry = CollectorRegistry(auto_describe=False)
    registry.register(board)
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise WhisperctlError(f"Port {port} of {address}: {error.strerror}.\n  Pass another --metrics-port.") from error

    def close() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return close
