"""Secrets and the token through every command, format and level, against a UbiOps that repeats them: none is seen.

Looked at are both streams and every file that a command writes. `make test-exhaustive` refuses every request of every
command, one after the other; else a few of them are.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.endpoint import tones
from tests.endpoint.project import until
from tests.harness import loopback, program
from tests.harness.echo import Echo, echoing, seen
from tests.harness.program import Ran
from tests.harness.project import Project
from tests.harness.sweeps import EXHAUSTIVE
from ubiops_emulator.testing import Emulator

SECRET = 'CANARY secret/VALUE+12"34'
PEM = "-----BEGIN CANARY KEY-----\nCANARYaBcDeFgH12345\nshort\n-----END CANARY KEY-----"
UNMARKED = "CANARYunmarkedVALUE5678"
GIVEN = {"HUB": SECRET, "CERT": PEM, "MY_TOKEN": UNMARKED}
ENV = {
    "HUB": {"value": "${HUB}", "secret": True},
    "CERT": {"value": "${CERT}", "secret": True},
    "MY_TOKEN": "${MY_TOKEN}",
}
PATIENCE = {"timeout": 60}
"""An endpoint that answers 503 is waited for."""
WORDS = (SECRET, PEM)
"""What is marked: an unmarked value is masked by its name, where it is ours to show."""

COMMANDS = [
    "validate", "validate --format json", "validate --format github", "validate --format sarif", "render -o out",
    "plan", "plan --format json", "plan --format markdown", "plan -o p.plan", "show p.plan",
    "show --format json p.plan",
    "show --format markdown p.plan", "apply --yes", "apply --yes --format json", "apply --yes --plan p.plan",
    "drift", "drift --format json", "drift --format markdown", "drift --write", "status", "status --format json",
    "history", "history --format json", "doctor", "logs", "logs --tail 5", "list", "list --format json", "output",
    "output url", "output --format json", "usage", "usage --format json", "usage --format csv", "curl",
    "curl --for openai", "curl --for litellm", "curl --for open-webui", "curl --for n8n", "curl --for langchain",
    "smoke --audio hello.wav", "smoke --audio hello.wav --format json", "transcribe hello.wav",
    "transcribe hello.wav -o out --format verbose_json --format srt", "transcribe --manifest list.txt -o out",
    "bench --audio hello.wav --seconds 0.1 --concurrency 1", "scale --max 2", "pause", "resume", "restart",
    "rollback --yes", "adopt --yes stack.yaml", "init --from alpha new", "init --from * all", "destroy --yes",
]  # fmt: skip
QUICK = {
    "validate --format sarif", "plan --format json", "plan --format markdown", "plan -o p.plan", "show p.plan",
    "drift --format markdown", "history", "logs", "list", "output", "usage --format csv", "curl --for litellm",
    "smoke --audio hello.wav", "transcribe hello.wav -o out --format verbose_json --format srt",
    "bench --audio hello.wav --seconds 0.1 --concurrency 1", "init --from alpha new",
}  # fmt: skip
"""Those that run each time: the others wait, or are much like one of these."""
NO_FILE = ("list", "init")
"""They read no stack file: the token is all that they know."""
REFUSALS = (400, 401, 403, 404, 409, 422, 500, 503) if EXHAUSTIVE else (400, 401, 403, 409)
"""What is retried takes seconds each time."""


@pytest.fixture(scope="module")
def project(books_only: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A stack that was applied twice; `restore` brings it back."""
    fresh = Project.fresh(books_only, tmp_path_factory.mktemp("canaries"))
    for length in (400, 448):
        file = str(fresh.write(env=ENV, rollout=PATIENCE, vllm={"max_model_len": length}))
        ran = fresh.cli("apply", "--yes", file, **GIVEN)
        assert ran.code == 0, ran.err
    fresh.control("POST", "snapshot", {"name": "applied"})
    tones.write(fresh.folder / "hello.wav", [["ba"]])
    (fresh.folder / "list.txt").write_text("hello.wav\n")
    file = str(fresh.write(env=ENV, rollout=PATIENCE, deployment={"description": "another"}))
    assert fresh.cli("plan", "-o", str(fresh.folder / "p.plan"), file, **GIVEN).code == 0
    return fresh


@pytest.fixture(scope="module")
def echo(project: Project) -> Iterator[Echo]:
    """A UbiOps that repeats what it is given."""
    with echoing(project.emulator, WORDS) as server:
        yield server


@pytest.fixture
def folder(project: Project, tmp_path: Path) -> Path:
    """A stack file, a recording, a list of recordings and a saved plan."""
    return Path(shutil.copytree(project.folder, tmp_path / "here"))


def run(project: Project, echo: Echo, folder: Path, command: str, *level: str) -> Ran:
    """A command in the folder, which asks the echo; the project is as applied when it begins."""
    project.control("POST", "restore", {"name": "applied"})
    echo.asked.clear()
    environ = project.environ(**GIVEN, UBIOPS_API_HOST=f"{echo.url}/v2")
    return program.run("--timeout", "20", *level, *command.split(), environ=environ, folder=folder)


