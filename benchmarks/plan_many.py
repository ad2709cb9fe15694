"""Plan and apply many stacks: requests, round trips, wall time and memory, each beside a naive way in the same run.

    .venv/bin/python -m benchmarks.plan_many
    .venv/bin/python -m benchmarks.plan_many --rate-limited     # a quarter of an hour

Starts an emulator of its own. Prints a Markdown table; the bars are the product's promises.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.harness.project import BASE, Project, merged
from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator

ROOT = Path(__file__).resolve().parent.parent
STACKS = 80
NEW = 20
RUNS = 3
LIMIT = 300
"""Requests a minute that UbiOps allows."""


def write_stacks(project: Project, count: int, folder: str) -> Path:
    """`count` stack files in a folder of their own."""
    target = project.folder / folder
    target.mkdir()
    for number in range(count):
        name = f"{folder}-{number:02d}"
        changes = {"stack": name, "deployment": {"name": name}, "service": {"name": name}}
        (target / f"{name}.yaml").write_text(json.dumps(merged(BASE, changes | {"env": {"A": "1", "B": "2"}})))
    return target


def emulator(folder: Path, speed: float, *more: str) -> AbstractContextManager[Emulator]:
    """A UbiOps that keeps the books only."""
    return testing.running("--speed", str(speed), "--runtime", "none", *more, data=folder)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.monotonic()
    result = work()
    return time.monotonic() - start, result


def command(project: Project, *args: str) -> float:
    """Seconds of one whole process."""

    def run() -> None:
        done = subprocess.run(
            [sys.executable, "-m", "whisperctl", *args],
            env=project.environ(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return timed(run)[0]


def peak_mebibytes(project: Project, *args: str) -> float:
    """Peak resident memory of one whole process."""
    code = (
        "import resource,subprocess,sys;"
        "subprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    line = [sys.executable, "-c", code, sys.executable, "-m", "whisperctl", *args]
    done = subprocess.run(line, env=project.environ(), capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


class Waves:
    """How many requests of a session follow one after the other: a new wave starts when nothing is in flight."""

    def __init__(self, rest: Any) -> None:
        self.rest, self.timeout = rest, rest.timeout
        self.in_flight, self.count, self.waves = 0, 0, 0
        self.lock = threading.Lock()

    def request(self, *args: Any, **more: Any) -> Any:
        with self.lock:
            self.waves += self.in_flight == 0
            self.in_flight += 1
            self.count += 1
        try:
            return self.rest.request(*args, **more)
        finally:
            with self.lock:
                self.in_flight -= 1


def requests_of_a_plan(project: Project, file: Path) -> tuple[int, int, int]:
    """Requests, waves of requests, and connections of one plan."""
    from whisperctl.engine import plan_stacks

    world = project.world()
    api = world.apis["demo"]
    waves = Waves(api.rest)
    adapter: Any = api.rest.session.get_adapter(api.host)
    pools = adapter.poolmanager.pools
    plan_stacks(project.load(file), replace(world, apis={"demo": api.over(waves)}))
    connections = sum(pools[key].num_connections for key in pools.keys())  # noqa: SIM118 - not a dict: it has no iterator
    return waves.count, waves.waves, connections


def naive_reads(project: Project, names: list[str]) -> int:
    """What a plan needs to know, read with the official client as it comes: one object after the other."""
    import ubiops

    configuration = ubiops.Configuration(
        host=project.emulator.host, api_key={"Authorization": f"Token {project.emulator.token}"}
    )
    core = ubiops.CoreApi(ubiops.ApiClient(configuration))
    count = 0
    for name in names:
        core.instance_type_groups_list("demo")
        core.environments_get("demo", "whisperctl")
        core.environment_tags_list("demo", "whisperctl")
        core.deployments_get("demo", name)
        core.deployment_versions_get("demo", name, "v1")
        core.deployment_version_environment_variables_list("demo", name, "v1")
        core.services_get("demo", name)
        count += 7
    return count


def planning(folder: Path) -> list[tuple[str, str, str, str]]:
    with emulator(folder / "fast", 100000) as started:
        project = Project(emulator=started, folder=folder, parallelism=10)
        stacks = write_stacks(project, STACKS, "many")
        command(project, "apply", "--yes", str(stacks))
        one = min(stacks.iterdir())
        count, waves, connections = requests_of_a_plan(project, one)
        project.forget()
        together = statistics.median(command(project, "plan", str(stacks)) for _ in range(RUNS))
        reads = [entry for entry in project.journal() if "/_emulator/" not in entry["path"]]
        single = statistics.median(command(project, "plan", str(one)) for _ in range(RUNS))
        memory = peak_mebibytes(project, "plan", str(stacks))
        names = [file.stem for file in sorted(stacks.iterdir())]
        naive, naive_count = timed(lambda: naive_reads(project, names))
        return [
            ("plan of one unchanged stack: requests", str(count), "<= 8", "7 (official client, by hand)"),
            ("... one after the other", str(waves), "<= 4", "7"),
            ("... connections", str(connections), "reused", "7 (the client as released opens one a call)"),
            (f"plan of {STACKS} stacks: requests", f"{len(reads) // RUNS}", "<= 300", str(naive_count)),
            (
                f"plan of {STACKS} stacks: seconds, whole process",
                f"{together:.2f}",
                f"<= 1/5 of {single * STACKS:.1f} (one after the other)",
                f"{naive:.2f} (reads alone, official client)",
            ),
            (f"plan of {STACKS} stacks: peak memory, MiB", f"{memory:.0f}", "<= 120", "-"),
        ]


def applying(folder: Path) -> list[tuple[str, str, str, str]]:
    """At a pace where an environment takes some seconds to build, as it takes minutes on UbiOps."""
    with emulator(folder / "slow", 60) as started:
        project = Project(emulator=started, folder=folder)
        one = command(project, "apply", "--yes", str(write_stacks(project, 1, "single")))
        command(project, "destroy", "--yes", str(folder / "single"))
        project.forget()
        many = command(project, "apply", "--yes", str(write_stacks(project, NEW, "new")))
        made = [entry["path"] for entry in project.journal() if entry["method"] == "POST"]
        builds = sum(path.endswith("/build") for path in made)
    return [
        (f"apply of {NEW} new stacks: environment builds", str(builds), "1", str(NEW)),
        (f"apply of {NEW} new stacks: seconds", f"{many:.1f}", f"<= {1.5 * one:.1f} (1.5 x one)", f"{NEW * one:.1f}"),
    ]


def rate_limited(folder: Path) -> list[tuple[str, ...]]:
    """The life of many stacks at UbiOps' 300 requests a minute, beside the same without a limit."""
    lives = [one_life(folder / f"limit-{limit}", limit) for limit in (0, LIMIT)]
    return [
        (step, str(free_sent), f"{free:.0f}", str(sent), str(refused), f"{seconds:.0f}", str(round(seconds - free)))
        for (step, free_sent, _, free), (_, sent, refused, seconds) in zip(*lives, strict=True)
    ]


