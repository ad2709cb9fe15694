"""What a vLLM release on the package index really understands: read out of its wheel's own source, without the wheel.

A wheel has hundreds of megabytes, the argument parsers a few hundred kilobytes: only those are fetched, by HTTP ranges,
from the address that pip names for the configured index. As a program it rewrites the catalogue's table:

    python tests/package/wheels.py
"""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CATALOG = Path(__file__).parents[2] / "whisperctl" / "catalog"
PARSERS = re.compile(r"^vllm/(engine/arg_utils|utils/argparse_utils|entrypoints/(?!cli/).*(cli_args|serve))\.py$")
SERVE = re.compile(r"^vllm/entrypoints/cli/serve\.py$")
CONFIGS = re.compile(r"^vllm/config(/\w+)?\.py$")
ENVS = "vllm/envs.py"
SCHEDULING = re.compile(r"^vllm/v1/core/sched/(scheduler|async_scheduler|output)\.py$")


class Unreachable(Exception):
    """The index does not answer, or has no such wheel."""


def wheel_address(version: str) -> str:
    """The address of vLLM's wheel for Linux, as pip resolves it; nothing is downloaded."""
    glibc = [f"--platform=manylinux_2_{minor}_x86_64" for minor in range(17, 40)]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        ran = subprocess.run(
            [
                sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet",
                "--disable-pip-version-check", "--use-feature=fast-deps", "--only-binary=:all:", *glibc,
                "--platform=manylinux1_x86_64", "--python-version=312", "--target", folder,
                "--retries=1", "--timeout=10", "--report", str(report), f"vllm=={version}",
            ],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if ran.returncode:
            raise Unreachable(f"pip finds no vllm {version}: {ran.stderr.strip().splitlines()[-1:]}")
        return json.loads(report.read_text())["install"][0]["download_info"]["url"]


class Remote(io.RawIOBase):
    """A file on a web server, read by ranges."""

    def __init__(self, address: str) -> None:
        self.address, self.position = address, 0
        self.size = int(self._range("bytes=-1")[1].rpartition("/")[2])

    def _range(self, wanted: str) -> tuple[bytes, str]:
        if not self.address.startswith(("https:", "http:")):
            raise Unreachable("the index is not a web server")
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.address, headers={"Range": wanted}), timeout=20
            ) as answer:
                if answer.status != 206:
                    raise Unreachable("the index gives no ranges")
                return answer.read(), answer.headers["Content-Range"]
        except (urllib.error.URLError, TimeoutError) as error:
            raise Unreachable(str(error)) from error

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = (0, self.position, self.size)[whence] + offset
        return self.position

    def readinto(self, buffer) -> int:
        count = min(len(buffer), self.size - self.position)
        if count <= 0:
            return 0
        data, _ = self._range(f"bytes={self.position}-{self.position + count - 1}")
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


def sources(version: str) -> Mapping[str, str]:
    """The argument parsers, their configs, the environment table and the scheduler: file name -> text."""
    with zipfile.ZipFile(io.BufferedReader(Remote(wheel_address(version)), 1 << 18)) as wheel:
        wanted = (PARSERS, SERVE, SCHEDULING, CONFIGS)
        names = [name for name in wheel.namelist() if name == ENVS or any(part.match(name) for part in wanted)]
        return {name: wheel.read(name).decode() for name in names}


Kind = str
"""As in the catalogue's: a switch is --x and --no-x, bare --x only, either --x or --x VALUE, a list --x A B."""


def options(files: Mapping[str, str]) -> dict[str, Kind]:
    """Every long option that `vllm serve` declares: literal `add_argument` calls, and the front end's own fields."""
    trees = {name: ast.parse(text) for name, text in files.items() if name != ENVS}
    fields = {name: kinds for tree in trees.values() for name, kinds in _fields(tree)}
    found: dict[str, Kind] = {}
    for name, tree in trees.items():
        if PARSERS.match(name) or SERVE.match(name):
            found.update(_declared(tree, fields))
    return {option: kind for option, kind in found.items() if option.startswith("--")}


