"""Commands that use a deployed endpoint: smoke, transcribe, curl, proxy. Each opens the endpoint and calls one room."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from whisperctl.cli.settings import Settings
from whisperctl.cli.world import DEFAULT_PATH, open_api
from whisperctl.errors import EXIT_DONE, EXIT_FAILED, Unhealthy, WhisperctlError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whisperctl.api import Api
    from whisperctl.endpoint.batch import Failed, Order, Result
    from whisperctl.endpoint.client import Endpoint
    from whisperctl.endpoint.recordings import Missing, Recording
    from whisperctl.endpoint.smoke import Check, Sample
    from whisperctl.endpoint.transcription import Ask, Task
    from whisperctl.spec import Service, Stack

_DOCUMENTS = ("json", "verbose_json")
_MAX_WER = 0.2
WAKING = "health"
"""What the waking deployment request says; the package answers any request with its health."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """One stack, its project, and its open endpoint."""

    stack: Stack
    api: Api
    endpoint: Endpoint
    token: str | None
    """None for a public service."""

    def wake(self, timeout: float) -> dict[str, Any]:
        """Make a deployment request, which starts an instance, and wait at most `timeout` seconds for its answer."""
        return self.api.create_request(self.stack.deployment.name, self.stack.version.name, WAKING, timeout)

    def rouse(self, timeout: float) -> None:
        """Wake an instance.

        Raises:
            Unhealthy: the deployment request failed, so that waiting for the endpoint is in vain.
        """
        answer = self.wake(timeout)
        if answer.get("status") != "completed":
            why = answer.get("error_message") or "no reason given"
            raise Unhealthy(
                f"The deployment request that was to wake an instance ended as {answer.get('status')}: {why}\n"
                f"  `whisperctl logs {self.stack.file}` shows more."
            )


@contextmanager
def live(settings: Settings, path: str) -> Iterator[Live]:
    """The one stack at `path` and its endpoint.

    Raises:
        WhisperctlError: no or several stacks, no service, nothing applied yet.
    """
    from whisperctl.endpoint.client import Endpoint

    stack = one_stack(path)
    if not stack.services:
        raise WhisperctlError(
            f"{stack.file} declares no service, so that there is no endpoint to use.\n"
            "  Add `service: {name: NAME, port: 8080}` and apply it."
        )
    api = open_api(settings, stack)
    service = served(stack)
    found = api.find_service(service.name)
    if not found:
        api.deployments()  # of a wrong project UbiOps says the same as of a missing service; this tells of the project
    url = (found or {}).get("endpoint")
    if not url:
        what = "has no endpoint yet" if found else "does not exist"
        raise Unhealthy(
            f"The service {service.name} of project {api.project} {what}.\n  Run `whisperctl apply {path}` first."
        )
    token = settings.token() if service.authentication_required else None
    say = _to_stderr if settings.verbose > 1 else _nowhere
    with Endpoint(url, token, settings.timeout, say=say) as endpoint:
        yield Live(stack=stack, api=api, endpoint=endpoint, token=token)


def _to_stderr(line: str) -> None:
    click.echo(line, err=True)


def _nowhere(_line: str) -> None:
    return


def served(stack: Stack) -> Service:
    """The service that leads to vLLM's port, which the health check names; else the first."""
    check: Any = stack.version.fields.get("health_check") or {}
    return next((one for one in stack.services if one.port == check.get("port")), stack.services[0])


def one_stack(path: str) -> Stack:
    """The stack at `path`; its warnings and its secrets are for those who change it, not for those who use it.

    Raises:
        WhisperctlError: there are none or several.
    """
    from whisperctl.loading import load_stacks

    stacks = load_stacks([Path(path)], os.environ, secrets=False).stacks
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
        ask = Ask(model=target.stack.model.served_name, task=task, language=language and language.lower())
        _say_limits(target.stack, ask)
        found = find(audio, Path(spool))
        _make(folder)
        failed = _transcribe(target, Order(ask=ask, shape=shape, folder=folder), found, parallelism)
    if len(found) > 1 and failed:
        click.echo(f"{len(failed)} of {len(found)} failed:", err=True)
    for one in failed:
        click.echo(f"{'  ' if len(found) > 1 else 'error: '}{one.name}: {one.reason}", err=True)
    return EXIT_FAILED if failed else EXIT_DONE


def _make(folder: Path | None) -> None:
    """Have the output folder before anything is sent."""
    try:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise WhisperctlError(f"{folder} cannot be written to.")
    except OSError as error:
        raise WhisperctlError(f"{folder} cannot be made: {error.strerror}.") from error


def _say_limits(stack: Stack, ask: Ask) -> None:
    """Refuse what the model cannot do; warn of what the release does silently."""
    from whisperctl.endpoint.abilities import cannot_detect, cannot_translate

    if ask.task == "translation" and (reason := cannot_translate(stack)):
        raise WhisperctlError(f"{reason}.")
    if not ask.language and (reason := cannot_detect(stack)) and reason.startswith("vLLM"):
        click.echo(f"warning: {reason}. Pass --language.", err=True)


def _transcribe(target: Live, order: Order, found: Sequence[Recording | Missing], parallelism: int) -> list[Failed]:
    from whisperctl.clock import SystemClock
    from whisperctl.endpoint.batch import Batch, Failed
    from whisperctl.endpoint.patience import Alarm, Patient
    from whisperctl.endpoint.progress import watched

    clock = SystemClock()
    with watched(found, parallelism) as lines:
        alarm = Alarm(target.endpoint, target.rouse, clock, target.stack.rollout.timeout, lines.say)
        patient = Patient(target.endpoint, clock, alarm)
        patient.ready()
        several = len(found) > 1
        results: list[Result] = []
        held: list[Result] = []
        for result in Batch(order, patient, parallelism, clock, lines).run(found):
            results.append(result)
            held.append(result)
            if not lines.holds and not order.folder:
                _print(held.pop(), order.shape, several=several)
    if not order.folder:
        for result in held:
            _print(result, order.shape, several=several)
        if several and order.shape in _DOCUMENTS:
            _print_list(results, order.shape)
    return [one for one in results if isinstance(one, Failed)]


