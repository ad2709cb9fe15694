"""Several variants at once on one GPU, loaded in turn: what is compared is measured minutes apart, on the same machine.

All servers are started together, each with an equal, small key-value cache, and stay up; only one of them gets requests
at a time, the others hold memory and wait. A round measures each level for each variant, every second one in reverse.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

from bench import keep, measure
from load import BOUNDARY, Client, Load
from machine import Gpu
from server import NAME, PORT, Server
from stacks import sample
from variants import VARIANTS, Variant

REQUESTS = {1: 8, 8: 64, 64: 512, 256: 1024}


def confined(variant: Variant, files: Path, cache_gb: int) -> Variant:
    """The variant with compiled code of its own and, if it would take all memory, with a fixed key-value cache."""
    memory = ["--gpu-memory-utilization", "0.05", "--kv-cache-memory-bytes", f"{cache_gb}G"]
    extra = variant.extra if variant.package == "auto" else [*variant.extra, *memory]
    return replace(variant, extra=extra, env={**variant.env, "VLLM_CACHE_ROOT": str(files)})


def start(names: list[str], options: argparse.Namespace) -> dict[str, Server]:
    """Start all; those that become healthy in time."""
    logs = options.out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    servers = {
        name: Server(
            confined(VARIANTS[name], options.out / "cache" / name, options.cache_gb),
            options.packages,
            logs / f"{name}.log",
            PORT + number,
        )
        for number, name in enumerate(names)
    }
    begin = time.monotonic()
    healthy = {}
    for name, server in servers.items():
        if server.wait(options.patience - (time.monotonic() - begin)):
            healthy[name] = server
            print(f"{name} is healthy, {time.monotonic() - begin:.0f} s", flush=True)
        else:
            print(f"{name} did not start\n{server.problem()}", flush=True)
            server.stop()
    return healthy


def transcripts(server: Server, name: str, count: int) -> list[str]:
    """What a server makes of the same recordings as any other, sent one after the other."""
    client, texts = Client(3, name, None), []
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    for _ in range(count):
        url = server.url + "/v1/audio/transcriptions"
        with urllib.request.urlopen(urllib.request.Request(url, client.body(False), headers), timeout=60) as answer:
            texts.append(json.load(answer)["text"])
    return texts


def compare_words(servers: dict[str, Server], name: str, count: int, out: Path) -> None:
    """How many transcripts, and words, of each variant are the first one's."""
    names = {variant: name if VARIANTS[variant].rendered else NAME for variant in servers}
    with ThreadPoolExecutor() as pool:
        said = dict(
            zip(servers, pool.map(lambda one: transcripts(servers[one], names[one], count), servers), strict=True)
        )
    against = next(iter(said))
    for variant, texts in said.items():
        pairs = list(zip(texts, said[against], strict=True))
        words = [ours == theirs for a, b in pairs for ours, theirs in zip(a.split(), b.split(), strict=False)]
        row = {"words": variant, "against": against, "recordings": count, "equal": sum(a == b for a, b in pairs)}
        row |= {"words_equal": round(sum(words) / max(1, len(words)), 4), "distinct": len(set(texts))}
        with (out / "results.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def main() -> None:
    """Read the options, start, measure in rounds, stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="folder of rendered packages: auto, one-engine")
    parser.add_argument("--name", required=True, help="the packages' served name")
    parser.add_argument("--variants", default="tutorial,auto")
    levels = "all rounds of the first group, then of the next; 256v: outputs of varying length"
    parser.add_argument("--levels", default="256,64 8,1", help=levels)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache-gb", type=int, default=12, help="key-value cache of every variant but auto")
    parser.add_argument("--words", type=int, default=0, help="recordings whose transcripts are compared first")
    parser.add_argument("--profile", help="a variant to sample with py-spy at the end")
    parser.add_argument("--patience", type=float, default=240)
    parser.add_argument("--no-gpu", dest="gpu", action="store_false")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    begin, names = time.monotonic(), options.variants.split(",")
    loads = {True: Load(options.name, 8), False: Load(NAME, 8)}
    servers = start(names, options)
    gpu = Gpu() if options.gpu else None
    try:
        if options.words:
            compare_words(servers, options.name, options.words, options.out)
        for name, server in servers.items():
            loads[VARIANTS[name].rendered].run([server.url], 256 if VARIANTS[name].rendered else 64, seconds=0.5)
        for group, turn in product(options.levels.split(), range(options.rounds)):
            for level in group.split(","):
                at, varied = int(level.rstrip("v")), level.endswith("v")
                requests = max(4, round(REQUESTS[at] * options.scale))
                for name in list(servers)[:: -1 if turn % 2 else 1]:
                    record = {"variant": name, "round": turn + 1, "at": round(time.monotonic() - begin, 1)}
                    load = loads[VARIANTS[name].rendered]
                    keep({**record, **measure(servers[name], load, gpu, at, requests, varied=varied)}, options.out)
            if turn == 0 and options.profile in servers:
                sample(servers[options.profile], loads[True], options.out / "stacks")
    finally:
        for server in servers.values():
            server.stop()
        for load in loads.values():
            load.close()


if __name__ == "__main__":
    main()
