"""A script for the interpreter that will run a package: says what is installed there, and what a package offers.

Contract: standard library only; reads one JSON object from standard input, writes one to standard output.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import sys


def marker_environment() -> dict[str, str]:
    """The values that requirement markers ask for."""
    implementation = sys.implementation.version
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": ".".join(map(str, implementation[:3])),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def distribution(name: str) -> dict[str, object] | None:
    """Version, extras and whether anything of it can be imported; None when it is not installed."""
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    tops = top_levels(installed)
    importable = not tops or any(importlib.util.find_spec(top) is not None for top in tops)
    return {
        "version": installed.version,
        "extras": installed.metadata.get_all("Provides-Extra") or [],
        "importable": importable,
    }


def top_levels(installed: importlib.metadata.Distribution) -> list[str]:
    """Names that the distribution makes importable."""
    text = installed.read_text("top_level.txt")
    if text is not None:
        return text.split()
    names = {str(path).split("/", 1)[0] for path in installed.files or [] if str(path).endswith(".py")}
    return [stem for stem in (name.removesuffix(".py") for name in names) if re.fullmatch(r"[A-Za-z_]\w*", stem)]


def methods(folder: str, file_name: str) -> dict[str, object]:
    """Import the package's main file, as a build does, and look at its class.

    Raises:
        ImportError: the file is not a Python file, or has no class `Deployment`.
    """
    sys.path[:0] = [folder, os.path.join(folder, "libraries")]  # noqa: PTH118 - nothing but strings needed
    os.chdir(folder)
    spec = importlib.util.spec_from_file_location("deployment", os.path.join(folder, file_name))  # noqa: PTH118
    if spec is None or spec.loader is None:
        raise ImportError(f"{file_name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["deployment"] = module
    spec.loader.exec_module(module)
    deployment = getattr(module, "Deployment", None)
    if deployment is None:
        raise ImportError(f"{file_name} has no class Deployment")
    return {
        "has_request_method": callable(getattr(deployment, "request", None)),
        "has_requests_method": callable(getattr(deployment, "requests", None)),
    }


def main() -> None:
    """Print what a builder asks about this interpreter, as JSON."""
    # This script's own folder must not shadow a module of the package.
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120
    question = json.load(sys.stdin)
    answer: dict[str, object] = {
        "markers": marker_environment(),
        "installed": {name: distribution(name) for name in question["names"]},
    }
    result = os.dup(1)
    os.dup2(2, 1)
    if question.get("folder"):
        try:
            answer |= methods(question["folder"], question["file"])
        except BaseException as error:
            answer["error"] = f"{type(error).__name__}: {error}"
    with os.fdopen(result, "w") as stream:
        json.dump(answer, stream)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
