"""Which GPU kernels a second of full load consists of: one engine's torch profile at 256 concurrent requests."""

from __future__ import annotations

import argparse
import gzip
import json
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

from load import Load
from server import Server
from variants import Variant

SECONDS, CONCURRENCY = 1.2, 256
CACHE = ["--gpu-memory-utilization", "0.05", "--kv-cache-memory-bytes", "12G"]


def post(url: str) -> None:
    """Tell vLLM to begin or to end the profile; the end takes some ten seconds."""
    urllib.request.urlopen(urllib.request.Request(url, data=b"", method="POST"), timeout=120).read()


def profile(package: Path, name: str, out: Path) -> None:
    """Let vLLM write a trace into `out`."""
    settings = {"profiler": "torch", "torch_profiler_dir": str(out), "torch_profiler_with_stack": False}
    variant = Variant(package=package.name, extra=[*CACHE, "--profiler-config", json.dumps(settings)])
    server, load = Server(variant, package.parent, out / "server.log"), Load(name, 8)
    try:
        if not server.wait(240):
            raise SystemExit(server.problem())
        load.run([server.url], CONCURRENCY, seconds=2.0)
        busy = threading.Thread(target=lambda: load.run([server.url], CONCURRENCY, seconds=9.0))
        busy.start()
        time.sleep(3)
        post(server.url + "/start_profile")
        time.sleep(SECONDS)
        post(server.url + "/stop_profile")
        busy.join()
    finally:
        server.stop()
        load.close()


def summary(trace: Path) -> list[str]:
    """The trace's kernels, longest first."""
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    begin, end = float("inf"), 0.0
    for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]:
        if event.get("ph") == "X" and event.get("cat") in ("kernel", "gpu_memcpy", "gpu_memset"):
            name = event["name"][:150]
            spent[name] += event["dur"]
            calls[name] += 1
            begin, end = min(begin, event["ts"]), max(end, event["ts"] + event["dur"])
    head = f"{(end - begin) / 1000:.0f} ms, of them {spent.total() / 1000:.0f} ms in kernels"
    return [head, *(f"{took / 1000:9.2f} ms {calls[name]:6d} x  {name}" for name, took in spent.most_common(60))]


def main() -> None:
    """Profile, and print each engine's kernels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, required=True, help="a rendered package with one engine")
    parser.add_argument("--name", required=True, help="the package's served name")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    profile(options.package, options.name, options.out.resolve())
    for trace in sorted(options.out.glob("rank*.json.gz")):
        print("\n".join(summary(trace)), flush=True)


if __name__ == "__main__":
    main()
