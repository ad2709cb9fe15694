"""UbiOps -> everything that describes one deployment version: the objects, what it runs, and what that was built from.

Reads only. What cannot be read is missing; what that means is decided where the file is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from whisperctl.control.api import Api, Json
from whisperctl.errors import WhisperctlError
from whisperctl.plan.package_changes import read_package

CODE = "deployment.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class Objects:
    """One live version with all that belongs to it, as UbiOps told it."""

    project: str
    deployment: Json
    version: Json
    env_vars: Sequence[Json]
    """The version's own: inherited ones are set elsewhere."""
    services: Sequence[Json]
    """Those that lead to this version."""
    group: Json | None
    package: Mapping[str, str] | None
    """The text files of the active revision; None where there is none, or none that can be read."""
    tag: Json | None
    """The environment tag that it runs in."""
    dependencies: Mapping[str, str]
    """The files that the tag was built from; none of a base environment."""

    @property
    def address(self) -> str:
        """`DEPLOYMENT/VERSION`."""
        return f"{self.deployment['name']}/{self.version['version']}"


def read_objects(api: Api, deployment: str, version: str = "") -> Objects:
    """Everything about a version; without a name the deployment's default version, or its only one.

    Raises:
        WhisperctlError: there is no such deployment or version; or it has none, or several and no default one.
    """
    raw = api.deployment(deployment)
    if raw is None:
        names = ", ".join(sorted(item["name"] for item in api.deployments())) or "none"
        raise WhisperctlError(f"There is no deployment {deployment} in project {api.project}.\n  There are: {names}.")
    name = version or _chosen(raw, api.versions(deployment))
    detail = api.version(deployment, name)
    if detail is None:
        names = ", ".join(item["version"] for item in api.versions(deployment)) or "none"
        raise WhisperctlError(f"The deployment {deployment} has no version {name}.\n  There are: {names}.")
    tag, dependencies = _environment(api, detail)
    return Objects(
        project=api.project,
        deployment=raw,
        version=detail,
        env_vars=[item for item in api.env_vars(deployment, name) if not item.get("inheritance_type")],
        services=_services(api, raw, name),
        group=_group(api, detail),
        package=_package(api, deployment, detail),
        tag=tag,
        dependencies=dependencies,
    )


def _environment(api: Api, version: Json) -> tuple[Json | None, dict[str, str]]:
    """The tag that a version runs in, and the files that it was built from."""
    environment, tag = str(version.get("environment_name") or ""), str(version.get("environment_tag") or "")
    if not environment or not tag:
        return None, {}
    return api.tag(environment, tag), _dependencies(api, environment, tag)


def _chosen(deployment: Json, versions: Sequence[Json]) -> str:
    names = [str(item["version"]) for item in versions]
    default = deployment.get("default_version") or next((v["version"] for v in versions if v.get("default")), None)
    if default in names:
        return str(default)
    if len(names) == 1:
        return names[0]
    if not names:
        raise WhisperctlError(f"The deployment {deployment['name']} has no version: there is nothing to describe.")
    choices = ", ".join(f"{deployment['name']}/{name}" for name in names)
    raise WhisperctlError(
        f"The deployment {deployment['name']} has several versions and no default one.\n"
        f"  Write which one is meant: {choices}."
    )


def _services(api: Api, deployment: Json, version: str) -> list[Json]:
    """The services of the version, with what their list does not tell."""
    default = deployment.get("default_version")
    services = []
    for item in api.services():
        to_default = not item.get("version") and version == default
        if item.get("deployment") == deployment["name"] and (item.get("version") == version or to_default):
            services.append(api.find_service(item["name"]) or item)
    return sorted(services, key=lambda item: str(item["name"]))


def _group(api: Api, version: Json) -> Json | None:
    ident, name = version.get("instance_type_group_id"), version.get("instance_type_group_name")
    groups = api.groups()
    same = [group for group in groups if group["id"] == ident] or [group for group in groups if group["name"] == name]
    return same[0] if same else None


def _package(api: Api, deployment: str, version: Json) -> dict[str, str] | None:
    revision = version.get("active_revision")
    files = read_package(api, deployment, version["version"], revision) if revision else None
    if files is None:
        return None
    code = min((name for name in files if name.rpartition("/")[2] == CODE), key=len, default="")
    above = code.removesuffix(CODE)
    return {
        name.removeprefix(above): content.decode(errors="replace")
        for name, content in files.items()
        if name.startswith(above) and name.endswith((".py", ".txt", ".yaml", ".sh"))
    }


def _dependencies(api: Api, environment: str, tag: str) -> dict[str, str]:
    files: Sequence[Mapping[str, Any]] = api.dependency_files(environment, tag) or ()
    return {str(file["name"]): str(file["content"] or "") for file in files}
