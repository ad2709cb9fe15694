"""The log lines of a stack: of its environment tag's build, of its revisions' builds, of its instances. Reads only.

UbiOps gives lines in pages and knows no ids for them; a line may turn up a moment after later ones. So each look
begins a little before the newest line seen, and what was given out already is counted, not guessed: nothing is lost,
nothing is told twice, and two equal lines of one moment stay two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from whisperctl.clock import CLOCKS_APART, Clock
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError, Unreachable
from whisperctl.package.build import build_environment
from whisperctl.spec import Stack
from whisperctl.state.serving import serving

LogSource = Literal["environment", "build", "instance"]
LogGroup = Literal["build", "instance"]
"""Builds, those of the environment too, or instances."""
SECOND = 10**9
PAGE = 5000
"""Lines that UbiOps gives at most in one answer."""
LATE = 30 * SECOND
"""How long after its moment a line may turn up and still be found, in nanoseconds."""
POLL_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of output."""

    moment: int
    """Nanoseconds since 1970, UTC."""
    source: LogSource
    id: str
    """Of the instance or revision; the environment tag's name."""
    text: str
    error: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class LogOptions:
    """Which lines of a stack are asked for."""

    since: float
    """Seconds since 1970."""
    only: LogGroup | None = None
    tail: int | None = None
    """Only so many of those that there are, the newest; what comes later is not counted."""
    follow: bool = False
    """Whether to go on with what comes later, without end."""

    def match(self, line: Line) -> bool:
        """Whether a line is of the group that is asked for."""
        return self.only in (None, "instance" if line.source == "instance" else "build")


def read_logs(
    api: Api, stack: Stack, options: LogOptions, clock: Clock, say: Callable[[str], None]
) -> Iterator[Line] | None:
    """The lines of the version of a stack that serves, oldest first, read as they are taken.

    Args:
        api: the control plane.
        stack: as its file says.
        options: which lines.
        clock: what the end of a look and the pauses between two are taken from.
        say: takes what is to be told of a host that does not answer while lines are followed.

    Returns:
        None where the deployment does not exist; one that is followed may be made later.

    Raises:
        ApiError: UbiOps cannot be read, or has no such project.
    """
    stack = serving(api, stack)
    deployment = api.deployment(stack.deployment.name)
    if deployment is None and not options.follow:
        api.deployments()  # a project that does not exist is an error
        return None
    reader = Reader(
        api=api,
        queries=queries(api, stack),
        keep=belongs_to(stack, created(deployment)),
        since=int(options.since * SECOND),
        clock=clock,
    )
    appeared = None if deployment else partial(_appeared, api, stack)
    return _lines(reader, options, say, appeared)


def _lines(
    reader: Reader,
    options: LogOptions,
    say: Callable[[str], None],
    appeared: Callable[[], Callable[[Json], bool] | None] | None,
) -> Iterator[Line]:
    lines = [line for line in reader.more() if options.match(line)]
    yield from lines if options.tail is None else lines[max(len(lines) - options.tail, 0) :]
    if options.follow:
        yield from filter(options.match, follow(reader, say, appeared))


def _appeared(api: Api, stack: Stack) -> Callable[[Json], bool] | None:
    """Which entries are the stack's, once its deployment is there."""
    deployment = api.deployment(stack.deployment.name)
    return belongs_to(stack, created(deployment)) if deployment else None


def queries(api: Api, stack: Stack) -> tuple[str, ...]:
    """What to ask UbiOps for: the version's lines, and those of the environment tag that it runs in (or would)."""
    names = (stack.deployment.name, stack.version.name)
    version = api.version(*names) or {}
    build = build_environment(stack)
    tags = {(build.name, build.tag)} if build else set()
    if build and version.get("environment_name") == build.name:
        tags.add((build.name, str(version["environment_tag"])))
    asked = [f"| deployment_name=`{names[0]}` and deployment_version=`{names[1]}`"]
    asked += [f"| environment_name=`{name}` and environment_tag=`{tag}`" for name, tag in sorted(tags)]
    return tuple(asked)


def created(deployment: Json | None) -> int | None:
    """When the deployment was created, in nanoseconds since 1970, a moment earlier; None where there is none.

    UbiOps keeps the lines of a deployment that was deleted, under the same name.
    """
    if deployment is None:
        return None
    made = str(deployment.get("creation_date") or "")
    try:
        moment = datetime.fromisoformat(made)
    except ValueError:
        return 0
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * SECOND) - SECOND


