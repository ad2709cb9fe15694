"""watch over an endpoint that really starts, fails to start, hears and mishears; a day of it on a quick clock."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from tests.harness.project import Project
from tests.harness.sweeps import whole
from tests.rollout.conftest import line
from whisperctl.clock import StoppableClock
from whisperctl.errors import Interrupted
from whisperctl.operate.watch.conditions import Notice
from whisperctl.operate.watch.heal import Healing
from whisperctl.operate.watch.rounds import Rounds

IN_PLACE: dict[str, Any] = {"rollout": {"strategy": "in_place"}}
DAY = 86400


class QuickDay(StoppableClock):
    """A sleep takes no time and moves the clock on; what is to happen by then happens; it ends after a day."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = 0.0
        self.events: dict[float, Any] = {}

    def monotonic(self) -> float:
        return super().monotonic() + self.slept

    def time(self) -> float:
        return super().time() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        for due in [when for when in self.events if when <= self.slept]:
            self.events.pop(due)()
        if self.slept >= DAY:
            raise Interrupted("the day is over")


@dataclass
class Heard:
    """What rounds told, as `begins drift version/alpha/v1`."""

    lines: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)

    def __call__(self, notices: Sequence[Notice], healings: Sequence[Healing]) -> None:
        for notice in notices:
            condition = notice.condition
            self.lines.append(" ".join(filter(None, (notice.state, condition.kind, condition.about))))
            self.texts[condition.kind] = condition.text
        assert not healings

    def news(self) -> list[str]:
        news, self.lines = self.lines, []
        return news


def rounds(project: Project, listener: Heard, clock: StoppableClock | None = None, **more: float) -> Rounds:
    stacks, world = project.load(), project.world(clock)
    settings: dict[str, Any] = {"interval": 1, "probe_every": 0.001} | more
    return Rounds(stacks=lambda: stacks, world=world, clock=world.clock, heals=False, tell=listener, **settings)


def set_by_hand(project: Project, **values: str) -> None:
    """Env vars changed on UbiOps, and instances that see them."""
    api = project.api()
    known = {item["name"]: item["id"] for item in api.env_vars("alpha", "v1")}
    for name, value in values.items():
        body = {"name": name, "value": value, "secret": False}
        if name in known:
            api.update_env_var("alpha", "v1", known[name], body)
        else:
            api.create_env_var("alpha", "v1", body)
    for instance in api.instances("alpha", "v1"):
        api.stop_instance("alpha", "v1", instance["id"])


def until(watch: Rounds, listener: Heard, text: str) -> list[str]:
    """Rounds until that is told."""
    collected: list[str] = []
    for _ in range(100):
        watch.round()
        collected += listener.news()
        if text in collected:
            return collected
        watch.world.clock.sleep(0.05)
    raise AssertionError(f"{text!r} was never told, but {collected}")


def test_a_probe_tells_words_and_seconds_and_a_start_that_fails_its_reason(project: Project) -> None:
    project.apply(**line(**IN_PLACE))
    listener = Heard()
    watch = rounds(project, listener)
    watch.round()
    [probe] = watch.probes.values()
    assert (probe.wer, probe.problem, 0 < probe.seconds < 60) == (0.0, "", True)
    assert listener.news() == []
    set_by_hand(project, HEARS="bye moon", DELAY="0.3")
    assert "begins drift env_var/alpha/v1/HEARS" in until(watch, listener, "begins probe")
    [probe] = watch.probes.values()
    assert (probe.wer, probe.seconds >= 0.3) == (1.0, True)
    assert listener.texts["probe"] == "hello-world.wav: word error rate 1.00, allowed are 0.40"
    metrics = {sample.name: sample.value for metric in watch.board.collect() for sample in metric.samples}
    assert (metrics["whisperctl_probe_word_error_rate"], metrics["whisperctl_probe_good"]) == (1.0, 0.0)
    set_by_hand(project, NEVER_UP="1")
    until(watch, listener, "begins failed start")
    assert "no room for the model" in listener.texts["failed start"]
    api = project.api()
    added = next(item["id"] for item in api.env_vars("alpha", "v1") if item["name"] == "NEVER_UP")
    api.delete_env_var("alpha", "v1", added)
    set_by_hand(project, HEARS="hello world", DELAY="0")
    until(watch, listener, "over failed start")
    assert "probe" not in {condition.kind for condition in watch.known.open}


def test_a_build_that_fails_is_told_once(project: Project) -> None:
    project.apply(**line(**IN_PLACE))
    listener = Heard()
    watch = rounds(project, listener, probe_every=0)
    project.fault("build-fail", count=1, text="no wheel for that")
    assert project.cli("apply", "--yes", str(project.write(**line(vllm={"max_model_len": 300}, **IN_PLACE)))).code == 1
    watch = rounds(project, listener, probe_every=0)
    watch.round()
    assert any(line_told.startswith("begins failed build") for line_told in listener.news())
    watch.round()
    assert listener.news() == []


@whole
def test_a_day_on_a_quick_clock(project: Project) -> None:
    """1,440 rounds, a minute apart, with a fault every few hours: each is told once, and nothing else is."""
    project.apply(**line(**IN_PLACE))
    clock, listener, api = QuickDay(), Heard(), project.api()
    hour = 3600
    clock.events = {
        2 * hour: lambda: api.update_version("alpha", "v1", {"maximum_instances": 3}),
        4 * hour: lambda: api.update_version("alpha", "v1", {"maximum_instances": 1}),
        9 * hour: lambda: project.fault("error", method="GET", path="/deployments$", status=503, count=100000),
        10 * hour: project.calm,
        12 * hour: lambda: api.update_deployment("alpha", {"description": "by hand"}),
        13 * hour: lambda: api.update_deployment("alpha", {"description": ""}),
        15 * hour: lambda: api.delete_service("alpha"),
    }
    watch = rounds(project, listener, clock, interval=60, probe_every=300)
    with suppress(Interrupted):
        watch.run()
    assert listener.news() == [
        "begins drift version/alpha/v1", "over drift version/alpha/v1",
        "begins unreadable", "over unreadable",
        "begins drift deployment/alpha", "over drift deployment/alpha",
        "begins drift service/alpha", "begins leak v1",
    ]  # fmt: skip
