"""The objects of a project at UbiOps' control plane: a method for each way to read, make, change or delete one.

JSON in and JSON out (`session`); `running` has what the objects do meanwhile. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO

from whisperctl.control.responses import parsed, write_to
from whisperctl.control.running import Running
from whisperctl.control.session import Json
from whisperctl.control.uploads import Uploadable, zip_file

__all__ = ["Api", "Json"]


class Api(Running):
    """One UbiOps project."""

    # --- project ---------------------------------------------------------------------------------------------------

    def status(self) -> Json:
        """`GET /status`: needs no token."""
        answer: Json = parsed("status", self._response("service_status"))
        return answer

    def user(self) -> Json:
        """The caller."""
        answer: Json = parsed("user", self._response("user_get"))
        return answer

    def get_project(self) -> Json:
        """The project itself; NotFound tells of a wrong name."""
        return self._object("projects_get")

    def quotas(self) -> list[Json]:
        """The project's quotas."""
        return self._list("quotas_list")

    def usage(self) -> Json:
        """How many deployments, versions, environments, … the project holds."""
        return self._object("projects_resource_usage")

    def known_permissions(self) -> set[str]:
        """The names of all permissions that UbiOps has."""
        return {item["name"] for item in parsed("permissions_list", self._response("permissions_list"))}

    def permissions_of(self, user: str) -> set[str]:
        """Every permission that the roles of a user (by id) hold on the project."""
        assignments = self._list("role_assignments_per_object_list", assignee=user, assignee_type="user")
        roles = {item["role"] for item in assignments if item["resource_type"] == "project"}
        return {name for role in sorted(roles) for name in self._call("roles_get", role)["permissions"]}

    def instance_types(self) -> list[Json]:
        """All instance types that the project may use."""
        return self._pages("instance_types_list")

    # --- instance type groups --------------------------------------------------------------------------------------

    def groups(self) -> list[Json]:
        """All instance type groups; names are not unique. NotFound tells of a wrong project."""
        with self._project_named():
            return self._pages("instance_type_groups_list")

    def create_group(self, body: Mapping[str, Any]) -> Json:
        """Create an instance type group."""
        return self._object("instance_type_groups_create", data=dict(body))

    def update_group(self, group_id: str, body: Mapping[str, Any]) -> Json:
        """Patch an instance type group; its list of types is replaced."""
        return self._object("instance_type_groups_update", group_id, data=dict(body))

    def delete_group(self, group_id: str) -> None:
        """Delete an instance type group; one that is gone is fine."""
        self._delete("instance_type_groups_delete", group_id)

    # --- environments and tags -------------------------------------------------------------------------------------

    def environment(self, name: str) -> Json | None:
        """One environment, or None."""
        return self._find("environments_get", name)

    def create_environment(self, body: Mapping[str, Any]) -> Json:
        """Create an environment."""
        return self._object("environments_create", data=dict(body))

    def update_environment(self, name: str, body: Mapping[str, Any]) -> Json:
        """Patch an environment."""
        return self._object("environments_update", name, data=dict(body))

    def delete_environment(self, name: str) -> None:
        """Delete an environment; one that is gone is fine."""
        self._delete("environments_delete", name)

    def tags(self, environment: str) -> list[Json] | None:
        """The tags of an environment, or None if there is no such environment."""
        return self._find_list("environment_tags_list", environment)

    def tag(self, environment: str, tag: str) -> Json | None:
        """One tag, or None."""
        return self._find("environment_tags_get", environment, tag)

    def dependency_files(self, environment: str, tag: str) -> list[Json] | None:
        """The files that a tag was built from, as `{name, content}`, or None."""
        return self._find_list("environment_tag_dependencies_list", environment, tag)

    def create_tag(self, environment: str, body: Mapping[str, Any]) -> Json:
        """Create a tag; it is `pending` until `build_tag`."""
        return self._object("environment_tags_create", environment, data=dict(body))

    def build_tag(self, environment: str, tag: str, base: tuple[str, str], archive: Uploadable) -> None:
        """Upload the dependency files and start the build upon the base environment `(name, tag)`."""
        with zip_file("environment_package.zip", archive) as file:
            self._call(
                "environment_tags_build",
                environment,
                tag,
                base_environment_name=base[0],
                base_environment_tag=base[1],
                file=file,
            )

    def cancel_tag(self, environment: str, tag: str) -> None:
        """Cancel the build of a tag."""
        self._call("environment_tags_update", environment, tag, data={"status": "cancelled"})

    def delete_tag(self, environment: str, tag: str) -> None:
        """Delete a tag; one that is gone is fine."""
        self._delete("environment_tags_delete", environment, tag)

    def tag_usage(self, environment: str, tag: str) -> list[Json]:
        """The versions that use a tag; [] if there is no such tag."""
        return self._find_list("environment_tags_usage", environment, tag) or []

    # --- deployments -----------------------------------------------------------------------------------------------

    def deployments(self) -> list[Json]:
        """All deployments.

        Raises:
            NotFound: there is no such project, or the token may not see it.
        """
        with self._project_named():
            return self._list("deployments_list")

    def deployment(self, name: str) -> Json | None:
        """One deployment, or None."""
        return self._find("deployments_get", name)

    def create_deployment(self, body: Mapping[str, Any]) -> Json:
        """Create a deployment."""
        return self._object("deployments_create", data=dict(body))

    def update_deployment(self, name: str, body: Mapping[str, Any]) -> Json:
        """Patch a deployment; labels are replaced as a whole."""
        return self._object("deployments_update", name, data=dict(body))

    def delete_deployment(self, name: str) -> None:
        """Delete a deployment and its versions; one that is gone is fine."""
        self._delete("deployments_delete", name)

    # --- versions --------------------------------------------------------------------------------------------------

    def versions(self, deployment: str) -> list[Json]:
        """The versions of a deployment (without instance type group, health check, command and args)."""
        return self._find_list("deployment_versions_list", deployment) or []

    def version(self, deployment: str, version: str) -> Json | None:
        """One version, or None."""
        return self._find("deployment_versions_get", deployment, version)

    def create_version(self, deployment: str, body: Mapping[str, Any]) -> Json:
        """Create a version."""
        return self._object("deployment_versions_create", deployment, data=dict(body))

    def update_version(self, deployment: str, version: str, body: Mapping[str, Any]) -> Json:
        """Patch a version; a null clears a nullable field, labels are replaced as a whole."""
        return self._object("deployment_versions_update", deployment, version, data=dict(body))

    def delete_version(self, deployment: str, version: str) -> None:
        """Delete a version; one that is gone is fine."""
        self._delete("deployment_versions_delete", deployment, version)

    # --- env vars of a version -------------------------------------------------------------------------------------

    def env_vars(self, deployment: str, version: str) -> list[Json]:
        """The version's own and inherited env vars; [] if there is no such version."""
        return self._find_list("deployment_version_environment_variables_list", deployment, version) or []

    def deployment_env_vars(self, deployment: str) -> list[Json]:
        """A deployment's own env vars and the project's; [] if there is no such deployment."""
        return self._find_list("deployment_environment_variables_list", deployment) or []

    def project_env_vars(self) -> list[Json]:
        """The project's own env vars."""
        return self._list("project_environment_variables_list")

    def create_env_var(self, deployment: str, version: str, body: Mapping[str, Any]) -> Json:
        """Create an env var."""
        method = "deployment_version_environment_variables_create"
        return self._object(method, deployment, version, data=dict(body))

    def update_env_var(self, deployment: str, version: str, env_id: str, body: Mapping[str, Any]) -> Json:
        """Patch an env var."""
        return self._object(
            "deployment_version_environment_variables_update", deployment, env_id, version, data=dict(body)
        )

    def delete_env_var(self, deployment: str, version: str, env_id: str) -> None:
        """Delete an env var; one that is gone is fine."""
        self._delete("deployment_version_environment_variables_delete", deployment, env_id, version)

    # --- revisions -------------------------------------------------------------------------------------------------

    def revisions(self, deployment: str, version: str) -> list[Json]:
        """The revisions of a version."""
        return self._list("revisions_list", deployment, version)

    def revision(self, deployment: str, version: str, revision: str) -> Json:
        """One revision."""
        return self._object("revisions_get", deployment, revision, version)

    def upload(self, deployment: str, version: str, archive: Uploadable) -> str:
        """Upload a package; the id of the new revision, which builds from then on."""
        with zip_file("deployment_package.zip", archive) as file:
            answer = self._call("revisions_file_upload", deployment, version, file=file, _progress_bar=False)
        return str(answer["revision"])

    def download(self, deployment: str, version: str, revision: str, stream: BinaryIO) -> None:
        """Write a revision's package to `stream` as it comes."""
        method, names = "revisions_file_download", (self.project, deployment, revision, version)
        response = self._response(method, *names, _request_stream=True)
        write_to(stream, response, f"The download of revision {revision}")

    # --- services --------------------------------------------------------------------------------------------------

    def services(self) -> list[Json]:
        """All services (without endpoint, limits and authentication methods)."""
        return self._list("services_list")

    def find_service(self, name: str) -> Json | None:
        """One service, or None."""
        return self._find("services_get", name)

    def service(self, name: str) -> Json:
        """One service with its `endpoint`."""
        return self._object("services_get", name)

    def service_status(self, name: str) -> Json:
        """`{id, ready, instances_ready}`."""
        return self._object("services_status_get", name)

    def create_service(self, body: Mapping[str, Any]) -> Json:
        """Create a service."""
        return self._object("services_create", data=dict(body))

    def update_service(self, name: str, body: Mapping[str, Any]) -> Json:
        """Patch a service; a null clears a limit, labels are replaced as a whole."""
        return self._object("services_update", name, data=dict(body))

    def delete_service(self, name: str) -> None:
        """Delete a service; one that is gone is fine."""
        self._delete("services_delete", name)
