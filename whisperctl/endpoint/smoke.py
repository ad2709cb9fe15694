"""Every way a client may use the endpoint, tried once and timed: what `whisperctl smoke` runs.

A check that cannot apply is skipped with its reason, never passed. No waiting and no waking here: the caller hands in
an endpoint that is up.
"""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from whisperctl.clock import Clock
from whisperctl.endpoint import snippets
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.probe import check_served, model_names, no_model_behind, recording
from whisperctl.endpoint.readiness import advice, reports_health
from whisperctl.endpoint.transcription import ROUTES, Task, Transcript, read
from whisperctl.endpoint.wer import word_error_rate
from whisperctl.errors import Unhealthy, WhisperctlError
from whisperctl.files import open_file
from whisperctl.serving import languages
from whisperctl.serving.capabilities import cannot_detect, cannot_time, cannot_translate
from whisperctl.spec import Stack
from whisperctl.tls import client_context

SmokeVerdict = Literal["ok", "failed", "skipped"]
NO_AUDIO = "no audio: pass --audio FILE --expect TEXT, or write rollout.smoke into the stack file"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A recording to try, and what it says as far as one knows."""

    audio: Path
    expect: str | None
    max_wer: float
    language: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SmokeCheck:
    """How one check went."""

    name: str
    verdict: SmokeVerdict
    seconds: float | None
    """None when skipped."""
    detail: str
    transcript: str | None = None
    wer: float | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a passed check has to tell."""

    detail: str
    transcript: str | None = None
    wer: float | None = None


class _NotApplicable(Exception):
    """Why a check makes no sense here."""


