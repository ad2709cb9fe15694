"""A tree that the schema accepts -> a typed Stack with every default filled in.

What is missing although required gets a stand-in, so that the semantic checks can run on the rest; such a stack never
leaves `loading`, because the missing key is itself an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from whisperctl.loading.paths import value_at
from whisperctl.loading.values import Value, plain
from whisperctl.serving.launch import SERVER_PORT, written_options
from whisperctl.spec import (
    Deployment,
    Environment,
    EnvVar,
    Gate,
    InstanceTypeChoice,
    InstanceTypeGroup,
    Model,
    Moved,
    Path_,
    Policy,
    Rollout,
    Service,
    Smoke,
    Stack,
    Version,
    Vllm,
)

HEALTH_CHECK = {"port": SERVER_PORT, "path": "/health", "interval": 30, "timeout": 5, "failure_threshold": 3}
APT = ["build-essential", "python3-dev", "ffmpeg"]


def build(tree: Value, file: str) -> Stack:
    """The stack that `tree`, from `file`, declares."""
    data = plain(tree)
    return Stack(
        name=data.get("stack", "unnamed"),
        file=file,
        project=data.get("project"),
        model=_model(tree, data.get("model", {})),
        vllm=_vllm(data.get("vllm", {})),
        environment=_environment(tree, data.get("environment", {})),
        deployment=_deployment(data.get("deployment", {})),
        instance_type_group=_group(data.get("instance_type_group", {})),
        version=_version(data.get("version", {}), _server_port(data)),
        env=tuple(_env_var(name, value) for name, value in sorted(data.get("env", {}).items())),
        services=tuple(_services(data.get("service", []), _server_port(data))),
        rollout=_rollout(tree, data.get("rollout", {})),
        protect=data.get("protect", False),
        whisperctl=data.get("whisperctl"),
        moved=_moved(data),
        policy=Policy(max_credits_per_hour=data.get("policy", {}).get("max_credits_per_hour")),
        acknowledge=tuple(data.get("acknowledge", [])),
        ignore_changes=tuple(data.get("ignore_changes", [])),
        marks={path: value.place for path, value in _values(tree, ())},
        substituted=frozenset(path for path, value in _values(tree, ()) if value.substituted),
        taken_from={path: value.names for path, value in _values(tree, ()) if value.names},
    )


def _server_port(data: Mapping[str, Any]) -> int:
    port = written_options(data.get("vllm", {}).get("args", {})).get("--port")
    return port if isinstance(port, int) else SERVER_PORT


def _values(value: Value, path: Path_) -> Iterator[tuple[Path_, Value]]:
    yield path, value
    match value.data:
        case dict(entries):
            for key, entry in entries.items():
                yield from _values(entry, (*path, key))
        case list(items):
            for index, item in enumerate(items):
                yield from _values(item, (*path, index))


def _folder_of(tree: Value, *path: str | int) -> Path:
    """The folder of the file in which the value at `path` is written."""
    return value_at(tree, path).folder


def _absolute(folder: Path, name: str) -> Path:
    return Path(os.path.normpath(Path.cwd() / folder / name))


def _model(tree: Value, data: Mapping[str, Any]) -> Model:
    name = data.get("name", "openai/whisper-small")
    folder = None
    if "name" in data:
        folder = model_folder(_folder_of(tree, "model", "name"), name)
    return Model(
        name=name,
        folder=folder,
        revision=data.get("revision"),
        task=data.get("task", "transcription"),
        served_name=data.get("served_name") or (folder.name if folder else name),
    )


def model_folder(beside: Path, name: str) -> Path | None:
    """The folder that `name` means: when it is written like a path, or there is such a folder beside the file."""
    target = _absolute(beside, name)
    written_as_path = name.startswith((".", "/", "~")) or name.endswith("/") or "\\" in name
    return target if written_as_path or target.is_dir() else None


def _vllm(data: Mapping[str, Any]) -> Vllm:
    return Vllm(
        version=data.get("version", "0.19.1"),
        dtype=data.get("dtype", "auto"),
        max_model_len=data.get("max_model_len", 448),
        gpu_memory_utilization=float(data.get("gpu_memory_utilization", 0.9)),
        tensor_parallel_size=data.get("tensor_parallel_size", 1),
        api_server_count=data.get("api_server_count", "auto"),
        max_num_seqs=data.get("max_num_seqs", "auto"),
        max_num_batched_tokens=data.get("max_num_batched_tokens", "auto"),
        startup_timeout=data.get("startup_timeout", 1800),
        allow_unlisted=data.get("allow_unlisted", False),
        args=data.get("args", {}),
    )


def _environment(tree: Value, data: Mapping[str, Any]) -> Environment:
    name, _, tag = data.get("base", "ubiops-ubuntu24-04-python3-12").partition(":")
    return Environment(
        mode=data.get("mode", "managed"),
        base_name=name,
        base_tag=tag or None,
        requirements=tuple(data.get("requirements", [])),
        apt=tuple(data.get("apt", APT)),
        lock=_absolute(_folder_of(tree, "environment", "lock"), data["lock"]) if "lock" in data else None,
    )


def _deployment(data: Mapping[str, Any]) -> Deployment:
    return Deployment(
        name=data.get("name", "unnamed"),
        description=data.get("description", ""),
        input_type=data.get("input_type", "plain"),
        output_type=data.get("output_type", "plain"),
        labels=data.get("labels", {}),
    )


def _group(data: Mapping[str, Any]) -> InstanceTypeGroup:
    return InstanceTypeGroup(
        name=data.get("name", "unnamed"),
        gpu=data.get("gpu", "H100"),
        gpu_count=data.get("gpu_count", 1),
        instance_types=tuple(_choice(item) for item in data.get("instance_types", [])),
    )


def _choice(item: str | Mapping[str, Any]) -> InstanceTypeChoice:
    if isinstance(item, str):
        return InstanceTypeChoice(name=item, priority=None, schedule_timeout=None)
    return InstanceTypeChoice(
        name=item.get("name", "unnamed"), priority=item.get("priority"), schedule_timeout=item.get("schedule_timeout")
    )


def _version(data: Mapping[str, Any], port: int) -> Version:
    defaults = {
        "minimum_instances": 0,
        "maximum_instances": 1,
        "maximum_idle_time": 900,
    }
    given = {key: value for key, value in data.items() if key not in ("name", "labels", "health_check")}
    check = {**HEALTH_CHECK, "port": port, **data.get("health_check", {})}
    return Version(
        name=data.get("name", "unnamed"),
        labels=data.get("labels", {}),
        fields={**defaults, **given, "health_check": check},
    )


def _env_var(name: str, value: str | Mapping[str, Any]) -> EnvVar:
    if isinstance(value, str):
        return EnvVar(name=name, value=value, secret=False)
    return EnvVar(name=name, value=value.get("value", ""), secret=value.get("secret", False))


def _services(data: Any, port: int) -> Iterator[Service]:
    for entry in data if isinstance(data, list) else [data]:
        given = {key: value for key, value in entry.items() if key not in ("name", "labels")}
        fields = {"port": port, "authentication_required": True, **given}
        yield Service(name=entry.get("name", "unnamed"), labels=entry.get("labels", {}), fields=fields)


def _moved(data: Mapping[str, Any]) -> Moved:
    written = data.get("moved", {})
    services = written.get("service", {})
    if not isinstance(services, dict):
        declared = data.get("service", {})
        only = declared[0] if isinstance(declared, list) and declared else declared
        services = {only["name"]: services} if isinstance(only, dict) and "name" in only else {}
    return Moved(
        stack=_names(written.get("stack", ())),
        deployment=_names(written.get("deployment", ())),
        version=_names(written.get("version", ())),
        services={new: _names(old) for new, old in services.items()},
    )


def _names(written: str | Sequence[str]) -> tuple[str, ...]:
    return (written,) if isinstance(written, str) else tuple(written)


def _rollout(tree: Value, data: Mapping[str, Any]) -> Rollout:
    return Rollout(
        strategy=data.get("strategy", "in_place"),
        timeout=data.get("timeout", 3600),
        smokes=tuple(_smokes(tree, data.get("smoke", []))),
        gate=Gate(**{name: float(value) for name, value in data.get("gate", {}).items()}),
        bake=data.get("bake", 60),
        keep=data.get("keep", 1),
        restart_on_env_change=data.get("restart_on_env_change", True),
        wave=data.get("wave", 1),
    )


def _smokes(tree: Value, data: Any) -> Iterator[Smoke]:
    """One recording or a list of them; one without audio is refused, with whatever else is wrong."""
    listed = isinstance(data, list)
    for index, entry in enumerate(data if listed else [data]):
        if "audio" in entry:
            path: Path_ = ("rollout", "smoke", index, "audio") if listed else ("rollout", "smoke", "audio")
            yield Smoke(
                audio=_absolute(_folder_of(tree, *path), entry["audio"]),
                expect=entry.get("expect", ""),
                max_wer=float(entry.get("max_wer", 0.2)),
                language=entry.get("language"),
            )
