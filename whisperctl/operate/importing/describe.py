"""Live objects -> the smallest stack file that describes them.

Defaults are left out, secrets are `${NAME}`, and what cannot be told is a comment with the question.
What `validate` would refuse of what is live is left out and told in a comment, so that the file can be adopted at once.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from whisperctl.control.api import Json
from whisperctl.errors import Problem, SpecError
from whisperctl.loading import load_stacks
from whisperctl.loading.assemble import HEALTH_CHECK
from whisperctl.loading.scalars import Reference
from whisperctl.operate.importing.draft import Draft
from whisperctl.operate.importing.environment import describe_environment
from whisperctl.operate.importing.launched import describe_server
from whisperctl.operate.importing.objects import Objects
from whisperctl.output import looks_secret
from whisperctl.scaffold import LONGEST_NAME
from whisperctl.serving.launch import SERVER_PORT
from whisperctl.spec import Gpu, Path_
from whisperctl.state.labels import Labels
from whisperctl.state.resources import SERVER_DEFAULTS, Kind

STACK_FILE = "stack.yaml"
NEEDED = (
    ("stack",), ("model", "name"), ("vllm", "version"), ("deployment", "name"), ("instance_type_group", "name"),
    ("instance_type_group", "gpu"), ("version", "name"),
)  # fmt: skip
"""What every stack says."""
MOST_ROUNDS = 40
"""Times that the file is checked while it loses what is refused."""
_GPU = re.compile(
    r"(?<![A-Za-z0-9])(?:NVIDIA[ -]?)?(H200|H100|A100|A10|L4|T4)(?:G|-\w+)?(?![A-Za-z0-9])", re.IGNORECASE
)
_SIZED = re.compile(r"[-_](h200|h100|a100|a10|l4|t4)$")
"""The end of an instance type's name, such as 12288mb-t4."""
_LOGIN = re.compile(r"://[^/\s@]+@")
_VERSION_DEFAULTS: Mapping[str, Any] = {
    **SERVER_DEFAULTS[Kind.VERSION],
    "minimum_instances": 0,
    "maximum_instances": 1,
    "maximum_idle_time": 900,
}
_SCALING = ("minimum_instances", "maximum_instances", "maximum_idle_time")


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """The files that describe one live version."""

    address: str
    """`DEPLOYMENT/VERSION`."""
    text: str
    """The stack file."""
    files: Mapping[str, str]
    """Further files that it names, by their names beside it."""
    questions: tuple[str, ...]
    refused: tuple[Problem, ...] = ()
    """What `validate` says against the file as it is."""


def describe(objects: Objects) -> Description:
    """The stack file of a live version. The same objects give the same text."""
    draft = Draft()
    _head(draft, objects)
    gpu = _group(draft, objects)
    describe_server(draft, objects, gpu)
    describe_environment(draft, objects)
    _deployment(draft, objects)
    _version(draft, objects)
    _env(draft, objects)
    _services(draft, objects)
    if Labels.of(objects.deployment).protect:
        draft.put(("protect",), True)
    draft.data = {key: draft.data[key] for key in sorted(draft.data, key=_place)}
    refused = _without_refused(draft)
    return Description(
        address=objects.address,
        text=draft.text,
        files=draft.files,
        questions=tuple(draft.questions),
        refused=tuple(refused),
    )


_ORDER = (
    "apiVersion", "stack", "model", "vllm", "environment", "deployment", "instance_type_group", "version", "env",
    "service", "rollout", "protect",
)  # fmt: skip


def _place(section: str) -> int:
    return _ORDER.index(section)


def _head(draft: Draft, objects: Objects) -> None:
    labels = Labels.of(objects.deployment)
    draft.put(("apiVersion",), "whisperctl/v1")
    draft.put(("stack",), labels.owner or _stack_name(objects.deployment["name"]))
    draft.note(
        ("apiVersion",),
        f"{objects.address} of project {objects.project}, as `whisperctl init --from` read it. What is not written is "
        "as whisperctl has it by default. Lines that begin with ? ask what could not be told.",
    )
    if labels.owner:
        where = f", applied from {labels.origin}" if labels.origin else ""
        draft.note(("stack",), f"It is this stack's already{where}.")


def _stack_name(deployment: str) -> str:
    name = re.sub(r"[^a-z0-9-]+", "-", deployment.lower()).strip("-")
    return name[:LONGEST_NAME].strip("-") or "whisper"


def _group(draft: Draft, objects: Objects) -> Gpu | None:
    """Put the instance type group; managed where the stack's label says that it is."""
    group, path = objects.group or {}, ("instance_type_group", "gpu")
    name = str(group.get("name") or objects.version.get("instance_type_group_name") or "")
    types = sorted(group.get("instance_types") or [], key=lambda item: item.get("priority") or 0)
    if name:
        draft.put(("instance_type_group", "name"), name)
    else:
        draft.unknown(("instance_type_group", "name"), "which group do its instances run on? Write name:")
    gpu = _gpu(name, types)
    if gpu is None:
        draft.unknown(
            path,
            "neither the group nor its instance types name a GPU. Write gpu: T4, L4, A10, A100, H100, H200 or CPU",
        )
    else:
        draft.put(path, gpu)
    count = max((int(item.get("accelerator") or 0) for item in types), default=0)
    if count > 1:
        draft.put(("instance_type_group", "gpu_count"), count)
    if group.get("id") in Labels.of(objects.deployment).group_ids:
        draft.put(("instance_type_group", "instance_types"), list(_choices(types)))
    return gpu


