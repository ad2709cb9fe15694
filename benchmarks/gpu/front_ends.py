"""Front ends on a CPU: rendered packages of one model, each alone on the machine, loaded in turn, in rounds.

`front_ends.py --packages FOLDER --name NAME --out FOLDER`: FOLDER holds `servers-1` and `servers-2`, rendered with
`api_server_count` 1 and 2.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import median

from bench import measure
from load import Load
from server import Server
from variants import Variant

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
VARIANTS = {
    "one front end": Variant(package="servers-1"),
    "one front end, one OpenMP thread": Variant(package="servers-1", env=ONE_THREAD),
    "two front ends, one OpenMP thread": Variant(package="servers-2", env=ONE_THREAD),
}
REQUESTS = {1: 16, 8: 64}


def main() -> None:
    """Measure, keep every run, print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--name", required=True, help="the packages' served name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    load, rates = Load(options.name, 2), defaultdict(list)
    for turn in range(1, options.rounds + 1):
        for name, variant in VARIANTS.items():
            server = Server(variant, options.packages, options.out / f"{turn}-{variant.package}.log")
            try:
                if not server.wait(300):
                    raise SystemExit(server.problem())
                load.run([server.url], 8, seconds=2)
                for level, requests in REQUESTS.items():
                    record = measure(server, load, None, level, requests)
                    rates[level, name].append(record["audio_s_per_s"])
                    with (options.out / "results.jsonl").open("a") as file:
                        file.write(json.dumps({"variant": name, "round": turn, **record}) + "\n")
            finally:
                server.stop()
    load.close()
    for (level, name), some in sorted(rates.items()):
        print(f"{level} {name}: median {median(some):.0f}, {min(some):.0f} to {max(some):.0f} audio-s/s")


if __name__ == "__main__":
    main()
