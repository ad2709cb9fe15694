"""What `validate` found as SARIF 2.1.0, the format in which code scanning services take a linter's results.

A rule is a warning's name, or the section of the file for an error; places are relative to the folder that the command
runs in, which a pipeline's is the repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from whisperctl import __version__
from whisperctl.errors import Problem
from whisperctl.output import json_text

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
DOCUMENTATION = "https://whisperctl.github.io/whisperctl/latest/stack-reference.html"


def sarif(problems: Sequence[Problem]) -> str:
    """One run with a result for each problem, as a JSON document."""
    rules = sorted({_rule(problem) for problem in problems})
    driver = {
        "name": "whisperctl",
        "semanticVersion": __version__,
        "informationUri": DOCUMENTATION,
        "rules": [{"id": rule, "helpUri": DOCUMENTATION} for rule in rules],
    }
    results = [_result(problem, rules) for problem in problems]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json_text({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rule(problem: Problem) -> str:
    """`vllm-advisory` of a warning with that name, `version` of an error in that section, else `file`."""
    return problem.name or problem.path.partition(".")[0].partition("[")[0] or "file"


def _result(problem: Problem, rules: Sequence[str]) -> dict[str, Any]:
    rule = _rule(problem)
    where = problem.where
    return {
        "ruleId": rule,
        "ruleIndex": rules.index(rule),
        "level": problem.severity,
        "message": {"text": problem.text},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": quote(where.file)},
                    "region": {"startLine": where.line, "startColumn": where.column},
                }
            }
        ],
    }
