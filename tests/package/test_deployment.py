"""The rendered `Deployment`, as UbiOps runs it, with a stand-in for vLLM."""

from __future__ import annotations

import collections
import contextlib
import io
import json
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from templates import deployment
from tests.harness.sweeps import EXHAUSTIVE
from tests.package.conftest import MakeInstance, StackOf
from whisperctl.serving.launch import launch

from .conftest import free_port, wait_until, wait_until_gone

if TYPE_CHECKING:
    from typing_extensions import Buffer

BROOD = Path(__file__).with_name("brood.py")
CONFIG = {
    "model": "openai/whisper-small", "model_packed": False, "served_names": ["w"], "task": "transcription",
    "vllm_version": "0.32.0", "port": 8080, "max_model_len": 448, "arguments": [], "environment": {},
    "api_server_count": 1, "api_servers_at_most": 1, "sharing": None, "shutdown_timeout": 30, "startup_timeout": 60,
}  # fmt: skip


def get(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_it_starts_and_reports_health(instance: MakeInstance) -> None:
    running = instance()
    report = json.loads(running.wait_for("ready").partition(" ")[2])
    assert report == {
        "status": "healthy",
        "model": "openai/whisper-small",
        "task": "transcription",
        "version": "0.32.0",
    }
    assert get(running.port, "/health") == 200


def test_the_command_line_carries_what_the_stack_says(instance: MakeInstance) -> None:
    running = instance()
    running.wait_for("ready")
    argv = json.loads(running.report.read_text())["argv"]
    assert argv[:6] == ["serve", "openai/whisper-small", "--host", "127.0.0.1", "--port", str(running.port)]
    assert argv[argv.index("--max-model-len") + 1] == "448"
    assert argv[argv.index("--revision") + 1] == "973afd24965f72e36ca33b3055d56a652f456b4d"
    assert argv[argv.index("--served-model-name") + 1] == "openai/whisper-small"
    assert "--task" not in argv


def test_the_environment_overrides_what_was_rendered(instance: MakeInstance) -> None:
    running = instance(
        MAX_MODEL_LEN="200",
        WHISPER_TASK="translation",
        VLLM_EXTRA_ARGS="--max-num-seqs 7 --allowed-origins '[\"*\"]'",
        VLLM_NO_USAGE_STATS="0",
    )
    assert json.loads(running.wait_for("ready").partition(" ")[2])["task"] == "translation"
    report = json.loads(running.report.read_text())
    assert report["argv"][-4:] == ["--max-num-seqs", "7", "--allowed-origins", '["*"]']
    assert report["argv"][report["argv"].index("--max-model-len") + 1] == "200"
    assert report["env"]["VLLM_NO_USAGE_STATS"] == "0"
    assert "VLLM_EXTRA_ARGS" not in report["env"]


def test_caches_lie_in_a_writable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home, root in (
        (str(tmp_path), tmp_path),
        (str(tmp_path / "new" / "cache"), tmp_path / "new" / "cache"),
        (str(tmp_path / "file"), Path(tempfile.gettempdir(), "whisperctl-cache")),
    ):
        caches = deployment.writable_caches({"XDG_CACHE_HOME": home})
        assert caches["XDG_CACHE_HOME"] == str(root)
        for name in ("HF_HOME", "VLLM_CACHE_ROOT", "TRITON_CACHE_DIR"):
            assert Path(caches[name]).parent == root, name


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MAX_MODEL_LEN", "many", "MAX_MODEL_LEN is 'many'; it must be a whole number from 1 to 448."),
        ("MAX_MODEL_LEN", "449", "whole number from 1 to 448"),
        ("WHISPER_TASK", "transcribe", "must be one of transcription, translation"),
        ("WHISPERCTL_PORT", "65536", "WHISPERCTL_PORT is '65536'; it must be a whole number from 1 to 65535."),
        ("WHISPERCTL_PORT", "\xb2", "WHISPERCTL_PORT is '\xb2'"),
        ("VLLM_EXTRA_ARGS", "--a 'b", "VLLM_EXTRA_ARGS cannot be split into words"),
    ],
)
def test_a_wrong_override_is_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        deployment.Settings(CONFIG, {name: value}, "/package")