def leaks(folder: Path, echo: Echo, ran: Ran, command: str) -> list[str]:
    """The canaries in what was printed and in what stands in the folder."""
    words = echo.words[-1:] if command.startswith(NO_FILE) else echo.words
    texts = [ran.all, *(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())]
    return sorted({form for text in texts for form in seen(words, text)})


def nothing_is_refused(_number: int, _verb: str, _path: str) -> bool:
    return False


def from_request(first: int) -> Callable[[int, str, str], bool]:
    return lambda number, _verb, _path: number >= first


@pytest.mark.exhaustive
@pytest.mark.parametrize("command", [one for one in COMMANDS if EXHAUSTIVE or one in QUICK])
def test_what_ubiops_and_the_endpoint_repeat_is_not_seen(
    project: Project, echo: Echo, folder: Path, command: str
) -> None:
    chance = random.Random(command)
    echo.refuses, echo.endpoint = nothing_is_refused, 200
    ran = run(project, echo, folder, command, "-vv")
    assert ran.code in (0, 1, 2), ran
    assert leaks(folder, echo, ran, command) == [], command
    if not EXHAUSTIVE:
        return
    total, uses_endpoint = len(echo.asked), any("/endpoint" in line for line in echo.asked)
    for number in range(1, total + 1):
        echo.status = chance.choice(REFUSALS)
        echo.refuses = from_request(number)
        ran = run(project, echo, folder, command, *chance.choice(([], ["-v"], ["-vv"])))
        assert ran.code in (0, 1, 2), ran
        assert leaks(folder, echo, ran, command) == [], f"{command}: {echo.status} from request {number} of {total} on"
    echo.refuses = nothing_is_refused
    for echo.endpoint in REFUSALS if uses_endpoint else ():
        ran = run(project, echo, folder, command, "-v")
        assert leaks(folder, echo, ran, command) == [], f"{command}: the endpoint answers {echo.endpoint}"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_value_that_ubiops_refuses_and_repeats_is_blanked(
    project: Project, echo: Echo, folder: Path, form: str
) -> None:
    """REST frameworks repeat values that they refuse, and headers."""
    Project(project.emulator, folder).write(env=ENV | {"NEW": {"value": "${HUB}", "secret": True}})
    echo.endpoint, echo.status = 200, 400
    echo.refuses = lambda _number, verb, path: verb == "POST" and path.endswith("/environment-variables")
    ran = run(project, echo, folder, f"apply --yes --format {form}")
    assert (ran.code, "answered 400" in ran.all) == (1, True), ran
    assert leaks(folder, echo, ran, "apply") == []


@pytest.mark.parametrize(
    "command",
    ["transcribe hello.wav", "transcribe hello.wav ./hello.wav --format json", "smoke --audio hello.wav --format json"],
)
def test_an_error_of_the_endpoint_that_repeats_the_token_is_blanked(
    project: Project, echo: Echo, folder: Path, command: str
) -> None:
    echo.refuses, echo.endpoint = nothing_is_refused, 403
    ran = run(project, echo, folder, command, "-v")
    assert (ran.code, "403" in ran.all) == (1, True), ran
    assert leaks(folder, echo, ran, command) == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_watch_prints_and_posts_no_canary(project: Project, echo: Echo, folder: Path, form: str) -> None:
    """Of drift, of an endpoint that answers oddly, and of a UbiOps that refuses everything from the next round on."""
    project.control("POST", "restore", {"name": "applied"})
    echo.refuses, echo.endpoint, echo.status = nothing_is_refused, 200, 403
    echo.posted.clear()
    environ = project.environ(**GIVEN, UBIOPS_API_HOST=f"{echo.url}/v2", WHISPERCTL_NOTIFY=f"{echo.url}/hook")
    watch = program.start("-vv", "watch", "--interval", "1", "--format", form, environ=environ, folder=folder)
    try:
        until(lambda: any("description" in text for text in echo.posted), 60)
        echo.refuses = from_request(1)
        until(lambda: any("403" in text for text in echo.posted), 60)
    finally:
        watch.terminate()
        out, err = watch.communicate(timeout=30)
    assert watch.returncode == 0, err
    assert leaks(folder, echo, Ran(watch.returncode, out, err + " ".join(echo.posted)), "watch") == []


def test_the_proxy_shows_no_page_the_token(project: Project, echo: Echo, folder: Path) -> None:
    project.control("POST", "restore", {"name": "applied"})
    echo.refuses, echo.endpoint = nothing_is_refused, 200
    environ = project.environ(**GIVEN, UBIOPS_API_HOST=f"{echo.url}/v2")
    proxy = program.start("-vv", "proxy", "--port", "0", environ=environ, folder=folder)
    assert proxy.stdout is not None
    url = proxy.stdout.readline().strip()
    assert url, proxy.communicate(timeout=30)[1]
    pages = [loopback.get(f"{url}{path}", timeout=20, trust_env=False).text for path in ("v1/models", "elsewhere")]
    proxy.terminate()
    out, err = proxy.communicate(timeout=30)
    assert all("*" * 20 in page for page in pages)
    assert seen(echo.words[-1:], " ".join(pages)) == []
    assert leaks(folder, echo, Ran(proxy.returncode, out, err), "proxy") == []
