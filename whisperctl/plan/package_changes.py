"""What a new package changes about the server: the package that runs, read back, beside the one that would be uploaded.

A digest tells that two packages differ, not how. A rendered `deployment.py` holds one literal, so what differs can be
told option by option. This explains and decides nothing: where UbiOps cannot hand the package out at once, the plan is
the same without it. What `${NAME}` stands for, or may have stood for, is not shown.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import re
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from whisperctl.control.api import Api
from whisperctl.errors import ApiError
from whisperctl.output import clean
from whisperctl.package.build import Package
from whisperctl.plan.changes import Change
from whisperctl.plan.environment_changes import environment_contents, is_other_environment
from whisperctl.plan.plan import Plan
from whisperctl.serving import catalog
from whisperctl.serving.launch import option_name
from whisperctl.spec import Path_
from whisperctl.state.desired import Desired
from whisperctl.state.diff import FieldChange
from whisperctl.state.labels import Labels
from whisperctl.state.live import Live
from whisperctl.state.resources import Kind, Masked, version_address

LARGEST = 16 << 20
"""Bytes of a package that is still fetched to explain a plan; one that carries a model is larger."""
_CODE = "deployment.py"
_TEXT = (".txt", ".yaml")
_PACKAGES = "ubiops.yaml"
_OUR_PLUGINS = "whisperctl_plugins-"
"""The folder that tells vLLM of our modules."""
PATIENCE = 10.0
"""Seconds that a plan waits for the package, once."""
_PLAIN = re.compile(r"on|None|[\d.]+|auto|half|b?float(16|32)?")
"""Values that no variable needs to have held."""
_ADDRESS = re.compile(r"(\w+://)(?:[^/\s]*@)?([^/\s?#@]*)\S*")
"""Scheme and host of a URL; a name, a password or a path before and behind may be a token."""
_NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""What an archive raises that is damaged, encrypted, or packed in a way that Python does not know."""
_CONDITION = "unless"
"""In `sharing`: which arguments forbid it. No setting of the server."""


def explained(plans: Sequence[Plan], api: Api, parallelism: int) -> list[Plan]:
    """The plans, all of one project, with `contents` in each change of a package or an environment that can be read.

    Raises:
        Interrupted: the user interrupted.
    """
    if not any(_reader(change) for plan in plans for change in plan.changes):
        return list(plans)
    with ThreadPoolExecutor(parallelism) as pool:
        return list(pool.map(lambda plan: _explained(plan, api), plans))


def _explained(plan: Plan, api: Api) -> Plan:
    changes = [
        _by_tool_alone(replace(change, contents=read(plan, change, api))) if (read := _reader(change)) else change
        for change in plan.changes
    ]
    return replace(plan, changes=tuple(changes))


def _by_tool_alone(change: Change) -> Change:
    """The change; of a package that differs in our own files alone, with the tool's two versions as the reason."""
    _, separator, versions = change.reason.partition("; rendered by ")
    if not (separator and change.contents and all(_is_our_file(item.path) for item in change.contents)):
        return change
    text = f"rendered by {versions}: what the stack file says is the same"
    return replace(change, reason=text)


def _is_our_file(path: str) -> bool:
    """Whether it is a file of the templates, and no setting, requirement or model."""
    return (path.endswith(".py") and "/" not in path) or path.startswith(_OUR_PLUGINS)


def says_the_same(desired: Desired, live: Live, api: Api, digest: str) -> bool:
    """Whether the recorded package of that digest differs from the desired one in files of the templates alone.

    Settings, requirements and model are compared as they are, not as they may be shown. What cannot be read differs.

    Raises:
        Interrupted: the user interrupted.
    """
    files = _recorded(desired, live, api, digest)
    try:
        return bool(files) and settings_digest(files or {}) == settings_digest(desired.package.files)
    except (AttributeError, TypeError):
        return False  # the literal of another whisperctl has another shape


