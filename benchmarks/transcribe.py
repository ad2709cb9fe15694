"""What `transcribe` costs and gets out of a server, beside a bare client and beside a load generator.

    .venv/bin/python -m benchmarks.transcribe                                 # a stand-in server of its own
    .venv/bin/python -m benchmarks.transcribe --url http://127.0.0.1:8080 --model NAME --hours 24   # any server

Needs whisperctl's own dependencies and nothing else. Prints Markdown tables: CPU seconds an audio hour (start-up left
out); audio seconds per second between the 20th and the 80th percentile of completions; and, of the stand-in, what
happens when its capacity falls to a quarter and when it takes so many requests a minute only. The bare client reads,
cuts every 24 s without looking, and posts with `http.client`, one request after the other; it stands for the least that
this work can cost. The load generator posts the same pieces over and over, from a thread for each request in flight in
as many processes as there are cores; it stands for the most that a server gives.
"""

from __future__ import annotations

import argparse
import http.client
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.stub_server import ANSWERS
from whisperctl.clock import SystemClock
from whisperctl.endpoint.client import Answer, Endpoint
from whisperctl.endpoint.readiness import EndpointWaker
from whisperctl.endpoint.transcription import Ask
from whisperctl.transcribe import wav
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.recordings import Recording, find
from whisperctl.transcribe.results import Failed, Result
from whisperctl.transcribe.retries import RetryingEndpoint
from whisperctl.transcribe.servers import Server
from whisperctl.transcribe.sound import RATE

STEP, PIECE = 24, 28
"""Seconds from one piece to the next, and of a piece."""


class Progress:
    """Keeps when so much audio was transcribed."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []
        self.levels: list[int] = []

    def opened(self, recording: Recording, seconds: float | None) -> None: ...

    def advanced(self, seconds: float) -> None:
        self.times.append((time.monotonic(), seconds))

    def finished(self, result: Result) -> None: ...

    def paced(self, level: int) -> None:
        self.levels.append(level)

    def say(self, line: str) -> None:
        print(line, file=sys.stderr)


def recording(path: Path, hours: float) -> None:
    """Noise without a pause, 16 kHz mono."""
    chance = np.random.default_rng(1)
    minute = (chance.standard_normal(60 * RATE) * 3000).astype(np.int16)
    count = max(1, round(hours * 60))
    with path.open("wb") as file:
        file.write(wav.header(np.broadcast_to(minute, (count, len(minute)))))
        for _ in range(count):
            minute.tofile(file)


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


BOUNDARY = "bare7d9boundary"
HEADERS = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
ROUTE = "/v1/audio/transcriptions"


def form(model: str, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> bytes:
    """The body that `transcribe` sends, too."""
    fields = {"model": model, "response_format": "verbose_json", "temperature": "0", "language": "en"}
    head = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="audio.wav"\r\n\r\n'
    return b"".join((head.encode(), wav.header(samples), samples.tobytes(), f"\r\n--{BOUNDARY}--\r\n".encode()))


def read_pieces(path: Path, step: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int16]]]:
    with path.open("rb") as file:
        for start in range(44, path.stat().st_size, step * 2 * RATE):
            file.seek(start)
            yield np.frombuffer(file.read(PIECE * 2 * RATE), np.int16)


def connected(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname or "", parts.port, timeout=600)


def bare(url: str, model: str, path: Path) -> float:
    """CPU seconds of the bare client."""
    began, connection = cpu(), connected(url)
    for samples in read_pieces(path, STEP):
        connection.request("POST", ROUTE, form(model, samples), HEADERS)
        connection.getresponse().read()
    return cpu() - began


def generate(url: str, model: str, path: Path, threads: int, requests: int, ended: Any) -> None:
    """Post `requests` pieces, `threads` at a time; tell when each was answered."""
    contents = [form(model, samples) for samples, _ in zip(read_pieces(path, PIECE), range(8), strict=False)]
    left, lock, times = list(range(requests)), threading.Lock(), list[float]()

    def post() -> None:
        connection = connected(url)
        while True:
            with lock:
                if not left:
                    return
                number = left.pop()
            connection.request("POST", ROUTE, contents[number % len(contents)], HEADERS)
            connection.getresponse().read()
            times.append(time.monotonic())

    running = [threading.Thread(target=post) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    ended.put(times)


def generated(url: str, model: str, path: Path, parallelism: int, requests: int) -> float:
    """Audio seconds per second that the load generator gets."""
    context = multiprocessing.get_context("spawn")
    ended, count = context.SimpleQueue(), min(len(os.sched_getaffinity(0)), parallelism, 16)
    shares = [
        (parallelism * (one + 1) // count - parallelism * one // count, requests // count) for one in range(count)
    ]
    processes = [context.Process(target=generate, args=(url, model, path, *share, ended)) for share in shares]
    for process in processes:
        process.start()
    times = [at for _ in processes for at in ended.get()]
    for process in processes:
        process.join()
    return middle_rate([(at, float(PIECE)) for at in times])


def middle_rate(times: list[tuple[float, float]]) -> float:
    """Audio seconds per second between the 20th and the 80th percentile of completions."""
    ordered = sorted(times)
    middle = ordered[len(ordered) // 5 : len(ordered) * 4 // 5]
    return sum(seconds for _, seconds in middle[1:]) / max(middle[-1][0] - middle[0][0], 1e-9)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one run of `transcribe` did."""

    cpu: float
    """Seconds."""
    rate: float
    """Audio seconds per second in the middle of the run."""
    level: int
    """Requests in flight at its end."""
    latencies: list[tuple[float, float, int]]
    """When each request was answered, how many seconds it took, and the status."""


