"""Start variants one after another and load each with several numbers of concurrent requests.

A plan is a text file, one variant a line: `NAME LEVEL[,LEVEL...] [VARIABLE=VALUE...] [OPTION...]`. A level is a number
of concurrent requests, with a `v` behind it for outputs of 60 to 180 tokens instead of 120. NAME may end in `+` and any
word, to tell it from the variant that it changes. The plan is read again before every start, so that lines can be added
while it runs; a line `end` ends it. Results go to OUT/results.jsonl, one line a level, as they come.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from load import SECONDS, TOKENS, Load, Outcome
from machine import Gpu, counters, cpu_seconds
from server import Server
from stacks import sample
from variants import VARIANTS, Variant

REQUESTS = {1: 16, 8: 96, 64: 512, 256: 1024}
PARTS = ("request_queue_time", "request_prefill_time", "request_decode_time", "e2e_request_latency")


class Bench:
    """The runner and what it shares between variants."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.begin = options, time.monotonic()
        self.load = Load(options.name, options.clients)
        self.tutorial_load = Load("whisper", options.clients)
        self.gpu = Gpu() if options.gpu else None
        self.starts = 0

    def run(self) -> None:
        """Work through the plan; wait for more lines until `end`."""
        done = 0
        while True:
            lines = [line.split() for line in self.options.plan.read_text().splitlines() if line.strip()]
            if done == len(lines):
                time.sleep(0.5)
            elif lines[done][0] == "end":
                break
            else:
                name, levels, *changes = lines[done]
                self.variant(name, levels.split(","), changes)
                done += 1
        self.load.close()
        self.tutorial_load.close()

    def variant(self, name: str, levels: list[str], changes: list[str]) -> None:
        """Start, load, stop."""
        self.starts += 1
        variant = changed(VARIANTS[name.partition("+")[0]], changes)
        log = self.options.out / "logs" / f"{self.starts:02d}-{name}.log"
        log.parent.mkdir(exist_ok=True)
        begin = time.monotonic()
        server = Server(variant, self.options.packages, log)
        started = server.wait(self.options.patience)
        record = {
            "variant": name,
            "changes": changes,
            "start": self.starts,
            "at": round(begin - self.begin, 1),
            "started": started,
        }
        record["startup_s"] = round(time.monotonic() - begin, 1)
        try:
            if started:
                record["gpu_mib"] = round(self.gpu.memory()) if self.gpu else 0
                self.levels(server, variant, levels, record)
            else:
                print(server.problem(), flush=True)
                self.write(record)
        finally:
            server.stop()
        deadline = time.monotonic() + 10
        while self.gpu and self.gpu.memory() > 3000 and time.monotonic() < deadline:
            time.sleep(0.2)

    def levels(self, server: Server, variant: Variant, levels: list[str], record: dict[str, Any]) -> None:
        """Load a running server with one level after the other."""
        for level in levels:
            self.write({**record, **self.level(server, variant, level, first=level == levels[0])})
        if "profile" in record["variant"]:
            sample(server, self.load, self.options.out / f"stacks-{self.starts:02d}")

    def level(self, server: Server, variant: Variant, level: str, *, first: bool) -> dict[str, Any]:
        """Warm up, then measure."""
        load = self.load if variant.rendered else self.tutorial_load
        concurrency, varied = int(level.rstrip("v")), level.endswith("v")
        load.run([server.url], concurrency, seconds=3.0 if first else 1.0, varied=varied)
        requests = max(4, round(REQUESTS[concurrency] * self.options.scale))
        return measure(server, load, self.gpu, concurrency, requests, varied=varied)

    def write(self, record: dict[str, Any]) -> None:
        """Keep and show one level's result."""
        keep(record, self.options.out)


