"""What a stack used, day by day: credits, requests, instance hours, hours of audio where they are kept. Reads only.

Sources (UbiOps reference, 3.14 and 3.15): the built-in metrics `deployments.credits`, `deployments.requests`,
`deployments.failed_requests` and `deployments.instances` of each version of the stack, and the stored answers of its
services. A version that is gone takes its figures along: UbiOps' series are asked for by a version's id. Days are UTC.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from whisperctl.clock import Clock
from whisperctl.control.api import Api, Json
from whisperctl.spec import Stack
from whisperctl.state.ownership import owner

DAY_SECONDS = 86400
HOUR_SECONDS = 3600
MOST_REQUESTS = 10_000
"""Stored requests of one version that are read for their audio: 200 pages and 40 calls for the answers."""
PAGE = 50
"""Requests in one page of the list: UbiOps' own default, and the most that is documented."""
BATCH = 250
"""Requests whose answers one call brings: UbiOps' limit."""
ROUTES = ("/audio/transcriptions", "/audio/translations")
"""How the paths end whose answers are about audio."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What was used in some length of time."""

    credits: float = 0.0
    requests: int = 0
    failed: int = 0
    instance_hours: float = 0.0
    audio_hours: float | None = 0.0
    """None: it cannot be known."""

    @property
    def credits_per_audio_hour(self) -> float | None:
        """What an hour of audio cost; None where that is unknown, or there was none."""
        return self.credits / self.audio_hours if self.audio_hours else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What one stack used."""

    stack: str
    project: str
    days: Mapping[date, Figures]
    audio_unknown: str = ""
    """Why the hours of audio are not known; empty where they are."""

    @property
    def total(self) -> Figures:
        """The figures of all days together."""
        days = list(self.days.values())
        return Figures(
            credits=math.fsum(day.credits for day in days),
            requests=sum(day.requests for day in days),
            failed=sum(day.failed for day in days),
            instance_hours=math.fsum(day.instance_hours for day in days),
            audio_hours=None if self.audio_unknown else math.fsum(day.audio_hours or 0.0 for day in days),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Audio:
    """Hours of audio by day, or why they are not known."""

    hours: Counter[date]
    unknown: str = ""


def days_since(since: float, now: float) -> list[date]:
    """The UTC days of an interval, today last; a day that it does not hold from its beginning is left out, but today.

    Args:
        since: seconds since 1970.
        now: likewise.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    first = min(datetime.fromtimestamp(math.ceil(since / DAY_SECONDS) * DAY_SECONDS, UTC).date(), today)
    return [first + timedelta(days=number) for number in range((today - first).days + 1)]


def read_usages(opened: Iterable[tuple[Api, Stack]], since: float, clock: Clock, parallelism: int = 10) -> list[Usage]:
    """The usage of each stack, of the same days up to the same moment.

    Args:
        opened: stacks, each with the control plane of its project.
        since: seconds since 1970.
        clock: what today is.
        parallelism: requests in flight.

    Raises:
        ApiError: UbiOps cannot be read.
    """
    now = clock.time()
    days = days_since(since, now)
    return [read_usage(api, stack, days, now, parallelism) for api, stack in opened]


def read_usage(api: Api, stack: Stack, days: Sequence[date], now: float, parallelism: int = 10) -> Usage:
    """The usage of one stack.

    Args:
        api: the control plane of its project.
        stack: which.
        days: UTC days, oldest first.
        now: seconds since 1970.
        parallelism: requests in flight.

    Raises:
        ApiError: UbiOps cannot be read.
    """
    versions = [raw for raw in api.versions(stack.deployment.name) if owner(raw) == stack.name]
    if not versions:
        api.deployments()  # of a wrong project UbiOps says the same as of a missing deployment
    with ThreadPoolExecutor(parallelism) as pool:
        credits_, requests, failed = (
            [pool.submit(_per_day, api, f"deployments.{name}", raw, days) for raw in versions]
            for name in ("credits", "requests", "failed_requests")
        )
        hours = [pool.submit(_instance_hours, api, raw, days, now) for raw in versions]
        audio = list(pool.map(lambda raw: _audio(api, stack, raw, days, now), versions))
    sums = [sum((task.result() for task in tasks), Counter()) for tasks in (credits_, requests, failed, hours)]
    audio_hours = sum((part.hours for part in audio), Counter[date]())
    unknown = next((part.unknown for part in audio if part.unknown), "")
    return Usage(
        stack=stack.name,
        project=api.project,
        audio_unknown=unknown,
        days={
            day: Figures(
                credits=sums[0][day],
                requests=round(sums[1][day]),
                failed=round(sums[2][day]),
                instance_hours=sums[3][day],
                audio_hours=None if unknown else audio_hours[day],
            )
            for day in days
        },
    )


