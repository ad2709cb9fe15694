"""A Whisper endpoint: `vllm serve` beside UbiOps' own process. Rendered by whisperctl; change the stack file, not this.

Standard library only. Everything that is particular to this stack stands in CONFIG, one literal. In the version's
environment variables MAX_MODEL_LEN, WHISPER_TASK and VLLM_EXTRA_ARGS override it without a new revision;
WHISPERCTL_PORT and WHISPERCTL_HOST move the server (several instances on one host).
Each process of the server runs under a supervisor (whisperctl_supervisor.py), so that nothing outlives this one.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any, TextIO

CONFIG = {
    'model': 'openai/whisper-small',
    'model_packed': False,
    'served_names': [
        'openai/whisper-small',
    ],
    'task': 'transcription',
    'vllm_version': '0.19.1',
    'port': 8080,
    'max_model_len': 448,
    'arguments': [
        '--attention-backend',
        'TRITON_ATTN',
        '--shutdown-timeout',
        '30',
        '--revision',
        '973afd24965f72e36ca33b3055d56a652f456b4d',
        '--dtype',
        'float16',
        '--gpu-memory-utilization',
        '0.9',
        '--max-num-batched-tokens',
        '12000',
        '--max-num-seqs',
        '64',
    ],
    'environment': {
        'VLLM_MAX_AUDIO_CLIP_FILESIZE_MB': '200',
        'VLLM_NO_USAGE_STATS': '1',
        'VLLM_USE_FLASHINFER_SAMPLER': '0',
    },
    'api_server_count': 'auto',
    'api_servers_at_most': 8,
    'sharing': None,
    'shutdown_timeout': 30,
    'startup_timeout': 1800,
}

LOG_LINES = 100
LINE_LENGTH = 500
LONGEST_READ = 65536
HEALTH_SECONDS = 5.0
HEALTH_BYTES = 65536
POLL_SECONDS = 0.5
TEARDOWN_SECONDS = 15
CPUS_PER_ENGINE = 4
MPS = "nvidia-cuda-mps-control"
MPS_SECONDS = 20
TASKS = ("transcription", "translation")
SUPERVISOR = Path(__file__).with_name("whisperctl_supervisor.py")
KILL_ALL = signal.SIGUSR1

CUDA_PROGRAM = """
import ctypes, sys
cuda, device, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_void_p()
problem = cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0)
problem = problem or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
sys.exit(f"CUDA error {problem}") if problem else print("served")
"""


class ServerFailed(RuntimeError):
    """The server did not come up; the message ends with its last log lines."""


class Deployment:
    """Starts the server and returns when it is healthy; afterwards each ends with the other."""

    def __init__(self, base_directory: str, context: Any) -> None:
        settings = Settings(CONFIG, os.environ, base_directory)
        check_port_is_free(settings)
        self._settings = settings
        self._server = Server(settings)
        self._server.start()
        self._server.wait_until_healthy()

    def request(self, data: Any, context: Any = None) -> str:
        """The health of the server, as JSON text: a service carries the audio, not this."""
        settings = self._settings
        report = {
            "status": "healthy" if is_healthy(settings) else "unhealthy",
            "model": settings.served_names[0],
            "task": settings.task,
            "version": settings.vllm_version,
        }
        return json.dumps(report)


class Settings:
    """What was rendered, with the environment's overrides in."""

    def __init__(self, config: Mapping[str, Any], environ: Mapping[str, str], base_directory: str) -> None:
        self.host = environ.get("WHISPERCTL_HOST") or "0.0.0.0"
        self.port = whole_number(environ, "WHISPERCTL_PORT", config["port"], 65535)
        self.max_model_len = whole_number(environ, "MAX_MODEL_LEN", config["max_model_len"], 448)
        self.task: str = environ.get("WHISPER_TASK") or config["task"]
        if self.task not in TASKS:
            raise ValueError(f"WHISPER_TASK is {self.task!r}; it must be one of {', '.join(TASKS)}.")
        self.served_names: list[str] = config["served_names"]
        self.vllm_version: str = config["vllm_version"]
        self.startup_timeout: float = config["startup_timeout"]
        self.shutdown_timeout: float = config["shutdown_timeout"]
        cpus, extra = available_cpus(), extra_arguments(environ)
        self.api_servers = api_server_count(config, cpus)
        self.engines = engine_count(config, cpus, extra)
        self.base_directory = str(Path(base_directory).absolute())
        self.model: str = config["model"]
        if config["model_packed"]:
            self.model = str(Path(self.base_directory, config["model"]))
        self.rendered_commands = serve_commands(self, config)
        self.commands = with_extra_arguments(self.rendered_commands, extra)
        self.environment = server_environment(self, config["environment"], environ)


