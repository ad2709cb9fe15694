"""Which query parameters a call takes: data. Anything else in a query string is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ubiops_emulator.api.call import Call
from ubiops_emulator.api.rules import (
    access,
    deployments,
    environments,
    groups,
    instances,
    logs,
    metrics,
    projects,
    records,
    requests,
    services,
    versions,
)

PAGE = "cursor limit"
REQUESTS = "status limit offset start_date end_date search_id"
TAKEN: dict[Callable[[Call], Any], list[str]] = {
    projects.index: "organization labels".split(),
    access.users: "user_type".split(),
    access.assignments: "resource resource_type assignee assignee_type".split(),
    logs.index: "query start end limit".split(),
    records.project_audit: "action limit offset".split(),
    records.deployment_audit: "action limit offset".split(),
    records.project_events: "object_type object_id start_time end_time last_seconds type limit offset".split(),
    records.instance_events: PAGE.split(),
    requests.project_index: f"{REQUESTS} object_type".split(),
    requests.index: REQUESTS.split(),
    requests.get: "metadata_only".split(),
    requests.create: "timeout priority".split(),
    requests.batch: "timeout priority".split(),
    requests.stream: "timeout priority".split(),
    requests.cancel: "status".split(),
    groups.types: PAGE.split(),
    groups.index: PAGE.split(),
    groups.usage: PAGE.split(),
    instances.index: f"{PAGE} status".split(),
    instances.project_index: f"{PAGE} status".split(),
    environments.index: "labels system".split(),
    environments.tags: "supports_request_format".split(),
    environments.tag_build: "base_environment_name base_environment_tag".split(),
    deployments.index: "labels supports_request_format".split(),
    versions.index: "labels".split(),
    services.index: "labels deployment_version_ids".split(),
    metrics.index: "custom".split(),
    metrics.data: "metric start_date end_date aggregation_period unit_period labels".split(),
}


def unknown(rule: Callable[[Call], Any], query: dict[str, str]) -> list[str]:
    """The parameters that the call does not take."""
    return sorted(set(query) - set(TAKEN.get(rule, ())))
