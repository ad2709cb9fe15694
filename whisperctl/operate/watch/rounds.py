"""The loop of `watch`: look, heal what may be healed, probe now and then, tell what is new, sleep until the next round.

Requests keep to UbiOps' rate limit by themselves (`control.rate_limit`): a round that needs more than a window has
takes longer, and the next one begins at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from whisperctl.clock import Clock
from whisperctl.engine import World
from whisperctl.errors import WhisperctlError
from whisperctl.operate.watch.conditions import Condition, Notice, OpenConditions, conditions
from whisperctl.operate.watch.heal import Healing, heal, obstacle
from whisperctl.operate.watch.metrics import Board
from whisperctl.operate.watch.observation import Observation, Observer
from whisperctl.operate.watch.probing import Probe, probe_stack
from whisperctl.spec import Stack

Key = tuple[str, str]
"""Project and stack."""


@dataclass(kw_only=True)
class Rounds:
    """Rounds over the same stacks."""

    stacks: Callable[[], Sequence[Stack]]
    """As the files say now."""
    world: World
    clock: Clock
    interval: float
    """Seconds from the beginning of a round to that of the next."""
    probe_every: float
    """Seconds between two probes of a stack; 0 is never."""
    heals: bool
    tell: Callable[[Sequence[Notice], Sequence[Healing]], None]
    board: Board = field(default_factory=Board)
    known: OpenConditions = field(default_factory=OpenConditions)
    probes: dict[Key, Probe] = field(default_factory=dict)
    probed_at: dict[Key, float] = field(default_factory=dict)
    failed_heals: dict[Key, object] = field(default_factory=dict)
    """What was to be put back when that failed: the same is not tried again."""

    def __post_init__(self) -> None:
        self.observer = Observer(world=self.world, clock=self.clock)

    def run(self) -> None:
        """Until the clock raises Interrupted.

        Raises:
            WhisperctlError: in the first round nothing could be looked at.
        """
        first = True
        while True:
            began = self.clock.monotonic()
            observations = self.round()
            if first and observations and all(one.error for one in observations):
                raise WhisperctlError(observations[0].error)  # a wrong token or host: nobody would read it later
            first = False
            self.clock.sleep(max(self.interval - (self.clock.monotonic() - began), 0.0))

    def round(self) -> list[Observation]:
        """Look at every stack once, tell what is new, heal; returns what was seen."""
        began = self.clock.monotonic()
        stacks = self.stacks()
        observations = self.observer.look(stacks)
        healings = list(self._heal(observations)) if self.heals else []
        self._probe(stacks, observations)
        wrong = [condition for one in observations for condition in conditions(one)]
        notices = self.known.news([*wrong, *self._of_probes()], observations)
        self.board.put(
            observations, self.known.open, self.probes, seconds=self.clock.monotonic() - began, ended=self.clock.time()
        )
        if notices or healings:
            self.tell(notices, healings)
        return observations

    def _heal(self, observations: Sequence[Observation]) -> Iterator[Healing]:
        for one in observations:
            key, why_not = (one.project, one.stack), obstacle(one)
            if why_not == "" or one.drift is None:
                self.failed_heals.pop(key, None)
                continue
            if self.failed_heals.get(key) == one.drift.plan.changes:
                continue  # told already
            healing = (
                heal(one, self.world)
                if why_not is None
                else Healing(stack=one.stack, project=one.project, done=False, text=f"not put back: {why_not}")
            )
            self.board.healed(healing.done)
            if not healing.done:
                self.failed_heals[key] = one.drift.plan.changes
            yield healing

    def _probe(self, stacks: Sequence[Stack], observations: Sequence[Observation]) -> None:
        named = {(self.world.project_of(stack), stack.name): stack for stack in stacks}
        for known in (self.probes, self.probed_at):
            for gone in known.keys() - named.keys():
                del known[gone]
        if not self.probe_every:
            return
        for one in observations:
            key, now = (one.project, one.stack), self.clock.monotonic()
            if one.status is None or now - self.probed_at.get(key, -self.probe_every) < self.probe_every:
                continue
            try:
                probe = probe_stack(self.world.apis[one.project], named[key], one.status, self.clock)
            except WhisperctlError as error:
                probe = Probe(stack=one.stack, project=one.project, problem=str(error).splitlines()[0])
            self.probes.pop(key, None)
            if probe is not None:
                self.probes[key], self.probed_at[key] = probe, now

    def _of_probes(self) -> Iterator[Condition]:
        for probe in self.probes.values():
            if probe.problem:
                yield Condition(project=probe.project, stack=probe.stack, kind="probe", about="", text=probe.problem)
