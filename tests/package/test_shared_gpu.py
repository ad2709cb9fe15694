"""Engines that share a GPU through NVIDIA's Multi-Process Service, with stand-ins for its daemon and for libcuda."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.package.conftest import MakeInstance, StackOf

from .conftest import Instance, wait_until, wait_until_gone
from .test_deployment import TWO_ENGINES

LIBCUDA = """\
#include <stdio.h>
#include <stdlib.h>
int cuInit(unsigned flags) {
    char path[4096];
    const char *code = getenv("STAND_IN_CUDA_ERROR");
    snprintf(path, sizeof path, "%s/servers", getenv("CUDA_MPS_PIPE_DIRECTORY"));
    if (!getenv("STAND_IN_CUDA_ALONE")) { FILE *file = fopen(path, "w"); fputs("4242", file); fclose(file); }
    return code ? atoi(code) : 0;
}
int cuDeviceGet(int *device, int number) { *device = number; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { return 0; }
"""


class Sharing:
    """An instance whose engines share a GPU, and what became of its daemon."""

    def __init__(self, running: Instance, folder: Path) -> None:
        self.running, self.temporary, self.report = running, folder / "tmp", folder / "mps.json"

    def daemon(self) -> dict[str, str]:
        """The daemon's environment."""
        return dict(json.loads(self.report.read_text())["env"])

    def engines(self) -> list[dict[str, str]]:
        """The environments of the front ends and of the engine beside them."""
        reports = (self.running.report, self.running.engine_report)
        wait_until(lambda: all(report.exists() for report in reports))
        return [json.loads(report.read_text())["env"] for report in reports]

    def said(self) -> str:
        """Standard output so far."""
        return "".join(self.running.said)

    def nothing_is_left(self) -> None:
        """No daemon, no folder."""
        if self.report.exists():
            wait_until_gone(int(json.loads(self.report.read_text())["pid"]), 10)
        assert list(self.temporary.glob("whisperctl-mps-*")) == []


MakeSharing = Callable[..., Sharing]


@pytest.fixture
def sharing(instance: MakeInstance, stack_of: StackOf, tmp_path: Path) -> MakeSharing:
    """Start such an instance."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here to build the stand-in for libcuda with")
    (tmp_path / "lib").mkdir()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "lib" / "cuda.c").write_text(LIBCUDA)
    library = tmp_path / "lib" / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "lib" / "cuda.c"], check=True)
    program = tmp_path / "bin" / "nvidia-cuda-mps-control"
    program.write_text(f"#!{sys.executable}\n" + Path(__file__).with_name("stand_in_mps.py").read_text())
    program.chmod(0o755)

    def start(*, vllm: str = TWO_ENGINES["vllm"], **how: str) -> Sharing:
        surroundings = {
            "CUDA_MPS_PIPE_DIRECTORY": None, "CUDA_VISIBLE_DEVICES": "0", "LD_LIBRARY_PATH": str(library.parent),
            "TMPDIR": str(tmp_path / "tmp"), "STAND_IN_MPS_REPORT": str(tmp_path / "mps.json"),
        }  # fmt: skip
        stack = stack_of(**{**TWO_ENGINES, "vllm": vllm})
        return Sharing(instance(stack, **{**surroundings, **how}), tmp_path)

    return start


def test_engines_share_the_gpu(sharing: MakeSharing) -> None:
    shared = sharing()
    shared.running.wait_for("ready")
    assert "the engines share the GPU through NVIDIA's Multi-Process Service" in shared.said()
    folder = shared.daemon()["CUDA_MPS_PIPE_DIRECTORY"]
    assert folder == shared.daemon()["CUDA_MPS_LOG_DIRECTORY"]
    for engine in shared.engines():
        assert engine["CUDA_MPS_PIPE_DIRECTORY"] == folder
        assert engine["CUDA_VISIBLE_DEVICES"] == "0"
    # With the engines' own choice the daemon would number the GPUs anew, and the choice would miss.
    assert "CUDA_VISIBLE_DEVICES" not in shared.daemon()


@pytest.mark.parametrize("end", ["drain", "kill", "die"])
def test_the_daemon_goes_with_the_engines(sharing: MakeSharing, end: str) -> None:
    shared = sharing()
    shared.running.wait_for("ready")
    match end:
        case "drain":
            shared.running.process.send_signal(signal.SIGTERM)
            code, out, _ = shared.running.end()
            assert code == -signal.SIGTERM
            assert "INFO drained" in out
        case "kill":
            shared.running.process.kill()
            shared.running.end()
            wait_until_gone(json.loads(shared.report.read_text())["pid"], 10)
            return  # nobody was left to take the folder away
        case "die":
            with pytest.raises((urllib.error.URLError, ConnectionError)):
                urllib.request.urlopen(f"http://127.0.0.1:{shared.running.port}/die", timeout=10)
            assert shared.running.end()[0] == 3
    assert shared.report.with_suffix(".quit").exists()  # asked to quit, not killed
    shared.nothing_is_left()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"STAND_IN_MPS": "refuses"}, "nvidia-cuda-mps-control does not start.\n  Cannot access CUDA_MPS_PIPE"),
        ({"STAND_IN_MPS": "refuses", "PYTHONIOENCODING": "ascii"}, "not even in a caf\\xe9"),
        ({"STAND_IN_MPS": "never ready"}, "nvidia-cuda-mps-control does not start."),
        ({"STAND_IN_MPS": "never answers"}, "nvidia-cuda-mps-control did not end in 2 seconds.\n"),
        ({"STAND_IN_CUDA_ERROR": "805"}, "ended with 1: CUDA error 805"),
        ({"STAND_IN_CUDA_ERROR": "805", "IGNORE_CHILDREN": "1"}, "a CUDA program gets no GPU."),
        ({"STAND_IN_CUDA_ALONE": "1"}, "nvidia-cuda-mps-control has no server."),
        ({"LD_LIBRARY_PATH": "/nowhere"}, "libcuda.so.1: cannot open shared object file"),
    ],
)
def test_where_it_does_not_work_engines_take_turns(sharing: MakeSharing, how: dict[str, str], message: str) -> None:
    shared = sharing(**how)
    shared.running.wait_for("ready")
    engines = shared.engines()
    shared.nothing_is_left()
    shared.running.let_go()
    _, out, errors = shared.running.end()
    assert "whisperctl: the engines take turns on the GPU: " in errors
    assert message in errors
    assert "share the GPU" not in out
    assert all("CUDA_MPS_PIPE_DIRECTORY" not in engine for engine in engines)


def test_where_it_is_not_installed_engines_take_turns(sharing: MakeSharing, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "vllm").symlink_to(tmp_path / "bin" / "vllm")
    shared = sharing(PATH=str(tmp_path / "empty"))
    shared.running.wait_for("ready")
    shared.running.let_go()
    assert "take turns on the GPU: nvidia-cuda-mps-control is not here." in shared.running.end()[2]


def test_whoever_has_a_daemon_keeps_it(sharing: MakeSharing) -> None:
    shared = sharing(CUDA_MPS_PIPE_DIRECTORY="/tmp/nvidia-mps")
    shared.running.wait_for("ready")
    assert {engine["CUDA_MPS_PIPE_DIRECTORY"] for engine in shared.engines()} == {"/tmp/nvidia-mps"}
    assert not shared.report.exists()
    assert "the engines" not in shared.said()


def test_one_engine_needs_no_daemon(sharing: MakeSharing) -> None:
    shared = sharing(vllm="{version: 0.26.0, args: {data-parallel-size: 1}}")
    shared.running.wait_for("ready")
    assert not shared.report.exists()


def test_an_engine_that_never_comes_up_takes_the_daemon_along(sharing: MakeSharing) -> None:
    shared = sharing(STAND_IN_DIE_AT_START="1")
    assert shared.running.end()[0] == 1
    shared.nothing_is_left()


def test_sigterm_while_it_is_tried_out_leaves_nothing(sharing: MakeSharing) -> None:
    shared = sharing(STAND_IN_MPS="never ready")
    wait_until(lambda: shared.report.exists() and bool(shared.report.read_text()))
    shared.running.process.send_signal(signal.SIGTERM)
    assert shared.running.end()[0] == -signal.SIGTERM
    shared.nothing_is_left()


def test_sigterm_while_it_is_tried_out_starts_no_engine(sharing: MakeSharing) -> None:
    shared = sharing(STAND_IN_MPS="never ready", IGNORE_TERM="1")  # as process 1 of a container, or with a handler
    wait_until(lambda: shared.report.exists() and bool(shared.report.read_text()))
    shared.running.process.send_signal(signal.SIGTERM)
    code, out, errors = shared.running.end()
    assert code == 1
    assert "The server was stopped before it was started." in errors
    assert "ready" not in out
    assert not shared.running.report.exists()
    shared.nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_is_asked_ends_with_the_instance(sharing: MakeSharing, number: Any) -> None:
    shared = sharing(STAND_IN_MPS="never answers")
    question = shared.report.with_suffix(".question")
    wait_until(lambda: question.exists() and bool(question.read_text()))
    asked = int(question.read_text())
    shared.running.process.send_signal(number)
    shared.running.end()
    wait_until_gone(asked, 10)


def test_a_daemon_that_mumbles_keeps_no_instance_alive(sharing: MakeSharing) -> None:
    shared = sharing(STAND_IN_MPS="mumbles")
    shared.running.wait_for("ready")
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(f"http://127.0.0.1:{shared.running.port}/die", timeout=10)
    assert shared.running.end()[0] == 3
    shared.nothing_is_left()


def test_the_deadline_counts_from_the_try_out(sharing: MakeSharing) -> None:
    shared = sharing(vllm="{version: 0.26.0, startup_timeout: 1}", STAND_IN_MPS="never ready")  # two seconds for that
    code, _, errors = shared.running.end()
    assert code == 1
    assert "The server was not healthy after 1 s." in errors
    shared.nothing_is_left()
