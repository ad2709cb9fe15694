"""The GPUs of a group's instance types, as UbiOps lists them, against `gpu` and `gpu_count`. Pure.

How many GPUs a type has is a field of it (`accelerator`); which ones, only its names tell (UbiOps reference, 3.7).
A type that tells neither is believed to fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whisperctl.control.api import Json
from whisperctl.loading.checks.group import named_gpus
from whisperctl.plan.changes import Remark
from whisperctl.spec import InstanceTypeGroup, Stack
from whisperctl.state.live import Live

NAME = "group-types"


def group_refusals(stack: Stack, live: Live) -> Iterator[Remark]:
    """Instance types that are not there, and GPUs that those that are there lack."""
    if live.missing_types:
        names = ", ".join(repr(name) for name in live.missing_types)
        text = (
            f"this project has no instance type {names}.\n  `whisperctl doctor {stack.file}` lists those that it has."
        )
        yield Remark(source=stack.source("instance_type_group", "instance_types"), text=text)
    yield from no_type_fits(stack, live.group_types, live.groups)


def no_type_fits(stack: Stack, types: Sequence[Json], groups: Sequence[Json]) -> Iterator[Remark]:
    """Why the server cannot start on any of the types, and which of the project's groups would do."""
    declared = stack.instance_type_group
    if _some_fit(declared, types) or _may_be_meant(declared, types):
        return
    text = f"{_none_fits(declared, types)}\n  "
    others = [repr(group["name"]) for group in groups if _would_do(declared, group)]
    text += f"{'Name one of ' + ', '.join(others) if others else 'Name another group'}, or write what it has."
    yield Remark(source=stack.source("instance_type_group", _blamed(declared, types)), text=text)


def group_warning(stack: Stack, types: Sequence[Json]) -> Iterator[Remark]:
    """Types beside the one that fits, on which an instance may start, too; not what the file's own names tell."""
    declared = stack.instance_type_group
    if NAME in stack.acknowledge:
        return
    if not _some_fit(declared, types) and _may_be_meant(declared, types):
        source = stack.source("instance_type_group", "instance_types" if declared.instance_types else "name")
        yield Remark(source=source, text=f"{_none_fits(declared, types)} [{NAME}]")
        return
    others = [item for item in types if not fits(declared, item)]
    if len(others) == len(types):
        return
    written = {choice.name for choice in declared.instance_types if named_gpus(choice.name)}
    others = [item for item in others if item["name"] not in written]
    if not others:
        return
    text = (
        f"an instance may start on {', '.join(in_words(item) for item in others)}, too: flags and checks are those of "
        f"{_gpus(declared.gpu, declared.gpu_count)}. [{NAME}]"
    )
    yield Remark(source=stack.source("instance_type_group", "name"), text=text)


def fits(declared: InstanceTypeGroup, instance_type: Json) -> bool:
    """Whether the type has the GPUs that the stack is made for, as far as it tells."""
    return _count_fits(declared, instance_type) and _kind_fits(declared, instance_type)


def _some_fit(declared: InstanceTypeGroup, types: Sequence[Json]) -> bool:
    """Also where nothing is known of any."""
    return not types or any(fits(declared, item) for item in types)


def _may_be_meant(declared: InstanceTypeGroup, types: Sequence[Json]) -> bool:
    """Whether it is a warning only: the file itself lists the types, or none has a GPU, to try a stack without."""
    return bool(declared.instance_types) or all(item.get("accelerator") == 0 for item in types)


def _none_fits(declared: InstanceTypeGroup, types: Sequence[Json]) -> str:
    has = ", ".join(in_words(item) for item in types)
    return f"{declared.name} has no instance type with {_gpus(declared.gpu, declared.gpu_count)}: {has}."


def _count_fits(declared: InstanceTypeGroup, instance_type: Json) -> bool:
    count = instance_type.get("accelerator")
    return count is None or count == (0 if declared.gpu == "CPU" else declared.gpu_count)


def _kind_fits(declared: InstanceTypeGroup, instance_type: Json) -> bool:
    kinds = _kinds(instance_type)
    return not kinds or declared.gpu in kinds


def _kinds(instance_type: Json) -> list[str]:
    """The kinds of GPU that a type's names tell."""
    names = (str(instance_type.get(key) or "") for key in ("name", "display_name"))
    return list(dict.fromkeys(kind for name in names for kind, _ in named_gpus(name)))


def in_words(instance_type: Json) -> str:
    """`12288mb-t4 (1 T4)`."""
    count, kinds = instance_type.get("accelerator"), " or ".join(_kinds(instance_type))
    gpus = _gpus(kinds or "GPU", count) if count is not None else kinds or "GPUs not told"
    return f"{instance_type['name']} ({gpus})"


def _gpus(kind: str, count: int) -> str:
    if kind == "CPU" or not count:
        return "no GPU"
    return f"{count} {kind}" if kind != "GPU" else f"{count} GPU{'s' if count > 1 else ''}"


def _blamed(declared: InstanceTypeGroup, types: Sequence[Json]) -> str:
    """The key to mend: the count where the kind is right."""
    return "gpu" if declared.gpu == "CPU" or not any(_kind_fits(declared, item) for item in types) else "gpu_count"


def _would_do(declared: InstanceTypeGroup, group: Json) -> bool:
    types = group.get("instance_types") or ()
    return any(fits(declared, item) and (declared.gpu == "CPU" or _kinds(item)) for item in types)