def test_the_versions_own_variables_win_over_rendered_ones(tmp_path: Path) -> None:
    config = {**CONFIG, "environment": {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}, "api_server_count": 2}
    environ = {"VLLM_NO_USAGE_STATS": "0", "VLLM_EXTRA_ARGS": "--api-key secret", "XDG_CACHE_HOME": str(tmp_path)}
    environment = deployment.Settings(config, environ, "/package").environment
    assert (environment["VLLM_NO_USAGE_STATS"], environment["HF_HUB_OFFLINE"]) == ("0", "1")
    assert environment["OMP_NUM_THREADS"] == "1"
    assert "VLLM_EXTRA_ARGS" not in environment


def test_death_before_ready_shows_the_last_lines(instance: MakeInstance) -> None:
    code, out, errors = instance(STAND_IN_DIE_AT_START="1").end()
    assert code == 1
    assert "The server ended with exit code 1." in errors
    assert "  RuntimeError: no CUDA GPUs are available" in errors
    assert "INFO stand-in starts" in out
    assert "ready" not in out


def test_a_missing_vllm_shows_in_the_servers_exit(instance: MakeInstance) -> None:
    code, _, errors = instance(path="/nowhere").end()
    assert code == 1
    assert "The server ended with exit code 127." in errors
    assert "vllm cannot be started: No such file or directory" in errors


def test_death_later_ends_the_instance(instance: MakeInstance) -> None:
    running = instance()
    running.wait_for("ready")
    assert get(running.port, "/die") == 0
    code, _, errors = running.end()
    assert code == 3
    assert "The server ended with exit code 3." in errors
    assert "  CUDA error: an illegal memory access was encountered" in errors


def test_death_later_with_success_still_fails_the_instance(instance: MakeInstance) -> None:
    running = instance(STAND_IN_DIE_CODE="0")
    running.wait_for("ready")
    get(running.port, "/die")
    assert running.end()[0] == 1


def test_a_taken_port_is_told(instance: MakeInstance) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running = instance(port=port)
        code, _, errors = running.end()
    assert code == 1
    assert f"Port {port} on 127.0.0.1 cannot be used: Address already in use." in errors
    assert not running.report.exists()


def test_the_deadline_ends_the_wait(instance: MakeInstance, stack_of: StackOf) -> None:
    running = instance(stack_of(vllm="{version: 0.32.0, startup_timeout: 3}"), STAND_IN_NEVER_READY="1")
    code, _, errors = running.end()
    assert code == 1
    assert "The server was not healthy after 3 s." in errors
    assert "  INFO stand-in starts" in errors
    wait_until_gone(json.loads(running.report.read_text())["pid"], 5)


def test_an_unhealthy_answer_is_not_ready(instance: MakeInstance, stack_of: StackOf) -> None:
    running = instance(stack_of(vllm="{version: 0.32.0, startup_timeout: 1}"), STAND_IN_UNHEALTHY="1")
    assert "was not healthy after 1 s" in running.end()[2]


def test_an_answer_that_never_ends_does_not_stop_the_clock(instance: MakeInstance, stack_of: StackOf) -> None:
    running = instance(stack_of(vllm="{version: 0.32.0, startup_timeout: 1}"), STAND_IN_DRIBBLE="1")
    code, _, errors = running.end()
    assert code == 1
    assert "was not healthy after 1 s" in errors


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("sent", "again", "healthy"),
    [
        (ANSWER, b"", True),
        (ANSWER.replace(b"200 OK", b"200"), b"", True),
        (ANSWER.replace(b"200 OK", b"503 Service Unavailable"), b"", False),
        (ANSWER.replace(b"200", b"2000"), b"", False),
        (b"SSH-2.0-OpenSSH 200", b"", False),
        (b"", b"", False),
        (b"HTTP/1.1 200 OK\r\n", b"X-Another: line\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b".", False),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"." * 2 * deployment.HEALTH_BYTES, b"." * deployment.HEALTH_BYTES, False),
    ],
    ids=["whole", "bare", "503", "2000", "ssh", "nothing", "headers", "body", "flood"],
)
def test_only_a_whole_answer_in_time_is_health(sent: Any, again: bytes, healthy: bool) -> None:
    """`again` is sent on and on, with less than the deadline in between."""
    done = threading.Event()

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(sent)
            while again and not done.wait(0.05):
                connection.sendall(again)

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        answering = threading.Thread(target=answer, args=[server])
        answering.start()
        settings = deployment.Settings(CONFIG, {"WHISPERCTL_PORT": port, "WHISPERCTL_HOST": "127.0.0.1"}, "/package")
        assert deployment.is_healthy(settings, 0.3 if again else 10) == healthy
        done.set()
        answering.join()
    assert not deployment.is_healthy(settings)  # nobody is there any more