def _gpu(name: str, types: list[Json]) -> Gpu | None:
    texts = [name, *(str(item.get(key) or "") for item in types for key in ("name", "display_name"))]
    for text in texts:
        if match := _GPU.search(text) or _SIZED.search(text):
            return cast("Gpu", match[1].upper())
    return "CPU" if types and not any(item.get("accelerator") for item in types) else None


def _choices(types: list[Json]) -> Iterator[Any]:
    for position, item in enumerate(types):
        more = {} if item.get("priority") == position else {"priority": item.get("priority")}
        if item.get("schedule_timeout") not in (None, 300):
            more["schedule_timeout"] = item["schedule_timeout"]
        yield {"name": item["name"], **more} if more else item["name"]


def _deployment(draft: Draft, objects: Objects) -> None:
    raw = objects.deployment
    draft.put(("deployment", "name"), raw["name"])
    if raw.get("description"):
        draft.put(("deployment", "description"), raw["description"])
    for name in ("input_type", "output_type"):
        if raw.get(name, "plain") != "plain":
            draft.put(("deployment", name), raw[name])
    _labels(draft, ("deployment",), raw)


def _labels(draft: Draft, path: Path_, raw: Json) -> None:
    if labels := Labels.of(raw).of_others:
        draft.put((*path, "labels"), dict(labels))


def _version(draft: Draft, objects: Objects) -> None:
    raw, labels = objects.version, Labels.of(objects.version)
    name = str(raw["version"])
    if labels.rollout is not None:
        name = re.sub(r"-[0-9a-f]{8}(-\d+)?$", "", name)
        draft.put(("rollout", "strategy"), "blue_green")
    draft.put(("version", "name"), name)
    paused = {} if labels.paused_minimum is None else {"minimum_instances": labels.paused_minimum}
    for field, default in _VERSION_DEFAULTS.items():
        value = paused.get(field, raw.get(field, default))
        if field not in ("health_check", "ports") and value not in (default, None):
            draft.put(("version", field), value)
    _health_check(draft, raw)
    _labels(draft, ("version",), raw)


def _health_check(draft: Draft, raw: Json) -> None:
    """What differs from the check that a stack has by default; a version without one gets that."""
    port = draft.data.get("vllm", {}).get("args", {}).get("port", SERVER_PORT)
    live = raw.get("health_check") or {}
    own = {**HEALTH_CHECK, "port": port}
    if differing := {key: live[key] for key in own if key in live and live[key] != own[key]}:
        draft.put(("version", "health_check"), differing)


def _env(draft: Draft, objects: Objects) -> None:
    for item in sorted(objects.env_vars, key=lambda item: str(item["name"])):
        name, value = str(item["name"]), str(item["value"] or "")
        path = ("env", name)
        if item["secret"]:
            draft.put(path, {"value": Reference(f"${{{name}}}"), "secret": True})
        elif looks_secret(name) or _LOGIN.search(value):
            draft.put(path, {"value": Reference(f"${{{name}}}"), "secret": True})
            draft.note(path, f"{name} can be read by everyone who sees the project; from now on it is a secret.")
        else:
            draft.put(path, value)


def _services(draft: Draft, objects: Objects) -> None:
    services = [_service(draft, raw) for raw in objects.services]
    if services:
        draft.put(("service",), services[0] if len(services) == 1 else services)


def _service(draft: Draft, raw: Json) -> dict[str, Any]:
    port = draft.data.get("vllm", {}).get("args", {}).get("port", SERVER_PORT)
    defaults = {"port": port, "authentication_required": True, **SERVER_DEFAULTS[Kind.SERVICE]}
    fields = {key: raw[key] for key, default in defaults.items() if key in raw and raw[key] not in (default, None)}
    labels = Labels.of(raw).of_others
    return {"name": raw["name"], **fields, **({"labels": dict(labels)} if labels else {})}


def _without_refused(draft: Draft) -> list[Problem]:
    """Take out of the draft what `validate` refuses, as far as a stack can do without it; what is refused still."""
    refused: list[Problem] = []
    for _ in range(MOST_ROUNDS):
        refused = _refused(draft)
        paths = [(problem, path) for problem in refused if (path := _droppable(draft, problem)) is not None]
        if not paths:
            break
        problem, path = paths[0]
        draft.leave_out(path, f"{problem.message}. {problem.hint}".strip())
    for problem in refused:
        path = draft.resolved(problem.path)
        if path and path in NEEDED:
            draft.ask(path, f"{problem.message}. {problem.hint}".strip())
    return refused


def _refused(draft: Draft) -> list[Problem]:
    """The errors that `validate` has for the draft; secrets need no values."""
    environ = {value.removeprefix("${").removesuffix("}"): "" for value in _references(draft.data)}
    with tempfile.TemporaryDirectory(prefix="whisperctl-") as name:
        folder = Path(name)
        for file, text in {STACK_FILE: draft.text, **draft.files}.items():
            (folder / file).write_text(text, encoding="utf-8")
        try:
            load_stacks([folder / STACK_FILE], environ, secrets=False)
        except SpecError as error:
            return [problem for problem in error.problems if problem.severity == "error"]
    return []


def _references(value: Any) -> Iterator[str]:
    match value:
        case Reference():
            yield value
        case dict():
            for item in value.values():
                yield from _references(item)


def _droppable(draft: Draft, problem: Problem) -> Path_ | None:
    """The value to leave out for a problem: an env var or a service as a whole, else what stands at its path."""
    path = draft.resolved(problem.path)
    if not path or (len(path) < 2 and path != ("service",)):
        return None
    if path[0] == "env":
        path = path[:2]
    elif path[0] == "service":
        path = path[:2] if isinstance(draft.data["service"], list) else path[:1]
    if path in NEEDED or any(needed[: len(path)] == path for needed in NEEDED):
        return None
    return path