def one_life(folder: Path, limit: int) -> Iterator[tuple[str, int, int, float]]:
    """Each step, the requests sent, those refused with 429, and the seconds of the whole process."""
    with emulator(folder, 600, "--rate-limit", str(limit)) as started:
        project = Project(emulator=started, folder=folder)
        stacks = str(write_stacks(project, STACKS, "many"))
        for line in (["plan"], ["apply", "--yes"], ["plan"], ["destroy", "--yes"]):
            project.forget()
            seconds = command(project, *line, stacks)  # fails unless it exits 0
            statuses = [entry["status"] for entry in project.journal() if "/_emulator/" not in entry["path"]]
            yield line[0], len(statuses), statuses.count(429), seconds


def process_seconds(*line: str) -> tuple[float, float]:
    """Wall and CPU seconds, the medians of several whole processes."""
    walls, cpus = [], []
    for _ in range(11):
        before = os.times()
        walls.append(timed(lambda: subprocess.run(line, capture_output=True, check=True, cwd=ROOT))[0])
        after = os.times()
        cpus.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(walls), statistics.median(cpus)


def starting() -> list[tuple[str, str, str, str]]:
    """How long the program takes to say something: wall seconds, and in brackets those of the CPU."""
    python = sys.executable
    click = process_seconds(python, "-c", "import click")
    whisperctl = process_seconds(python, "-m", "whisperctl", "--help")
    validate = process_seconds(python, "-m", "whisperctl", "validate", "specs/whisper-small-t4.yaml")
    script = Path(python).with_name("ubiops")
    beside = "- (the official CLI is not installed)"
    if script.exists():
        beside = "{:.2f} ({:.2f}) for `ubiops --help`".format(*process_seconds(str(script), "--help"))
    shown = "{:.3f} ({:.3f})".format
    return [
        ("`whisperctl --help`: seconds (CPU)", shown(*whisperctl), f"<= {shown(*(1.8 * s for s in click))}", beside),
        ("`whisperctl validate`: seconds (CPU)", shown(*validate), "<= 0.30", beside),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate-limited", action="store_true", help="80 stacks at 300 requests a minute, nothing else")
    limited = parser.parse_args().rate_limited
    with tempfile.TemporaryDirectory(prefix="whisperctl-bench-") as name:
        if limited:
            head = (f"{STACKS} stacks", "no limit: requests", "seconds", f"{LIMIT} a minute: requests", "of them 429",
                    "seconds", "waited")  # fmt: skip
            print_table(head, rate_limited(Path(name)))
            return
        rows = [*starting(), *planning(Path(name)), *applying(Path(name))]
    print_table(("what", "here", "bar", "beside it"), rows)


def print_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """As Markdown."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