def whole_number(environ: Mapping[str, str], name: str, default: int, most: int) -> int:
    """The number in the environment variable `name`, 1 to `most`; `default` when it is unset or empty."""
    text = (environ.get(name) or "").strip()
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise ValueError(f"{name} is {text!r}; it must be a whole number from 1 to {most}.")
    return int(text)


def extra_arguments(environ: Mapping[str, str]) -> list[str]:
    """The words in VLLM_EXTRA_ARGS, split as a shell would."""
    try:
        return shlex.split(environ.get("VLLM_EXTRA_ARGS") or "")
    except ValueError as error:
        raise ValueError(f"VLLM_EXTRA_ARGS cannot be split into words: {error}.") from None


def serve_commands(settings: Settings, config: Mapping[str, Any]) -> list[list[str]]:
    """The command lines: the front ends with an engine, and one for each further engine on the same GPU.

    What stands later wins, so what was asked for by name comes after what was decided here.
    """
    front = ["--host", settings.host, "--port", str(settings.port), "--served-model-name", *settings.served_names]
    if settings.api_servers > 1 or config["api_server_count"] != "auto":
        front += ["--api-server-count", str(settings.api_servers)]
    options = ["--max-model-len", str(settings.max_model_len), *config["arguments"]]
    if settings.engines > 1:
        options = ["--max-model-len", str(settings.max_model_len), *config["sharing"]["arguments"]]
        options += ["--data-parallel-size", str(settings.engines), "--data-parallel-size-local", "1"]
        options += ["--data-parallel-address", "127.0.0.1", "--data-parallel-rpc-port", str(free_port())]
    roles = [front, *(["--headless", "--data-parallel-start-rank", str(rank)] for rank in range(1, settings.engines))]
    return [["vllm", "serve", settings.model, *role, *options] for role in roles]


def with_extra_arguments(commands: Iterable[list[str]], extra: list[str]) -> list[list[str]]:
    """The command lines with the words of VLLM_EXTRA_ARGS; an engine alone refuses front ends, whoever asks."""
    return [[*command, *extra, *(["--api-server-count", "0"] if rank else [])] for rank, command in enumerate(commands)]


def free_port() -> int:
    """A port of the loopback interface that nobody listens on: where the engines meet."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def server_environment(settings: Settings, rendered: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: the version's own variables win over rendered ones."""
    environment = {**writable_caches(environ), **rendered, **environ}
    if settings.api_servers > 1:
        environment.setdefault("OMP_NUM_THREADS", "1")
    if settings.engines > 1 or settings.api_servers > 1:
        path = [environ.get("PYTHONPATH"), settings.base_directory]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    environment.pop("VLLM_EXTRA_ARGS", None)
    return environment


def writable_caches(environ: Mapping[str, str]) -> dict[str, str]:
    """Cache folders in the home directory, or in the temporary one where home cannot be written to."""
    home = Path(environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        home = home.expanduser()
        home.mkdir(parents=True, exist_ok=True)
        writable = os.access(home, os.W_OK | os.X_OK)
    except (OSError, RuntimeError):
        writable = False
    root = home if writable else Path(tempfile.gettempdir(), "whisperctl-cache")
    return {
        "XDG_CACHE_HOME": str(root),
        "HF_HOME": str(root / "huggingface"),
        "VLLM_CACHE_ROOT": str(root / "vllm"),
        "TRITON_CACHE_DIR": str(root / "triton"),
    }


def api_server_count(config: Mapping[str, Any], cpus: float) -> int:
    """Front-end processes: as rendered, or half of the CPUs."""
    if config["api_server_count"] != "auto":
        return int(config["api_server_count"])
    return max(1, min(int(config["api_servers_at_most"]), int(cpus / 2)))


def engine_count(config: Mapping[str, Any], cpus: float, extra: Sequence[str] = ()) -> int:
    """Engines that share the GPU: as many as were rendered, as far as each finds enough CPUs.

    One where VLLM_EXTRA_ARGS says otherwise about engines, their memory or their scheduler.
    """
    sharing = config["sharing"]
    if not sharing or any(word.replace("_", "-").startswith(tuple(sharing["unless"])) for word in extra):
        return 1
    return max(1, min(int(sharing["engines"]), int(cpus / CPUS_PER_ENGINE)))


def available_cpus() -> float:
    """CPUs that this process may use: its affinity, bounded by the container's quota."""
    return min([float(len(os.sched_getaffinity(0))), *container_quota()])


def container_quota(root: str = "/sys/fs/cgroup") -> list[float]:
    """The CPU quota of the container, version 2 or 1 of the kernel's control groups; empty when there is none."""
    for names in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        try:
            words = [word for name in names for word in Path(root, name).read_text(encoding="ascii").split()]
        except OSError:
            continue
        if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):
            return [int(words[0]) / int(words[1])]
    return []