def belongs_to(stack: Stack, created: int | None = 0) -> Callable[[Json], bool]:
    """Whether an entry is the stack's: of its version, or of no version, as is the build of an environment tag.

    What its version says before `created` (nanoseconds) is another's, of a deployment that had its name; with None
    everything.

    Stacks share tags, and what a version prints carries the label of the tag that it runs in, too.
    """
    ours = (stack.deployment.name, stack.version.name)

    def belongs(entry: Json) -> bool:
        labels = entry.get("metadata") or {}
        if not labels.get("deployment_name"):
            return True
        names = (labels["deployment_name"], labels.get("deployment_version"))
        return names == ours and created is not None and int(entry["timestamp"]) >= created

    return belongs


def _any_entry(_entry: Json) -> bool:
    return True


@dataclass(kw_only=True)
class Reader:
    """Reads on from `since` (nanoseconds) with every call of `more`."""

    api: Api
    queries: Sequence[str]
    keep: Callable[[Json], bool] = _any_entry
    """Which of the entries that the queries find are given out."""
    since: int
    clock: Clock
    page: int = PAGE
    _given: Counter[tuple[Any, ...]] = field(default_factory=Counter)

    def more(self) -> list[Line]:
        """The lines that were not given out yet, oldest first.

        Raises:
            ApiError: UbiOps cannot be read.
        """
        seen: Counter[tuple[Any, ...]] = Counter()
        entries: dict[tuple[Any, ...], Json] = {}
        for query in self.queries:
            matching = [entry for entry in self._pages(query) if self.keep(entry)]
            # A line that matches two queries is one line; two equal lines of one query are two.
            seen |= Counter(_key(entry) for entry in matching)
            entries |= {_key(entry): entry for entry in matching}
        fresh = seen - self._given
        lines = [_line(entries[key]) for key in fresh.elements()]
        # Not beyond our own time: one instance whose clock runs ahead must not hide what the others say.
        newest = min(max((key[0] for key in seen), default=self.since), int(self.clock.time() * SECOND))
        self.since = max(self.since, newest - LATE)
        self._given = Counter({key: count for key, count in (self._given | seen).items() if key[0] >= self.since})
        return sorted(lines, key=lambda line: line.moment)

    def _pages(self, query: str) -> Iterator[Json]:
        """Every line from `since` on. A full page is followed by one from its last moment on."""
        start = self.since
        at_start: Counter[tuple[Any, ...]] = Counter()
        while True:
            end = max(int(self.clock.time() * SECOND), start) + CLOCKS_APART * SECOND
            entries = self.api.logs(query, start, end, self.page)
            for entry in entries:
                if at_start[_key(entry)]:
                    at_start[_key(entry)] -= 1
                else:
                    yield entry
            if len(entries) < self.page:
                return
            last = int(entries[-1]["timestamp"])
            # More lines of one moment than a page holds cannot be read: go on after them.
            start = last if last > start else start + 1
            at_start = Counter(_key(entry) for entry in entries if int(entry["timestamp"]) == start)


def follow(
    reader: Reader, say: Callable[[str], None], appeared: Callable[[], Callable[[Json], bool] | None] | None = None
) -> Iterator[Line]:
    """Lines as they come, without end; a host that does not answer for a while is said once and asked again.

    Args:
        reader: what has read up to now.
        say: takes what is to be told of the host.
        appeared: of a deployment that is not there yet: which entries are kept, once it is.
    """
    silent = False
    while True:
        try:
            if appeared is not None and (keep := appeared()) is not None:
                reader.keep, appeared = keep, None
            lines = reader.more()
        except ApiError as error:
            if not isinstance(error, Unreachable) and error.status < 500:
                raise
            if not silent:
                say(f"UbiOps does not answer at the moment: {error.reason.splitlines()[0]} Going on.")
            silent = True
        else:
            silent = False
            yield from lines
        reader.clock.sleep(POLL_SECONDS)


def _key(entry: Json) -> tuple[Any, ...]:
    labels = entry.get("metadata") or {}
    return (int(entry["timestamp"]), str(entry["log"]), *sorted((name, str(value)) for name, value in labels.items()))


def _line(entry: Json) -> Line:
    labels = entry.get("metadata") or {}
    source, ident = _origin(labels)
    return Line(
        moment=int(entry["timestamp"]),
        source=source,
        id=ident,
        text=str(entry["log"]).rstrip("\n"),
        error=labels.get("level") == "error",
    )


def _origin(labels: Json) -> tuple[LogSource, str]:
    if labels.get("instance_id"):
        return "instance", str(labels["instance_id"])
    if labels.get("deployment_version_revision_id"):
        return "build", str(labels["deployment_version_revision_id"])
    if labels.get("environment_tag") and not labels.get("deployment_name"):
        return "environment", str(labels["environment_tag"])
    return "instance", ""