def test_a_kept_line_is_short() -> None:
    lines: collections.deque[str] = collections.deque(maxlen=3)
    process = deployment.Process(["vllm"], {}, lines, shown=False)
    process.pump(io.BytesIO(b"x" * 200_000 + b"\nshort\n" + b"y" * 501), 1)
    assert list(lines) == ["x" * 499 + "…", "short", "y" * 499 + "…"]


class Writes(io.RawIOBase):
    """A stream that nobody buffers for, as standard output is with PYTHONUNBUFFERED: what each write brings."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Buffer, /) -> int:
        self.pieces.append(bytes(piece))
        return len(self.pieces[-1])


def test_a_line_of_its_own_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    writes = Writes()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(writes, "utf-8", write_through=True))  # type: ignore[type-var]
    deployment.say("whisperctl: the server is healthy")
    assert [piece for piece in writes.pieces if piece] == [b"whisperctl: the server is healthy\n"]


@pytest.mark.parametrize("size", [3, 65536, 70_000])
def test_the_last_line_of_a_process_that_was_killed_has_an_end(size: int, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as target:
        for _ in range(2):
            deployment.Process(["vllm"], {}, collections.deque()).pump(io.BytesIO(b"x" * size), target.fileno())
    assert [len(line) for line in log.read_bytes().splitlines()] == [size, size]


def test_sigterm_drains_and_leaves_no_zombie(instance: MakeInstance) -> None:
    running = instance()
    running.wait_for("ready")
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        running.wait_for("slow began")
        running.process.send_signal(signal.SIGTERM)
        assert b" 200 " in client.makefile("rb").readline()
    code, out, _ = running.end()
    assert code == -signal.SIGTERM
    assert "INFO drained" in out
    wait_until_gone(json.loads(running.report.read_text())["pid"], 5)


def test_a_second_sigterm_changes_nothing(instance: MakeInstance) -> None:
    running = instance()
    running.wait_for("ready")
    with socket.create_connection(("127.0.0.1", running.port)) as client:
        client.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        running.wait_for("slow began")
        for _ in range(3):
            running.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
        assert b" 200 " in client.makefile("rb").readline()
    code, out, _ = running.end()
    assert code == -signal.SIGTERM
    assert out.count("INFO drained") == 1


@pytest.mark.exhaustive
@pytest.mark.parametrize("turn", range(10 if EXHAUSTIVE else 1))
@pytest.mark.parametrize("end", ["exit", "sigterm", "sigkill", "death", "deaf"])
def test_no_descendant_outlives_the_instance(
    instance: MakeInstance, stack_of: StackOf, tmp_path: Path, end: str, turn: int
) -> None:
    stack = stack_of(vllm="{version: 0.32.0, args: {shutdown-timeout: 0}}")
    brood = {"STAND_IN_BROOD": str(BROOD), "STAND_IN_BROOD_PIDS": str(tmp_path / "pids")}
    running = instance(stack, **brood, **({"STAND_IN_IGNORE_TERM": "1"} if end == "deaf" else {}))
    running.wait_for("ready")
    wait_until(lambda: (tmp_path / "pids").exists() and len((tmp_path / "pids").read_text().split()) == 4)
    match end:
        case "exit":
            running.let_go()
        case "death":
            get(running.port, "/die")
        case "sigkill":
            running.process.kill()
        case _:
            running.process.send_signal(signal.SIGTERM)
    code = running.process.wait(30)
    assert code == {"exit": 0, "death": 3, "sigkill": -signal.SIGKILL}.get(end, -signal.SIGTERM)
    for pid in [json.loads(running.report.read_text())["pid"], *map(int, (tmp_path / "pids").read_text().split())]:
        wait_until_gone(pid, 10)


def test_the_server_dies_with_its_parent(instance: MakeInstance) -> None:
    running = instance()
    running.wait_for("ready")
    running.process.kill()
    running.end()
    wait_until_gone(json.loads(running.report.read_text())["pid"], 10)


def test_an_exit_of_the_instance_drains_too(instance: MakeInstance) -> None:
    running = instance()
    running.wait_for("ready")
    running.let_go()
    code, out, _ = running.end()
    assert code == 0
    assert "INFO drained" in out
    wait_until_gone(json.loads(running.report.read_text())["pid"], 5)


def test_two_instances_live_on_one_host(instance: MakeInstance) -> None:
    first, second = instance(port=free_port()), instance(port=free_port())
    first.wait_for("ready")
    second.wait_for("ready")
    assert get(first.port, "/health") == get(second.port, "/health") == 200


def test_an_unknown_number_of_front_ends_follows_the_cpus() -> None:
    auto = {"api_server_count": "auto", "api_servers_at_most": 8}
    count = deployment.api_server_count
    assert [count(auto, cpus) for cpus in (0.5, 1, 2, 3.9, 4, 16, 64)] == [1, 1, 1, 1, 2, 8, 8]
    assert count({"api_server_count": 3, "api_servers_at_most": 8}, 64) == 3


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "200000 100000\n"}, [2.0]),
        ({"cpu.max": "max 100000\n"}, []),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, [1.5]),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, []),
        ({}, []),
    ],
)
def test_the_containers_quota_is_read(
    tmp_path: Path, files: dict[str, Any] | dict[str, str], quota: list[Any] | list[float]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert deployment.container_quota(str(tmp_path)) == quota


def test_extra_arguments_are_not_logged(instance: MakeInstance) -> None:
    running = instance(VLLM_EXTRA_ARGS="--api-key very-secret")
    running.wait_for("ready")
    assert "very-secret" not in "".join(running.said)


def test_a_packed_model_is_found_beside_the_code(instance: MakeInstance, stack_of: StackOf, tmp_path: Path) -> None:
    shutil.copytree(Path(__file__).parents[2] / "specs" / "whisper-nano", tmp_path / "nano")
    running = instance(stack_of(model="{name: ./nano}"))
    running.wait_for("ready")
    argv = json.loads(running.report.read_text())["argv"]
    assert argv[1] == str(running.folder / "model")
    assert Path(argv[1], "model.safetensors").exists()


def test_a_platform_that_ignores_its_children_is_no_trouble(instance: MakeInstance) -> None:
    running = instance(IGNORE_CHILDREN="1")
    running.wait_for("ready")
    get(running.port, "/die")
    assert running.end()[0] != 0


@pytest.mark.parametrize(("count", "given"), [("auto", []), ("1", ["1"]), ("2", ["2"])])
def test_a_written_number_of_front_ends_is_always_given(
    stack_of: StackOf, count: str, given: list[Any] | list[str]
) -> None:
    config = launch(stack_of(vllm=f"{{version: 0.32.0, api_server_count: {count}}}")).as_data()
    config["api_servers_at_most"] = 1
    command = deployment.Settings(config, {}, "/package").commands[0]
    assert [command[at + 1] for at, word in enumerate(command) if word == "--api-server-count"] == given


TWO_ENGINES = {
    "model": "{name: openai/whisper-large-v3-turbo, revision: 41f01f3fe87f28c78e2fbf8b568835947dd65ed9}",
    "vllm": "{version: 0.26.0}",
    "instance_type_group": "{name: group, gpu: H100}",
}


def test_engines_that_share_a_gpu_are_started_beside_the_front_ends(instance: MakeInstance, stack_of: StackOf) -> None:
    running = instance(stack_of(**TWO_ENGINES), VLLM_EXTRA_ARGS="--api-server-count 3 --seed 7")
    running.wait_for("ready")
    wait_until(running.engine_report.exists)
    front, engine = (json.loads(path.read_text()) for path in (running.report, running.engine_report))
    assert "--headless" not in front["argv"]
    assert front["argv"][-4:] == ["--api-server-count", "3", "--seed", "7"]
    assert engine["argv"][2:5] == ["--headless", "--data-parallel-start-rank", "1"]
    assert engine["argv"][-2:] == ["--api-server-count", "0"]
    for word in ("--data-parallel-rpc-port", "--data-parallel-size", "--kv-cache-memory-bytes", "--seed"):
        values = [words[words.index(word) + 1] for words in (front["argv"], engine["argv"])]
        assert values[0] == values[1], word
    for environment in (front["env"], engine["env"]):
        assert str(running.folder) in environment["PYTHONPATH"].split(":")
    assert (running.folder / "whisperctl_scheduler.py").exists()


def test_the_death_of_an_engine_beside_the_front_ends_ends_the_instance(
    instance: MakeInstance, stack_of: StackOf, tmp_path: Path
) -> None:
    running = instance(stack_of(**TWO_ENGINES), STAND_IN_ENGINE_DIES=str(tmp_path / "die"))
    running.wait_for("ready")
    wait_until(running.engine_report.exists)
    (tmp_path / "die").touch()
    code, _, errors = running.end()
    assert code == 5
    assert "The server ended with exit code 5." in errors
    assert "  CUDA error: out of memory" in errors
    wait_until_gone(json.loads(running.report.read_text())["pid"], 5)


def test_an_engine_that_dies_before_the_front_ends_are_healthy_ends_the_start(
    instance: MakeInstance, stack_of: StackOf, tmp_path: Path
) -> None:
    (tmp_path / "die").touch()
    running = instance(stack_of(**TWO_ENGINES), STAND_IN_UNHEALTHY="1", STAND_IN_ENGINE_DIES=str(tmp_path / "die"))
    code, out, errors = running.end()
    assert code == 1
    assert "The server ended with exit code 5." in errors
    assert "ready" not in out
    for report in running.folder.glob("report.json*"):
        wait_until_gone(json.loads(report.read_text())["pid"], 5)


@pytest.mark.parametrize("end", ["drain", "kill", "die"])
def test_the_engines_go_with_the_front_ends(instance: MakeInstance, stack_of: StackOf, end: str) -> None:
    running = instance(stack_of(**TWO_ENGINES))
    running.wait_for("ready")
    wait_until(running.engine_report.exists)
    match end:
        case "drain":
            running.process.send_signal(signal.SIGTERM)
            code, out, _ = running.end()
            assert code == -signal.SIGTERM
            assert "INFO drained" in out
        case "kill":
            running.process.kill()
            running.end()
        case "die":
            get(running.port, "/die")
            assert running.end()[0] == 3
    for report in (running.report, running.engine_report):
        wait_until_gone(json.loads(report.read_text())["pid"], 10)


def test_an_instance_with_few_cpus_has_fewer_engines(stack_of: StackOf) -> None:
    two = launch(stack_of(**TWO_ENGINES)).as_data()
    three = launch(stack_of(**TWO_ENGINES | {"instance_type_group": "{name: group, gpu: H200}"})).as_data()
    assert [deployment.engine_count(two, cpus) for cpus in (1, 4, 7.9, 8, 16)] == [1, 1, 1, 2, 2]
    assert [deployment.engine_count(three, cpus) for cpus in (1, 7.9, 8, 12, 64)] == [1, 1, 2, 3, 3]
    assert deployment.engine_count({"sharing": None}, 64) == 1


@pytest.mark.parametrize(
    ("extra", "engines"),
    [
        (["--seed", "7"], 2), (["--api-server-count", "3"], 2), (["--data-parallel-size", "1"], 1),
        (["--data_parallel_size=1"], 1), (["-dp", "1"], 1), (["--gpu-memory-utilization", "0.8"], 1),
        (["--no-async-scheduling"], 1), (["--kv-cache-dtype", "fp8"], 1),
    ],
)  # fmt: skip
def test_extra_arguments_about_engines_leave_one(stack_of: StackOf, extra: list[str], engines: int) -> None:
    config = launch(stack_of(**TWO_ENGINES)).as_data()
    assert deployment.engine_count(config, 64, extra) == engines


def test_one_engine_asked_for_at_start_has_the_gpu_to_itself(instance: MakeInstance, stack_of: StackOf) -> None:
    running = instance(stack_of(**TWO_ENGINES), VLLM_EXTRA_ARGS="--data-parallel-size 1")
    running.wait_for("ready")
    argv = json.loads(running.report.read_text())["argv"]
    assert "--kv-cache-memory-bytes" not in argv
    assert argv[argv.index("--gpu-memory-utilization") + 1] == "0.9"
    assert argv[-2:] == ["--data-parallel-size", "1"]
    assert not running.engine_report.exists()
