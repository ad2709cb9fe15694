"""The control plane: the official `ubiops` client over one pooled session, JSON in and JSON out.

Paths, verbs and authentication are the client's. Its models are not used for data: they drop every null and every key
that they do not know, so that a nullable field could never be cleared (UbiOps reference, 2.1). All methods raise
`whisperctl.errors.ApiError` and its kin, never a foreign exception. This module decides nothing.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO

import requests

from whisperctl.clock import Clock, SystemClock
from whisperctl.control.rate_limit import RateLimit
from whisperctl.control.responses import cursor_in, parsed, write_to
from whisperctl.control.transport import LIMIT, Fence, PooledRest, With
from whisperctl.control.uploads import Archive, zip_file
from whisperctl.errors import ApiError, NotFound, WhisperctlError

Json = dict[str, Any]
URGENT_SECONDS = 10.0
"""For a request that nothing may hold up."""
PAGE = 250
"""Items in one page of a cursor list: the largest that the official CLI allows."""
INSTANCES_PAGE = 50
"""Items of a page of a project's instances: UbiOps refuses more (reference, 1.3)."""
MOST_PAGES = 400
"""Of one list: a hundred thousand items."""


class Api:
    """One UbiOps project. Safe to call from several threads.

    `project` is the project's name, `timeout` is in seconds for one whole call, `limit` for uploads, downloads and the
    rate limits of one call together; `rate_limit` is shared by all projects of one host.
    """

    def __init__(
        self,
        host: str,
        project: str,
        token: str,
        *,
        timeout: float = 60.0,
        parallelism: int = 10,
        clock: Clock | None = None,
        limit: float = LIMIT,
        rate_limit: RateLimit | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        import ubiops

        configuration = ubiops.Configuration(host=host, api_key={"Authorization": f"Token {token}"})
        configuration.client_side_validation = False
        client = ubiops.ApiClient(configuration)
        self.rest: Any = PooledRest(
            timeout=timeout,
            clock=clock or SystemClock(),
            connections=parallelism,
            limit=limit,
            rate_limit=rate_limit,
            say=say,
        )
        self.token = token
        client.rest_client = self.rest
        self.host: str = configuration.host
        self.project = project
        self._leave_out: Callable[[str], None] | None = None
        self._core: Any = ubiops.CoreApi(client)

    def looking(self, leave_out: Callable[[str], None]) -> Api:
        """The same project for those who only look: one odd object does not end a list, nor a silent host the wait.

        `leave_out` gets a line for each object that a list holds and that is none; a host that has timed out is asked
        no more.
        """
        twin = copy.copy(self)
        twin._leave_out = leave_out
        twin.rest.skips = True
        return twin

    def fenced(self, fence: Fence) -> Api:
        """The same project over the same session, for a holder of a lease: `fence` is asked before every write."""
        return self.over(With(self.rest, fence=fence))

    def urgent(self) -> Api:
        """The same project over the same session, for what waits for no other request and is tried once."""
        return self.over(With(self.rest, urgent=True, _request_timeout=URGENT_SECONDS))

    def once(self, seconds: float) -> Api:
        """The same project over the same session, for what is not worth a second try, nor more than `seconds`."""
        return self.over(With(self.rest, retry=False, _request_timeout=seconds))

    def over(self, rest: Any) -> Api:
        """The same project through another transport: whatever takes requests as `PooledRest` does."""
        import ubiops

        twin, client = copy.copy(self), copy.copy(self._core.api_client)
        twin.rest = client.rest_client = rest
        twin._core = ubiops.CoreApi(client)
        return twin

    def _call(self, method: str, *names: str, **more: Any) -> Any:
        """Call the client's `method` for this project; the parsed JSON of its answer, None if it has no body."""
        response = self._response(method, self.project, *names, **more)
        return parsed(method, response, self._leave_out)

    def _response(self, method: str, *names: str, **more: Any) -> requests.Response:
        try:
            found: requests.Response = getattr(self._core, method)(*names, _preload_content=False, **more)
        except (ValueError, TypeError, OSError) as error:
            if isinstance(error, WhisperctlError):
                raise
            raise ApiError(method, "", 0, f"The ubiops client refused {method}: {type(error).__name__}") from None
        return found

    def _pages(self, method: str, *names: str, limit: int = PAGE) -> list[Json]:
        found: list[Json] = []
        cursor: dict[str, Any] = {}
        seen: set[str] = set()
        while True:
            page = self._call(method, *names, limit=limit, **cursor)
            found += page["results"]
            if not page.get("next"):
                return found
            following = cursor_in(page["next"])
            if following in seen or len(seen) >= MOST_PAGES:
                raise ApiError(method, "", 0, f"The pages of {method} do not end: {len(seen) + 1} were read.")
            seen.add(following)
            cursor = {"cursor": following}

    @contextlib.contextmanager
    def _project_named(self) -> Iterator[None]:
        """Around a call whose path names nothing but the project: a 404 then says that there is no such project."""
        try:
            yield
        except NotFound as error:
            advice = "Check --project, UBIOPS_PROJECT or `project:` in the stack file, and whose token it is."
            reason = f"There is no project {self.project!r} that this token can see."
            raise NotFound(error.verb, error.path, 0, reason, advice) from None

    # --- project ---------------------------------------------------------------------------------------------------

    def status(self) -> Json:
        """`GET /status`: needs no token."""
        found: Json = parsed("status", self._response("service_status"))
        return found

    def user(self) -> Json:
        """The caller."""
        found: Json = parsed("user", self._response("user_get"))
        return found

    def get_project(self) -> Json:
        """The project itself; NotFound tells of a wrong name."""
        found: Json = self._call("projects_get")
        return found

    def quotas(self) -> list[Json]:
        """The project's quotas."""
        found: list[Json] = self._call("quotas_list")
        return found

    def usage(self) -> Json:
        """How many deployments, versions, environments, … the project holds."""
        found: Json = self._call("projects_resource_usage")
        return found

    def known_permissions(self) -> set[str]:
        """The names of all permissions that UbiOps has."""
        return {item["name"] for item in parsed("permissions_list", self._response("permissions_list"))}

    def permissions_of(self, user: str) -> set[str]:
        """Every permission that the roles of a user (by id) hold on the project."""
        found: list[Json] = self._call("role_assignments_per_object_list", assignee=user, assignee_type="user")
        roles = {item["role"] for item in found if item["resource_type"] == "project"}
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
        found: Json = self._call("instance_type_groups_create", data=dict(body))
        return found

    def update_group(self, group_id: str, body: Mapping[str, Any]) -> Json:
        """Patch an instance type group; its list of types is replaced."""
        found: Json = self._call("instance_type_groups_update", group_id, data=dict(body))
        return found

    def delete_group(self, group_id: str) -> None:
        """Delete an instance type group; one that is gone is fine."""
        self._delete("instance_type_groups_delete", group_id)

    # --- environments and tags -------------------------------------------------------------------------------------

    def environment(self, name: str) -> Json | None:
        """One environment, or None."""
        found: Json | None = self._find("environments_get", name)
        return found

    def create_environment(self, body: Mapping[str, Any]) -> Json:
        """Create an environment."""
        found: Json = self._call("environments_create", data=dict(body))
        return found

    def update_environment(self, name: str, body: Mapping[str, Any]) -> Json:
        """Patch an environment."""
        found: Json = self._call("environments_update", name, data=dict(body))
        return found

    def delete_environment(self, name: str) -> None:
        """Delete an environment; one that is gone is fine."""
        self._delete("environments_delete", name)

    def tags(self, environment: str) -> list[Json] | None:
        """The tags of an environment, or None if there is no such environment."""
        found: list[Json] | None = self._find("environment_tags_list", environment)
        return found

    def tag(self, environment: str, tag: str) -> Json | None:
        """One tag, or None."""
        found: Json | None = self._find("environment_tags_get", environment, tag)
        return found

    def dependency_files(self, environment: str, tag: str) -> list[Json] | None:
        """The files that a tag was built from, as `{name, content}`, or None."""
        found: list[Json] | None = self._find("environment_tag_dependencies_list", environment, tag)
        return found

    def create_tag(self, environment: str, body: Mapping[str, Any]) -> Json:
        """Create a tag; it is `pending` until `build_tag`."""
        found: Json = self._call("environment_tags_create", environment, data=dict(body))
        return found

    def build_tag(self, environment: str, tag: str, base: tuple[str, str], archive: Archive) -> None:
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
        found: list[Json] = self._find("environment_tags_usage", environment, tag) or []
        return found

    # --- deployments -----------------------------------------------------------------------------------------------

    def deployments(self) -> list[Json]:
        """All deployments.

        Raises:
            NotFound: there is no such project, or the token may not see it.
        """
        with self._project_named():
            found: list[Json] = self._call("deployments_list")
        return found

    def deployment(self, name: str) -> Json | None:
        """One deployment, or None."""
        found: Json | None = self._find("deployments_get", name)
        return found

    def create_deployment(self, body: Mapping[str, Any]) -> Json:
        """Create a deployment."""
        found: Json = self._call("deployments_create", data=dict(body))
        return found

    def update_deployment(self, name: str, body: Mapping[str, Any]) -> Json:
        """Patch a deployment; labels are replaced as a whole."""
        found: Json = self._call("deployments_update", name, data=dict(body))
        return found

    def delete_deployment(self, name: str) -> None:
        """Delete a deployment and its versions; one that is gone is fine."""
        self._delete("deployments_delete", name)

    # --- versions --------------------------------------------------------------------------------------------------

    def versions(self, deployment: str) -> list[Json]:
        """The versions of a deployment (without instance type group, health check, command and args)."""
        found: list[Json] = self._find("deployment_versions_list", deployment) or []
        return found

    def version(self, deployment: str, version: str) -> Json | None:
        """One version, or None."""
        found: Json | None = self._find("deployment_versions_get", deployment, version)
        return found

    def create_version(self, deployment: str, body: Mapping[str, Any]) -> Json:
        """Create a version."""
        found: Json = self._call("deployment_versions_create", deployment, data=dict(body))
        return found

    def update_version(self, deployment: str, version: str, body: Mapping[str, Any]) -> Json:
        """Patch a version; a null clears a nullable field, labels are replaced as a whole."""
        found: Json = self._call("deployment_versions_update", deployment, version, data=dict(body))
        return found

    def delete_version(self, deployment: str, version: str) -> None:
        """Delete a version; one that is gone is fine."""
        self._delete("deployment_versions_delete", deployment, version)

    # --- env vars of a version -------------------------------------------------------------------------------------

    def env_vars(self, deployment: str, version: str) -> list[Json]:
        """The version's own and inherited env vars; [] if there is no such version."""
        found: list[Json] = self._find("deployment_version_environment_variables_list", deployment, version) or []
        return found

    def deployment_env_vars(self, deployment: str) -> list[Json]:
        """A deployment's own env vars and the project's; [] if there is no such deployment."""
        found: list[Json] = self._find("deployment_environment_variables_list", deployment) or []
        return found

    def project_env_vars(self) -> list[Json]:
        """The project's own env vars."""
        found: list[Json] = self._call("project_environment_variables_list")
        return found

    def create_env_var(self, deployment: str, version: str, body: Mapping[str, Any]) -> Json:
        """Create an env var."""
        method = "deployment_version_environment_variables_create"
        found: Json = self._call(method, deployment, version, data=dict(body))
        return found

    def update_env_var(self, deployment: str, version: str, env_id: str, body: Mapping[str, Any]) -> Json:
        """Patch an env var."""
        found: Json = self._call(
            "deployment_version_environment_variables_update", deployment, env_id, version, data=dict(body)
        )
        return found

    def delete_env_var(self, deployment: str, version: str, env_id: str) -> None:
        """Delete an env var; one that is gone is fine."""
        self._delete("deployment_version_environment_variables_delete", deployment, env_id, version)

    # --- revisions -------------------------------------------------------------------------------------------------

    def revisions(self, deployment: str, version: str) -> list[Json]:
        """The revisions of a version."""
        found: list[Json] = self._call("revisions_list", deployment, version)
        return found

    def revision(self, deployment: str, version: str, revision: str) -> Json:
        """One revision."""
        found: Json = self._call("revisions_get", deployment, revision, version)
        return found

    def upload(self, deployment: str, version: str, archive: Archive) -> str:
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
        found: list[Json] = self._call("services_list")
        return found

    def find_service(self, name: str) -> Json | None:
        """One service, or None."""
        found: Json | None = self._find("services_get", name)
        return found

    def service(self, name: str) -> Json:
        """One service with its `endpoint`."""
        found: Json = self._call("services_get", name)
        return found

    def service_status(self, name: str) -> Json:
        """`{id, ready, instances_ready}`."""
        found: Json = self._call("services_status_get", name)
        return found

    def create_service(self, body: Mapping[str, Any]) -> Json:
        """Create a service."""
        found: Json = self._call("services_create", data=dict(body))
        return found

    def update_service(self, name: str, body: Mapping[str, Any]) -> Json:
        """Patch a service; a null clears a limit, labels are replaced as a whole."""
        found: Json = self._call("services_update", name, data=dict(body))
        return found

    def delete_service(self, name: str) -> None:
        """Delete a service; one that is gone is fine."""
        self._delete("services_delete", name)

    # --- running ---------------------------------------------------------------------------------------------------

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
        found: Json = self._call(
            "deployment_version_requests_create",
            deployment,
            version,
            data=data,
            timeout=seconds,
            _request_timeout=seconds + 30.0,
        )
        return found

    def stored_requests(self, deployment: str, version: str, start: float, end: float, offset: int) -> list[Json]:
        """One page of the requests that a version has completed, without their data; moments in seconds since 1970."""
        method = "deployment_version_requests_list"
        period = {"start_date": _utc(start), "end_date": _utc(end)}
        found: list[Json] = self._call(method, deployment, version, status="completed", offset=offset, **period)
        return found

    def stored_answers(self, deployment: str, version: str, ids: Sequence[str]) -> list[Json]:
        """Requests by id (at most 250) with `result` and `additional_data`."""
        method = "deployment_version_requests_batch_get"
        found: list[Json] = self._call(method, deployment, version, data=list(ids))
        return found

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
        found: list[Json] = answer["data_points"] if "data_points" in answer else answer["data"]
        return found

    def logs(self, query: str, start: int, end: int, limit: int = 1000) -> list[Json]:
        """Log lines that match `query`; `start` and `end` in nanoseconds, newest first when start > end.

        NotFound tells of a wrong project.
        """
        with self._project_named():
            found: list[Json] = self._call("logs_list", query=query, start=start, end=end, limit=limit)
        return found

    def audit(self, deployment: str | None = None, limit: int = 50, offset: int = 0) -> list[Json]:
        """Audit events of the project or of one deployment, newest first."""
        if deployment is None:
            return list(self._call("project_audit_events_list", limit=limit, offset=offset))
        return list(self._call("deployment_audit_events_list", deployment, limit=limit, offset=offset))

    def _find(self, method: str, *names: str) -> Any:
        try:
            return self._call(method, *names)
        except NotFound:
            return None

    def _delete(self, method: str, *names: str) -> None:
        try:
            self._call(method, *names)
        except NotFound:
            return


def _utc(moment: float) -> str:
    """ISO 8601, as UbiOps takes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat()
