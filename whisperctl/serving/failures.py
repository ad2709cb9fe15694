"""Why a server did not start, out of what it logged: the first error of its engine or worker, and what helps.

vLLM's API server ends a failed start with `Engine core initialization failed. See root cause above.`; the cause stands
some sixty lines earlier, in the engine's or a worker's own traceback (vLLM reference, `v1/engine/core.py`). Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """The first error of one start."""

    error: str
    """As it was logged, without what the logger put before it."""
    advice: str = ""
    """What to do about it; empty where the catalogue does not know it."""

    def __str__(self) -> str:
        return f"{self.error}\n  {self.advice}" if self.advice else self.error


_PROCESS = re.compile(r"^\s*\((?P<name>\w+)[^)]*\)\s?")
"""`(EngineCore_DP0 pid=123) `, before each line of a process of vLLM's."""
_LOGGER = re.compile(r"^(?:[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d \[[^\]]+\]\s?)")
"""`ERROR 11-28 23:55:27 [core.py:843] `."""
_ERROR = re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Failed|OutOfMemory): \S")
"""The last line of a traceback: `ValueError: …`."""
_EXIT = re.compile(r"^vllm: error: |^[\w./-]*vllm(?: serve)?: error: ")
"""What argparse says before it ends the program."""
_FOLLOWS = re.compile(r"Engine core initialization failed|See root cause above|Engine process failed to start|"
                      r"^ServerFailed: |WorkerProc initialization failed")  # fmt: skip
"""Errors that another one has led to."""
_INNER = re.compile(r"^(EngineCore|Worker|VllmWorker)")

CATALOGUE: tuple[tuple[str, str], ...] = (
    (r"VLLM_CPU_KVCACHE_SPACE", "Lower VLLM_CPU_KVCACHE_SPACE under `env:`, or take a larger instance type."),
    (
        (r"CUDA out of memory|OutOfMemoryError|Free memory on device|No available memory for the cache blocks|"
        r"larger than the (?:available KV cache|maximum number of tokens)|out of memory"),
        "The GPU's memory is too small: take a larger GPU or a smaller model, or set vllm.gpu_memory_utilization.",
    ),
    (
        r"attention backend|FlashAttention only supports|FlashInfer requires|no kernel image is available",
        ("This GPU cannot run that attention backend with this release: leave `attention-backend` out of vllm.args, or "
        "take another vllm.version; `whisperctl validate` knows which."),
    ),
    (
        (r"gated repo|GatedRepoError|is restricted|401 Client Error|Invalid user token|RepositoryNotFoundError|"
        r"is not a valid model identifier"),
        ('The hub wants a token that may read the model: HF_TOKEN: {value: "${HF_TOKEN}", secret: true} under `env:`; '
        "and the model's conditions have to be accepted on its page. Check model.name, too."),
    ),
    (
        r"No module named|ImportError: cannot import name|cannot open shared object file",
        "The environment lacks it: name what it comes from in environment.requirements (or environment.apt).",
    ),
    (
        r"Address already in use|cannot be used: Address already in use|address already in use",
        "Another server has the port in this instance: WHISPERCTL_PORT under `env:` and the service name another.",
    ),
    (
        (r"driver version is insufficient|driver on your system is too old|CUDA driver|no CUDA GPUs are available|"
        r"Found no NVIDIA driver|libcuda\.so"),
        ("The host's NVIDIA driver does not fit the wheel, or there is none: since vLLM 0.20 it must be 580 or later; "
        "vllm.version 0.19.1 is the last for CUDA 12."),
    ),
    (
        (r"Connection (?:refused|reset|timed out)|Name or service not known|Temporary failure in name resolution|"
        r"couldn't connect to|LocalEntryNotFoundError"),
        "The instance does not reach the model hub: pack the model as a folder (model.name: ./folder), or allow it.",
    ),
    (r"unrecognized arguments|invalid choice", "vLLM does not know that option: check vllm.args and VLLM_EXTRA_ARGS."),
    (r"No space left on device", "The instance's disk is full: take a larger instance type, or a smaller model."),
)  # fmt: skip
"""What the error says (a regular expression) -> what helps; the first that matches."""


def first_cause(lines: Iterable[str]) -> Cause | None:
    """The cause in the log of one start, oldest line first; None where no line tells an error.

    The first error of an engine or a worker comes before any other process', and that before what only follows.
    """
    best: tuple[int, str] | None = None
    for line in lines:
        process, text = _bare(line)
        if not (_ERROR.match(text) or _EXIT.match(text)) or _FOLLOWS.search(text):
            continue
        rank = 0 if _INNER.match(process) else 1
        if best is None or rank < best[0]:
            best = (rank, text)
        if rank == 0:
            break
    return Cause(error=best[1], advice=advice(best[1])) if best else None


def advice(error: str) -> str:
    """What helps against an error; empty where the catalogue does not know it."""
    return next((words for pattern, words in CATALOGUE if re.search(pattern, error, re.IGNORECASE)), "")


def _bare(line: str) -> tuple[str, str]:
    """The process that a line is of, and the line without what was put before it."""
    match = _PROCESS.match(line)
    text = line[match.end() :] if match else line
    return (match["name"] if match else ""), _LOGGER.sub("", text.strip()).strip()
