"""What runs and what has run: instances, requests, metrics, logs and audit events of a project."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from whisperctl.control.session import Json, Session
from whisperctl.errors import NotFound

INSTANCES_PAGE = 50
"""Items of a page of a project's instances: UbiOps refuses more (reference, 1.3)."""


class Running(Session):
    """A project's instances, and what they were asked."""

    def instances(self, deployment: str, version: str) -> list[Json]:
        """The instances of a version."""
        return self._pages("instances_list", deployment, version)

    def project_instances(self) -> list[Json]:
        """The instances of the whole project, with `deployment`, `version` and `instance_type`."""
        return self._pages("project_instances_list", limit=INSTANCES_PAGE)

    def instance_events(self, deployment: str, version: str, instance: str) -> list[Json]:
        """What happened to an instance so far: `{id, time_created, description}`; [] once it is gone."""
        try:
            return self._pages("instance_events_list", deployment, instance, version)
        except NotFound:
            return []

    def stop_instance(self, deployment: str, version: str, instance: str) -> None:
        """Ask an instance to stop; it disappears once it has."""
        self._call("instances_update", deployment, instance, version, data={"status": "stopped"})

    def create_request(self, deployment: str, version: str, data: str, timeout: float) -> Json:
        """Make a direct request to a version, which wakes an instance, and wait for its answer.

        `timeout` is in seconds, at most 3600 (UbiOps' limit); the answer has `status`, `result`, `error_message`.
        """
        seconds = max(10, min(int(timeout), 3600))
        return self._object(
            "deployment_version_requests_create",
            deployment,
            version,
            data=data,
            timeout=seconds,
            _request_timeout=seconds + 30.0,
        )

    def stored_requests(self, deployment: str, version: str, start: float, end: float, offset: int) -> list[Json]:
        """One page of the requests that a version has completed, without their data; moments in seconds since 1970."""
        method = "deployment_version_requests_list"
        period = {"start_date": _utc(start), "end_date": _utc(end)}
        return self._list(method, deployment, version, status="completed", offset=offset, **period)

    def stored_answers(self, deployment: str, version: str, ids: Sequence[str]) -> list[Json]:
        """Requests by id (at most 250) with `result` and `additional_data`."""
        method = "deployment_version_requests_batch_get"
        return self._list(method, deployment, version, data=list(ids))

    def time_series(self, metric: str, version_id: str, start: float, end: float, period: int) -> list[Json]:
        """The points `{start_date, end_date, value}` of a built-in metric of one version, each `period` seconds long.

        `start` and `end` in seconds since 1970; the value of a delta metric is its total in the period.
        """
        answer = self._call(
            "time_series_data_list",
            metric=metric,
            start_date=_utc(start),
            end_date=_utc(end),
            aggregation_period=period,
            unit_period=period,
            labels=f"deployment_version_id:{version_id}",
        )
        points: list[Json] = answer["data_points"] if "data_points" in answer else answer["data"]
        return points

    def logs(self, query: str, start: int, end: int, limit: int = 1000) -> list[Json]:
        """Log lines that match `query`; `start` and `end` in nanoseconds, newest first when start > end.

        NotFound tells of a wrong project.
        """
        with self._project_named():
            return self._list("logs_list", query=query, start=start, end=end, limit=limit)

    def audit(self, deployment: str | None = None, limit: int = 50, offset: int = 0) -> list[Json]:
        """Audit events of the project or of one deployment, newest first."""
        if deployment is None:
            return list(self._call("project_audit_events_list", limit=limit, offset=offset))
        return list(self._call("deployment_audit_events_list", deployment, limit=limit, offset=offset))


def _utc(moment: float) -> str:
    """ISO 8601, as UbiOps takes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat()