class Timed(Endpoint):
    """An endpoint that keeps how long each request took."""

    def __init__(self, url: str, *, ignores_text: bool) -> None:
        super().__init__(url, None, 600)
        self._ignores_text = ignores_text
        self.latencies: list[tuple[float, float, int]] = []

    def post(self, path: str, fields: Any, upload: Any, timeout: float | None = None) -> Answer:
        began = time.monotonic()
        answer = super().post(path, fields, upload, timeout)
        self.latencies.append((time.monotonic(), time.monotonic() - began, answer.status))
        if self._ignores_text and answer.status == 200:
            text = ANSWERS[len(self.latencies) % len(ANSWERS)].decode()
            return Answer(status=200, text=text, headers=answer.headers)
        return answer


def transcribed(url: str, model: str, path: Path, parallelism: int | None, *, ignores_text: bool = False) -> Run:
    """One run of `transcribe`; with `ignores_text` every answer counts as a plausible one."""
    progress, clock = Progress(), SystemClock()
    with Timed(url, ignores_text=ignores_text) as endpoint, tempfile.TemporaryDirectory() as spool:
        retrying = RetryingEndpoint(endpoint, clock, EndpointWaker(endpoint, None, clock, 600, progress.say))
        options = TranscriptOptions(ask=Ask(model=model, timed=True, language="en"))
        batch = Batch(options, [Server(retrying, model)], parallelism, clock, progress, spool=Path(spool))
        began = cpu()
        for result in batch.run(find([str(path)], Path(spool))):
            if isinstance(result, Failed):
                sys.exit(f"{result.name}: {result.reason}")
        used = cpu() - began
    level = progress.levels[-1] if progress.levels else parallelism or 0
    return Run(cpu=used, rate=middle_rate(progress.times), level=level, latencies=sorted(endpoint.latencies))


