"""A stack -> how its server is started: the arguments of `vllm serve`, its environment, and what is decided at start.

Pure. What a release or a GPU needs stands in the catalogue's rows; what a user may override stands in the stack.
Nothing here checks: an impossible stack is refused while loading.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from whisperctl.serving import catalog
from whisperctl.serving.catalog import KnownModel
from whisperctl.serving.checkpoint import known_model
from whisperctl.spec import Auto, Stack

SERVER_PORT = 8080
CLIP_TOKENS = 1500
"""Encoder positions of one 30-second clip."""
TWO_CLIPS = 2 * CLIP_TOKENS
ENOUGH_TOKENS = 8192
"""vLLM's own default on large GPUs: five clips a step; measured to be enough on an H200."""
MODEL_FOLDER = "model"
"""Where a local model folder lies inside the package."""

SCHEDULER_MODULE = "whisperctl_scheduler"
SCHEDULER = f"{SCHEDULER_MODULE}.PacedScheduler"
"""Where vLLM does not take recordings in at a pace by itself, the package brings a scheduler that does."""
ENCODER_MODULE = "whisperctl_encoder"
"""The plug-in of vLLM's with which engines that share a GPU replay the encoder from CUDA graphs."""
FRONT_ENDS_MODULE = "whisperctl_front_ends"
"""The plug-in of vLLM's with which each API server listens on a socket of its own."""
OWN_SOCKETS = ("0.24.0", "0.33.0")
"""From the first release whose source was looked at, to the one whose API servers deal connections out by themselves
(vllm/entrypoints/launchers/launcher.py, `peer_loads`)."""
ENGINE_GIB = 6.0
"""Memory of an engine beside weights and cache: activations of 22 recordings, graphs, CUDA's own; 4.5 were seen."""
PACED_BY_ITSELF = "0.33.0"
"""Before, vLLM heeds --prefill-schedule-interval for mixtures of experts only (vllm/v1/core/sched/scheduler.py)."""
ALONE = (
    *("--data-parallel-", "--headless", "--distributed-executor-backend", "--pipeline-parallel-size"),
    *("--nnodes", "--node-rank", "--master-", "--kv-", "--num-gpu-blocks-override"),
    *("--scheduler-cls", "--prefill-schedule-interval", "--async-scheduling"),
)
"""Beginnings of the options about engines, their cache and their scheduler: with one of them there is one engine."""
ALONE_AT_START = (
    *(*ALONE, "--no-async-scheduling", "--gpu-memory-utilization", "--tensor-parallel-size"),
    *("-dp", "-pp", "-tp"),
)
"""The same for VLLM_EXTRA_ARGS, which may also say what has a key of its own in the stack."""