def keep(record: dict[str, Any], out: Path) -> None:
    """Add one level's result to the file, and show it."""
    with (out / "results.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    shown = ("c", "audio_s_per_s", "p50_s", "p95_s", "gpu_busy_percent", "cores_api", "cores_engine", "errors")
    text = " ".join(f"{key}={record[key]}" for key in shown if key in record)
    print(f"{record['at']:6.0f} {record['variant']:24s} {text}", flush=True)


def measure(
    server: Server, load: Load, gpu: Gpu | None, concurrency: int, requests: int, *, varied: bool = False
) -> dict[str, Any]:
    """Send the requests of one level; rates count the ramp and the tail."""
    pids = server.pids()
    tokens, cpu, client = counters(server.url), cpu_seconds(pids), load.cpu
    spent = gpu.joules() if gpu else 0.0
    begin = time.monotonic()
    outcome = load.run([server.url], concurrency, requests=requests, varied=varied)
    elapsed = time.monotonic() - begin
    grown = {name: value - tokens.get(name, 0.0) for name, value in counters(server.url).items()}
    cores = {name: (value - cpu.get(name, 0.0)) / elapsed for name, value in cpu_seconds(pids).items()}
    result = {"c": concurrency, "varied": varied, **rates(outcome), **engine_times(grown)}
    result["tokens_per_request"] = round(grown.get("vllm:generation_tokens_total", 0) / max(1, result["n"]), 2)
    result |= {f"cores_{name}": round(value, 2) for name, value in cores.items()}
    result["cores_clients"] = round((outcome.cpu - client) / elapsed, 2)
    if gpu and outcome.times:
        result["joules"] = round(gpu.joules() - spent)
        result |= gpu.between(min(begun for begun, _ in outcome.times), max(end for _, end in outcome.times))
    return result


def changed(variant: Variant, words: list[str]) -> Variant:
    """The variant with a plan line's own variables and options."""
    variables = dict(word.split("=", 1) for word in words if re.match("[A-Z_0-9]+=", word))
    options = [word for word in words if not re.match("[A-Z_0-9]+=", word)]
    return replace(variant, extra=[*variant.extra, *options], env={**variant.env, **variables})


def rates(outcome: Outcome) -> dict[str, Any]:
    """Throughput from the first request's start to the last one's end, the middle 60 % of it, and latencies."""
    result: dict[str, Any] = {"n": len(outcome.times), "errors": len(outcome.errors)}
    if outcome.errors:
        result["error"] = outcome.errors[0]
    if not outcome.times:
        return result
    ends = sorted(end for _, end in outcome.times)
    took = sorted(end - begin for begin, end in outcome.times)
    wall = ends[-1] - min(begin for begin, _ in outcome.times)
    low, high = int(len(ends) * 0.2), min(int(len(ends) * 0.8), len(ends) - 1)
    result["wall_s"] = round(wall, 2)
    result["audio_s_per_s"] = round(len(ends) * SECONDS / wall, 1)
    result["middle_audio_s_per_s"] = round((high - low) * SECONDS / max(1e-9, ends[high] - ends[low]), 1)
    result["p50_s"], result["p95_s"] = (round(took[int(len(took) * part)], 3) for part in (0.5, 0.95))
    return result


def engine_times(grown: dict[str, float]) -> dict[str, float]:
    """Mean seconds of a request in the queue, in prefill and in decode, by the server's own counters."""
    means = {}
    for part in PARTS:
        number = grown.get(f"vllm:{part}_seconds_count", 0)
        if number:
            means[part] = round(grown.get(f"vllm:{part}_seconds_sum", 0.0) / number, 3)
    return means


def main() -> None:
    """Read the options, run the plan."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="folder of rendered packages: auto, one-engine")
    parser.add_argument("--name", required=True, help="the packages' served name")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clients", type=int, default=8, help="client processes")
    parser.add_argument("--patience", type=float, default=200, help="seconds that a start may take")
    parser.add_argument("--scale", type=float, default=1.0, help="more or fewer requests a level")
    parser.add_argument("--no-gpu", dest="gpu", action="store_false")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print(f"{SECONDS} s of audio and {TOKENS} tokens a request", flush=True)
    Bench(options).run()


if __name__ == "__main__":
    main()
