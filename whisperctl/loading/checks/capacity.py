"""Whether the server can start on the hardware: attention backend, number format, batch, split and memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from whisperctl.loading.checks.arguments import extra_options
from whisperctl.loading.checks.finding import Finding, warning
from whisperctl.serving import catalog
from whisperctl.serving.catalog import KnownModel
from whisperctl.serving.checkpoint import known_model
from whisperctl.serving.launch import (
    CLIP_TOKENS,
    batched_tokens,
    dtype,
    is_old_engine,
    option_name,
    sequences,
    server_environment,
    written_options,
)
from whisperctl.spec import Path_, Stack

OVERHEAD_GIB = 1.5
"""CUDA context, kernels and the encoder's activations: assumed."""
CPU_CACHE = "VLLM_CPU_KVCACHE_SPACE"
ROUNDED = 1.05
"""vLLM counts whole blocks, and keeps one back."""


def backend(stack: Stack) -> Iterator[Finding]:
    """Some attention backend of the release runs Whisper on this hardware."""
    gpu, version = stack.instance_type_group.gpu, stack.vllm.version
    for rule in catalog.rules(version, gpu):
        if rule.refuse:
            works = {"T4": "0.12.0, 0.19.1 and 0.24 or newer work", "CPU": "0.13.0 to 0.32.0 work"}
            hint = f"On a {gpu} {works.get(gpu, 'newer releases work')}."
            yield Finding(("vllm", "version"), f"vLLM {version} cannot run on this hardware: {rule.refuse}", hint)


def number_format(stack: Stack) -> Iterator[Finding]:
    """The GPU computes in the wanted number format."""
    gpu = catalog.gpu(stack.instance_type_group.gpu)
    if dtype(stack) == "bfloat16" and not gpu.bfloat16:
        message = f"an {gpu.label} (compute capability {gpu.compute_capability}) cannot compute in bfloat16"
        yield Finding(("vllm", "dtype"), message, "Write float16, or auto.")
    if gpu.name == "CPU" and dtype(stack) in ("float16", "half"):
        message = "float16 on a CPU is slow, and reported to be unstable"
        yield warning(("vllm", "dtype"), "cpu-float16", message, "Write bfloat16, float32, or auto.")


HOPPER = ("H100", "H200")


def cache_format(stack: Stack) -> Iterator[Finding]:
    """FlashAttention 3, which Hopper GPUs use, takes an fp8 cache with bfloat16 only."""
    options: list[tuple[Path_, str, object]] = [
        (("vllm", "args", key), option_name(key), value) for key, value in stack.vllm.args.items()
    ]
    options += [(("env", "VLLM_EXTRA_ARGS"), name, value) for name, value in extra_options(stack)]
    fp8 = [path for path, name, value in options if name == "--kv-cache-dtype" and "fp8" in str(value)]
    chosen, known = dtype(stack), known_model(stack.model)
    if chosen is None and stack.instance_type_group.gpu in HOPPER and known is not None:
        chosen = "bfloat16" if known.stored_dtype == "bfloat16" else "float16"
    if chosen in ("float16", "half"):
        for path in fp8:
            message = 'an fp8 cache needs bfloat16 (FlashAttention: "For FP8 input, output must have dtype BF16")'
            yield Finding(path, message, "Write vllm.dtype: bfloat16, or leave this out.")


def decoder_length(stack: Stack) -> Iterator[Finding]:
    """A Whisper decoder has 448 positions, or what its folder's config says."""
    known = known_model(stack.model)
    most = known.decoder_positions if known else catalog.DECODER_POSITIONS
    if stack.vllm.max_model_len > most:
        hint = f"It counts decoder tokens, not audio: long files are cut into 30-second pieces. Write {most}"
        hint += " or leave it out." if most == catalog.DECODER_POSITIONS else "."
        yield Finding(("vllm", "max_model_len"), f"this model's decoder has {most} positions", hint)
    for var in stack.env:
        if var.name == "MAX_MODEL_LEN" and not _up_to(var.value, most):
            yield Finding(("env", var.name), f"must be a whole number from 1 to {most}")


def _up_to(text: str, most: int) -> bool:
    return text.isdecimal() and 1 <= int(text) <= most


def batch(stack: Stack) -> Iterator[Finding]:
    """A step holds at least one clip, and what else vLLM asks for."""
    path = ("vllm", "max_num_batched_tokens")
    tokens = batched_tokens(stack, known_model(stack.model))
    if tokens is None or stack.vllm.max_num_batched_tokens == "auto":
        return
    seqs = sequences(stack, known_model(stack.model)) or 0
    if tokens < CLIP_TOKENS:
        hint = f"Write {2 * CLIP_TOKENS} or more, or auto."
        yield Finding(path, f"one 30-second clip takes {CLIP_TOKENS} tokens, and {tokens} are fewer", hint)
    elif tokens < seqs:
        yield Finding(path, f"{tokens} is below max_num_seqs ({seqs})", f"Write {seqs} or more, or auto.")


