"""Soak of the emulator: many clients, every fault on, and at the end every acknowledged write must be there.

    python -m benchmarks.emulator_soak [--requests 10000] [--clients 32]

Prints one JSON document: requests, seconds, percentiles of latency in ms, memory in MiB, and what was lost. Exit 1 when
a write was lost or memory grew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from ubiops_emulator import testing
from ubiops_emulator.testing import Emulator

P = "/projects/demo"
FAULTS = [
    "latency,ms=3,jitter=3,probability=0.05",
    "throttle,reset=0,probability=0.02",
    "error,status=502,probability=0.02",
    "drop-before,probability=0.01",
    "drop-after,probability=0.01",
]
# Memory may still settle in the first fifth; after that it shall not grow by more than this.
SETTLED = 0.2
GROWTH_MIB = 16
MINIMUM_OBJECTS = 3


@dataclass
class Worker:
    """One client and what it knows to be true: name -> labels, of objects that only it touches."""

    number: int
    client: httpx.AsyncClient
    random: random.Random
    times: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    known: dict[str, dict[str, str]] = field(default_factory=dict)
    made: int = 0

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response | None:
        """One request; None when its answer was lost."""
        began = time.perf_counter()
        try:
            answer = await self.client.request(method, path, json=body)
        except httpx.TransportError:
            self.outcomes["dropped"] += 1
            return None
        finally:
            self.times.append(time.perf_counter() - began)
        self.outcomes[str(answer.status_code)] += 1
        return answer

    async def until_known(self, name: str) -> None:
        """After a lost or broken answer: read what is there, for as long as it takes."""
        while True:
            answer = await self.ask("GET", f"{P}/environments/{name}")
            if answer is not None and answer.status_code == 200:
                self.known[name] = answer.json()["labels"]
                return
            if answer is not None and answer.status_code == 404:
                self.known.pop(name, None)
                return

    async def step(self) -> None:
        choice = self.random.random()
        if len(self.known) < MINIMUM_OBJECTS or choice < 0.3:
            await self.create()
        elif choice < 0.55:
            await self.change()
        elif choice < 0.7:
            await self.remove()
        elif choice < 0.9:
            await self.look()
        else:
            await self.ask("GET", f"{P}/environments?labels=worker:{self.number}")

    async def create(self) -> None:
        name = f"w{self.number}-{self.made}"
        self.made += 1
        labels = {"worker": str(self.number), "n": str(self.made)}
        answer = await self.ask("POST", f"{P}/environments", {"name": name, "labels": labels})
        if answer is not None and answer.status_code == 201:
            self.known[name] = labels
        else:
            await self.until_known(name)

    async def change(self) -> None:
        name = self.random.choice(list(self.known))
        labels = {"worker": str(self.number), "n": str(self.random.random())}
        answer = await self.ask("PATCH", f"{P}/environments/{name}", {"labels": labels})
        if answer is not None and answer.status_code == 200:
            self.known[name] = labels
        else:
            await self.until_known(name)

    async def remove(self) -> None:
        name = self.random.choice(list(self.known))
        answer = await self.ask("DELETE", f"{P}/environments/{name}")
        if answer is not None and answer.status_code == 204:
            del self.known[name]
        else:
            await self.until_known(name)

    async def look(self) -> None:
        name = self.random.choice(list(self.known))
        answer = await self.ask("GET", f"{P}/environments/{name}")
        if answer is not None and answer.status_code == 200 and answer.json()["labels"] != self.known[name]:
            self.outcomes["lost"] += 1


def memory(pid: int) -> float:
    """Resident memory in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


async def soak(emulator: Emulator, requests: int, clients: int) -> dict[str, Any]:
    headers = {"Authorization": f"Token {emulator.token}"}
    workers = []
    for number in range(clients):
        client = httpx.AsyncClient(base_url=emulator.host, headers=headers, timeout=60)
        workers.append(Worker(number, client, random.Random(number)))
    samples: list[float] = []

    async def run(worker: Worker) -> None:
        while sum(len(one.times) for one in workers) < requests:
            await worker.step()

    async def watch() -> None:
        while True:
            samples.append(memory(emulator.process.pid))
            await asyncio.sleep(0.25)

    watching = asyncio.create_task(watch())
    began = time.perf_counter()
    await asyncio.gather(*(run(worker) for worker in workers))
    seconds = time.perf_counter() - began
    watching.cancel()
    samples.append(memory(emulator.process.pid))
    lost = await missing(emulator, workers, headers)
    for worker in workers:
        await worker.client.aclose()
    return report(workers, seconds, samples, lost)


async def missing(emulator: Emulator, workers: list[Worker], headers: dict[str, str]) -> list[str]:
    """What the clients know and the emulator does not show, or shows otherwise, or shows in addition."""
    async with httpx.AsyncClient(base_url=emulator.root, headers=headers, timeout=60) as client:
        await client.delete("/_emulator/faults")
        listed = (await client.get(f"/v2{P}/environments?system=False")).json()
    there = {item["name"]: item["labels"] for item in listed}
    known = {name: labels for worker in workers for name, labels in worker.known.items()}
    return sorted(name for name in there.keys() | known.keys() if there.get(name) != known.get(name))


def report(workers: list[Worker], seconds: float, samples: list[float], lost: list[str]) -> dict[str, Any]:
    times = sorted(value * 1000 for worker in workers for value in worker.times)
    outcomes: Counter[str] = Counter()
    for worker in workers:
        outcomes += worker.outcomes
    marks = statistics.quantiles(times, n=1000)
    settled = samples[int(len(samples) * SETTLED) :]
    return {
        "requests": len(times),
        "clients": len(workers),
        "seconds": round(seconds, 2),
        "per_second": round(len(times) / seconds),
        "ms": {"p50": round(marks[499], 2), "p99": round(marks[989], 2), "p99.9": round(marks[998], 2)},
        "answers": dict(sorted(outcomes.items())),
        "memory_mib": {"start": round(samples[0], 1), "settled": round(settled[0], 1), "end": round(samples[-1], 1)},
        "lost": lost + ["a read contradicted an acknowledged write"] * outcomes["lost"],
        "grew": samples[-1] - settled[0] > GROWTH_MIB,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=32)
    options = parser.parse_args()
    flags = [part for spec in FAULTS for part in ("--fault", spec)]
    with testing.running("--runtime", "none", "--speed", "1000", *flags) as emulator:
        result = asyncio.run(soak(emulator, options.requests, options.clients))
    print(json.dumps(result, indent=2))
    return 1 if result["lost"] or result["grew"] else 0


if __name__ == "__main__":
    sys.exit(main())
