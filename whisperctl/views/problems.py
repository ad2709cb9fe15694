"""What `validate` found, as text, as one JSON document, as SARIF, or as GitHub's workflow commands."""

from __future__ import annotations

from collections.abc import Iterator

from whisperctl.errors import Problem
from whisperctl.loading.checked import Checked
from whisperctl.output import blank, clean, json_text, steerless
from whisperctl.spec import Stack
from whisperctl.views.sarif import sarif


def report(checked: Checked, form: str) -> tuple[str, str]:
    """What goes to stdout and what to stderr."""
    match form:
        case "json":
            return json_text(_document(checked)) + "\n", ""
        case "sarif":
            return sarif(checked.problems) + "\n", ""
        case "github":
            return "\n".join(_command(problem) for problem in checked.problems), ""
        case _:
            good = [_summary(stack) for stack in checked.stacks]
            good += [f"{part}: a part without `stack:` is valid as far as it goes" for part in checked.parts]
            return _lines(iter(good)), _lines(str(problem) for problem in checked.problems)


def _lines(lines: Iterator[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _summary(stack: Stack) -> str:
    model, group = stack.model, stack.instance_type_group
    where = f"{group.gpu_count} × {group.gpu}" if group.gpu_count > 1 else group.gpu
    return (
        f"{stack.file}: stack {stack.name} is valid: {model.name} for {model.task} with vLLM {stack.vllm.version}"
        f" on {where}; schema, names, options, memory, ports and labels checked"
    )


def _document(checked: Checked) -> dict[str, object]:
    from whisperctl.plan.document import FORMAT_VERSION  # here, since it brings more than the other forms need

    return {
        "format_version": FORMAT_VERSION,
        "valid": checked.valid,
        "stacks": [{"name": stack.name, "file": stack.file} for stack in checked.stacks],
        "parts": list(checked.parts),
        "problems": [
            {
                "file": problem.where.file,
                "line": problem.where.line,
                "column": problem.where.column,
                "path": problem.path,
                "severity": problem.severity,
                "message": problem.message,
                "hint": problem.hint,
                "name": problem.name,
            }
            for problem in checked.problems
        ],
    }


def _command(problem: Problem) -> str:
    """A workflow command; `%`, line ends and, in properties, `:` and `,` are escaped as GitHub asks."""
    where = problem.where
    text = _escaped(". ".join(part for part in (problem.message, problem.hint) if part))
    head = _escaped(problem.path) + ": " if problem.path else ""
    file = _quoted(steerless(blank(where.file))).replace(":", "%3A").replace(",", "%2C")
    return f"::{problem.severity} file={file},line={where.line},col={where.column}::{head}{text}"


def _escaped(text: str) -> str:
    return _quoted(clean(text))


def _quoted(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
