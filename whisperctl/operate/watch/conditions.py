"""What is wrong with a stack, and what of that is new: told once when it begins, and once when it is over. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from whisperctl.operate.watch.observation import HOURS, Observation
from whisperctl.plan.changes import Change
from whisperctl.plan.values import step

ConditionKind = Literal["unreadable", "drift", "moved on", "unfinished", "failed start", "failed build", "unhealthy",
                        "leak", "advisory", "probe"]  # fmt: skip
NoticeState = Literal["begins", "over"]


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Condition:
    """One thing that is wrong with one stack; two of the same words are the same one."""

    project: str
    stack: str
    kind: ConditionKind
    about: str
    """What it is about: an address, a service, a version; empty for the stack as a whole."""
    text: str = ""
    """What is the matter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Something that began or is over."""

    condition: Condition
    state: NoticeState


def conditions(observation: Observation) -> Iterator[Condition]:
    """What is wrong with one stack."""
    for kind, about, text in _wrong(observation):
        yield Condition(project=observation.project, stack=observation.stack, kind=kind, about=about, text=text)


Wrong = tuple[ConditionKind, str, str]
"""What sort of thing, about what, and what is the matter."""


def _wrong(observation: Observation) -> Iterator[Wrong]:
    if observation.error:
        yield "unreadable", "", observation.error.splitlines()[0]
    yield from _of_drift(observation)
    for reason in observation.failed_starts:
        yield "failed start", "", reason
    yield from _of_status(observation)
    for leak in observation.leaks:
        cost = "" if leak.credits_per_hour is None else f" for {leak.credits_per_hour * HOURS:g} credits a day"
        yield "leak", leak.name, f"it runs or is kept awake{cost} and serves nobody"
    for text in observation.advisories:
        yield "advisory", "", text


def _of_status(observation: Observation) -> Iterator[Wrong]:
    for part in observation.status.parts if observation.status else ():
        if not part.good and "failed" in part.state:
            yield "failed build", str(part.address), part.state
    for door in observation.status.doors if observation.status else ():
        if door.healthy is False:
            yield "unhealthy", door.name, door.health


def _of_drift(observation: Observation) -> Iterator[Wrong]:
    """Nothing while a command is at work: what differs is what it is about to do."""
    drift = observation.drift
    if drift is None or not drift.plan.changes or observation.leased:
        return
    if drift.basis == "moved on" and drift.as_applied:
        yield "moved on", "", f"{len(drift.plan.changes)} changes of the file are not applied"
    elif drift.basis == "unfinished":
        yield "unfinished", "", "the last apply did not finish"
    elif drift.basis == "absent":
        yield "unfinished", "", "nothing of it is on UbiOps"
    else:
        for change in drift.changes:
            yield "drift", str(change.address), in_words(change)


def in_words(change: Change) -> str:
    """`maximum_instances 1 -> 2`, or what happened to the object as a whole."""
    steps = [f"{item.path} {step(item)}" for item in change.fields]
    return "; ".join(steps) if steps else f"{change.action}d: {change.reason}"


class OpenConditions:
    """What has been told of and is not over; it grows with what is wrong and not with time."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, ConditionKind, str], Condition] = {}

    def news(self, now: Iterable[Condition], looked_at: Sequence[Observation]) -> list[Notice]:
        """What began and what is over since the last time.

        A stack that could not be looked at keeps what was wrong with it; a failed start is over when the endpoint is up
        again; other words about the same thing are told again.
        """
        by_stack = {(each.project, each.stack): each for each in looked_at}
        current = {key: c for key, c in self._open.items() if key[:2] in by_stack and _goes_on(c, by_stack[key[:2]])}
        current |= {(c.project, c.stack, c.kind, c.about): c for c in now}
        begun = sorted(c for key, c in current.items() if self._open.get(key) != c)
        over = sorted(c for key, c in self._open.items() if key not in current)
        self._open = current
        return [
            *(Notice(condition=condition, state="begins") for condition in begun),
            *(Notice(condition=condition, state="over") for condition in over),
        ]

    @property
    def open(self) -> Sequence[Condition]:
        """The conditions that hold now."""
        return list(self._open.values())


def _goes_on(condition: Condition, observation: Observation) -> bool:
    """Whether what was wrong cannot be over yet, although it was not seen this time."""
    return bool(observation.error) or (condition.kind == "failed start" and _is_starting(observation))


def _is_starting(observation: Observation) -> bool:
    """Whether instances are wanted and none is up, so that a failed start is not over."""
    instances = observation.status.instances if observation.status else ()
    return bool(instances) and not any(instance.status == "running" for instance in instances)
