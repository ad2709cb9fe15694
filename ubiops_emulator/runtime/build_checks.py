"""Builds: is the package one, and is what it requires really there in the interpreter that will run it?

Contract: returns a verdict with an error text and log lines; never raises for what a package does.
"""

from __future__ import annotations

import ast
import asyncio
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ubiops_emulator.runtime import models, packages

FACTS = Path(__file__).with_name("facts.py")
CHECK_TIMEOUT = 120.0
MAIN_FILE = "deployment.py"
METHODS = ("has_request_method", "has_requests_method")
BASE_SIZE = 2_147_483_648


@dataclass(slots=True)
class Verdict:
    """A build's result: an empty error means success; `lines` are the requirements it was checked against."""

    error: str = ""
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)


def requirement_lines(text: str) -> list[str]:
    """The requirements of a requirements.txt: continued lines joined, comments and options dropped."""
    lines = text.replace("\\\n", " ").splitlines()
    stripped = (line.split(" #")[0].split(" --hash")[0].strip() for line in lines)
    return [line for line in stripped if line and not line.startswith(("#", "-"))]


def unmet(lines: list[str], facts: Mapping[str, Any]) -> list[str]:
    """Requirements that the interpreter does not satisfy, each with what is there instead."""
    problems = []
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            problems.append(f"{line} (not a requirement: {str(error).splitlines()[0]})")
            continue
        if requirement.marker is not None and not requirement.marker.evaluate(dict(facts["markers"]) | {"extra": ""}):
            continue
        problem = _unmet(requirement, facts["installed"].get(requirement.name))
        if problem:
            problems.append(f"{requirement} ({problem})")
    return problems


def _unmet(requirement: Requirement, installed: Mapping[str, Any] | None) -> str:
    if installed is None:
        return "not installed"
    if not requirement.specifier.contains(installed["version"], prereleases=True):
        return f"version {installed['version']} is installed"
    extras = {canonicalize_name(extra) for extra in installed["extras"]}
    missing = sorted(extra for extra in requirement.extras if canonicalize_name(extra) not in extras)
    if missing:
        return f"the installed version has no extra {', '.join(missing)}"
    return "" if installed["importable"] else "installed, but it cannot be imported"


def names(lines: list[str]) -> list[str]:
    """The distributions that requirement lines speak of."""
    distributions = []
    for line in lines:
        try:
            distributions.append(Requirement(line).name)
        except InvalidRequirement:
            continue
    return distributions


async def ask(python: str, question: dict[str, Any], env: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Run `facts.py` in an interpreter; its answer and what the package printed."""
    process = await asyncio.create_subprocess_exec(
        python,
        "-B",
        str(FACTS),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(env),
        start_new_session=True,
    )
    try:
        out, error = await asyncio.wait_for(process.communicate(json.dumps(question).encode()), CHECK_TIMEOUT)
    except TimeoutError:
        process.kill()
        await process.wait()
        return {"error": f"importing the package took longer than {CHECK_TIMEOUT:.0f} s"}, []
    printed = error.decode(errors="replace").splitlines()
    try:
        return json.loads(out), printed
    except ValueError:
        last = printed[-1] if printed else f"exit code {process.returncode}"
        return {"error": f"the build process ended early: {last}"}, printed


async def read_tag(path: Path | None) -> Verdict:
    """What an environment tag's archive asks for."""
    try:
        texts = await asyncio.to_thread(packages.dependency_files, path, "environment_package") if path else {}
    except packages.BadPackage as error:
        return Verdict(error=str(error))
    if not texts:
        return Verdict(error="Could not find the requirements file")
    verdict = Verdict(lines=requirement_lines(texts.get("requirements.txt", "")))
    verdict.facts["_dependencies"] = [{"name": name, "content": text} for name, text in texts.items()]
    verdict.facts["size"] = BASE_SIZE + sum(len(text) for text in texts.values())
    if "ubiops.yaml" in texts:
        verdict.log.append("System packages of ubiops.yaml are noted, not installed, by the emulator")
    return verdict


async def read_package(path: Path | None, file_name: str) -> Verdict:
    """What a deployment package offers and asks for, by its looks; None is an empty revision."""
    if path is None:
        return Verdict(facts={"has_request_method": None, "has_requests_method": None})
    try:
        text = await asyncio.to_thread(packages.source, path, file_name)
        own = await asyncio.to_thread(packages.dependency_files, path, "deployment_package")
    except packages.BadPackage as error:
        return Verdict(error=str(error))
    if text is None:
        return Verdict(error=f"Could not find {file_name} in the deployment package")
    verdict = _check_class(text, file_name)
    verdict.lines = requirement_lines(own.get("requirements.txt", ""))
    return verdict


async def check_installed(python: str, env: Mapping[str, str], verdict: Verdict) -> Verdict:
    """Whether the interpreter satisfies the verdict's requirement lines."""
    verdict.log += [f"Requirement {line}" for line in verdict.lines]
    answer, printed = await ask(python, {"names": names(verdict.lines)}, env)
    verdict.log += printed
    verdict.error = answer.get("error") or _missing_text(verdict.lines, answer)
    return verdict


async def try_import(path: Path, file_name: str, python: str, env: Mapping[str, str], verdict: Verdict) -> Verdict:
    """Import the package's main file, as UbiOps does to find its methods."""
    with tempfile.TemporaryDirectory(prefix="build-") as scratch:
        folder = await asyncio.to_thread(packages.unpack, path, Path(scratch), "deployment_package")
        answer, printed = await ask(python, {"names": [], "folder": str(folder), "file": file_name}, env)
    verdict.log += printed
    verdict.error = answer.get("error") or ""
    for key in METHODS:
        verdict.facts[key] = answer.get(key)
    if not verdict.error and not any(verdict.facts[key] for key in METHODS):
        verdict.error = "The Deployment class has neither a request nor a requests method"
    return verdict


def _missing_text(lines: list[str], answer: Mapping[str, Any]) -> str:
    problems = unmet(lines, answer)
    return f"Requirements are not satisfied: {'; '.join(problems)}" if problems else ""


def _check_class(text: str, file_name: str) -> Verdict:
    error, methods, names = _class_of(text, file_name)
    if error:
        return Verdict(error=error)
    facts: dict[str, Any] = {"has_request_method": "request" in methods, "has_requests_method": "requests" in methods}
    return Verdict(facts=facts | {"_models": list(names)}, log=["Package structure is valid"])


@lru_cache(maxsize=32)  # the same package is uploaded again and again, and it takes longer to parse than all else
def _class_of(text: str, file_name: str) -> tuple[str, frozenset[str], tuple[str, ...]]:
    """What is wrong with a main file, if anything; the methods of its class; the names that it serves models under."""
    nothing: tuple[frozenset[str], tuple[str, ...]] = (frozenset(), ())
    try:
        tree = ast.parse(text, file_name)
    except (SyntaxError, ValueError) as error:
        return f"{file_name} is not valid Python: {error}", *nothing
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Deployment"]
    if not classes:
        return f"{file_name} has no class Deployment", *nothing
    methods = frozenset(n.name for n in classes[-1].body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return "", methods, tuple(models.served_names(tree))
