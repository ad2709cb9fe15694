"""Print how big and how branched the code is, as a Markdown row a package: `scripts/figures.py [CHECKOUT]`.

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


def row(folder: Path, but: str = "") -> str:
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
        len(functions),
        f"{mean(branches):.2f} / {max(branches)} / {over}",
        sum(bool(label.search(text)) for text in texts),
        sum(bool(KINDS.search(text)) for text in texts),
    )
    return f"| {folder.name} | {' | '.join(map(str, figures))} |"


def layers(checkout: Path) -> int:
    """The layers of the contract that names the most."""
    contracts = configparser.ConfigParser(interpolation=None)
    contracts.read(checkout / ".importlinter")
    return max(len(contracts[name].get("layers", "").split("\n")) - 1 for name in contracts)


def main(checkout: Path) -> None:
    columns = ["package", "modules", "lines", "median / most", "functions", "mean / most / above 10"]
    print("|", " | ".join([*columns, "name a label", "match kinds"]), "|")
    print("|---|---|---|---|---|---|---|---|")
    emulator = checkout / "ubiops_emulator"
    print(row(checkout / "whisperctl", but="emulator"))
    print(row(emulator if emulator.exists() else checkout / "whisperctl" / "emulator"))
    print(f"\nLayers of imports: {layers(checkout)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1])
