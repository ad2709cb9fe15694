"""doctor and the model hub: a server that answers as the Hub's API does, over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.harness.operator import Operator
from tests.operate.conftest import SECOND
from tests.operate.test_doctor import line_of
from whisperctl.loading import load_stacks
from whisperctl.operate.doctor.check import Check
from whisperctl.operate.doctor.hub import hub_check

COMMIT = "973afd24965f72e36ca33b3055d56a652f456b4d"
GOOD, STRANGER = "hf_good_token_of_mine", "hf_without_the_conditions"
ERRORS = {"RepoNotFound": 401, "RevisionNotFound": 404, "GatedRepo": 403, "EntryNotFound": 404}
"""X-Error-Code -> status, as the Hub answers `/resolve/` (huggingface_hub, utils/_http.py)."""


class Hub(ThreadingHTTPServer):
    """Has openai/whisper-small, acme/gated for GOOD, acme/bare without a config, and acme/old under a new name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []
        """Path and Authorization of each request."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        bearer = self.headers.get("Authorization", "")
        self.server.asked.append((self.path, bearer))
        token = bearer.removeprefix("Bearer ")
        name, _, rest = self.path.strip("/").partition("/resolve/")
        if token not in ("", GOOD, STRANGER):
            self._answer(401, **{"X-Error-Message": "Invalid credentials in Authorization header"})
        elif name == "acme/old":
            self._answer(307, Location=f"/openai/whisper-small/resolve/{rest}")
        elif name == "acme/broken":
            self._answer(503)
        elif error := self._error(name, rest, token):
            self._answer(ERRORS[error], **{"X-Error-Code": error})
        else:
            self._answer(200, **{"X-Repo-Commit": COMMIT})

    def _error(self, name: str, rest: str, token: str) -> str:
        revision, _, _file = rest.partition("/")
        if name not in ("openai/whisper-small", "acme/gated", "acme/bare"):
            return "RepoNotFound"
        if revision not in (COMMIT, "main"):
            return "RevisionNotFound"
        if name == "acme/gated" and token != GOOD:
            return "GatedRepo"
        return "EntryNotFound" if name == "acme/bare" else ""

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Silence."""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def checked(folder: Path, environ: Mapping[str, str], text: str = SECOND, inherited: Collection[str] = ()) -> Check:
    file = folder / "stack.yaml"
    file.write_text(text)
    [stack] = load_stacks([file], {}).stacks
    return hub_check(stack, environ, inherited)


def declared(model: str, revision: str, token: str) -> str:
    secret = f'HF_TOKEN: {{value: "{token}", secret: true}}' if token else "LOG_LEVEL: info"
    text = SECOND.replace(f"openai/whisper-small, revision: {COMMIT}", f"{model}, revision: {revision}")
    text = text.replace("HF_TOKEN: {value: hunter2-hf-secret, secret: true}", secret)
    return text.replace("openai-model-names: openai/whisper-small", f"openai-model-names: {model}")


@pytest.mark.parametrize(
    ("model", "revision", "token", "verdict", "message"),
    [
        ("openai/whisper-small", COMMIT, GOOD, "ok", "gives out openai/whisper-small at 973afd24965f, asked with the"),
        ("openai/whisper-small", "main", "", "ok", "at main (973afd24965f), asked without a token"),
        ("acme/old", "main", "", "ok", "gives out acme/old"),
        ("openai/whisper-small", "f" * 40, "", "failed", "openai/whisper-small has no revision 'ffff"),
        ("acme/nowhere", "main", "", "failed", "HUB has no acme/nowhere, asked without a token"),
        ("acme/nowhere", "main", "", "failed", "a private one needs env: HF_TOKEN"),
        ("openai/whisper-smal", "main", "", "failed", "did you mean openai/whisper-small?"),
        (
            "acme/gated",
            "main",
            "",
            "failed",
            'HUB/acme/gated, and write HF_TOKEN: {value: "${HF_TOKEN}", secret: true}',
        ),
        ("acme/gated", "main", STRANGER, "failed", "accept its conditions at HUB/acme/gated as the user of that token"),
        ("acme/gated", "main", GOOD, "ok", "gives out acme/gated at main"),
        (
            "openai/whisper-small",
            "main",
            "hf_a_revoked_token",
            "failed",
            "HUB does not accept the HF_TOKEN of ",
        ),
        ("acme/bare", "main", "", "failed", "acme/bare has no config.json"),
        ("acme/broken", "main", "", "skipped", "the hub answers 503; model, revision and token are not checked"),
    ],
)
def test_what_the_hub_says(
    tmp_path: Path, hub: Hub, model: str, revision: str, token: str, verdict: str, message: str
) -> None:
    hub.asked.clear()
    check = checked(tmp_path, {"HF_ENDPOINT": hub.address}, declared(model, revision, token))
    text = f"{check.detail}\n{check.fix}".replace(hub.address, "HUB")
    assert check.verdict == verdict, text
    assert message in text
    assert {bearer for _, bearer in hub.asked} == {f"Bearer {token}" if token else ""}


def test_whether_an_inherited_token_opens_the_model_only_an_instance_can_tell(tmp_path: Path, hub: Hub) -> None:
    text = declared("acme/gated", "main", "")
    check = checked(tmp_path, {"HF_ENDPOINT": hub.address}, text, inherited=["HF_TOKEN"])
    assert check.verdict == "skipped"
    assert "the HF_TOKEN that the stack inherits" in check.detail


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "127.0.0.1:9 cannot be reached from here: "),
        ({"HF_ENDPOINT": "ftp://hub"}, "HF_ENDPOINT is no address of a hub: ftp://hub"),
        ({"HF_ENDPOINT": "http://hub.example"}, "The hub's token would travel to hub.example in clear text"),
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set here: model, revision and token are not checked"),
    ],
)
def test_what_cannot_be_asked_is_skipped_and_says_why(tmp_path: Path, environ: dict[str, str], message: str) -> None:
    check = checked(tmp_path, environ)
    assert check.verdict == "skipped"
    assert message in check.detail


def test_a_hub_that_only_the_file_names_gets_no_token(tmp_path: Path, hub: Hub) -> None:
    """It is the one that an instance asks; the file may be a stranger's change request."""
    named = f"env:\n  HF_ENDPOINT: {hub.address}\n"
    text = SECOND.replace("env:\n", named)
    hub.asked.clear()
    assert checked(tmp_path, {"HF_ENDPOINT": "http://127.0.0.1:9"}, text).verdict == "ok"
    gated = checked(tmp_path, {}, declared("acme/gated", "main", GOOD).replace("env:\n", named))
    assert gated.verdict == "skipped"
    assert f"export HF_ENDPOINT={hub.address} to send it there" in gated.detail
    assert [bearer for _, bearer in hub.asked] == ["", ""]
    meant = declared("acme/gated", "main", GOOD).replace("env:\n", named)
    assert checked(tmp_path, {"HF_ENDPOINT": f"{hub.address}/"}, meant).verdict == "ok"


def test_doctor_asks_it_and_shows_no_token(operator: Operator, hub: Hub) -> None:
    ran = operator.run("doctor", HF_ENDPOINT=hub.address, HF_HUB_OFFLINE="")
    assert ran.code == 1
    assert "does not accept the HF_TOKEN of stack.yaml" in line_of(ran.out, "speech: model on the hub")
    assert "hunter2-hf-secret" not in ran.all