def split(stack: Stack) -> Iterator[Finding]:
    """Tensor parallel divides the heads and finds its GPUs."""
    path = ("vllm", "tensor_parallel_size")
    size, group = stack.vllm.tensor_parallel_size, stack.instance_type_group
    known = known_model(stack.model)
    if size > group.gpu_count:
        yield Finding(path, f"{size} GPUs are wanted, and instance_type_group.gpu_count is {group.gpu_count}")
    elif is_old_engine(stack) and group.gpu_count > size:
        idle = f"{group.gpu_count - size} of {group.gpu_count} GPUs would stay idle"
        hint = f"vLLM {stack.vllm.version} starts one engine for Whisper: take 0.12.0 or newer."
        yield warning(("instance_type_group", "gpu_count"), "idle-gpus", idle, hint)
    elif group.gpu_count % size:
        yield warning(
            path, "idle-gpus", f"{group.gpu_count % size} of {group.gpu_count} GPUs would stay idle", "Write 1."
        )
    if known is not None and known.heads % size:
        fitting = ", ".join(str(n) for n in range(1, known.heads + 1) if known.heads % n == 0)
        hint = f"Possible are {fitting}. With 1, every GPU of an instance serves a copy of its own, which is faster."
        yield Finding(path, f"{size} does not divide the model's {known.heads} attention heads", hint)


def copies(stack: Stack) -> Iterator[Finding]:
    """As many engines as are asked for find their GPUs."""
    group, size = stack.instance_type_group, stack.vllm.tensor_parallel_size
    for key, value in stack.vllm.args.items():
        if option_name(key) != "--data-parallel-size" or group.gpu == "CPU" or not isinstance(value, int):
            continue
        if value * size > group.gpu_count:
            gpus = f"{value * size} GPUs are wanted, and instance_type_group.gpu_count is {group.gpu_count}"
            hint = "Leave it out: every GPU of an instance serves a copy of its own."
            yield Finding(("vllm", "args", key), gpus, hint)


def front_ends(stack: Stack) -> Iterator[Finding]:
    """Until 0.10.1 Whisper runs on vLLM's old engine, which has one front end and one engine."""
    count = stack.vllm.api_server_count
    if count != "auto" and count > 1 and is_old_engine(stack):
        message = f"vLLM {stack.vllm.version} serves Whisper with one API server only"
        yield Finding(("vllm", "api_server_count"), message, "Write 1, or auto.")


def memory(stack: Stack) -> Iterator[Finding]:
    """Weights, one step's cache and overhead fit into what vLLM may take."""
    gpu, known = catalog.gpu(stack.instance_type_group.gpu), known_model(stack.model)
    if gpu.memory_gib is None or known is None:
        return
    may_take = gpu.memory_gib * stack.vllm.gpu_memory_utilization
    needs = needed_gib(stack, known)
    if needs > may_take:
        message = f"{stack.model.name} needs about {needs:.1f} GiB, and vLLM may take {may_take:.1f} of an {gpu.label}"
        key, hint = _smaller(stack, needs, gpu.memory_gib)
        yield Finding(("vllm", key), message, hint)


def _smaller(stack: Stack, needs: float, memory_gib: float) -> tuple[str, str]:
    """The key that is to blame, and what to write."""
    if needs <= memory_gib * 0.9:
        return "gpu_memory_utilization", "Write 0.9."
    if stack.vllm.max_num_batched_tokens != "auto":
        return "max_num_batched_tokens", "Write auto, take a smaller model, or a larger GPU."
    return "gpu_memory_utilization", "Take a smaller model, or a larger GPU."


def needed_gib(stack: Stack, known: KnownModel) -> float:
    """GiB of one GPU that must be there for the server to start."""
    weights = known.parameters * _width(stack) / 2**30
    return (weights + cache_gib(stack, known)) / stack.vllm.tensor_parallel_size + OVERHEAD_GIB


def cache_gib(stack: Stack, known: KnownModel) -> float:
    """GiB of key-value cache without which vLLM does not start: what it counts for one request."""
    tokens = batched_tokens(stack, known) or catalog.gpu(stack.instance_type_group.gpu).default_batched_tokens
    return known.kv_bytes_per_token * _width(stack) / 2 * (tokens + stack.vllm.max_model_len) / 2**30


def _width(stack: Stack) -> int:
    return 4 if dtype(stack) in ("float32", "float") else 2


def cpu_cache(stack: Stack) -> Iterator[Finding]:
    """On a CPU the cache is as large as a variable says, and holds what a step may encode."""
    known = known_model(stack.model)
    in_env = any(var.name == CPU_CACHE for var in stack.env)
    path = ("env", CPU_CACHE) if in_env else ("vllm", "max_num_batched_tokens")
    if known is None or stack.instance_type_group.gpu != "CPU":
        return
    written = {**server_environment(stack), **{var.name: var.value for var in stack.env}}.get(CPU_CACHE, "0")
    needs = cache_gib(stack, known) * ROUNDED
    if not written.isdecimal():
        yield Finding(path, "must be a whole number of GiB: vLLM would not start", f'Write "{ceil(needs)}".')
    elif 0 < int(written) < needs and "--kv-cache-memory-bytes" not in written_options(stack.vllm.args):
        message = f"{stack.model.name} needs {needs:.1f} GiB of cache for one step, and {CPU_CACHE} is {written}"
        yield Finding(path, message, f'Write env: {CPU_CACHE}: "{ceil(needs)}", or fewer max_num_batched_tokens.')


CHECKS = (backend, number_format, cache_format, decoder_length, batch, split, copies, front_ends, memory, cpu_cache)
