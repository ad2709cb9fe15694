"""Commands that use a deployed endpoint: smoke, transcribe, curl, proxy. Each opens the endpoint and calls one room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whisperctl.cli.settings import Settings
from whisperctl.cli.world import DEFAULT_PATH, open_api, read_stacks
from whisperctl.errors import EXIT_DONE, EXIT_FAILED, Unhealthy, WhisperctlError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whisperctl.api import Api
    from whisperctl.endpoint.batch import Done, Failed, Order, Result
    from whisperctl.endpoint.client import Endpoint
    from whisperctl.endpoint.recordings import Missing, Recording
    from whisperctl.endpoint.transcription import Ask, Task
    from whisperctl.spec import Stack

_DOCUMENTS = ("json", "verbose_json")
WAKING = "health"
"""What the waking deployment request says; the package answers any request with its health."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """One stack, its project, and its open endpoint."""

    stack: Stack
    api: Api
    endpoint: Endpoint

    def wake(self, timeout: float) -> object:
        """Make a deployment request, which starts an instance, and wait at most `timeout` seconds for its answer."""
        return self.api.create_request(self.stack.deployment.name, self.stack.version.name, WAKING, timeout)


@contextmanager
def live(settings: Settings, path: str) -> Iterator[Live]:
    """The one stack at `path` and its endpoint.

    Raises:
        WhisperctlError: no or several stacks, no service, nothing applied yet.
    """
    from whisperctl.endpoint.client import Endpoint

    stack = one_stack(path)
    if not stack.services:
        raise WhisperctlError(f"{stack.file} declares no service, so that there is no endpoint to use.")
    api = open_api(settings, stack)
    service = stack.services[0].name
    found = api.find_service(service)
    url = (found or {}).get("endpoint")
    if not url:
        what = "has no endpoint yet" if found else "does not exist"
        raise Unhealthy(
            f"The service {service} of project {api.project} {what}.\n  Run `whisperctl apply {path}` first."
        )
    token = settings.token() if stack.services[0].authentication_required else None
    with Endpoint(url, token, settings.timeout) as endpoint:
        yield Live(stack=stack, api=api, endpoint=endpoint)


def one_stack(path: str) -> Stack:
    """The stack at `path`.

    Raises:
        WhisperctlError: there are none or several.
    """
    stacks = read_stacks([path])
    if len(stacks) != 1:
        names = ", ".join(stack.file for stack in stacks) or "none"
        raise WhisperctlError(f"{path} must hold exactly one stack; found: {names}.")
    return stacks[0]


def route(stack: Stack) -> Task:
    """The default route: WHISPER_TASK of the stack's env vars, else the model's task."""
    said = {variable.name: variable.value for variable in stack.env}.get("WHISPER_TASK")
    return "translation" if (said or stack.model.task) == "translation" else "transcription"


@click.command()
@click.argument("audio", nargs=-1, required=True, metavar="AUDIO...")
@click.option("-f", "--file", "path", default=DEFAULT_PATH, metavar="PATH", help="Stack file [stack.yaml].")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["text", "json", "verbose_json", "srt", "vtt"]),
    default="text",
    help="What to make of each recording [text].",
)
@click.option(
    "--language", metavar="CODE", help="Language that is spoken, such as en; quicker and surer than detection."
)
@click.option("--translate", is_flag=True, help="Translate to English, if the model can.")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write one file per recording there; those that are there already are skipped.",
)
@click.option(
    "--parallelism", type=click.IntRange(min=1), default=10, metavar="N", help="Requests in flight at most [10]."
)
@click.pass_obj
def transcribe(
    settings: Settings,
    audio: tuple[str, ...],
    path: str,
    shape: str,
    language: str | None,
    translate: bool,
    folder: Path | None,
    parallelism: int,
) -> int:
    """Transcribe recordings with the live endpoint.

    AUDIO is files, folders, patterns in quotes, or - for standard input: wav, and with ffmpeg (or PyAV) installed mp3,
    m4a, flac, ogg, webm and the sound of videos. Long recordings are cut at silence.
    """
    from whisperctl.endpoint.batch import Order
    from whisperctl.endpoint.recordings import find, temporary
    from whisperctl.endpoint.transcription import Ask

    with live(settings, path) as target, temporary() as spool:
        task: Task = "translation" if translate else route(target.stack)
        ask = Ask(model=target.stack.model.served_name, task=task, language=language)
        _say_limits(target.stack, ask)
        found = find(audio, Path(spool))
        failed = _transcribe(target, Order(ask=ask, shape=shape, folder=folder), found, parallelism)
    if failed:
        click.echo(f"{len(failed)} of {len(found)} failed:", err=True)
    for one in failed:
        click.echo(f"  {one.name}: {one.reason}", err=True)
    return EXIT_FAILED if failed else EXIT_DONE


def _say_limits(stack: Stack, ask: Ask) -> None:
    """Refuse what the model cannot do; warn of what the release does silently."""
    from whisperctl.endpoint.abilities import cannot_detect, cannot_translate

    if ask.task == "translation" and (reason := cannot_translate(stack)):
        raise WhisperctlError(f"{reason}.")
    if not ask.language and (reason := cannot_detect(stack)) and reason.startswith("vLLM"):
        click.echo(f"warning: {reason}. Pass --language.", err=True)


def _transcribe(target: Live, order: Order, found: Sequence[Recording | Missing], parallelism: int) -> list[Failed]:
    from whisperctl.clock import SystemClock
    from whisperctl.endpoint.batch import Batch, Done, Failed
    from whisperctl.endpoint.patience import Alarm, Patient
    from whisperctl.endpoint.progress import watched

    clock = SystemClock()
    with watched(found, parallelism) as lines:
        alarm = Alarm(target.endpoint, target.wake, clock, target.stack.rollout.timeout, lines.say)
        patient = Patient(target.endpoint, clock, alarm)
        patient.ready()
        results: list[Result] = []
        for result in Batch(order, patient, parallelism, clock, lines).run(found):
            results.append(result)
            lines.result(result)
            if isinstance(result, Done) and not order.folder:
                _print(result, order.shape, among=len(found), number=len(results))
    if not order.folder and len(found) > 1 and order.shape in _DOCUMENTS:
        _print_list(results, order.shape)
    return [one for one in results if isinstance(one, Failed)]


def _print(result: Done, shape: str, among: int, number: int) -> None:
    """A lone transcript as it is; one of several under its name, as `tail` does; JSON is kept for one list."""
    from whisperctl.endpoint.formats import rendered

    if among > 1 and shape in _DOCUMENTS:
        return
    if among > 1:
        click.echo("\n" * (number > 1) + f"==> {result.recording.name} <==")
    click.echo(rendered(result.transcript, shape), nl=False)


def _print_list(results: Sequence[Result], shape: str) -> None:
    """All results as one JSON list, failures included."""
    import json

    from whisperctl.endpoint.batch import Done, Failed
    from whisperctl.endpoint.formats import document

    listed: list[dict[str, Any]] = []
    for one in results:
        if isinstance(one, Done):
            listed.append({"file": one.recording.name, **document(one.transcript, shape)})
        elif isinstance(one, Failed):
            listed.append({"file": one.name, "error": one.reason})
    click.echo(json.dumps(listed, ensure_ascii=False, indent=2))
