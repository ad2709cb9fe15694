"""Ten thousand rounds of `watch` over one stack whose drift comes and goes: memory at the start and at the end.

    .venv/bin/python -m benchmarks.watch_rounds [--rounds 10000]

Starts an emulator of its own; no time passes between two rounds. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.harness.project import Project
from ubiops_emulator import testing
from whisperctl.operate.watch.rounds import Rounds

WARM = 200
"""Rounds before the first look at the memory."""
FLAT = 8.0
"""MiB that it may have grown by."""


def resident_mebibytes() -> float:
    """Of this process now."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=10_000)
    count = parser.parse_args().rounds
    with (
        tempfile.TemporaryDirectory() as folder,
        testing.running("--speed", "1000", "--runtime", "none", data=Path(folder) / "data") as emulator,
    ):
        project = Project(emulator=emulator, folder=Path(folder))
        project.control("PATCH", "switches", {"rate_limit": 10_000_000})
        project.apply(version={"maximum_instances": 2})
        stacks, world, notices = project.load(), project.world(), []
        watch = Rounds(
            stacks=lambda: stacks, world=world, clock=world.clock, interval=1, probe_every=0, heals=False,
            tell=lambda begun, _healed: notices.append(len(begun)),
        )  # fmt: skip
        start, at_first = time.monotonic(), 0.0
        for number in range(count):
            if number % 100 in (50, 60):
                change = {"maximum_instances": 3 if number % 100 == 50 else 2}
                project.api().update_version("alpha", "v1", change)
            watch.round()
            if number == WARM:
                at_first = resident_mebibytes()
        seconds, at_last = time.monotonic() - start, resident_mebibytes()
    assert at_last - at_first <= FLAT, f"it grew from {at_first:.1f} to {at_last:.1f} MiB"
    print(f"| rounds | notices | MiB after {WARM} | MiB at the end | milliseconds a round |")
    print("|---|---|---|---|---|")
    print(f"| {count} | {sum(notices)} | {at_first:.1f} | {at_last:.1f} | {seconds / count * 1000:.0f} |")


if __name__ == "__main__":
    main()
