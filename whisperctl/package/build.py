"""A stack -> the files to upload, reproducibly: same input, same bytes.

No live value and no secret enters a package. Archives are stored, not deflated, because zlib's output differs from one
machine to the next; files keep one date, one mode and one order. Model weights are streamed, never held in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from whisperctl.package.archive import digest, write_archive
from whisperctl.package.templates import rendered
from whisperctl.serving.checkpoint import folder_files
from whisperctl.serving.launch import MODEL_FOLDER, SCHEDULER_MODULE, launch
from whisperctl.serving.requirements import requirements
from whisperctl.spec import Stack

PACKAGE_FOLDER = "deployment_package"
ENVIRONMENT_FOLDER = "environment_package"
ENVIRONMENT_NAME = "whisperctl"
PLUGINS = "whisperctl_plugins-1.dist-info"


@dataclass(frozen=True, kw_only=True)
class Package:
    """What a revision is made from: file name -> content, or a file of a model folder."""

    files: Mapping[str, bytes | Path]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the archive, in hex."""
        return digest(self.files, PACKAGE_FOLDER)

    def write(self, stream: BinaryIO) -> None:
        """Write the archive."""
        write_archive(self.files, PACKAGE_FOLDER, stream)


@dataclass(frozen=True, kw_only=True)
class EnvironmentBuild:
    """What a managed environment tag is built from; the tag's name says its content."""

    name: str
    tag: str
    base_name: str
    base_tag: str | None
    files: Mapping[str, bytes]
    digest: str
    """SHA-256 over base as written, requirements and apt packages, in hex."""

    def write(self, stream: BinaryIO) -> None:
        """Write the archive."""
        write_archive(self.files, ENVIRONMENT_FOLDER, stream)


def build_package(stack: Stack) -> Package:
    """The deployment package of `stack`."""
    start = launch(stack)
    files: dict[str, bytes | Path] = {
        "deployment.py": rendered("deployment.py", start.as_data()),
        "whisperctl_supervisor.py": rendered("whisperctl_supervisor.py"),
    }
    if start.sharing and start.sharing.own_interval is not None:
        files[f"{SCHEDULER_MODULE}.py"] = rendered(f"{SCHEDULER_MODULE}.py", start.sharing.own_interval)
    if start.plugins:
        files |= _plugins(start.plugins)
    if stack.environment.mode == "package":
        files |= _environment_files(stack)
    if stack.model.folder:
        files |= {f"{MODEL_FOLDER}/{name}": path for name, path in folder_files(stack.model.folder).items()}
    return Package(files=dict(sorted(files.items())))


def _plugins(modules: Sequence[str]) -> dict[str, bytes]:
    """Plug-ins of vLLM's, and the folder by which Python finds their entry points where it stands on PYTHONPATH."""
    entries = "".join(f"{module} = {module}:register\n" for module in modules)
    return {
        **{f"{module}.py": rendered(f"{module}.py") for module in modules},
        f"{PLUGINS}/METADATA": b"Metadata-Version: 2.1\nName: whisperctl-plugins\nVersion: 1\n",
        f"{PLUGINS}/entry_points.txt": f"[vllm.general_plugins]\n{entries}".encode(),
    }


def build_environment(stack: Stack) -> EnvironmentBuild | None:
    """The environment tag that `stack` runs in; None when its package carries its own."""
    if stack.environment.mode == "package":
        return None
    base, tag = stack.environment.base_name, stack.environment.base_tag
    content = [f"{base}:{tag}" if tag else base, requirements(stack), apt_packages(stack)]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return EnvironmentBuild(
        name=ENVIRONMENT_NAME,
        tag=f"vllm-{stack.vllm.version}-{digest[:12]}",
        base_name=base,
        base_tag=tag,
        files=_environment_files(stack),
        digest=digest,
    )


def apt_packages(stack: Stack) -> list[str]:
    """The Debian packages, in a fixed order."""
    return sorted(set(stack.environment.apt))


def _environment_files(stack: Stack) -> dict[str, bytes]:
    files = {"requirements.txt": "".join(f"{line}\n" for line in requirements(stack)).encode()}
    if packages := apt_packages(stack):
        lines = "".join(f"    - {json.dumps(package)}\n" for package in packages)
        files["ubiops.yaml"] = f"apt:\n  packages:\n{lines}".encode()
    return files
