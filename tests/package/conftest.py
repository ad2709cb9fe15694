"""Stacks from text, and rendered packages that really run."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from whisperctl.loading import load_stacks
from whisperctl.package.archive import write_files
from whisperctl.package.build import EnvironmentBuild, build_environment, build_package
from whisperctl.spec import Stack

StackOf = Callable[..., Stack]
"""More text, and text by top-level key, to a stack: the fixture `stack_of`."""

HERE = Path(__file__).parent
BASIC = """\
apiVersion: whisperctl/v1
stack: test
model: {name: openai/whisper-small, revision: 973afd24965f72e36ca33b3055d56a652f456b4d}
vllm: {version: 0.32.0}
deployment: {name: test}
instance_type_group: {name: gpu, gpu: L4}
version: {name: v1}
"""
QUICKER = {
    "deployment.py": {
        "POLL_SECONDS = 0.5": "POLL_SECONDS = 0.05",
        "TEARDOWN_SECONDS = 15": "TEARDOWN_SECONDS = 1",
        "CPUS_PER_ENGINE = 4": "CPUS_PER_ENGINE = 0.01",  # engines that share a GPU do so on any machine
        "MPS_SECONDS = 20": "MPS_SECONDS = 2",
    },
    "whisperctl_supervisor.py": {"GRACE_SECONDS = 5.0": "GRACE_SECONDS = 0.5"},
}
DRIVER = """\
import os, select, signal, sys
import deployment
if "IGNORE_CHILDREN" in os.environ:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if "IGNORE_TERM" in os.environ:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("driver", os.getpid(), flush=True)
made = deployment.Deployment(os.path.dirname(os.path.abspath(deployment.__file__)), {})
print("ready", made.request("x"), flush=True)
# A signal that comes right before a read that blocks would be heard when the read ends.
while not select.select([sys.stdin], [], [], 0.1)[0]:
    pass
"""


def environment_of(stack: Stack) -> EnvironmentBuild:
    """The managed environment that a stack's package is built with."""
    built = build_environment(stack)
    assert built is not None
    return built


def text_of(stack: Stack, name: str = "deployment.py") -> str:
    """A rendered file of a stack's package."""
    content = build_package(stack).files[name]
    assert isinstance(content, bytes)
    return content.decode()


@pytest.fixture
def stack_of(tmp_path: Path) -> StackOf:
    """A stack from the basic file with some text in place of other text, and more after it."""

    def make(more: str = "", **instead: str) -> Stack:
        text = BASIC
        for key, value in instead.items():
            lines = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
            text = "\n".join([*lines, f"{key}: {value}"]) + "\n"
        file = tmp_path / "stack.yaml"
        file.write_text(text + more, encoding="utf-8")
        return load_stacks([file], {}).stacks[0]

    return make


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Instance:
    """A rendered package run as UbiOps runs it: a process of its own that makes a `Deployment`."""

    def __init__(self, folder: Path, environment: dict[str, str], port: int) -> None:
        self.folder, self.port = folder, port
        self.report = folder / "report.json"
        self.engine_report = folder / "report.json.engine"
        self.environment = environment
        inside, self.leash = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            cwd=folder, env=environment, text=True, stdin=inside, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        os.close(inside)
        self.said: list[str] = []

    def wait_for(self, word: str) -> str:
        """The next line of standard output that holds `word`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if word in line:
                return line
        _, errors = self.process.communicate(timeout=30)
        raise AssertionError(f"never said {word!r}: {''.join(self.said)}\n{errors}")

    def let_go(self) -> None:
        """Let the instance end by itself."""
        if self.leash >= 0:
            os.close(self.leash)
        self.leash = -1

    def end(self, timeout: float = 30) -> tuple[int, str, str]:
        """Exit code, all standard output and all standard error once the instance has ended."""
        out, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, "".join(self.said) + out, errors


MakeInstance = Callable[..., Instance]
"""A stack, a port, a PATH and variables to a running instance: the fixture `instance`."""


@pytest.fixture
def instance(tmp_path: Path, stack_of: StackOf) -> Iterator[MakeInstance]:
    """Start a rendered package with the stand-in for vLLM on PATH; all of it is gone afterwards."""
    started: list[Instance] = []
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "vllm"
    program.write_text(f"#!{sys.executable}\n" + (HERE / "stand_in.py").read_text())
    program.chmod(0o755)

    def start(
        stack: Stack | None = None, port: int | None = None, path: str | None = None, **how: str | None
    ) -> Instance:
        port = port or free_port()
        folder = tmp_path / f"package-{len(started)}"
        write_files(build_package(stack or stack_of()).files, folder)
        for name, constants in QUICKER.items():
            source = (folder / name).read_text(encoding="utf-8")
            for slow, quick in constants.items():
                assert slow in source
                source = source.replace(slow, quick)
            (folder / name).write_text(source, encoding="utf-8")
        environment = {
            "PATH": path or f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path),
            "WHISPERCTL_PORT": str(port), "WHISPERCTL_HOST": "127.0.0.1",
            "STAND_IN_REPORT": str(folder / "report.json"),
            "CUDA_MPS_PIPE_DIRECTORY": "/nowhere/at/all",  # the machine's own MPS, if it has one, is left alone
            **how,
        }  # fmt: skip
        given = {name: value for name, value in environment.items() if value is not None}
        started.append(Instance(folder, given, port))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate(timeout=30)
        one.let_go()
        for report in one.folder.glob("report.json*"):
            wait_until_gone(int(json.loads(report.read_text())["pid"]), 10)


def wait_until(true: Callable[[], bool], timeout: float = 10) -> None:
    """Return once it is so."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_until_gone(pid: int, timeout: float) -> None:
    """Return when no process has this number (a zombie counts as one); kill it in the end."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"process {pid} is still there")
