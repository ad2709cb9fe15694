"""Print how big, branched and layered the code is, as a Markdown row a package: `scripts/figures.py [CHECKOUT]`.

Complexity is counted for each function without those inside it: 1, and 1 for each `if`, loop, `except`, conditional
expression, condition of a comprehension, `match` case and further operand of `and` and `or`.
"""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median

BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
LABELS = Path(__file__).resolve().parents[1] / "whisperctl" / "state" / "labels.py"
"""The room that names every label: its constants say what to look for, in an older checkout too."""
KINDS = re.compile(r"match (?:\w+\.)*address\.kind\b")


def label_names() -> re.Pattern[str]:
    """A label's name, or one of the constants that older checkouts have for them."""
    constants = (node.value for node in ast.walk(ast.parse(LABELS.read_text())) if isinstance(node, ast.Constant))
    names = {text.rstrip("-") for text in constants if isinstance(text, str) and re.fullmatch(r"whisperctl-\S+", text)}
    return re.compile(rf"(?:{'|'.join(sorted(names))})\b|_LABEL\b")


def complexity(function: ast.AST) -> int:
    """1, and 1 for each branch."""
    return 1 + sum(map(_branches, _own(function)))


def _branches(node: ast.AST) -> int:
    match node:
        case ast.BoolOp():
            return len(node.values) - 1
        case ast.comprehension():
            return 1 + len(node.ifs)
        case _:
            return isinstance(node, BRANCHES)


def _own(function: ast.AST) -> Iterator[ast.AST]:
    """What is in a function, but not in those that are defined inside it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, FUNCTIONS):
            yield child
            yield from _own(child)


def row(folder: Path, layers: str, but: str = "") -> str:
    """The figures of a package's modules, those below the folder `but` left out."""
    files = [file for file in sorted(folder.rglob("*.py")) if not but or but not in file.relative_to(folder).parts]
    texts = [file.read_text(encoding="utf-8") for file in files]
    lines = sorted(text.count("\n") for text in texts)
    functions = [node for text in texts for node in ast.walk(ast.parse(text)) if isinstance(node, FUNCTIONS)]
    branches = [complexity(function) for function in functions]
    over = sum(number > 10 for number in branches)
    label = label_names()
    figures = (
        len(files),
        f"{sum(lines):,}",
        f"{median(lines):.0f} / {lines[-1]}",
        f"{len(functions):,}",
        f"{mean(branches):.2f} / {max(branches)} / {over}",
        layers,
        sum(bool(label.search(text)) for text in texts),
        sum(bool(KINDS.search(text)) for text in texts),
    )
    return f"| {folder.name} | {' | '.join(map(str, figures))} |"


def layers(checkout: Path, package: str) -> str:
    """How many layers a package's import contract has; "-" where it has none."""
    contracts = configparser.ConfigParser(interpolation=None)
    contracts.read(checkout / ".importlinter")
    listed = [contract["layers"] for contract in contracts.values() if contract.get("containers") == package]
    return str(len(listed[0].strip().split("\n"))) if listed else "-"


def main(checkout: Path) -> None:
    columns = ["package", "modules", "lines", "of a module: median / most", "functions"]
    columns += ["complexity: mean / most / above 10", "layers of imports", "name a label", "match kinds"]
    print("|", " | ".join(columns), "|")
    print("|" + "---|" * len(columns))
    product, emulator = checkout / "whisperctl", checkout / "ubiops_emulator"
    if not emulator.exists():
        emulator = product / "emulator"
    print(row(product, layers(checkout, product.name), but="emulator"))
    print(row(emulator, layers(checkout, emulator.name)))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
