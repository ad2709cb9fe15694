"""The settings that are compared, as data. A variant is the tutorial's command or the rendered package with changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TUTORIAL = [
    *("--max-model-len", "448", "--gpu-memory-utilization", "0.9"),
    *("--dtype", "float16", "--tensor-parallel-size", "1"),
]
"""The tutorial's own options for `vllm serve`, without `--task`, which vLLM dropped in 0.13."""

TRITON = ["--attention-backend", "TRITON_ATTN"]
CLIPS = ["--max-num-batched-tokens", "33000"]
PACED = ["--scheduler-cls", "paced.PacedScheduler"]
APART = ["--distributed-executor-backend", "mp"]
"""The model runs in a process of its own beside the engine's."""
TOGETHER = ["--distributed-executor-backend", "uni"]
MPS = {"CUDA_MPS_PIPE_DIRECTORY": "/tmp/mps", "CUDA_MPS_LOG_DIRECTORY": "/tmp/mps-log"}
"""Where a CUDA MPS daemon that was started before listens."""
BATCH = ["--max-num-batched-tokens", "33000", "--max-num-seqs", "256"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One way to start the server."""

    rendered: bool
    """The rendered package through its Deployment class; else the tutorial's own command."""
    extra: list[str] = field(default_factory=list)
    """Options after the package's own: VLLM_EXTRA_ARGS."""
    env: Mapping[str, str] = field(default_factory=dict)
    engines: int = 1
    """Engines on the one GPU: the second and further ones are headless processes behind the same front ends."""


def package(*extra: str, engines: int = 1, env: Mapping[str, str] | None = None) -> Variant:
    """The rendered package; several engines share the memory, each with a key-value cache of its own."""
    return Variant(rendered=True, extra=[*_sharing(engines), *extra], env=env or {}, engines=engines)


def _sharing(engines: int) -> list[str]:
    if engines == 1:
        return []
    return [
        *("--data-parallel-size", str(engines), "--data-parallel-size-local", "1"),
        *("--data-parallel-address", "127.0.0.1"),
        *("--gpu-memory-utilization", f"{0.9 / engines:.2f}"),
        *("--kv-cache-memory-bytes", f"{48 // engines}G"),
    ]


def servers(count: int) -> list[str]:
    """Another number of front ends than the package's own."""
    return ["--api-server-count", str(count)]


VARIANTS = {
    "tutorial": Variant(rendered=False),
    "auto": package(),
    "auto-profile": package(),
    "auto-batch": package(*BATCH),
    "triton": package(*TRITON),
    "triton-batch": package(*TRITON, *BATCH),
    "servers-10": package(*servers(10)),
    "servers-12": package(*servers(12)),
    "servers-14": package(*servers(14)),
    "seqs-64": package("--max-num-seqs", "64"),
    "seqs-128": package("--max-num-seqs", "128"),
    "bf16": package("--dtype", "bfloat16"),
    "sync": package("--no-async-scheduling"),
    "runner-v1": package(env={"VLLM_USE_V2_MODEL_RUNNER": "0"}),
    "no-stats": package("--disable-log-stats"),
    "no-access-log": package("--disable-uvicorn-access-log"),
    "one-server-renderers": package(
        *(*servers(1), "--renderer-num-workers", "8"),
        env={"OMP_NUM_THREADS": "1", "VLLM_MAX_AUDIO_PREPROCESS_WORKERS": "8"},
    ),
    "paced-4": package(*PACED, env={"PACED_STEPS": "4"}),
    "paced": package(*PACED),
    "paced-16": package(*PACED, env={"PACED_STEPS": "16"}),
    "paced-batch": package(*PACED, *CLIPS),
    "paced-batch-16": package(*PACED, *CLIPS, env={"PACED_STEPS": "16"}),
    "batch": package(*CLIPS),
    "two-engines-paced": package(*PACED, *CLIPS, engines=2),
    "mp": package(*APART),
    "mp-paced": package(*APART, *PACED, *CLIPS),
    "mp-paced-4": package(*APART, *PACED, *CLIPS, env={"PACED_STEPS": "4"}),
    "mp-paced-16": package(*APART, *PACED, *CLIPS, env={"PACED_STEPS": "16"}),
    "two-engines-paced-uni": package(*TOGETHER, *PACED, *CLIPS, engines=2),
    "two-engines-paced-4": package(*PACED, *CLIPS, engines=2, env={"PACED_STEPS": "4"}),
    "two-engines-paced-mps": package(*PACED, *CLIPS, engines=2, env=MPS),
    "two-engines-paced-uni-mps": package(*TOGETHER, *PACED, *CLIPS, engines=2, env=MPS),
    "three-engines-paced-uni": package(*TOGETHER, *PACED, *CLIPS, engines=3),
    "three-engines-paced-uni-mps": package(*TOGETHER, *PACED, *CLIPS, engines=3, env=MPS),
    "three-engines-paced": package(*PACED, *CLIPS, engines=3),
    "three-engines-paced-mps": package(*PACED, *CLIPS, engines=3, env=MPS),
    "two-engines": package(engines=2),
    "two-engines-b": package(engines=2),
    "two-engines-servers-10": package(*servers(10), engines=2),
    "two-engines-servers-12": package(*servers(12), engines=2),
    "two-engines-batch": package(*BATCH, engines=2),
    "two-engines-triton": package(*TRITON, engines=2),
    "three-engines": package(engines=3),
    "three-engines-servers-10": package(*servers(10), engines=3),
    "three-engines-triton": package(*TRITON, engines=3),
    "four-engines": package(engines=4),
}