def settings_digest(files: Mapping[str, bytes | Path]) -> str:
    """32 hex digits over what a stack file says in a package: its settings, and the files that no template makes.

    Stands in labels: a version of this tool that computes it otherwise reads the packages of all stacks once.
    """
    code = files.get(_CODE)
    settings = _flat(config(code), words=list) if isinstance(code, bytes) else {}
    hashed = {
        "settings": {name: value for name, value in settings.items() if value is not None} or repr(code),
        "files": {name: _hashed(_spelled(name, content)) for name, content in files.items() if not _is_our_file(name)},
    }
    return hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:32]


def _spelled(name: str, content: bytes | Path) -> bytes | Path:
    """The first versions of this tool wrote no quotation marks around Debian packages."""
    return content.replace(b'"', b"") if isinstance(content, bytes) and name == _PACKAGES else content


def _reader(change: Change) -> Callable[[Plan, Change, Api], tuple[FieldChange, ...]] | None:
    """What tells more about a change than its fields do; None where they say it all."""
    if _is_new_package(change):
        return _contents
    return environment_contents if is_other_environment(change) else None


def _is_new_package(change: Change) -> bool:
    return change.address.kind is Kind.PACKAGE and change.action == "update"


def _contents(plan: Plan, change: Change, api: Api) -> tuple[FieldChange, ...]:
    return _recorded_differences(plan.desired, plan.live, api, str(change.fields[0].before))


def _recorded_differences(desired: Desired, live: Live, api: Api, digest: str) -> tuple[FieldChange, ...]:
    """What the desired package changes in the recorded one of that digest; empty where it cannot be read."""
    files = _recorded(desired, live, api, digest)
    try:
        return _differences(files, desired.package, desired.stack.substituted) if files else ()
    except (AttributeError, TypeError):
        return ()  # the literal of another whisperctl has another shape


def _recorded(desired: Desired, live: Live, api: Api, digest: str) -> dict[str, bytes] | None:
    """The files of the recorded package of that digest; None where it cannot be read."""
    deployment, version = desired.stack.deployment.name, desired.stack.version.name
    labels = Labels.of(live.owned.get(version_address(deployment, version)))
    # Only what we uploaded is read: somebody else's package may hold what must not be shown.
    ours = [item.revision for item in labels.revisions if item.digest == digest]
    return read_package(api, deployment, version, ours[0]) if ours else None


def read_package(api: Api, deployment: str, version: str, revision: str) -> dict[str, bytes] | None:
    """The files of a revision's package, by their names below its one top folder; None where it cannot be read."""
    archive = _Bounded()
    try:
        api.once(PATIENCE).download(deployment, version, revision, archive)
        return _unpacked(archive)
    except (ApiError, _TooLargeError, *_NO_ARCHIVE):
        return None


class _TooLargeError(Exception):
    """The package is not worth its transfer."""


class _Bounded(io.BytesIO):
    """Bytes in memory, up to a bound."""

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > LARGEST:
            raise _TooLargeError
        return super().write(data)


def differences(
    active: BinaryIO, package: Package, substituted: AbstractSet[Path_] = frozenset()
) -> tuple[FieldChange, ...]:
    """What `package` changes in the zip `active`: settings of the server first, then whole files.

    `substituted` are the values of the stack that hold what an environment variable held.

    Raises:
        zipfile.BadZipFile: it is no zip archive.
    """
    return _differences(_unpacked(active), package, substituted)


def _unpacked(archive: BinaryIO) -> dict[str, bytes]:
    """The files of a zip, without its one top folder, up to a bound for all together."""
    with zipfile.ZipFile(archive) as opened:
        files = [item for item in opened.infolist() if not item.is_dir()]
        if sum(item.file_size for item in files) > 2 * LARGEST:
            raise _TooLargeError
        return {item.filename.partition("/")[2] or item.filename: opened.read(item) for item in files}


def _differences(
    old: Mapping[str, bytes], package: Package, substituted: AbstractSet[Path_]
) -> tuple[FieldChange, ...]:
    code = [files.get(_CODE, b"") for files in (old, package.files)]
    before, after = (config(source) if isinstance(source, bytes) else {} for source in code)
    settings = [
        _without_variables(change, str(before.get("vllm_version")), substituted)
        for change in _compared(_flat(before), _flat(after))
    ]
    files = _compared(_files(old), _files(package.files))
    if any(path[0] == "environment" for path in substituted if path):
        files = [_hidden(change) if change.path.endswith(_TEXT) else change for change in files]
    return (*settings, *files)


