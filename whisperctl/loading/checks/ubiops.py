"""UbiOps: scaling, ports, labels, services, env vars, and the files that a stack names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from whisperctl.files import FileMissing, home_of, refusal
from whisperctl.loading.checks.finding import Finding, warning
from whisperctl.loading.checks.rollout import recordings
from whisperctl.serving.launch import server_port
from whisperctl.spec import Path_, Service, Stack

GPU_IDLE_SECONDS = 300
MOST_INSTANCES = 20
"""UbiOps' documented limit of both (UbiOps documentation, deployments/advanced-parameters)."""
RESERVED = "whisperctl-"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
NOT_OURS_TO_SET = {
    "SYS_DEPLOYMENT_FILE_NAME": "The package's code is deployment.py.",
    "ML_MODEL_FILE_NAME": "The package's code is deployment.py.",
}


def scaling(stack: Stack) -> Iterator[Finding]:
    """Instances between minimum and maximum, and no GPU that goes to sleep too soon."""
    version = stack.version
    if version.minimum_instances > version.maximum_instances:
        message = f"{version.minimum_instances} is more than maximum_instances ({version.maximum_instances})"
        yield Finding(("version", "minimum_instances"), message)
    if version.maximum_instances > MOST_INSTANCES:
        message = f"UbiOps runs {MOST_INSTANCES} instances of a version at most, not {version.maximum_instances}"
        yield Finding(("version", "maximum_instances"), message, "More: another version, or another deployment.")
    idle = version.maximum_idle_time
    if idle < GPU_IDLE_SECONDS and stack.instance_type_group.gpu != "CPU":
        message = f"with a GPU UbiOps takes {GPU_IDLE_SECONDS} seconds or more, not {idle}"
        yield Finding(("version", "maximum_idle_time"), message)


def ports(stack: Stack) -> Iterator[Finding]:
    """Health check and services lead to where the server listens."""
    port = server_port(stack)
    ports_by_path: dict[Path_, object] = {
        ("version", "health_check", "port"): stack.version.fields["health_check"]["port"]
    }
    ports_by_path |= {(*path, "port"): service.port for path, service in services(stack)}
    for var in stack.env:
        if var.name == "WHISPERCTL_PORT":
            ports_by_path["env", var.name] = int(var.value) if var.value.isdecimal() else None
    for path, value in ports_by_path.items():
        if value != port:
            hint = f"Write {port}, or set vllm.args.port."
            yield Finding(path, f"the server listens on {port}, not here", hint)


def services(stack: Stack) -> Iterator[tuple[Path_, Service]]:
    """Each service with the path where it is written."""
    listed = ("service", 0) in stack.marks
    for index, service in enumerate(stack.services):
        yield ("service", index) if listed else ("service",), service


def endpoints(stack: Stack) -> Iterator[Finding]:
    """Who may call, and whether anybody wakes up."""
    for path, service in services(stack):
        if not service.authentication_required:
            hint = "Everyone who knows the address can use the GPU; UbiOps Cloud allows it on request only."
            yield warning((*path, "authentication_required"), "public-service", "this service is public", hint)
    if stack.services and stack.version.minimum_instances == 0:
        message = "with 0 instances at rest, a call to the service may not wake one"
        hint = "Write 1 for an endpoint that always answers; a deployment request"
        hint += " (`whisperctl transcribe` makes one) wakes it."
        yield warning(("version", "minimum_instances"), "scale-to-zero", message, hint)


def reach(stack: Stack) -> Iterator[Finding]:
    """The server can be reached from outside the instance, and the hub from inside."""
    for var in stack.env:
        path = ("env", var.name)
        if var.name == "WHISPERCTL_HOST" and var.value in LOOPBACK and stack.services:
            yield Finding(path, "the service could not reach the server there", "Leave it out.")
        if var.name in OFFLINE and var.value == "1" and stack.model.folder is None:
            message = "the model is not in the package, and may not be downloaded"
            yield warning(path, "offline-model", message, "Leave it out, or name a folder as model.name.")


def labels(stack: Stack) -> Iterator[Finding]:
    """Labels that begin with our prefix carry the ownership."""
    labels_by_path: dict[Path_, Mapping[str, str]] = {
        ("deployment", "labels"): stack.deployment.labels,
        ("version", "labels"): stack.version.labels,
    }
    labels_by_path |= {(*path, "labels"): service.labels for path, service in services(stack)}
    for path, mapping in labels_by_path.items():
        for key in mapping:
            if key.startswith(RESERVED):
                hint = "They say what a stack owns, and are written by whisperctl. Choose another name."
                yield Finding((*path, key), f"labels that begin with {RESERVED} are reserved", hint)


def env_vars(stack: Stack) -> Iterator[Finding]:
    """No variable that breaks the package."""
    for var in stack.env:
        if var.name in NOT_OURS_TO_SET:
            yield Finding(("env", var.name), f"{var.name} must not be set", NOT_OURS_TO_SET[var.name])


def instances(stack: Stack) -> Iterator[Finding]:
    """One server in an instance, on one of the types that are named once."""
    if stack.version.fields.get("instance_processes", 1) != 1:
        message = "each process would start a server of its own on the same port"
        hint = "Leave it out: one server takes many requests at a time. More instances: maximum_instances."
        yield Finding(("version", "instance_processes"), message, hint)
    names = [choice.name for choice in stack.instance_type_group.instance_types]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Finding(("instance_type_group", "instance_types", index), f"the instance type {name} is named twice")


def without_effect(stack: Stack) -> Iterator[Finding]:
    """Fields that UbiOps has for other kinds of deployments and services."""
    for name in ("command", "args"):
        if name in stack.version.fields:
            message = "UbiOps takes this only for deployments without request format, which a stack's is not"
            yield warning(
                ("version", name), "without-effect", message, "Leave it out; options of the server go to vllm.args."
            )
    for path, service in services(stack):
        if service.fields.get("type", "standard") != "standard":
            yield Finding(
                (*path, "type"), "a stack's service leads to its own deployment", "Write standard, or nothing."
            )


def files(stack: Stack) -> Iterator[Finding]:
    """The recordings that the stack names are there."""
    for path, recording in recordings(stack):
        yield from named_file(stack, (*path, "audio"), recording.audio, "audio file")


def named_file(stack: Stack, path: Path_, file: Path, what: str) -> Iterator[Finding]:
    """A file that the stack names is there, a regular one, and none that a link fetches from elsewhere."""
    beside = Path(stack.mark(*path).file).parent
    refused = refusal(file, inside=home_of(file, beside))
    if isinstance(refused, FileMissing):
        hint = "The path counts from the folder of the file that it is written in."
        yield Finding(path, f"there is no such {what}", hint)
    elif refused is not None:
        yield Finding(path, f"the {what} is not read: {refused.reason}", refused.hint)


CHECKS = (scaling, instances, without_effect, ports, endpoints, reach, labels, env_vars, files)