def _print(result: Result, shape: str, *, several: bool) -> None:
    """A lone transcript as it is; one of several under its name, as `tail` does; JSON is kept for one list."""
    from whisperctl.endpoint.batch import Done
    from whisperctl.endpoint.formats import rendered

    if not isinstance(result, Done) or (several and shape in _DOCUMENTS):
        return
    heading = f"==> {result.recording.name} <==\n" if several else ""
    click.echo(heading + rendered(result.transcript, shape) + "\n" * several, nl=False)


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


@click.command()
@click.argument("path", default=DEFAULT_PATH)
@click.option(
    "--audio", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE", help="Recording to try."
)
@click.option("--expect", metavar="TEXT", help="What the recording says.")
@click.option("--max-wer", type=click.FloatRange(min=0), metavar="X", help="Word error rate that still passes, 0 to 1.")
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text", help="Output format [text].")
@click.pass_obj
def smoke(
    settings: Settings, path: str, audio: Path | None, expect: str | None, max_wer: float | None, shape: str
) -> int:
    """Try every way to use the live endpoint, and time it.

    PATH is a stack file [stack.yaml]. The recording is that of rollout.smoke unless --audio is given. Exit code 1 if a
    check fails.
    """
    from whisperctl.endpoint import report

    with live(settings, path) as target:
        checks = _checks(target, _sample(target.stack, audio, expect, max_wer))
        url = target.endpoint.url
    if shape == "json":
        click.echo(report.as_json(target.stack.name, url, checks))
    elif sys.stdout.isatty():
        report.print_table(checks, color=settings.use_color())
    else:
        click.echo(report.as_lines(checks))
    return EXIT_DONE if report.passed(checks) else EXIT_FAILED


def _checks(target: Live, sample: Sample | None) -> list[Check]:
    from whisperctl.clock import SystemClock
    from whisperctl.endpoint.smoke import Smoke

    wake_up(target)
    checks = Smoke(
        target.stack,
        target.endpoint,
        token=target.token,
        task=route(target.stack),
        sample=sample,
        direct=target.wake,
        clock=SystemClock(),
    )
    return list(checks.checks())


def _sample(stack: Stack, audio: Path | None, expect: str | None, max_wer: float | None) -> Sample | None:
    """The recording of the flags, else the stack's; what is known of the stack's says nothing about another."""
    from whisperctl.endpoint.smoke import Sample

    declared = stack.rollout.smoke
    if audio:
        return Sample(audio=audio, expect=expect, max_wer=_MAX_WER if max_wer is None else max_wer, language=None)
    if declared is None and (expect or max_wer is not None):
        raise click.UsageError("--expect and --max-wer need --audio, or rollout.smoke in the stack file.")
    if declared is None:
        return None
    return Sample(
        audio=declared.audio,
        expect=expect or declared.expect,
        max_wer=declared.max_wer if max_wer is None else max_wer,
        language=declared.language,
    )


@click.command()
@click.argument("path", default=DEFAULT_PATH)
@click.pass_obj
def curl(settings: Settings, path: str) -> int:
    """Print curl and OpenAI SDK snippets for the endpoint.

    PATH is a stack file [stack.yaml]. They take the token from $UBIOPS_API_TOKEN.
    """
    from whisperctl.endpoint import snippets

    with live(settings, path) as target:
        stack, url = target.stack, target.endpoint.url
    declared = stack.rollout.smoke
    audio = os.path.relpath(declared.audio) if declared else "audio.wav"
    about = (url, stack.model.served_name, route(stack), audio)
    click.echo(f"# curl; the token is taken from ${snippets.VARIABLE} and shows in no process list")
    click.echo(snippets.curl(*about, public=target.token is None))
    click.echo("# Python with the official OpenAI SDK (pip install openai)")
    click.echo(snippets.python(*about, public=target.token is None), nl=False)
    return EXIT_DONE


@click.command()
@click.argument("path", default=DEFAULT_PATH)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    metavar="N",
    help="Port on 127.0.0.1; 0 is a free one [8000].",
)
@click.pass_obj
def proxy(settings: Settings, path: str, port: int) -> int:
    """Serve the endpoint on loopback with the token added, so that a browser opens /docs.

    PATH is a stack file [stack.yaml]. Only pages of the proxy itself may use it. Ctrl-C ends it.
    """
    from whisperctl.endpoint.proxy import ADDRESS, bind

    with live(settings, path) as target, bind(target.endpoint, port) as server:
        wake_up(target)
        click.echo(f"http://{ADDRESS}:{server.server_port}/docs")
        click.echo(f"Relaying to {target.endpoint.url}; Ctrl-C ends it.", err=True)
        server.serve_forever()
    return EXIT_DONE


def wake_up(target: Live) -> None:
    """Return when the endpoint answers; the waiting shows on stderr."""
    from whisperctl.clock import SystemClock
    from whisperctl.endpoint.patience import Alarm, Patient

    clock = SystemClock()
    timeout = target.stack.rollout.timeout
    alarm = Alarm(target.endpoint, target.rouse, clock, timeout, _to_stderr)
    Patient(target.endpoint, clock, alarm).ready()
