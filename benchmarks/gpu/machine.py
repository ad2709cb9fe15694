"""What the machine does meanwhile: the GPU ten times a second, CPU time by kind of process, vLLM's counters."""

from __future__ import annotations

import contextlib
import re
import threading
import time
import urllib.request
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil


class Gpu(threading.Thread):
    """Samples of the first GPU, as `nvidia-smi` shows them."""

    def __init__(self) -> None:
        import pynvml

        super().__init__(daemon=True)
        pynvml.nvmlInit()
        self.nvml, self.handle = pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
        self.samples: list[tuple[float, float, float, float]] = []
        self.start()

    def run(self) -> None:
        """Sample until the program ends."""
        while True:
            with contextlib.suppress(self.nvml.NVMLError):
                busy = self.nvml.nvmlDeviceGetUtilizationRates(self.handle).gpu
                watts = self.nvml.nvmlDeviceGetPowerUsage(self.handle) / 1000
                clock = self.nvml.nvmlDeviceGetClockInfo(self.handle, 1)
                self.samples.append((time.monotonic(), busy, watts, clock))
            time.sleep(0.1)

    def memory(self) -> float:
        """MiB in use."""
        return float(self.nvml.nvmlDeviceGetMemoryInfo(self.handle).used) / 2**20

    def joules(self) -> float:
        """Energy since the driver was loaded."""
        return float(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle)) / 1000

    def between(self, begin: float, end: float) -> dict[str, float]:
        """Means over a span of monotonic time."""
        rows = [row for row in self.samples if begin <= row[0] <= end]
        if not rows:
            return {}
        names = ("gpu_busy_percent", "gpu_watts", "gpu_mhz")
        return {name: round(fmean(row[at] for row in rows), 1) for at, name in enumerate(names, 1)}


def kind(command: str) -> str:
    """Which part of the server a process is."""
    parts = {"Worker": "worker", "EngineCore": "engine", "ApiServer": "api", "APIServer": "api", "Coord": "coordinator"}
    return next((name for word, name in parts.items() if word in command), "other")


def cpu_seconds(pids: list[int]) -> dict[str, float]:
    """CPU seconds so far of these processes and their children, by kind."""
    import psutil

    seconds: dict[str, float] = {}
    for process in descendants(pids):
        with contextlib.suppress(psutil.Error):
            times, name = process.cpu_times(), kind(" ".join(process.cmdline()))
            seconds[name] = seconds.get(name, 0.0) + times.user + times.system
    return seconds


def descendants(pids: list[int]) -> list[psutil.Process]:
    """These processes and all below them."""
    import psutil

    processes: list[psutil.Process] = []
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            processes += [process, *process.children(recursive=True)]
    return processes


def counters(url: str) -> dict[str, float]:
    """vLLM's own counters, summed over labels."""
    sums: dict[str, float] = {}
    try:
        text = urllib.request.urlopen(url + "/metrics", timeout=20).read().decode()
    except OSError:
        return sums
    for line in text.splitlines():
        if counter := re.match(r"(vllm:[a-z0-9_]+?_(?:sum|count|total))(?:\{[^}]*\})? ([0-9.eE+-]+)$", line):
            sums[counter[1]] = sums.get(counter[1], 0.0) + float(counter[2])
    return sums