JSON_LISTS = frozenset({"--allowed-origins", "--allowed-methods", "--allowed-headers"})
"""Options that take a list as one JSON text; every other list option takes several words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sharing:
    """Several engines on one GPU behind the same front ends."""

    engines: int
    arguments: tuple[str, ...]
    """In place of the launch's own."""
    own_interval: int | None
    """The pace of the scheduler that the package brings along; None: vLLM keeps the pace by itself."""
    encoder_graphs: bool
    """Whether the package brings the plug-in that replays the encoder from CUDA graphs."""

    def as_data(self) -> dict[str, Any]:
        """Plain data: what a Python literal can hold."""
        return {"engines": self.engines, "arguments": list(self.arguments), "unless": list(ALONE_AT_START)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """How the server is started. `as_data` is what the package carries."""

    model: str
    """The Hugging Face id, or the folder inside the package."""
    model_packed: bool
    served_names: tuple[str, ...]
    task: str
    vllm_version: str
    port: int
    max_model_len: int
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    """Set unless the version's own env vars set it."""
    api_server_count: int | Auto
    api_servers_at_most: int
    """Bound for `auto`, which is decided from the CPUs that the instance has."""
    sharing: Sharing | None
    """How several engines share the GPU where the instance has CPUs for them; None: there is one."""
    plugins: tuple[str, ...]
    """Modules of the package whose `register` vLLM calls in each of its processes."""
    shutdown_timeout: int
    """Seconds that a stopping server gets for what is in flight."""
    startup_timeout: int

    def as_data(self) -> dict[str, Any]:
        """Plain data: what a Python literal can hold."""
        return {
            "model": self.model,
            "model_packed": self.model_packed,
            "served_names": list(self.served_names),
            "task": self.task,
            "vllm_version": self.vllm_version,
            "port": self.port,
            "max_model_len": self.max_model_len,
            "arguments": list(self.arguments),
            "environment": dict(sorted(self.environment.items())),
            "api_server_count": self.api_server_count,
            "api_servers_at_most": self.api_servers_at_most,
            "sharing": self.sharing.as_data() if self.sharing else None,
            "shutdown_timeout": self.shutdown_timeout,
            "startup_timeout": self.startup_timeout,
        }


def launch(stack: Stack) -> Launch:
    """How `stack`'s server is started."""
    known = known_model(stack.model)
    given = written_options(stack.vllm.args)
    flags = {**_rule_flags(stack), **_own_flags(stack, known), **given}
    environment = server_environment(stack)
    if backend_is_variable(stack) and "--attention-backend" in flags:
        environment["VLLM_ATTENTION_BACKEND"] = str(flags.pop("--attention-backend"))
    port = flags.pop("--port", SERVER_PORT)
    tuned = catalog.tuning(stack.instance_type_group.gpu, known)
    sharing = _sharing(stack, known, flags)
    api_servers_at_most = tuned.api_servers_at_most if _has_api_servers(stack) else 1
    return Launch(
        model=MODEL_FOLDER if stack.model.folder else stack.model.name,
        model_packed=stack.model.folder is not None,
        served_names=served_names(stack),
        task=stack.model.task,
        vllm_version=stack.vllm.version,
        port=int(port),
        max_model_len=stack.vllm.max_model_len,
        arguments=tuple(_words(flags)),
        environment=environment,
        api_server_count=stack.vllm.api_server_count,
        api_servers_at_most=api_servers_at_most,
        sharing=sharing,
        plugins=tuple(_plugins(stack, sharing, api_servers_at_most)),
        shutdown_timeout=int(flags.get("--shutdown-timeout", 30)),
        startup_timeout=stack.vllm.startup_timeout,
    )


def served_names(stack: Stack) -> tuple[str, ...]:
    """The names that clients may send: the served name, and the model's own as an alias."""
    own = stack.model.folder.name if stack.model.folder else stack.model.name
    return tuple(dict.fromkeys((stack.model.served_name, own)))


def server_port(stack: Stack) -> int:
    """The port that the server listens on."""
    port = written_options(stack.vllm.args).get("--port", SERVER_PORT)
    return port if isinstance(port, int) else SERVER_PORT


def option_name(key: str) -> str:
    """`enforce_eager`, `--enforce-eager` and `enforce-eager` are one option."""
    head, dot, rest = key.lstrip("-").partition(".")
    return "--" + head.replace("_", "-") + dot + rest


def written_options(args: Mapping[str, Any]) -> dict[str, Any]:
    """The options in `vllm.args`, by their names on the command line, in one order, whatever the file's."""
    return {option_name(key): args[key] for key in sorted(args, key=option_name)}


def server_environment(stack: Stack) -> dict[str, str]:
    """What the rules for this release and GPU, and a packed model, put into the server's environment."""
    environment: dict[str, str] = {}
    for rule in catalog.rules(stack.vllm.version, stack.instance_type_group.gpu):
        environment.update(rule.environment)
    if stack.model.folder:
        environment["HF_HUB_OFFLINE"] = "1"
    if stack.instance_type_group.gpu == "CPU" and written_options(stack.vllm.args).get("--enforce-eager") is True:
        # Eager or not, one function is compiled at the first verbose_json: fatal where there is no C++ compiler.
        environment["TORCH_COMPILE_DISABLE"] = "1"
    return environment


def backend_is_variable(stack: Stack) -> bool:
    """Whether this release takes its attention backend from an environment variable only."""
    return catalog.within(stack.vllm.version, "0.10.0", "0.13.0")


def batched_tokens(stack: Stack, model: KnownModel | None) -> int | None:
    """Tokens of one engine step; None leaves vLLM's own default."""
    declared, seqs = stack.vllm.max_num_batched_tokens, sequences(stack, model)
    if declared != "auto":
        return declared
    gpu = catalog.gpu(stack.instance_type_group.gpu)
    tuned = catalog.tuning(gpu.name, model).max_num_batched_tokens
    # Left alone, vLLM takes no more than max_num_seqs clips' worth of decoder tokens.
    default = min(gpu.default_batched_tokens, (seqs or gpu.default_num_seqs) * stack.vllm.max_model_len)
    if tuned is None and default >= max(ENOUGH_TOKENS, seqs or 0):
        return None
    return max(tuned or 0, TWO_CLIPS, seqs or 0)


def sequences(stack: Stack, model: KnownModel | None) -> int | None:
    """Clips decoded at the same time; None leaves vLLM's own default."""
    declared = stack.vllm.max_num_seqs
    return catalog.tuning(stack.instance_type_group.gpu, model).max_num_seqs if declared == "auto" else declared


def dtype(stack: Stack) -> str | None:
    """The number format of the weights; None leaves it to vLLM."""
    declared, gpu = stack.vllm.dtype, stack.instance_type_group.gpu
    if declared != "auto":
        return declared
    return {"T4": "float16", "CPU": "bfloat16"}.get(gpu)


def replicas(stack: Stack) -> int:
    """Engines in one instance: a GPU that no tensor parallel takes serves a copy of its own."""
    group = stack.instance_type_group
    if group.gpu == "CPU" or is_old_engine(stack):
        return 1
    return max(1, group.gpu_count // stack.vllm.tensor_parallel_size)


def is_old_engine(stack: Stack) -> bool:
    """Whether this release serves Whisper on vLLM's V0 engine: one front end, one engine."""
    return catalog.within(stack.vllm.version, "0.10.0", "0.10.2")


def _sharing(stack: Stack, model: KnownModel | None, flags: Mapping[str, Any]) -> Sharing | None:
    """How engines share the GPU, unless the stack says otherwise about engines, their memory or their scheduler."""
    row = catalog.tuning(stack.instance_type_group.gpu, model).sharing
    if row is None or model is None or not catalog.within(stack.vllm.version, row.since, None):
        return None
    if replicas(stack) > 1 or stack.vllm.tensor_parallel_size > 1 or stack.vllm.dtype in ("float32", "float"):
        return None
    cache = _cache_bytes(stack, model, row)
    if cache is None or any(name.startswith(ALONE) for name in flags):
        return None
    itself = catalog.within(stack.vllm.version, PACED_BY_ITSELF, None)
    pace = {"--prefill-schedule-interval": row.prefill_schedule_interval} if itself else {"--scheduler-cls": SCHEDULER}
    shared = {
        **flags,
        "--gpu-memory-utilization": round(stack.vllm.gpu_memory_utilization / row.engines, 3),
        # Fixed: engines that start at the same time would take each other's memory for their own.
        "--kv-cache-memory-bytes": cache,
        **pace,
    }
    if stack.vllm.max_num_batched_tokens == "auto":
        shared["--max-num-batched-tokens"] = _step_tokens(stack, row)
    interval = None if itself else row.prefill_schedule_interval
    return Sharing(
        engines=row.engines,
        arguments=tuple(_words(shared)),
        own_interval=interval,
        encoder_graphs=row.encoder_graphs,
    )


def _plugins(stack: Stack, sharing: Sharing | None, api_servers_at_most: int) -> Iterator[str]:
    if sharing and sharing.encoder_graphs:
        yield ENCODER_MODULE
    declared = stack.vllm.api_server_count
    servers = api_servers_at_most if declared == "auto" else declared
    if servers > 1 and catalog.within(stack.vllm.version, *OWN_SOCKETS):
        yield FRONT_ENDS_MODULE


def _step_tokens(stack: Stack, row: catalog.KnownSharing) -> int:
    """Tokens of a step of an engine that shares its GPU; vLLM asks for at least max_num_seqs."""
    seqs, batched = stack.vllm.max_num_seqs, stack.vllm.max_num_batched_tokens
    if batched != "auto":
        return batched
    return max(row.max_num_batched_tokens, 0 if seqs == "auto" else seqs)


def _cache_bytes(stack: Stack, model: KnownModel, row: catalog.KnownSharing) -> int | None:
    """The key-value cache of one engine: for all its recordings, as far as its share of the memory goes.

    None: its share has no room for what vLLM counts for one request, all that a step may encode; it would not start.
    """
    seqs = stack.vllm.max_num_seqs
    tokens = (row.max_num_seqs if seqs == "auto" else seqs) * (CLIP_TOKENS + stack.vllm.max_model_len)
    least = _step_tokens(stack, row) + stack.vllm.max_model_len
    memory = (catalog.gpu(stack.instance_type_group.gpu).memory_gib or 0) * stack.vllm.gpu_memory_utilization
    share = int((memory / row.engines - ENGINE_GIB) * 2**30) - 2 * model.parameters
    if share < least * model.kv_bytes_per_token:
        return None
    return min(max(tokens, 2 * least) * model.kv_bytes_per_token, share)


def _has_api_servers(stack: Stack) -> bool:
    # Until 0.10.1 Whisper runs on the V0 engine, which has one; 0.10.2 to 0.11.2 were not looked at.
    return catalog.within(stack.vllm.version, "0.12.0", None)


def _rule_flags(stack: Stack) -> dict[str, Any]:
    flags: dict[str, Any] = {}
    for rule in catalog.rules(stack.vllm.version, stack.instance_type_group.gpu):
        flags.update(rule.flags)
    written = {var.name: var.value for var in stack.env if not var.secret}
    if "VLLM_ATTENTION_BACKEND" in written and catalog.within(stack.vllm.version, "0.13.0", "0.15.0"):
        flags["--attention-backend"] = written["VLLM_ATTENTION_BACKEND"]
    return flags


def _own_flags(stack: Stack, model: KnownModel | None) -> dict[str, Any]:
    vllm = stack.vllm
    flags = {
        "--revision": None if stack.model.folder else stack.model.revision,
        "--dtype": dtype(stack),
        "--gpu-memory-utilization": vllm.gpu_memory_utilization,
        "--tensor-parallel-size": vllm.tensor_parallel_size if vllm.tensor_parallel_size > 1 else None,
        "--data-parallel-size": replicas(stack) if replicas(stack) > 1 else None,
        "--max-num-batched-tokens": batched_tokens(stack, model),
        "--max-num-seqs": sequences(stack, model),
    }
    return {name: value for name, value in flags.items() if value is not None}


def _words(flags: Mapping[str, Any]) -> Iterator[str]:
    for name, value in flags.items():
        match value:
            case bool() | list() | dict() if "." in name:  # a key of a JSON option, whose value is JSON, too
                yield from (name, json.dumps(value, sort_keys=True, ensure_ascii=False))
            case True:
                yield name
            case False:
                yield "--no-" + name.removeprefix("--")
            case list() if name == "--middleware":  # each one with the option's name
                yield from (f"{name}={item}" for item in value)
            case list() if name not in JSON_LISTS:
                yield name
                yield from (item if isinstance(item, str) else json.dumps(item) for item in value)
            case list() | dict():
                yield from (name, json.dumps(value, sort_keys=True, ensure_ascii=False))
            case _ if str(value).startswith("-"):
                yield f"{name}={value}"  # as a word of its own it would be taken for an option
            case _:
                yield from (name, str(value))
