"""Where something runs: version, deployment and project of an instance or revision, and the labels of its output."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ubiops_emulator.clock import stamp
from ubiops_emulator.store import Doc, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A version with what is above it; `labels` are its log labels."""

    project: str
    project_name: str
    deployment: Doc
    version: Doc
    labels: dict[str, Any] = field(default_factory=dict)


def site(store: Store, doc: Doc) -> Site:
    """Of a revision or instance.

    Raises:
        LookupError: its version is gone.
    """
    version = store.by_id("version", doc.parent)
    deployment = store.by_id("deployment", version.parent) if version else None
    if version is None or deployment is None:
        raise LookupError(doc.id)
    project = store.by_id("project", deployment.parent)
    labels = {
        "deployment_id": deployment.id,
        "deployment_name": deployment.name,
        "deployment_version_id": version.id,
        "deployment_version": version.name,
        "environment_name": version.body["environment_name"],
        "environment_tag": version.body["environment_tag"],
    }
    return Site(
        project=deployment.parent,
        project_name=str(project.name) if project else "",
        deployment=deployment,
        version=version,
        labels=labels,
    )


def instance_labels(store: Store, where: Site, ident: str) -> dict[str, Any]:
    """The labels of an instance's output; while it works on a request, that request's id too."""
    doc = store.by_id("instance", ident)
    body = doc.body if doc else {}
    return where.labels | {
        "instance_id": ident,
        "process_id": 0,
        "deployment_version_revision_id": body.get("_revision"),
        "deployment_request_id": body.get("_request"),
    }


def instance_event(where: Site, ident: str, text: str, now: float, what: str) -> dict[str, Any]:
    """The project event of an instance that `crashed` (its process ended by itself) or was `unscheduled`."""
    return {
        "date": stamp(now),
        "object_type": "deployment_version",
        "object_id": where.version.id,
        "object_name": where.version.name,
        "parent_object_name": where.deployment.name,
        "parent_object_id": where.deployment.id,
        "type": f"instance_{what}",
        "log_timestamp": int(now * 1e9),
        "text": f"Instance {ident}: {text}",
        "_at": now,
    }
