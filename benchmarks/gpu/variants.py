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
SYNC = ["--no-async-scheduling"]
RENDERERS = ["--renderer-num-workers", "8"]
AUDIO = {"OMP_NUM_THREADS": "1", "VLLM_MAX_AUDIO_PREPROCESS_WORKERS": "8"}
BF16 = ["--dtype", "bfloat16"]
BATCH = ["--max-num-batched-tokens", "33000", "--max-num-seqs", "256"]
APART = ["--distributed-executor-backend", "mp"]
"""The model runs in a process of its own beside the engine's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One way to start the server."""

    package: str = ""
    """The rendered package of this name, through its Deployment class; empty: the tutorial's own command."""
    extra: list[str] = field(default_factory=list)
    """Options after the package's own: VLLM_EXTRA_ARGS."""
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def rendered(self) -> bool:
        """Whether whisperctl rendered it."""
        return self.package != ""


def one(*extra: str, env: Mapping[str, str] | None = None) -> Variant:
    """The package with one engine, and more options."""
    return Variant(package="one-engine", extra=list(extra), env=env or {})


def servers(count: int) -> list[str]:
    """Another number of front ends than the package's own."""
    return ["--api-server-count", str(count)]


VARIANTS = {
    "tutorial": Variant(),
    "auto": Variant(package="auto"),
    "one-engine": one(),
    "one-engine-profile": one(),
    "auto-without-graphs": Variant(package="auto", env={"WHISPERCTL_ENCODER_GRAPHS": "0"}),
    "auto-one-socket": Variant(
        package="auto", env={"WHISPERCTL_ENCODER_GRAPHS": "0", "VLLM_PLUGINS": "whisperctl_encoder"}
    ),
    "auto-in-turns": Variant(package="auto", env={"CUDA_MPS_PIPE_DIRECTORY": "/nowhere"}),
    "auto-fp8": Variant(package="auto", extra=["--quantization", "fp8"]),
    "auto-no-log-stats": Variant(package="auto", extra=["--disable-log-stats"]),
    "auto-torch-shm": Variant(package="auto", extra=["--mm-tensor-ipc", "torch_shm"]),
    "auto-servers-12": Variant(package="auto", extra=servers(12)),
    "auto-triton": Variant(package="auto", extra=TRITON),
    "auto-renderers-1": Variant(package="auto", extra=[*servers(1), *RENDERERS], env=AUDIO),
    "auto-renderers-2": Variant(package="auto", extra=[*servers(2), *RENDERERS], env=AUDIO),
    "auto-renderers-4": Variant(package="auto", extra=[*servers(4), *RENDERERS], env=AUDIO),
    "auto-renderers-8": Variant(package="auto", extra=RENDERERS, env=AUDIO),
    "auto-bf16": Variant(package="auto", extra=BF16),
    "auto-encoder-triton": Variant(package="auto", extra=["--mm-encoder-attn-backend", "TRITON_ATTN"]),
    "batch": one(*BATCH),
    "triton": one(*TRITON),
    "apart": one(*APART),
    "servers-12": one(*servers(12)),
    "seqs-64": one("--max-num-seqs", "64"),
    "bf16": one(*BF16),
    "sync": one(*SYNC),
    "one-server-renderers": one(*servers(1), *RENDERERS, env=AUDIO),
}
