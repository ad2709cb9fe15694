"""Plan two hundred projects at UbiOps' rate limit: requests, and the windows of a minute that they take.

    .venv/bin/python -m benchmarks.fleet [--projects 200]     # five minutes

Starts an emulator of its own that refuses more than 300 requests a minute, makes a project with a stack and a service
user with a token for each, and plans them all with one command. The least number of windows is by arithmetic: 300
requests each, of which whisperctl leaves two to renewals of leases. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.harness.official import client_of
from tests.harness.project import BASE, Project, merged
from ubiops_emulator import testing
from whisperctl.cli.options import token_variable
from whisperctl.control.rate_limit import LEFT_OVER

LIMIT = 300
"""Requests a minute that UbiOps allows from one address."""
PLENTY = 1_000_000
"""As many, while the projects are made."""


def add_projects(project: Project, count: int) -> dict[str, str]:
    """Projects with a stack file and a service user each; the variables of their tokens."""
    core = client_of(project.emulator)
    tokens = {}
    for number in range(count):
        name = f"speech-{number:03d}"
        core.projects_create({"name": name, "organization_name": "emulator"})
        user = core.service_users_create(name, {"name": "ci"})
        role = {"assignee": user.id, "assignee_type": "user", "role": "project-admin"}
        core.role_assignments_create(name, role)
        tokens[token_variable(name)] = user.token
        stack = merged(BASE, {"stack": name, "project": name, "version": {"minimum_instances": 0}})
        (project.folder / f"{name}.yaml").write_text(json.dumps(stack))
    core.api_client.close()
    return tokens


def ran(project: Project, tokens: dict[str, str], *args: str) -> tuple[float, str]:
    """Seconds of a whole process that must succeed, and what it printed."""
    environ = project.environ(UBIOPS_API_TOKEN="", UBIOPS_PROJECT="", **tokens)
    start = time.monotonic()
    command = [sys.executable, "-m", "whisperctl", *args, str(project.folder)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return time.monotonic() - start, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--projects", type=int, default=200)
    count = parser.parse_args().projects
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "stacks"
        target.mkdir()
        with testing.running("--speed", "1000", "--runtime", "none", data=Path(folder) / "data") as emulator:
            project = Project(emulator=emulator, folder=target)
            project.control("PATCH", "switches", {"rate_limit": PLENTY})
            tokens = add_projects(project, count)
            ran(project, tokens, "apply", "--yes")
            project.forget()
            project.control("PATCH", "switches", {"rate_limit": LIMIT})
            seconds, shown = ran(project, tokens, "plan")
            journal = [entry for entry in project.journal() if "/_emulator/" not in entry["path"]]
    refused = sum(entry["status"] == 429 for entry in journal)
    windows = math.ceil(len(journal) / (LIMIT - LEFT_OVER))
    assert f"In all {count} stacks: no changes" in shown, shown[-500:]
    print("| projects | requests | refused (429) | windows by arithmetic | least seconds | seconds |")
    print("|---|---|---|---|---|---|")
    print(f"| {count} | {len(journal)} | {refused} | {windows} | {(windows - 1) * 60} | {seconds:.0f} |")


if __name__ == "__main__":
    main()
