"""What a vLLM release on the package index really understands: read out of its wheel's own source, without the wheel.

A wheel has hundreds of megabytes, the argument parsers a few hundred kilobytes: only those are fetched, by HTTP ranges,
from the address that uv names for the index that pip is configured for. As a program it rewrites the catalogue's table:

    python tests/package/wheels.py
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from scripts.set_up import uv_settings

CATALOG = Path(__file__).parents[2] / "whisperctl" / "serving" / "catalog"
PARSERS = re.compile(r"^vllm/(engine/arg_utils|utils/argparse_utils|entrypoints/(?!cli/).*(cli_args|serve))\.py$")
SERVE = re.compile(r"^vllm/entrypoints/cli/serve\.py$")
CONFIGS = re.compile(r"^vllm/config(/\w+)?\.py$")
ENUMS = re.compile(r"^vllm/(v1/)?attention/backends/registry\.py$")
ENVS = "vllm/envs.py"
SCHEDULING = re.compile(r"^vllm/v1/(core/sched/(scheduler|async_scheduler|output)|engine/__init__)\.py$")
ENCODING = re.compile(r"^vllm/(model_executor/models/whisper|v1/worker/gpu/mm/encoder_runner|plugins/__init__)\.py$")


class Unreachable(Exception):
    """The index does not answer, or has no such wheel."""


def wheel_address(version: str) -> str:
    """The address of vLLM's wheel for Linux, as uv resolves it on pip's index, in a sixth of pip's time."""
    resolve = [
        *(sys.executable, "-m", "uv", "--no-config", "pip", "compile", "--quiet", "--no-deps", "--format=pylock.toml"),
        *("--only-binary=:all:", "--python-platform=x86_64-manylinux_2_39", "--python-version=3.12", "-"),
    ]
    environment = {**uv_settings(), **os.environ}
    ran = subprocess.run(
        resolve, input=f"vllm=={version}", env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    if ran.returncode:
        raise Unreachable(f"uv finds no vllm {version}: {ran.stderr.strip().splitlines()[-1:]}")
    (wheel,) = [each for each in tomllib.loads(ran.stdout)["packages"][0]["wheels"] if "x86_64" in each["url"]]
    return str(wheel["url"])


class Remote(io.RawIOBase):
    """A file on a web server, read by ranges."""

    def __init__(self, address: str) -> None:
        self.address, self.position = address, 0
        self.size = int(self._range("bytes=-1")[1].rpartition("/")[2])

    def _range(self, span: str) -> tuple[bytes, str]:
        if not self.address.startswith(("https:", "http:")):
            raise Unreachable("the index is not a web server")
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.address, headers={"Range": span}), timeout=20
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

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self.size - self.position)
        if count <= 0:
            return 0
        data, _ = self._range(f"bytes={self.position}-{self.position + count - 1}")
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


def sources(version: str) -> Mapping[str, str]:
    """The argument parsers, their configs, the environment table, scheduler and encoder: file name -> text."""
    with zipfile.ZipFile(io.BufferedReader(Remote(wheel_address(version)), 1 << 18)) as wheel:
        patterns = (PARSERS, SERVE, SCHEDULING, ENCODING, CONFIGS, ENUMS)
        names = [name for name in wheel.namelist() if name == ENVS or any(part.match(name) for part in patterns)]
        return {name: wheel.read(name).decode() for name in names}


Kind = str
"""As in the catalogue's: a switch is --x and --no-x, bare --x only, either --x or --x VALUE, a list --x A B."""


class Option(NamedTuple):
    """What a release declares about one option; where the source leaves a doubt, any value is taken."""

    kind: Kind
    value: str = ""
    """`integer` or `number`: what Python's `int` or `float` reads; empty: any text."""
    choices: frozenset[str] = frozenset()
    """Empty: no closed list."""
    any_case: bool = False
    suggested: bool = False
    """The choices are what vLLM brings along; plugins may add others."""


def options(files: Mapping[str, str]) -> dict[str, Option]:
    """Every long option that `vllm serve` declares: literal `add_argument` calls, and the front end's own fields."""
    trees = {name: ast.parse(text) for name, text in files.items() if name != ENVS}
    parsers = [tree for name, tree in trees.items() if PARSERS.match(name) or SERVE.match(name)]
    source = Source(trees.values(), parsers)
    declared_options: dict[str, Option] = {}
    for option, declared in (each for tree in parsers for each in _declared(tree, source)):
        same = declared_options.get(option, declared)[1:] == declared[1:]
        declared_options[option] = declared if same else Option(declared.kind)
    return {name: option for name, option in declared_options.items() if name.startswith("--")}