class SmokeTest:
    """The checks of one stack's endpoint."""

    def __init__(
        self,
        stack: Stack,
        endpoint: Endpoint,
        *,
        token: str | None,
        task: Task,
        sample: Sample | None,
        direct: Callable[[float], Mapping[str, Any]],
        clock: Clock,
    ) -> None:
        """Try nothing yet.

        Args:
            stack: names the model and the vLLM release.
            endpoint: what to try.
            token: for curl and the SDK, which make their own connections.
            task: the default route.
            sample: the recording; None skips every check that needs one.
            direct: makes a deployment request with a time-out in seconds and returns UbiOps' answer.
            clock: times the checks.
        """
        self._stack, self._endpoint, self._token, self._task = stack, endpoint, token, task
        self._sample, self._direct, self._clock = sample, direct, clock
        self._detected: str | None = None
        self._untried = ""
        """Why nothing can be transcribed here, as the endpoint itself says."""

    def checks(self) -> Iterator[SmokeCheck]:
        """Run each check in turn."""
        import openai  # noqa: F401 - here, so that the SDK's check times a request and not an import

        yield self._run("health", self._health)
        yield self._run("models", self._models)
        yield self._run(f"{self._task}, json", self._json)
        yield self._run(f"{self._task}, text", self._text)
        yield self._run(f"{self._task}, verbose_json", self._verbose)
        yield self._run("language, detected", self._detection)
        yield self._run("language, given", self._given)
        yield self._run("translation", self._translation)
        yield self._run("curl", self._curl)
        yield self._run("OpenAI SDK", self._sdk)
        yield self._run("deployment request", self._request)

    def _run(self, name: str, check: Callable[[], _Seen]) -> SmokeCheck:
        started = self._clock.monotonic()
        try:
            seen = check()
        except _NotApplicable as reason:
            return SmokeCheck(name=name, verdict="skipped", seconds=None, detail=str(reason))
        except WhisperctlError as error:
            took = self._clock.monotonic() - started
            return SmokeCheck(name=name, verdict="failed", seconds=took, detail=self._blank(str(error)))
        took = self._clock.monotonic() - started
        return SmokeCheck(
            name=name, verdict="ok", seconds=took, detail=seen.detail, transcript=seen.transcript, wer=seen.wer
        )

    def _blank(self, text: str) -> str:
        return text.replace(self._token, "(token)") if self._token else text

    def _health(self) -> _Seen:
        answer = self._endpoint.get("/health")
        if answer.status != 200:
            raise Unhealthy(f"GET /health answered {answer}." + advice(answer.status))
        self._untried = no_model_behind(answer)
        return _Seen("200")

    def _models(self) -> _Seen:
        names = model_names(self._endpoint.get("/v1/models"), self._endpoint)
        check_served(names, self._stack.model.served_name, self._endpoint)
        return _Seen(", ".join(names))

    def _json(self) -> _Seen:
        return self._judged(self._asked("json"))

    def _text(self) -> _Seen:
        return self._judged(self._asked("text"))

    def _verbose(self) -> _Seen:
        if reason := cannot_time(self._stack):
            raise _NotApplicable(reason)
        transcript = self._asked("verbose_json")
        if transcript.text and not transcript.segments:
            raise Unhealthy("verbose_json came without segments.")
        seen = self._judged(transcript)
        return _Seen(f"{_counted(len(transcript.segments or ()))}; {seen.detail}", seen.transcript, seen.wer)

    def _detection(self) -> _Seen:
        if reason := cannot_detect(self._stack) or cannot_time(self._stack):
            raise _NotApplicable(reason)
        transcript = self._asked("verbose_json", language=None)
        self._detected = transcript.language
        known = self._known.language
        if known and languages.code(transcript.language or "") != known:
            raise Unhealthy(f"heard as language {transcript.language}, it is {known}.")
        return _Seen(f"{transcript.language}")

    def _given(self) -> _Seen:
        language = self._known.language or self._detected
        if not language:
            raise _NotApplicable("the sample's language is not known: write rollout.smoke.language")
        return self._judged(self._asked("json", language=language), f"{language}; ")

    def _translation(self) -> _Seen:
        if self._task == "translation":
            raise _NotApplicable("it is this stack's default route: see above")
        if reason := cannot_translate(self._stack):
            raise _NotApplicable(reason)
        transcript = self._asked("json", task="translation")
        return _Seen(_quoted(transcript.text), transcript.text)

    def _curl(self) -> _Seen:
        if not shutil.which("curl"):
            raise _NotApplicable("curl is not on PATH")
        model, url = self._stack.model.served_name, self._endpoint.url + ROUTES[self._task]
        curl, *options = snippets.curl_command(url, model, self._known.audio, self._known.language)
        ran = subprocess.run(
            [curl, "--disable", *options, "--max-time", f"{self._endpoint.timeout:g}"],
            input=snippets.curl_config(self._token),
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise Unhealthy(f"curl ended with {ran.returncode}: {(ran.stdout + ran.stderr).strip()[:300]}")
        return self._judged(snippets.parsed(ran.stdout, url))

    def _sdk(self) -> _Seen:
        import openai

        sample = self._known
        client = openai.OpenAI(
            base_url=f"{self._endpoint.url}/v1",
            api_key=self._token or "none",
            timeout=self._endpoint.timeout,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(verify=client_context()),
        )
        audio = client.audio
        translates = self._task == "translation"
        create: Any = audio.translations.create if translates else audio.transcriptions.create
        spoken = {"language": sample.language} if sample.language and not translates else {}
        try:
            with client, warnings.catch_warnings(), open_file(sample.audio) as file:
                warnings.simplefilter("ignore", DeprecationWarning)  # the SDK is giving up translations, vLLM is not
                answer = create(model=self._stack.model.served_name, file=file, **spoken)
        except openai.OpenAIError as error:
            raise Unhealthy(f"openai {openai.__version__}: {error}") from error
        if not isinstance(answer.text, str):
            raise Unhealthy(f"openai {openai.__version__}: the answer holds no text.")
        return self._judged(Transcript(text=answer.text.strip()), f"openai {openai.__version__}; ")

    def _request(self) -> _Seen:
        answer = self._direct(self._endpoint.timeout)
        if answer.get("status") != "completed":
            raise Unhealthy(f"the request ended as {answer.get('status')}: {answer.get('error_message')}")
        result = str(answer.get("result"))
        if not reports_health(result):
            raise Unhealthy(f"request() answered {result[:200]}")
        return _Seen("request() answers healthy")

    @property
    def _known(self) -> Sample:
        if self._untried:
            raise _NotApplicable(self._untried)
        if self._sample is None:
            raise _NotApplicable(NO_AUDIO)
        return self._sample

    def _asked(self, shape: str, task: Task | None = None, **more: str | None) -> Transcript:
        sample, route = self._known, ROUTES[task or self._task]
        language = more.get("language", sample.language)
        fields = {"model": self._stack.model.served_name, "response_format": shape}
        if language:
            fields["language"] = language
        content = recording(sample.audio)
        return read(self._endpoint.post(route, fields, (sample.audio.name, content)), route)

    def _judged(self, transcript: Transcript, before: str = "") -> _Seen:
        """`transcript` against the expectation, if there is one."""
        text, sample = transcript.text, self._known
        if sample.expect is None:
            return _Seen(before + _quoted(text), text)
        wer = word_error_rate(sample.expect, text)
        if wer > sample.max_wer:
            raise Unhealthy(
                f"word error rate {wer:.2f}, allowed {sample.max_wer:.2f}: heard {text!r}, expected {sample.expect!r}"
            )
        return _Seen(before + _quoted(text), text, wer)


def _counted(segments: int) -> str:
    return f"{segments} segment" + "s" * (segments != 1)


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return f"“{line if len(line) <= 60 else line[:59] + '…'}”"