def check_port_is_free(settings: Settings) -> None:
    """Raise when something listens on the server's port already."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise ServerFailed(
                f"Port {settings.port} on {settings.host} cannot be used: {error.strerror}. "
                "Another server may be running in this instance; WHISPERCTL_PORT names another port."
            ) from None


def is_healthy(settings: Settings, seconds: float = HEALTH_SECONDS) -> bool:
    """Whether GET /health answers 200, whole, within `seconds`."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    try:
        head, _, _ = whole_answer(host, settings.port, time.monotonic() + seconds).partition(b"\r\n\r\n")
    except OSError:
        return False
    return head.startswith(b"HTTP/1.") and head.split(None, 2)[1:2] == [b"200"]


def whole_answer(host: str, port: int, deadline: float) -> bytes:
    """What the server sends to GET /health until it closes the connection.

    Raises:
        OSError: it is not there, says more than it should, or has not ended when the deadline passes. A time-out of
            the socket alone would begin anew with every byte.
    """
    with socket.create_connection((host, port), timeout=max(0.01, deadline - time.monotonic())) as connection:
        name = f"[{host}]" if ":" in host else host
        connection.sendall(f"GET /health HTTP/1.1\r\nHost: {name}:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) <= HEALTH_BYTES:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            received = connection.recv(4096)
            if not received:
                return answer
            answer += received
            if time.monotonic() > deadline:
                break
    raise TimeoutError("the answer does not end")


def shortened(text: str) -> str:
    """A line as it is kept."""
    return text if len(text) <= LINE_LENGTH else text[: LINE_LENGTH - 1] + "…"


def say(text: str, stream: TextIO | None = None) -> None:
    """Write a line to standard output or `stream` in one piece.

    print() writes its end by itself where PYTHONUNBUFFERED is set: a line of the server's could come between.
    """
    stream = stream or sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


def supervised(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` under a supervisor of its own, which ends with this process."""
    return [sys.executable or "python3", "-I", str(SUPERVISOR), str(os.getpid()), *command]


class Process:
    """One process of the server under its supervisor: started, its output handed on, waited for."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        lines: collections.deque[str],
        ended: Callable[[Process], None] | None = None,
        shown: bool = True,
    ) -> None:
        self.command, self.environment, self.lines, self.ended = command, environment, lines, ended
        self.shown = shown
        self.process: subprocess.Popen[bytes] | None = None
        self.start_error: Exception | None = None
        self.started = threading.Event()
        self.running = False
        self.watch = threading.Thread(target=self.run, name=f"watch {command[0]}", daemon=True)

    @property
    def exit_code(self) -> int:
        """Once it has ended: its exit code, or minus the signal that killed it."""
        return self.process.returncode if self.process is not None else 1

    def start(self) -> None:
        """Start it; `ended`, if there is one, is called with it, from another thread, once it is gone."""
        self.watch.start()
        self.started.wait()
        if self.start_error is not None:
            raise ServerFailed(f"{self.command[0]} cannot be started: {self.start_error}") from self.start_error

    def run(self) -> None:
        """Start it, wait for its end, and say so."""
        try:
            process = self.process = subprocess.Popen(
                supervised(self.command),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self.start_error = error
            self.started.set()
            return
        self.running = True
        self.started.set()
        pumps = [
            threading.Thread(target=self.pump, args=(stream, target), daemon=True)
            for stream, target in ((process.stdout, 1), (process.stderr, 2))
        ]
        for pump in pumps:
            pump.start()
        process.wait()
        self.running = False
        for pump in pumps:
            pump.join(timeout=2)
        if self.ended is not None:
            self.ended(self)

    def pump(self, stream: IO[bytes], target: int) -> None:
        """Hand the server's output on to this process's own if it is to be shown, keeping the last lines."""
        last = b"\n"
        with stream:
            while line := stream.readline(LONGEST_READ):
                self.lines.append(shortened(line.decode("utf-8", errors="replace").rstrip()))
                self.hand_on(line, target)
                last = line
        if not last.endswith(b"\n"):
            self.hand_on(b"\n", target)

    def hand_on(self, line: bytes, target: int) -> None:
        """Write to a stream of this process's own, if the output is to be shown."""
        if self.shown:
            with contextlib.suppress(OSError):
                os.write(target, line)

    def terminate(self) -> None:
        """Have the supervisor send SIGTERM to the process itself, which tells its children."""
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        """Have the supervisor kill it and every process that it started. Killed itself, it could not."""
        self.send(KILL_ALL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor while there is one."""
        if self.running and self.process is not None:
            self.process.send_signal(number)


class SharedGpu:
    """NVIDIA's Multi-Process Service: the kernels of several engines run at once, where else they take turns.

    Whoever sets CUDA_MPS_PIPE_DIRECTORY has one, or wants none. Where it does not work, engines take turns.
    """

    def __init__(self, settings: Settings) -> None:
        self.environment = settings.environment
        self.needed = settings.engines > 1 and "CUDA_MPS_PIPE_DIRECTORY" not in self.environment
        self.folder: str | None = None
        self.daemon: Process | None = None
        self.program = MPS
        self.variables: dict[str, str] = {}
        self.lines: collections.deque[str] = collections.deque(maxlen=LOG_LINES)

    def start(self) -> None:
        """Start it, try it, and point the engines to it."""
        if not self.needed:
            return
        try:
            self.try_out()
        except (OSError, subprocess.SubprocessError, ServerFailed) as error:
            self.stop()
            words = [f"whisperctl: the engines take turns on the GPU: {error}", *self.lines]
            say("\n  ".join(words), sys.stderr)
        else:
            self.environment.update(self.variables)
            say("whisperctl: the engines share the GPU through NVIDIA's Multi-Process Service")

    def try_out(self) -> None:
        """Start the daemon and have a CUDA program served; raise where that fails."""
        program = shutil.which(MPS, path=self.environment.get("PATH"))
        if program is None:
            raise ServerFailed(f"{MPS} is not here.")
        self.program = program
        self.folder = tempfile.mkdtemp(prefix="whisperctl-mps-")
        self.variables = {"CUDA_MPS_PIPE_DIRECTORY": self.folder, "CUDA_MPS_LOG_DIRECTORY": self.folder}
        daemon = {name: value for name, value in self.environment.items() if name != "CUDA_VISIBLE_DEVICES"}
        self.daemon = Process([self.program, "-f"], {**daemon, **self.variables}, self.lines, shown=False)
        self.daemon.start()
        deadline = time.monotonic() + MPS_SECONDS
        while not Path(self.folder, "control").exists():
            if not self.daemon.running or time.monotonic() > deadline:
                raise ServerFailed(f"{MPS} does not start.")
            time.sleep(0.02)
        if self.run([sys.executable or "python3", "-I", "-c", CUDA_PROGRAM]).strip() != "served":
            raise ServerFailed("a CUDA program gets no GPU.")
        if not self.run([self.program], "get_server_list\n").split():
            raise ServerFailed(f"{MPS} has no server.")

    def run(self, command: Sequence[str], words: str = "", timeout: float = MPS_SECONDS) -> str:
        """The output of a program that ends by itself, or with this process."""
        name = Path(command[0]).name
        try:
            done = subprocess.run(
                supervised(command),
                input=words,
                env={**self.environment, **self.variables},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"{name} did not end in {timeout} seconds.") from None
        if done.returncode != 0:
            output = shortened(done.stderr.strip() or done.stdout.strip())
            raise ServerFailed(f"{name} ended with {done.returncode}: {output}")
        return done.stdout

    def stop(self) -> None:
        """End it; nobody may be using it any more."""
        if self.daemon is not None and self.daemon.running:
            with contextlib.suppress(OSError, subprocess.SubprocessError, ServerFailed):
                self.run([self.program], "quit\n", timeout=5)
                self.daemon.watch.join(5)
            self.daemon.kill()
            self.daemon.watch.join(5)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class Server:
    """`vllm serve`, one process or several that need each other: started, watched, drained."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.gpu = SharedGpu(settings)
        self.lines: collections.deque[str] = collections.deque(maxlen=LOG_LINES)
        self.processes = [
            Process(command, settings.environment, self.lines, self.process_ended) for command in settings.commands
        ]
        self.first_ended: Process | None = None
        self.ended = threading.Event()
        self.healthy = False
        self.stopping = False
        self.deadline = time.monotonic() + settings.startup_timeout

    def start(self) -> None:
        """Start the processes; from here on SIGTERM and the end of this process stop them."""
        for command in self.settings.rendered_commands:
            say(f"whisperctl: starting {shlex.join(command)}")
        self.drain_on_sigterm()
        atexit.register(self.stop)
        self.gpu.start()
        if self.stopping:
            raise ServerFailed("The server was stopped before it was started.")
        try:
            for process in self.processes:
                process.start()
        except ServerFailed:
            self.kill()
            self.gpu.stop()
            raise
        if self.first_ended is not None:
            self.kill()

    def process_ended(self, process: Process) -> None:
        """The end of one process ends the others; the end of the last ends this process, with the first one's code."""
        self.first_ended = self.first_ended or process
        if any(other.running for other in self.processes):
            self.kill()
            return
        self.gpu.stop()
        self.ended.set()
        if self.healthy and not self.stopping:
            say(f"whisperctl: {self.ending()}", sys.stderr)
            code = self.first_ended.exit_code
            os._exit(code if 0 < code < 126 else 1)

    def wait_until_healthy(self) -> None:
        """Return when /health answers; raise when the process ends first or the deadline passes."""
        while not self.ended.is_set():
            if is_healthy(self.settings, min(HEALTH_SECONDS, self.deadline - time.monotonic())):
                self.healthy = True
                if not self.ended.is_set():
                    say("whisperctl: the server is healthy")
                    return
            if time.monotonic() > self.deadline:
                self.stop(grace=5)
                raise ServerFailed(
                    f"The server was not healthy after {self.settings.startup_timeout} s.\n{self.last_lines()}"
                )
            time.sleep(POLL_SECONDS)
        raise ServerFailed(self.ending())

    def ending(self) -> str:
        """How the server ended, and its last words."""
        code = self.first_ended.exit_code if self.first_ended is not None else 1
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"The server {how}.\n{self.last_lines()}"

    def last_lines(self) -> str:
        """The end of the server's log."""
        if not self.lines:
            return "It printed nothing."
        return "Its last log lines:\n" + "\n".join(f"  {line}" for line in list(self.lines))

    def stop(self, grace: float | None = None) -> None:
        """Ask the front ends to finish what is in flight; kill everything when it takes too long."""
        self.stopping = True
        if self.processes[0].process is None or self.ended.is_set():
            self.gpu.stop()
            return
        self.processes[0].terminate()
        if not self.ended.wait(self.settings.shutdown_timeout + TEARDOWN_SECONDS if grace is None else grace):
            self.kill()
            self.ended.wait(10)

    def kill(self) -> None:
        """End every process at once."""
        for process in self.processes:
            process.kill()

    def drain_on_sigterm(self) -> None:
        """Drain first, then do what SIGTERM did before. Outside the main thread Python sets no signal; exit drains."""
        if threading.current_thread() is not threading.main_thread():
            return
        before = signal.getsignal(signal.SIGTERM)

        def drain(number: int, frame: FrameType | None) -> None:
            signal.signal(number, signal.SIG_IGN)
            self.stop()
            signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
            if callable(before):
                before(number, frame)
            elif before != signal.SIG_IGN:
                os.kill(os.getpid(), number)

        signal.signal(signal.SIGTERM, drain)