def _fields(tree: ast.AST) -> Iterator[tuple[str, dict[str, Kind]]]:
    """Class name -> the kind of option that each of its fields becomes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
            yield node.name, {ast.unparse(field.target): _kind_of_type(field.annotation) for field in fields}


def _kind_of_type(annotation: ast.expr) -> Kind:
    words = set(re.findall(r"\w+", ast.unparse(annotation)))
    if "bool" in words:
        return "either" if "str" in words else "switch"
    return "list" if words & {"list", "List", "tuple", "Tuple", "set"} and "dict" not in words else "value"


def _declared(tree: ast.AST, fields: Mapping[str, Mapping[str, Kind]]) -> Iterator[tuple[str, Kind]]:
    classes = dict(_classes(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            kind = _kind_of_call(node, classes, fields)
            names = (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
            yield from ((name, kind) for name in names)
        if isinstance(node, ast.ClassDef) and node.name.endswith("FrontendArgs"):
            yield from (("--" + name.replace("_", "-"), kind) for name, kind in fields[node.name].items())


def _classes(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """`model_kwargs = get_kwargs(ModelConfig)`: variable -> class."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(), args=[ast.Name(id=owner)])):
                yield name, owner


def _kind_of_call(call: ast.Call, classes: Mapping[str, str], fields: Mapping[str, Mapping[str, Kind]]) -> Kind:
    for keyword in call.keywords:
        match keyword.arg, keyword.value:
            case "action", ast.Constant(value="store_true" | "store_false"):
                return "bare"
            case "action", ast.Attribute(attr="BooleanOptionalAction"):
                return "switch"
            case "nargs", ast.Constant(value="?"):
                return "either"
            case "nargs", ast.Constant(value="+" | "*"):
                return "list"
            case None, (
                ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=field))
                | ast.Dict(values=[ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=field)), *_])
            ):
                return fields.get(classes.get(name, ""), {}).get(field, "value")
    return "value"


def functions(text: str, owner: str) -> dict[str, list[str]]:
    """The methods of a class, each with the names of its arguments."""
    found = next(node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef) and node.name == owner)
    methods = [node for node in found.body if isinstance(node, ast.FunctionDef)]
    return {method.name: [argument.arg for argument in method.args.args] for method in methods}


def variables(files: Mapping[str, str]) -> set[str]:
    """Every `VLLM_*` variable in the release's table of environment variables."""
    for node in ast.walk(ast.parse(files[ENVS])):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "environment_variables":
            value = getattr(node, "value", None)
            if isinstance(value, ast.Dict):
                keys = {key.value for key in value.keys if isinstance(key, ast.Constant)}
                return {key for key in keys if key.startswith("VLLM_")}
    return set()


def _ranges(seen: Mapping[str, set[str]]) -> str:
    """Name -> ranges of releases, one name a line, as JSON."""
    lines = []
    for name in sorted(set().union(*seen.values())):
        spans: list[list[str | None]] = []
        inside = False
        for version, names in seen.items():
            if name in names and not inside:
                spans.append([version, None])
            elif name not in names and inside:
                spans[-1][1] = version
            inside = name in names
        lines.append(f"  {json.dumps(name)}: {json.dumps(spans)}")
    return ",\n".join(lines)


def rewrite(read: Callable[[str], Mapping[str, str]] = sources) -> None:
    """Write the catalogue's table of options anew, from every listed release."""
    releases = [row["version"] for row in json.loads((CATALOG / "releases.json").read_text())["rows"]]
    with ThreadPoolExecutor(8) as pool:
        files = dict(zip(releases, pool.map(read, releases), strict=True))
    declared = {version: options(text) for version, text in files.items()}
    head = (
        "argument parsers and envs.py of the PyPI wheels; each name with the [first, first without] releases it is in;"
        " switch: --x and --no-x, bare: --x only, either: --x or --x VALUE, list: --x A B or one JSON text,"
        " all others: --x VALUE"
    )
    tables = {"options": {version: set(kinds) for version, kinds in declared.items()}}
    for kind in ("switch", "bare", "either", "list"):
        tables[kind] = {version: {x for x, k in kinds.items() if k == kind} for version, kinds in declared.items()}
    tables["environment"] = {version: variables(text) for version, text in files.items()}
    parts = [f' "{name}": {{\n{_ranges(seen)}\n }}' for name, seen in tables.items()]
    (CATALOG / "options.json").write_text(f'{{\n "source": "{head}",\n' + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    rewrite()
