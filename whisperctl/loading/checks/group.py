"""The instance type group against `gpu` and `gpu_count`: what names tell, its own and its instance types'."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from whisperctl.loading.checks.finding import Finding, is_hidden, warning
from whisperctl.spec import Path_, Stack

_GPU = re.compile(
    r"(?<![a-z0-9])(?:(?P<count>\d{1,2}) ?x ?)?(?P<maker>nvidia )?(?:tesla |ada lovelace )*"
    r"(?P<kind>t4|l4|a10|a100|h100|h200)(?![a-z0-9])"
)
"""`12288 MB + NVIDIA Tesla T4`, `2x NVIDIA A100`, `12288mb-t4`: the kinds that a stack can name."""


def named_gpus(name: str) -> Sequence[tuple[str, int | None]]:
    """Kind and number of each GPU that a name tells; without a number UbiOps' own spelling (`NVIDIA …`) means one."""
    matches = _GPU.finditer(" ".join(name.lower().split()))
    return [
        (gpu["kind"].upper(), int(gpu["count"]) if gpu["count"] else 1 if gpu["maker"] else None) for gpu in matches
    ]


def group(stack: Stack) -> Iterator[Finding]:
    """A name that tells other GPUs is that of another edit; of several, one that fits is enough."""
    declared, path = stack.instance_type_group, ("instance_type_group", "name")
    if not is_hidden(stack, path):
        yield from _wrong_gpus(stack, f"the group `{declared.name}`", named_gpus(declared.name))
    types = [(index, named_gpus(choice.name)) for index, choice in enumerate(declared.instance_types)]
    others = [(index, gpus) for index, gpus in types if gpus and not _fits(stack, gpus)]
    if len(others) == len(types):
        for index, gpus in others[:1]:
            yield from _wrong_gpus(stack, f"the instance type `{declared.instance_types[index].name}`", gpus)
        return
    for index, gpus in others:
        at: Path_ = ("instance_type_group", "instance_types", index)
        message = f"this instance type has {_listed(gpus)}: flags and checks are those of {declared.gpu}"
        yield warning(at, "group-types", message, "Leave it out, or make sure that the server starts there, too.")


def _fits(stack: Stack, gpus: Sequence[tuple[str, int | None]]) -> bool:
    declared = stack.instance_type_group
    return any(kind == declared.gpu and count in (None, declared.gpu_count) for kind, count in gpus)


def _wrong_gpus(stack: Stack, what: str, gpus: Sequence[tuple[str, int | None]]) -> Iterator[Finding]:
    declared = stack.instance_type_group
    if not gpus or _fits(stack, gpus):
        return
    if counts := [count for kind, count in gpus if kind == declared.gpu]:
        message = f"{what} has {counts[0]} GPU, and gpu_count is {declared.gpu_count}"
        yield Finding(("instance_type_group", "gpu_count"), message, f"Write {counts[0]}, or name another group.")
    else:
        message = f"{what} has {_listed(gpus)}, and gpu is {declared.gpu}"
        yield Finding(("instance_type_group", "gpu"), message, f"Write {gpus[0][0]}, or name another group.")


def _listed(gpus: Sequence[tuple[str, int | None]]) -> str:
    return " or ".join(dict.fromkeys(kind for kind, _ in gpus))


CHECKS = (group,)