def _without_variables(change: FieldChange, version: str, substituted: AbstractSet[Path_]) -> FieldChange:
    """The change of a setting without what came out of an environment variable: now, or, as far as it could, before."""
    name = change.path[at:] if (at := change.path.find("--")) >= 0 else ""
    if not name:
        return change
    if any(path[:2] == ("vllm", "args") and option_name(str(path[2])) == name for path in substituted if len(path) > 2):
        return _hidden(change)
    accepted = catalog.accepted(version, name)
    plain = accepted.number or accepted.choices or _PLAIN.fullmatch(str(change.before))
    return change if plain or change.before is None else replace(change, before=Masked.MAYBE_FROM_VARIABLE)


def _hidden(change: FieldChange) -> FieldChange:
    before, after = (None if value is None else Masked.FROM_VARIABLE for value in (change.before, change.after))
    return replace(change, before=before, after=after)


def _compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FieldChange]:
    return [
        FieldChange(path=clean(name), before=before.get(name), after=after.get(name))
        for name in [*after, *(name for name in before if name not in after)]
        if before.get(name) != after.get(name)
    ]


def _files(files: Mapping[str, bytes | Path]) -> dict[str, Any]:
    """Each file's lines if it is text to read, without what addresses may hold; else the start of its SHA-256."""
    return {name: _readable(name, content) for name, content in sorted(files.items())}


def _readable(name: str, content: bytes | Path) -> Any:
    if isinstance(content, Path):
        return _hashed(content)
    if name.endswith(_TEXT) and "/" not in name:
        return [_ADDRESS.sub(r"\1\2/…", line) for line in content.decode(errors="replace").splitlines()]
    return _hashed(_around(content).encode() if name == _CODE else content)


def _hashed(content: bytes | Path) -> str:
    if isinstance(content, bytes):
        digest = hashlib.sha256(content)
    else:  # a file of a model, which may be larger than memory
        with content.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    return f"sha256 {digest.hexdigest()[:12]}"


def _shown(words: Sequence[str]) -> str:
    return " ".join(words) or "on"


def _flat(
    settings: Mapping[str, Any], above: str = "", words: Callable[[Sequence[str]], Any] = _shown
) -> dict[str, Any]:
    """Name -> value: mappings with dots, arguments of `vllm serve` by option, what follows it as `words` puts it."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if name == _CONDITION:
            continue
        if isinstance(value, dict):
            flat |= _flat(value, f"{above}{name}.", words)
        elif name == "arguments":
            flat |= {f"{above}{option}": words(behind) for option, behind in _options(value)}
        else:
            flat[above + name] = value
    return flat


def _options(words: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Each option with its words behind it."""
    starts = [at for at, word in enumerate(words) if word.startswith("--")]
    for at, end in zip(starts, [*starts[1:], len(words)], strict=True):
        yield words[at], words[at + 1 : end]


def config(source: bytes) -> dict[str, Any]:
    """The one literal of a rendered `deployment.py`; {} for code that has none."""
    try:
        value = ast.literal_eval(node.value) if (node := _literal(source)) else {}
    except (SyntaxError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _around(source: bytes) -> str:
    """The code without its literal."""
    try:
        node = _literal(source)
    except (SyntaxError, ValueError):
        node = None
    lines = source.decode(errors="replace").splitlines()
    return "\n".join(lines[: node.lineno - 1] + lines[node.end_lineno :] if node else lines)


@lru_cache(maxsize=8)  # a plan looks at the same packages several times, and parsing one takes longer than all else
def _literal(source: bytes) -> ast.Assign | None:
    with _PARSING:
        body = ast.parse(source).body
    return next((node for node in body if isinstance(node, ast.Assign) and _is_config(node)), None)


_PARSING = threading.Lock()
"""Two threads that parse at once end in a SystemError with Python before 3.11.8 and 3.12.1 (cpython#106905)."""


def _is_config(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "CONFIG" for target in node.targets)
