"""Metrics that status pages and bills read, computed from the stored requests and from when instances ran."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ubiops_emulator.api import billing
from ubiops_emulator.api.call import Call, moment, number, project
from ubiops_emulator.clock import stamp
from ubiops_emulator.refusal import invalid, not_found
from ubiops_emulator.store import Doc

PERIODS = (60, 300, 900, 3600, 7200, 21600, 86400)
UNITS = (1, 60, 3600, 86400)
MOST_POINTS = 10_000
BUILT_IN = {
    "deployments.requests": ("delta", "requests"),
    "deployments.failed_requests": ("delta", "requests"),
    "deployments.request_duration": ("gauge", "seconds"),
    "deployments.input_volume": ("delta", "bytes"),
    "deployments.output_volume": ("delta", "bytes"),
    "deployments.network_in": ("delta", "bytes"),
    "deployments.network_out": ("delta", "bytes"),
    "deployments.queue_size": ("gauge", "requests"),
    "deployments.queue_time": ("gauge", "seconds"),
    "deployments.memory_utilization": ("gauge", "bytes"),
    "deployments.instances": ("gauge", "instances"),
    "deployments.credits": ("delta", "credits"),
}


def index(call: Call) -> list[dict[str, Any]]:
    """List the metrics that UbiOps has built in."""
    project(call)
    return [] if call.query.get("custom", "").lower() == "true" else [_metric(name) for name in BUILT_IN]


def get(call: Call) -> dict[str, Any]:
    """One metric.

    Raises:
        Refusal: 404 for a metric that is not built in.
    """
    project(call)
    if call.path["metric_name"] not in BUILT_IN:
        raise not_found("Metric")
    return _metric(call.path["metric_name"])


def data(call: Call) -> dict[str, Any]:
    """Points of one metric; labels may name a `deployment_version_id`.

    Delta metrics are rates: per second, unless `unit_period` says per how many.

    Raises:
        Refusal: 404 for a metric that is not built in; 400 for a missing date, an end that is not after the start, more
            than `MOST_POINTS` periods, or a period that is not offered.
    """
    owner, query = project(call), call.query
    name = query.get("metric", "")
    if name not in BUILT_IN:
        raise not_found("Metric")
    start, end = moment(call, "start_date"), moment(call, "end_date")
    period, unit_period = _one_of(call, "aggregation_period", PERIODS), _one_of(call, "unit_period", UNITS)
    if start >= end or (end - start) / period > MOST_POINTS:
        raise invalid(f"start_date and end_date: an interval of at most {MOST_POINTS} periods is required")
    labels = dict(part.partition(":")[::2] for part in query.get("labels", "").split(",") if part)
    measure = _measure(call, owner, name, labels.get("deployment_version_id"))
    kind, unit = BUILT_IN[name]
    points = []
    begin = start - start % period
    while begin < end:
        value = measure(begin, begin + period) * (unit_period / period if kind == "delta" else 1.0)
        points.append({"start_date": stamp(begin), "end_date": stamp(begin + period), "value": value})
        begin += period
    return {
        "metric": name,
        "metric_type": kind,
        "unit": unit,
        "start_date": stamp(start),
        "end_date": stamp(end),
        "aggregation_period": period,
        "labels": labels,
        "data_points": points,
    }


def _one_of(call: Call, name: str, allowed: tuple[int, ...]) -> int:
    value = number(call, name, allowed[0], allowed[0], allowed[-1])
    if value not in allowed:
        raise invalid(f"{name}: use one of {', '.join(map(str, allowed))}")
    return value


Measure = Callable[[float, float], float]
"""Of the interval between two moments: a total for a delta metric, a mean for a gauge."""


def _measure(call: Call, owner: Doc, name: str, version_id: str | None) -> Measure:
    if name in ("deployments.instances", "deployments.credits"):
        return _of_stays(name, billing.stays(call.store, owner.id, version_id, call.now), call.now)
    requests = _requests(call, owner, version_id)
    of_requests = MEASURES.get(name)
    if of_requests is None:
        return lambda _start, _end: 0.0
    return lambda start, end: of_requests([body for moment, body in requests if start <= moment < end])


def _of_stays(name: str, stays: list[billing.Stay], now: float) -> Measure:
    if name == "deployments.credits":
        return lambda start, end: sum(stay.seconds(start, end) * stay.rate / 3600 for stay in stays)
    # The mean over what has passed of an interval: the rest of it is not known yet.
    return lambda start, end: sum(stay.seconds(start, end) for stay in stays) / max(min(end, now) - start, 1.0)


def _requests(call: Call, owner: Doc, version_id: str | None) -> list[tuple[float, dict[str, Any]]]:
    store = call.store
    versions = [
        doc for parent in store.children("deployment", owner.id) for doc in store.children("version", parent.id)
    ]
    docs = [doc for v in versions if version_id in {None, v.id} for doc in store.children("request", v.id)]
    return [(datetime.fromisoformat(doc.body["time_created"]).timestamp(), doc.body) for doc in docs]


def _durations(rows: list[dict[str, Any]]) -> float:
    spans = [
        datetime.fromisoformat(row["time_completed"]) - datetime.fromisoformat(row["time_started"])
        for row in rows
        if row["time_completed"] and row["time_started"]
    ]
    return sum(span.total_seconds() for span in spans) / len(spans) if spans else 0.0


MEASURES: dict[str, Callable[[list[dict[str, Any]]], float]] = {
    "deployments.requests": lambda rows: float(len(rows)),
    "deployments.failed_requests": lambda rows: float(sum(row["status"] == "failed" for row in rows)),
    "deployments.request_duration": _durations,
    "deployments.input_volume": lambda rows: float(sum(row["input_size"] or 0 for row in rows)),
    "deployments.output_volume": lambda rows: float(sum(row["output_size"] or 0 for row in rows)),
}


def _metric(name: str) -> dict[str, Any]:
    kind, unit = BUILT_IN[name]
    return {
        "id": list(BUILT_IN).index(name) + 1,
        "name": name,
        "description": "",
        "creation_date": stamp(0),
        "last_updated": stamp(0),
        "custom": False,
        "metric_type": kind,
        "unit": unit,
        "labels": ["deployment_version_id"],
    }