@contextmanager
def stub(capacity: int, seconds: float, *more: str) -> Iterator[str]:
    """A stand-in server."""
    command = [sys.executable, "-m", "benchmarks.stub_server", "--capacity", str(capacity), "--seconds", str(seconds)]
    with subprocess.Popen([*command, *more], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def cost(hours: float, path: Path) -> None:
    """CPU an audio hour against a server that answers at once."""
    with stub(1000, 0) as url:
        least = bare(url, "stub", path) / hours
        ours = transcribed(url, "stub", path, 8).cpu / hours
    print("| | CPU s an audio hour |\n|---|---|")
    print(f"| bare client | {least:.2f} |\n| transcribe | {ours:.2f} ({ours / least:.1f} ×; bar: 5 ×) |\n", flush=True)


def rows(
    url: str, name: str, model: str, path: Path, hours: float, levels: Sequence[int], *, ignores_text: bool = False
) -> None:
    """What the load generator, `transcribe` by itself and `transcribe --parallelism` get, side by side."""
    pieces = int(hours * 3600 / STEP)
    best = 0.0
    for level in levels:
        rate = generated(url, model, path, level, pieces)
        best = max(best, rate)
        print(f"| {name} | load generator | {level} | {rate:.0f} | | |", flush=True)
    for parallelism in (None, *levels):
        run = transcribed(url, model, path, parallelism, ignores_text=ignores_text)
        way = f"transcribe --parallelism {parallelism}" if parallelism else "transcribe"
        again = len(run.latencies) - pieces
        print(
            f"| {name} | {way} | {run.level} | {run.rate:.0f} | {run.rate / best:.0%} | {run.cpu / hours:.2f} |"
            + (f" ({again} of {pieces} pieces asked again)" if again > pieces // 50 else ""),
            flush=True,
        )


def fall(path: Path) -> None:
    """A capacity that falls to a quarter while a run goes on; service times of a second."""
    before, after = 32, 8
    with stub(before, 1.0) as url:
        at: list[float] = []

        def change() -> None:
            urllib.request.urlopen(urllib.request.Request(f"{url}/_capacity/{after}", method="POST")).close()
            at.append(time.monotonic())

        timer = threading.Timer(12.0, change)
        timer.start()
        run = transcribed(url, "stub", path, None)
        timer.cancel()
    if not at:
        print("The run was over before the capacity fell: take more --hours.\n")
        return
    later = [(ended, took) for ended, took, _ in run.latencies if ended > at[0] + 12]
    if len(later) < 20:
        print("The run was over soon after the capacity fell: take more --hours.\n")
        return
    p95 = sorted(took for _, took in later)[len(later) * 95 // 100]
    share = (len(later) - 1) / max(later[-1][0] - later[0][0], 1e-9) / after
    print(f"capacity {before} falls to {after}, from 12 s after: p95 {p95:.1f} service times (bar: 4), ", end="")
    print(f"{share:.0%} of what is left (bar: 85 %)\n", flush=True)


def limited(path: Path, per_minute: int) -> None:
    """A server that takes so many requests a minute only."""
    with stub(64, 0.5, "--per-minute", str(per_minute)) as url:
        run = transcribed(url, "stub", path, None)
    refused = sum(status == 429 for _, _, status in run.latencies)
    print(f"{per_minute} requests a minute: {refused} of {len(run.latencies)} refused, ", end="")
    print(f"{refused / len(run.latencies):.0%} (bar: 20 %)\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a server that is up, instead of the stand-in")
    parser.add_argument("--model", default="stub")
    parser.add_argument("--hours", type=float, default=8.0, help="audio of each run")
    parser.add_argument("--capacities", default="8,64,256", help="of the stand-in, requests at a time of 1 s")
    parser.add_argument("--parallelism", default="64,256", help="fixed numbers to compare with, of a server that is up")
    parser.add_argument(
        "--ignore-text",
        action="store_true",
        help="call every answer good: a model of random weights repeats itself, and would be asked again and again",
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        recording(path := Path(name) / "long.wav", options.hours)
        cost(options.hours, path)
        head = "| server | client | requests in flight | audio-s/s | of the generator's best | CPU s an audio hour |"
        if options.url:
            print(f"{head}\n|---|---|---|---|---|---|")
            levels = [int(one) for one in options.parallelism.split(",")]
            rows(options.url, options.url, options.model, path, options.hours, levels, ignores_text=options.ignore_text)
            return
        recording(path, 5.0)
        fall(path)
        limited(path, 400)
        print(f"{head}\n|---|---|---|---|---|---|")
        for capacity in map(int, options.capacities.split(",")):
            hours = max(1.0, min(options.hours, capacity / 6))  # some 25 service times at least
            recording(path, hours)
            with stub(capacity, 1.0) as url:
                rows(url, f"{capacity} at a time, 1 s", "stub", path, hours, [capacity])


if __name__ == "__main__":
    main()
