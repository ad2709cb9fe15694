"""Why a server did not start: the cause in logs as vLLM writes them, and what helps."""

from __future__ import annotations

import pytest

from whisperctl.apply.failed_starts import last_failure
from whisperctl.serving.failures import first_cause

ENGINE = "(EngineCore_DP0 pid=4242) ERROR 11-28 23:55:27 [core.py:843] "
SERVER = "(APIServer pid=4100) "
FOLLOWS = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
KV_CACHE = (
    "ValueError: Available memory on node 0 (14.53/17.09 GiB) on startup is less than requested memory for kv "
    "(500.0 GiB). Decrease --gpu-memory-utilization or VLLM_CPU_KVCACHE_SPACE."
)
V1_START = [
    f"{SERVER}INFO 11-28 23:54:00 [api_server.py:1] vLLM API server version 0.32.0",
    "(EngineCore_DP0 pid=4242) INFO 11-28 23:55:00 [core.py:93] Initializing a V1 LLM engine",
    f"{ENGINE}EngineCore failed to start.",
    f"{ENGINE}Traceback (most recent call last):",
    f'{ENGINE}  File "/venv/lib/python3.12/site-packages/vllm/v1/engine/core.py", line 834, in run_engine_core',
    f"{ENGINE}{KV_CACHE}",
    "(EngineCore_DP0 pid=4242) Process EngineCore_DP0:",
    f"{SERVER}Traceback (most recent call last):",
    *[f'{SERVER}  File "/venv/lib/python3.12/site-packages/uvloop/__init__.py", line {n}, in run' for n in range(60)],
    f"{SERVER}{FOLLOWS}",
]


def test_the_engines_own_error_is_the_cause_and_not_what_follows_from_it() -> None:
    cause = first_cause(V1_START)
    assert cause is not None
    assert cause.error == KV_CACHE
    assert "Lower VLLM_CPU_KVCACHE_SPACE" in cause.advice


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        (f"{ENGINE}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "larger GPU"),
        (f"{ENGINE}ValueError: Free memory on device (2.1/14.6 GiB) on startup is less than desired", "larger GPU"),
        ("(Worker_TP0 pid=9) ERROR 11-28 23:55:27 [x.py:1] ValueError: No valid attention backend found for cuda",
         "attention-backend"),
        ("OSError: You are trying to access a gated repo.", "HF_TOKEN"),
        ("ModuleNotFoundError: No module named 'librosa'", "environment.requirements"),
        ("OSError: [Errno 98] Address already in use", "WHISPERCTL_PORT"),
        (f"{ENGINE}RuntimeError: The NVIDIA driver on your system is too old (found version 12020).", "580"),
        ("vllm serve: error: unrecognized arguments: --no-such-option", "vllm.args"),
        (f"{ENGINE}AssertionError: something that nobody has seen", ""),
    ],
)  # fmt: skip
def test_known_causes_come_with_what_helps(line: str, advice: str) -> None:
    cause = first_cause(["INFO starting", line, f"{SERVER}{FOLLOWS}"])
    assert cause is not None
    assert cause.error in line
    assert cause.advice == advice == "" or (advice and advice in cause.advice)


def test_a_healthy_log_has_no_cause_and_a_worker_outranks_its_server() -> None:
    assert first_cause(["INFO all is well", "WARNING: no Error: here", f"{SERVER}{FOLLOWS}"]) is None
    cause = first_cause([f"{SERVER}ValueError: later and elsewhere", f"{ENGINE}KeyError: 'the engine'"])
    assert cause is not None
    assert cause.error == "KeyError: 'the engine'"


class Logs:
    """A control plane of which only the log of one version is asked, a line a nanosecond."""

    def __init__(self, *lines: str) -> None:
        self._lines = list(enumerate(lines, 1))

    def logs(self, query: str, start: int, end: int, limit: int) -> list[dict[str, object]]:
        word = query.partition("`ServerFailed")[1]
        low, high = min(start, end), max(start, end)
        among = [(at, text) for at, text in self._lines if low <= at < high and ("ServerFailed" in text or not word)]
        ordered = sorted(among, reverse=start > end)[:limit]
        return [{"timestamp": at, "log": text} for at, text in ordered]


def test_the_cause_is_that_of_the_newest_start_alone() -> None:
    first = [f"{ENGINE}ValueError: of the first start", "ServerFailed: The server ended with exit code 1."]
    second = ["INFO again", f"{ENGINE}KeyError: 'second'", "ServerFailed: The server ended with exit code 1."]
    assert str(last_failure(Logs(*first, *second), "d", "v", 0, 100)) == "KeyError: 'second'"  # type: ignore[arg-type]
    silent = Logs(*first, "INFO again", "ServerFailed: The server was killed by SIGKILL.")
    assert str(last_failure(silent, "d", "v", 0, 100)) == "The server was killed by SIGKILL."  # type: ignore[arg-type]
    assert last_failure(Logs("INFO all is well"), "d", "v", 0, 100) is None  # type: ignore[arg-type]
