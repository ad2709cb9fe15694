"""One plan being applied: what its operations share, how an object is read again, and a create that is never repeated
blindly. Decides nothing and deletes nothing.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from whisperctl.api import Api, Json
from whisperctl.errors import ApiError, NotFound, StalePlan, Unreachable
from whisperctl.foreign import printable_lines
from whisperctl.lease import Lease
from whisperctl.live import fingerprint, owner
from whisperctl.operations import SHARED_KINDS
from whisperctl.plan import Plan
from whisperctl.resources import SHARED, Address, Kind
from whisperctl.waiting import StoppableClock, wait_for

POST_ATTEMPTS = 5
"""Tries of a create whose answer was lost, each after a look whether it arrived."""
LOOK_PAUSES = (0.5, 1.5, None)
"""Seconds between looks for what may be hidden by a copy of UbiOps' books that is a moment behind."""
FAILED = ("failed", "cancelled")
"""What the status of a tag or a revision is when its build ended badly."""
APPEAR_SECONDS = 120.0
"""How long a parent that was just created may stay invisible to UbiOps itself (seen by the Terraform provider)."""

Telling = Literal["say", "log", "warn"]
"""A message about what goes on, a line of a build's log, something to know even when all went well."""
T = TypeVar("T")


@dataclass(kw_only=True)
class Job:
    """One plan being applied: what its operations share. Operations of one job run in several threads."""

    plan: Plan
    api: Api
    clock: StoppableClock
    tell: Callable[[Address, Telling, str], None]
    lease: Lease = field(repr=False)
    seen: dict[Address, str] = field(default_factory=dict)
    """Fingerprints of the objects as this job last saw or wrote them."""
    created: set[Address] = field(default_factory=set)
    outdated: set[str] = field(default_factory=set)
    """Ids of instances that run what was active before this apply's upload."""
    held: bool = False
    """Whether our lease is written on the deployment."""
    before: Mapping[str, str] = field(default_factory=dict)
    """The deployment's labels as they were when the lease was taken."""
    touched: bool = False
    """Whether an operation may have written anything."""
    created_elsewhere: bool = False
    """Whether another apply of this stack was found to have created the deployment meanwhile."""
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when somebody else has taken the lease over."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    """Held around each read-change-write of the deployment's labels: the lease is renewed meanwhile."""

    @property
    def deployment(self) -> str:
        """The deployment's name."""
        return self.plan.wanted.stack.deployment.name

    @property
    def version(self) -> str:
        """The version's name."""
        return self.plan.wanted.stack.version.name

    @property
    def timeout(self) -> float:
        """Seconds for each wait."""
        return float(self.plan.wanted.stack.rollout.timeout)

    def say(self, about: Address, text: str) -> None:
        """Tell what goes on."""
        self.tell(about, "say", text)

    def log(self, about: Address, line: str) -> None:
        """Tell a line of a build's log."""
        self.tell(about, "log", line)

    def warn(self, about: Address, text: str) -> None:
        """Tell what must not get lost."""
        self.tell(about, "warn", text)

    def foreign(self, text: object) -> list[str]:
        """The lines that a program on UbiOps printed, without the stack's secrets and fit to be shown."""
        found = str(text)
        for variable in self.plan.wanted.stack.env:
            if variable.secret and variable.value:
                found = found.replace(variable.value, "(secret)")
        return printable_lines(found)

    def saw(self, address: Address, raw: Json | None) -> None:
        """Remember an object as it is now, so that our own writes do not count as somebody else's."""
        self.seen[address] = fingerprint(address, raw, self.plan.wanted.state)


def read_now(job: Job, address: Address) -> Json | None:
    """The object behind `address` as it is now."""
    api, names = job.api, address.names
    match address.kind:
        case Kind.DEPLOYMENT:
            return api.deployment(*names)
        case Kind.VERSION:
            return api.version(*names)
        case Kind.SERVICE:
            return api.find_service(*names)
        case Kind.ENVIRONMENT:
            return api.environment(*names)
        case Kind.ENV_VAR:
            found = (item for item in api.env_vars(*names[:2]) if not item.get("inheritance_type"))
            return next((item for item in found if item["name"] == names[2]), None)
        case Kind.INSTANCE_TYPE_GROUP:
            known = job.plan.live.owned.get(address)
            same = [group for group in api.groups() if group["name"] == names[0]]
            return next((group for group in same if known and group["id"] == known["id"]), same[0] if same else None)
        case _:
            raise AssertionError(f"{address} is not one object")


def unchanged(job: Job, address: Address) -> Json | None:
    """The object as it is now, if nobody has touched it since the plan was made.

    Raises:
        StalePlan: somebody has.
    """
    raw = None
    for pause in LOOK_PAUSES:
        raw = read_now(job, address)
        if address.kind is Kind.ENVIRONMENT and raw is not None and owner(raw) == SHARED:
            return raw  # any stack may have made or changed it meanwhile: it is the same for all
        if fingerprint(address, raw, job.plan.wanted.state) == job.seen.get(address, "absent"):
            return raw
        if pause is not None:
            job.clock.sleep(pause)
    how = "appeared" if job.seen.get(address, "absent") == "absent" else "changed" if raw else "disappeared"
    raise StalePlan(f"{address} {how} on UbiOps since the plan was made.\n  Nothing was written to it. Plan again.")


def create_once(job: Job, address: Address, post: Callable[[], Json], find: Callable[[], Json | None]) -> Json | None:
    """POST until the object exists: an answer that got lost is looked up by name before anything is sent again.

    Returns the object as UbiOps tells it when asked afterwards.

    Raises:
        ApiError: UbiOps refuses it.
        TimedOut: it was created and does not appear.
    """
    attempt = 0
    since = job.clock.monotonic()
    while True:
        attempt += 1
        try:
            post()
        except NotFound:
            if not job.created or job.clock.monotonic() - since > APPEAR_SECONDS:
                raise
            attempt -= 1  # what it belongs to was created a moment ago and is not seen everywhere yet
        except ApiError as error:
            lost = is_lost(error)
            # Others may make what is shared at the same moment; what was sent twice may have arrived the first time.
            found = arrived(job, find) if lost or attempt > 1 or address.kind in SHARED_KINDS else None
            if found is not None:
                return found
            if not lost or attempt >= POST_ATTEMPTS:
                raise
            job.say(address, f"{answer_to('the create', error)}; it did not arrive, trying again ({attempt})")
        else:
            return wait_for(
                find, lambda raw: raw is not None, clock=job.clock, timeout=APPEAR_SECONDS, what=f"{address} to appear"
            )
        job.clock.sleep(min(0.5 * 2**attempt, 8.0) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret


def is_lost(error: ApiError) -> bool:
    """Whether the request may have had its effect although it was answered with an error, or not at all."""
    return isinstance(error, Unreachable) or error.status >= 500


def answer_to(what: str, error: ApiError) -> str:
    """What became of a request, in words."""
    return f"UbiOps answered {error.status} to {what}" if error.status else f"no answer to {what}"


def arrived(job: Job, find: Callable[[], T | None]) -> T | None:
    """What a lost request made, if it did: a read may be answered from a copy that is a moment behind."""
    for pause in LOOK_PAUSES:
        found = find()
        if found is not None or pause is None:
            return found
        job.clock.sleep(pause)
    return None