class Source:
    """What annotations in a release's source refer to."""

    def __init__(self, trees: Iterable[ast.AST], parsers: Iterable[ast.AST]) -> None:
        nodes = [node for tree in trees for node in ast.walk(tree)]
        self.classes: dict[str, list[ast.ClassDef]] = {}
        self.aliases: dict[str, dict[str, ast.expr]] = {}
        self.special: set[tuple[str, str]] = set()
        """Class (empty: any) and field: what `get_kwargs` names, or whose arguments are changed before their use."""
        for node in nodes:
            match node:
                case ast.ClassDef():
                    self.classes.setdefault(node.name, []).append(node)
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ):
                    self.aliases.setdefault(name, {})[ast.unparse(value)] = value
                case ast.FunctionDef(name="get_kwargs" | "_compute_kwargs"):
                    self.special |= {("", text) for part in ast.walk(node) if (text := _text(part)) is not None}
        plain = {part for node in nodes if isinstance(node, ast.Call) for part in _handed_on(node)}
        for tree in parsers:
            variables = dict(_variables(tree))
            used = (_kwargs_of(node) for node in ast.walk(tree) if node not in plain)
            self.special |= {(variables.get(use[0], ""), use[1]) for use in used if use}

    def annotation(self, owner: str, field: str) -> ast.expr | None:
        """The type of a field, of the last class so called."""
        parts = self.classes[owner][-1].body if owner in self.classes else []
        fields = [part for part in parts if isinstance(part, ast.AnnAssign)]
        return next((part.annotation for part in fields if ast.unparse(part.target) == field), None)

    def option(self, owner: str, field: str) -> Option:
        """The option that vLLM's `get_kwargs` makes of a field."""
        annotation = self.annotation(owner, field)
        if annotation is None:
            return Option("value")
        kind = _kind_of_type(annotation)
        if (
            kind not in ("value", "list")
            or {(owner, field), ("", field)} & self.special
            or len(self.classes[owner]) > 1
        ):
            return Option(kind)
        return self._typed(kind, [part for part in self.union(annotation) if not _is_none(part)], owner, field)

    def _typed(self, kind: Kind, union: list[ast.expr], owner: str, field: str) -> Option:
        match union:
            case [ast.Name(id="int")]:
                return Option(kind, "integer")
            case [ast.Name(id="float")]:
                return Option(kind, "number")
            case [ast.Subscript(value=ast.Name(id="list" | "List" | "tuple" | "set"), slice=inner)] if kind == "list":
                parts = inner.elts[:1] if isinstance(inner, ast.Tuple) else [inner]
                element = [part for each in parts for part in self.union(each)]
                return self._typed(kind, element, owner, "") if _is_number(element) else Option(kind)
            case [ast.Subscript(value=ast.Name(id="Literal"), slice=inner)]:
                return self._chosen(kind, inner)
            case [ast.Name(id="str"), literal] | [literal, ast.Name(id="str")] if _is_literal(literal):
                return self._typed(kind, [literal], owner, "")._replace(suggested=True)
            case [ast.Name(id=name)] if names := self._names(name, self.classes[owner][0], field):
                return Option(kind, "", names, any_case=True)
        return Option(kind)

    def union(self, annotation: ast.expr) -> Iterator[ast.expr]:
        """The members of a union, with names of types looked up where they have one meaning."""
        match annotation:
            case ast.BinOp(op=ast.BitOr(), left=left, right=right):
                yield from (*self.union(left), *self.union(right))
            case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=parts)):
                yield from (member for part in parts for member in self.union(part))
            case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[part, *_])):
                yield from self.union(part)
            case ast.Subscript(value=ast.Name(id="Optional" | "SkipValidation"), slice=part):
                yield from self.union(part)
            case ast.Name(id=name) if len(self.aliases.get(name, ())) == 1:
                yield from self.union(next(iter(self.aliases[name].values())))
            case _:
                yield annotation

    def _chosen(self, kind: Kind, inner: ast.expr) -> Option:
        """One of some literals, some of which may be another `Literal`'s."""
        choices: list[ast.expr] = []
        for part in inner.elts if isinstance(inner, ast.Tuple) else [inner]:
            match list(self.union(part)):
                case [ast.Subscript(value=ast.Name(id="Literal"), slice=more)]:
                    choices += more.elts if isinstance(more, ast.Tuple) else [more]
                case other:
                    choices += other
        return _chosen(kind, choices)

    def _names(self, enum: str, owner: ast.ClassDef, field: str) -> frozenset[str]:
        """The members of an enum whose field takes them by name, in any case, as its validator says."""
        validators = [part for part in owner.body if isinstance(part, ast.FunctionDef) and _validates(part, field)]
        if len(validators) != 1 or len(self.classes.get(enum, ())) != 1:
            return frozenset()
        text = ast.unparse(validators[0])
        if f"return {enum}[value.upper()]" not in text:
            return frozenset()
        members = [part.targets[0] for part in self.classes[enum][0].body if isinstance(part, ast.Assign)]
        names = {member.id for member in members if isinstance(member, ast.Name) and not member.id.startswith("_")}
        return frozenset(names | ({"auto"} if "value.lower() == 'auto'" in text else set()))


