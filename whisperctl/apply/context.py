"""What the operations of a plan that is being applied share: the plan, its lease, and what they have seen and made.

Decides nothing, and asks UbiOps nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from whisperctl.apply.awake import KeptAwake
from whisperctl.apply.events import Level
from whisperctl.apply.lease import Lease
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api, Json
from whisperctl.output import SECRET, blank, learn
from whisperctl.plan.plan import Plan
from whisperctl.state.fingerprints import fingerprint
from whisperctl.state.labels import Labels
from whisperctl.state.resources import Address
from whisperctl.untrusted import printable_lines

FAILED = ("failed", "cancelled")
"""What the status of a tag or a revision is when its build ended badly."""
T = TypeVar("T")


@dataclass(kw_only=True, eq=False)
class ApplyContext:
    """One plan being applied: what its operations share. Its operations run in several threads."""

    plan: Plan
    clock: StoppableClock
    tell: Callable[[Address, Level, str], None]
    lease: Lease = field(repr=False)
    exactly: bool = False
    """Whether the plan is a saved one, performed as it is or not at all."""
    seen: dict[Address, str] = field(default_factory=dict)
    """Fingerprints of the objects as this apply last saw or wrote them."""
    created: set[Address] = field(default_factory=set)
    named: set[Address] = field(default_factory=set)
    """Renamed objects that have their new names already."""
    outdated: set[str] = field(default_factory=set)
    """Ids of instances that run what was active before this apply's upload."""
    before: Labels = field(default_factory=lambda: Labels({}))
    """The deployment's labels as they were when the lease was taken."""
    touched: bool = False
    """Whether an operation may have written anything."""
    created_elsewhere: bool = False
    """Whether another apply of this stack was found to have created the deployment meanwhile."""
    awake: list[KeptAwake] = field(default_factory=list)
    """Versions of a line that deployment requests keep awake until the rollout ends."""
    start_seconds: int | None = None
    """How long this apply's start of an instance took, from its waking; None where none had to be started."""
    build_seconds: int | None = None
    """How long the build of this apply's package took; None where none was built."""
    woken: str = ""
    """The new version of a line from its waking until the switch begins: it sleeps again if the run ends before."""
    proved: str = ""
    """What the endpoint has shown that it does, in words; empty as long as it was not asked."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held around each read-change-write of the labels of the deployment or the version. No renewal waits for it."""

    @property
    def api(self) -> Api:
        """The control plane, which writes nothing once the lease is lost."""
        return self.lease.api

    def lease_of(self, deployment: str) -> Lease | None:
        """The lease that is held of a deployment of that name; None where none is."""
        return next((lease for lease in (self.lease, *self.lease.also) if lease.deployment == deployment), None)

    @property
    def deployment(self) -> str:
        """The deployment's name."""
        return self.plan.desired.stack.deployment.name

    @property
    def version(self) -> str:
        """The version's name."""
        return self.plan.desired.stack.version.name

    @property
    def timeout(self) -> float:
        """Seconds that each wait of the plan may take: `rollout.timeout`."""
        return float(self.plan.desired.stack.rollout.timeout)

    def say(self, about: Address, text: str) -> None:
        """Tell whoever listens what goes on with an object."""
        self.tell(about, "say", text)

    def log(self, about: Address, line: str) -> None:
        """Tell a line of a build's log."""
        self.tell(about, "log", line)

    def warn(self, about: Address, text: str) -> None:
        """Tell what must not get lost."""
        self.tell(about, "warn", text)

    def redacted(self, text: object) -> list[str]:
        """The lines that a program on UbiOps printed, without the stack's secrets and fit to be shown."""
        printed = str(text)
        for variable in self.plan.desired.stack.env:
            if variable.secret and variable.value:  # a short one, too: here it is more likely itself than a word
                learn(variable.value)
                printed = printed.replace(variable.value, SECRET)
        return printable_lines(blank(printed))

    def started(self, begun: float) -> None:
        """Remember how long a start took that began when the clock was at `begun`."""
        self.start_seconds = max(round(self.clock.monotonic() - begun), 1)

    def saw(self, address: Address, raw: Json | None) -> None:
        """Remember an object as it is now, so that our own writes do not count as somebody else's."""
        self.seen[address] = fingerprint(address, raw, self.plan.desired.state)
