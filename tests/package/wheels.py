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
from pathlib import Path

CATALOG = Path(__file__).parents[2] / "whisperctl" / "catalog"
PARSERS = re.compile(r"^vllm/(engine/arg_utils|utils/argparse_utils|entrypoints/(?!cli/).*(cli_args|serve))\.py$")
SERVE = re.compile(r"^vllm/entrypoints/cli/serve\.py$")
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
    """The argument parsers, the environment table and the scheduler of a release: file name -> text."""
    with zipfile.ZipFile(io.BufferedReader(Remote(wheel_address(version)), 1 << 18)) as wheel:
        wanted = (PARSERS, SERVE, SCHEDULING)
        names = [name for name in wheel.namelist() if name == ENVS or any(part.match(name) for part in wanted)]
        return {name: wheel.read(name).decode() for name in names}


def options(files: Mapping[str, str]) -> set[str]:
    """Every long option that `vllm serve` declares: literal `add_argument` calls, and the front end's own fields."""
    found: set[str] = set()
    for name, text in files.items():
        if name != ENVS:
            found.update(_declared(ast.parse(text)))
    return {option for option in found if option.startswith("--")}


def _declared(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            yield from (arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str))
        if isinstance(node, ast.ClassDef) and node.name.endswith("FrontendArgs"):
            for field in node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    yield "--" + field.target.id.replace("_", "-")


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
    files = {}
    for version in releases:
        print(version, flush=True)
        files[version] = read(version)
    head = (
        "argument parsers and envs.py of the PyPI wheels; each name with the [first, first without] releases it is in"
    )
    (CATALOG / "options.json").write_text(
        f'{{\n "source": "{head}",\n "options": {{\n'
        + _ranges({version: options(text) for version, text in files.items()})
        + '\n },\n "environment": {\n'
        + _ranges({version: variables(text) for version, text in files.items()})
        + "\n }\n}\n"
    )


if __name__ == "__main__":
    rewrite()