def _text(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_literal(node: ast.expr) -> bool:
    return isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal"


def _is_number(union: list[ast.expr]) -> bool:
    return len(union) == 1 and isinstance(union[0], ast.Name) and union[0].id in ("int", "float")


def _chosen(kind: Kind, choices: list[ast.expr]) -> Option:
    """An option that takes one of some literals: all text, or all whole numbers."""
    values = [choice.value for choice in choices if isinstance(choice, ast.Constant)]
    if len(values) == len(choices) and {type(value) for value in values} in ({str}, {int}):
        return Option(kind, "integer" if isinstance(values[0], int) else "", frozenset(map(str, values)))
    return Option(kind)


def _validates(function: ast.FunctionDef, field: str) -> bool:
    return any(ast.unparse(mark).startswith(f"field_validator('{field}'") for mark in function.decorator_list)


def _kwargs_of(node: ast.AST | None) -> tuple[str, str] | None:
    """`model_kwargs["seed"]`: the variable and the field."""
    match node:
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str() as field)) if "kwargs" in name:
            return name, field
    return None


def _handed_on(call: ast.Call) -> Iterator[ast.expr]:
    """`**model_kwargs["seed"]`, or as the first of `**{**model_kwargs["seed"], "default": None}`: left as it is."""
    for keyword in call.keywords:
        match keyword.arg, keyword.value:
            case None, ast.Dict(keys=[None, *others], values=[first, *_]):
                if {other.value for other in others if isinstance(other, ast.Constant)} <= HARMLESS:
                    yield first
            case None, value:
                yield value


HARMLESS = {"default", "help", "deprecated", "dest", "metavar", "required"}
"""Arguments of `add_argument` that say nothing about the value."""


def _kind_of_type(annotation: ast.expr) -> Kind:
    words = set(re.findall(r"\w+", ast.unparse(annotation)))
    if "bool" in words:
        return "either" if "str" in words else "switch"
    return "list" if words & {"list", "List", "tuple", "Tuple", "set"} and "dict" not in words else "value"