def _per_day(api: Api, metric: str, version: Json, days: Sequence[date]) -> Counter[date]:
    """A total for each day: asked for as a rate per day over whole days, which is the same number."""
    points = api.time_series(metric, version["id"], _start(days[0]), _start(days[-1]) + DAY_SECONDS, DAY_SECONDS)
    return Counter({_moment(point["start_date"]).date(): _number(point["value"]) for point in points})


def _instance_hours(api: Api, version: Json, days: Sequence[date], now: float) -> Counter[date]:
    """The mean number of instances of each hour, as long as the hour has lasted."""
    points = api.time_series("deployments.instances", version["id"], _start(days[0]), now, HOUR_SECONDS)
    hours: Counter[date] = Counter()
    for point in points:
        start, end = _moment(point["start_date"]), _moment(point["end_date"])
        lasted = min(end.timestamp(), now) - start.timestamp()
        hours[start.date()] += _number(point["value"]) * max(lasted, 0.0) / HOUR_SECONDS
    return hours


def _start(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _number(value: Any) -> Any:
    """A number that can be summed; 0 for anything else."""
    try:
        number = float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _audio(api: Api, stack: Stack, version: Json, days: Sequence[date], now: float) -> _Audio:
    """Hours of audio from the stored answers of one version."""
    if reason := _not_stored(version, _start(days[0]), now):
        return _Audio(hours=Counter(), unknown=reason)
    names = (stack.deployment.name, str(version["version"]))
    ids = []
    for offset in range(0, MOST_REQUESTS + 1, PAGE):
        page = api.stored_requests(*names, _start(days[0]), now, offset)
        ids += [str(item["id"]) for item in page]
        if len(page) < PAGE:
            break
    if len(ids) > MOST_REQUESTS:
        return _Audio(hours=Counter(), unknown=f"{names[1]} has more than {MOST_REQUESTS:,} stored requests")
    return _summed(names[1], _audio_answers(api, names, ids))


def _not_stored(version: Json, since: float, now: float) -> str:
    """Why stored requests do not tell everything that was asked since then."""
    mode, seconds = version.get("request_retention_mode"), version.get("request_retention_time")
    if mode != "full":
        return f"{version['version']} does not keep answers (request_retention_mode: {mode})"
    if isinstance(seconds, int) and seconds < now - since:
        return f"{version['version']} keeps requests for {seconds / DAY_SECONDS:g} days only (request_retention_time)"
    return ""


def _audio_answers(api: Api, names: tuple[str, str], ids: Sequence[str]) -> Iterator[tuple[date, float | None]]:
    """Of each answer about audio its day and how many seconds it was about, or None."""
    for first in range(0, len(ids), BATCH):
        for item in api.stored_answers(*names, ids[first : first + BATCH]):
            about = item.get("additional_data")
            if not isinstance(about, dict):
                continue
            good = str(about.get("status_code")) == "200"
            if good and str(about.get("path") or "").partition("?")[0].endswith(ROUTES):
                yield _moment(item["time_created"]).date(), seconds_of(item.get("result"))


def _summed(version: str, answers_of: Iterator[tuple[date, float | None]]) -> _Audio:
    hours: Counter[date] = Counter()
    silent = answers = 0
    for day, seconds in answers_of:
        answers += 1
        silent += seconds is None
        hours[day] += (seconds or 0.0) / HOUR_SECONDS  # type: ignore[assignment]
    reason = f"{silent:,} of {answers:,} answers of {version} do not tell how long their audio is" if silent else ""
    return _Audio(hours=hours, unknown=reason)


def seconds_of(result: Any) -> float | None:
    """How long the audio was that an answer is about: `duration`, or `usage.seconds`; None where it does not say.

    Source: vLLM's transcription responses (`verbose_json` has the one, `json` the other; text and subtitles neither).
    """
    if isinstance(result, str):
        try:
            result = json.loads(result)
        except (ValueError, RecursionError):
            return None
    if not isinstance(result, Mapping):
        return None
    usage = result.get("usage")
    durations = [result.get("duration"), usage.get("seconds") if isinstance(usage, Mapping) else None]
    for value in durations:
        try:
            seconds = float(value)  # type: ignore[arg-type]  # OpenAI's `duration` is a number in a text
        except (TypeError, ValueError, OverflowError):
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    return None
