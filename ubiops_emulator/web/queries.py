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
from ubiops_emulator.api.words import words

PAGE = "cursor limit"
REQUESTS = "status limit offset start_date end_date search_id"
TAKEN: dict[Callable[[Call], Any], list[str]] = {
    projects.index: words("organization labels"),
    access.users: words("user_type"),
    access.assignments: words("resource resource_type assignee assignee_type"),
    logs.index: words("query start end limit"),
    records.project_audit: words("action limit offset"),
    records.deployment_audit: words("action limit offset"),
    records.project_events: words("object_type object_id start_time end_time last_seconds type limit offset"),
    records.instance_events: words(PAGE),
    requests.project_index: words(f"{REQUESTS} object_type"),
    requests.index: words(REQUESTS),
    requests.get: words("metadata_only"),
    requests.create: words("timeout priority"),
    requests.batch: words("timeout priority"),
    requests.stream: words("timeout priority"),
    requests.cancel: words("status"),
    groups.types: words(PAGE),
    groups.index: words(PAGE),
    groups.usage: words(PAGE),
    instances.index: words(f"{PAGE} status"),
    instances.project_index: words(f"{PAGE} status"),
    environments.index: words("labels system"),
    environments.tags: words("supports_request_format"),
    environments.tag_build: words("base_environment_name base_environment_tag"),
    deployments.index: words("labels supports_request_format"),
    versions.index: words("labels"),
    services.index: words("labels deployment_version_ids"),
    metrics.index: words("custom"),
    metrics.data: words("metric start_date end_date aggregation_period unit_period labels"),
}


def unknown(rule: Callable[[Call], Any], query: dict[str, str]) -> list[str]:
    """The parameters that the call does not take."""
    return sorted(set(query) - set(TAKEN.get(rule, ())))