def _declared(tree: ast.AST, source: Source) -> Iterator[tuple[str, Option]]:
    variables = dict(_variables(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            option = _option_of_call(node, variables, source)
            yield from ((name, option) for part in node.args if (name := _text(part)) is not None)
        if isinstance(node, ast.ClassDef) and node.name.endswith("FrontendArgs"):
            fields = [ast.unparse(part.target) for part in node.body if isinstance(part, ast.AnnAssign)]
            yield from (("--" + name.replace("_", "-"), source.option(node.name, name)) for name in fields)


def _variables(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """`model_kwargs = get_kwargs(ModelConfig)`: variable -> class."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(), args=[ast.Name(id=owner)])):
                yield name, owner


def _option_of_call(call: ast.Call, variables: Mapping[str, str], source: Source) -> Option:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    for name, value in given.items():
        match name, value:
            case "action", ast.Constant(value="store_true" | "store_false"):
                return Option("bare")
            case "action", ast.Attribute(attr="BooleanOptionalAction"):
                return Option("switch")
            case "nargs", ast.Constant(value="?"):
                return Option("either")
            case "nargs", ast.Constant(value="+" | "*"):
                return Option("list")
            case None, _:
                first = value.values[0] if isinstance(value, ast.Dict) and value.values else value
                variable, field = _kwargs_of(first) or ("", "")
                option = source.option(variables.get(variable, ""), field)
                return option if given.keys() - {None} <= HARMLESS else Option(option.kind)
    return _spelt_out(given)


def _spelt_out(given: Mapping[str | None, ast.expr]) -> Option:
    """`add_argument("--x", type=int, choices=[…])`."""
    if not given.keys() <= HARMLESS | {"type", "choices"}:
        return Option("value")
    match given.get("type"), given.get("choices"):
        case ast.Name(id="int"), None:
            return Option("value", "integer")
        case ast.Name(id="float"), None:
            return Option("value", "number")
        case None | ast.Name(id="str"), ast.List(elts=[_, *_] as choices):
            return _chosen("value", choices)
    return Option("value")


def functions(text: str, owner: str) -> dict[str, list[str]]:
    """The methods of a class, each with the names of its arguments."""
    definition = next(
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef) and node.name == owner
    )
    methods = [node for node in definition.body if isinstance(node, ast.FunctionDef)]
    return {method.name: [argument.arg for argument in method.args.args] for method in methods}


def variables(files: Mapping[str, str]) -> set[str]:
    """Every `VLLM_*` variable in the release's table of environment variables."""
    for node in ast.walk(ast.parse(files[ENVS])):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "environment_variables":
            value = getattr(node, "value", None)
            if isinstance(value, ast.Dict):
                keys = {key.value for key in value.keys if isinstance(key, ast.Constant)}
                return {key for key in keys if isinstance(key, str) and key.startswith("VLLM_")}
    return set()


Ranges = list[list[str | None]]


def _ranges(seen: Mapping[str, Collection[str]]) -> dict[str, Ranges]:
    """Name -> ranges of releases, from release -> names."""
    collected: dict[str, Ranges] = {}
    for name in sorted({name for names in seen.values() for name in names}):
        spans = collected[name] = []
        inside = False
        for version, names in seen.items():
            if name in names and not inside:
                spans.append([version, None])
            elif name not in names and inside:
                spans[-1][1] = version
            inside = name in names
    return collected


def rewrite(read: Callable[[str], Mapping[str, str]] = sources) -> None:
    """Write the catalogue's table of options anew, from every listed release."""
    releases = [row["version"] for row in json.loads((CATALOG / "releases.json").read_text())["rows"]]
    with ThreadPoolExecutor(8) as pool:
        files = dict(zip(releases, pool.map(read, releases), strict=True))
    declared = {version: options(text) for version, text in files.items()}

    def such(is_such: Callable[[Option], bool]) -> dict[str, Ranges]:
        return _ranges(
            {
                version: [name for name in parsed_options if is_such(parsed_options[name])]
                for version, parsed_options in declared.items()
            }
        )

    head = (
        "argument parsers and envs.py of the PyPI wheels; each name with the [first, first without] releases it is in;"
        " switch: --x and --no-x, bare: --x only, either: --x or --x VALUE, list: --x A B or one JSON text,"
        " all others: --x VALUE; integer, number: what VALUE must be; choices: each with its releases, in any_case or"
        " as it stands, and suggested where plugins may add more"
    )
    tables: dict[str, Any] = {"options": _ranges(declared)}
    for kind in ("switch", "bare", "either", "list"):
        tables[kind] = such(lambda option: option.kind == kind)  # noqa: B023 - asked at once
    for value in ("integer", "number"):
        tables[value] = such(lambda option: option.value == value)  # noqa: B023
    chosen = {
        name: _ranges(
            {
                version: parsed_options[name].choices if name in parsed_options else ()
                for version, parsed_options in declared.items()
            }
        )
        for name in such(lambda option: bool(option.choices))
    }
    tables |= {"choices": chosen, "any_case": such(lambda option: option.any_case)}
    tables |= {"suggested": such(lambda option: option.suggested)}
    tables["environment"] = _ranges({version: variables(text) for version, text in files.items()})
    parts = [
        f' "{table}": {{\n'
        + ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
        + "\n }"
        for table, rows in tables.items()
    ]
    (CATALOG / "options.json").write_text(f'{{\n "source": "{head}",\n' + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    rewrite()
