"""The deployed endpoint that a command uses: its stack, project, URL and token, opened and woken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from whisperctl.cli.inputs import open_api, read_stack
from whisperctl.cli.options import Settings
from whisperctl.cli.prompts import to_stderr
from whisperctl.errors import Unhealthy, WhisperctlError

if TYPE_CHECKING:
    from whisperctl.control.api import Api
    from whisperctl.endpoint.client import Endpoint
    from whisperctl.endpoint.transcription import Task
    from whisperctl.spec import Service, Stack


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenEndpoint:
    """One stack, its project, and its open endpoint."""

    stack: Stack
    api: Api
    endpoint: Endpoint
    token: str | None
    """None for a public service."""

    def request(self, timeout: float) -> dict[str, Any]:
        """A deployment request that any package answers with its health, as UbiOps tells it once it has ended."""
        from whisperctl.endpoint.readiness import waking_request

        return waking_request(self.api, self.stack.deployment.name, self.stack.version.name, timeout)

    def wake(self, timeout: float) -> None:
        """Wake an instance by such a request, and wait at most `timeout` seconds for its answer.

        Raises:
            Unhealthy: the deployment request failed, so that waiting for the endpoint is in vain.
        """
        from whisperctl.endpoint.readiness import check_woken

        name = f"version/{self.stack.deployment.name}/{self.stack.version.name}"
        more = f"\n  `whisperctl logs {self.stack.file}` shows more."
        check_woken(self.request(timeout), name, lambda: more)


@contextmanager
def open_endpoint(settings: Settings, path: str) -> Iterator[OpenEndpoint]:
    """The one stack at `path` and its endpoint.

    Raises:
        WhisperctlError: no or several stacks, no service, nothing applied yet.
    """
    from whisperctl.endpoint.client import Endpoint
    from whisperctl.state.serving import serving

    stack = read_stack(path)
    if not stack.services:
        raise WhisperctlError(
            f"{stack.file} declares no service, so that there is no endpoint to use.\n"
            "  Add `service: {name: NAME, port: 8080}` and apply it."
        )
    api = open_api(settings, stack)
    stack = serving(api, stack)
    service = served(stack)
    live_service = api.find_service(service.name)
    if not live_service:
        api.deployments()  # of a wrong project UbiOps says the same as of a missing service; this tells of the project
    url = (live_service or {}).get("endpoint")
    if not url:
        what = "has no endpoint yet" if live_service else "does not exist"
        raise Unhealthy(
            f"The service {service.name} of project {api.project} {what}.\n  Run `whisperctl apply {path}` first."
        )
    token = api.token if service.authentication_required else None
    say = to_stderr if settings.verbose > 1 else (lambda _line: None)
    patience = settings.transcription_timeout
    with Endpoint(url, token, settings.timeout, transcription_timeout=patience, home=api.host, say=say) as endpoint:
        yield OpenEndpoint(stack=stack, api=api, endpoint=endpoint, token=token)


def served(stack: Stack) -> Service:
    """The service that leads to the server's port; else the first."""
    from whisperctl.serving.launch import server_port

    port = server_port(stack)
    return next((service for service in stack.services if service.port == port), stack.services[0])


def route(stack: Stack) -> Task:
    """The default route: WHISPER_TASK of the stack's env vars, else the model's task."""
    declared = {variable.name: variable.value for variable in stack.env}.get("WHISPER_TASK")
    return "translation" if (declared or stack.model.task) == "translation" else "transcription"


def wake_up(target: OpenEndpoint) -> None:
    """Return when the endpoint answers; the waiting shows on stderr."""
    from whisperctl.clock import SystemClock
    from whisperctl.endpoint.readiness import EndpointWaker
    from whisperctl.transcribe.retries import RetryingEndpoint

    clock = SystemClock()
    timeout = target.stack.rollout.timeout
    waker = EndpointWaker(target.endpoint, target.wake, clock, timeout, to_stderr)
    RetryingEndpoint(target.endpoint, clock, waker).ready()
