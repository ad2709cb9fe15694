"""What `transcribe` costs and gets out of a server, beside a bare client and beside a fixed number of requests.

    .venv/bin/python -m benchmarks.transcribe                                 # a stand-in server of its own
    .venv/bin/python -m benchmarks.transcribe --url http://127.0.0.1:8080 --model NAME --hours 8   # any server

Prints Markdown tables: CPU seconds an audio hour (start-up left out), and audio seconds per second between the 20th and
the 80th percentile of completions. The bare client reads, cuts every 24 s without looking, and posts with
`http.client`, one request after the other; it stands for the least that this work can cost, not for throughput.
"""

from __future__ import annotations

import argparse
import http.client
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from whisperctl.clock import SystemClock
from whisperctl.endpoint.client import Endpoint
from whisperctl.endpoint.readiness import Alarm
from whisperctl.endpoint.transcription import Ask
from whisperctl.transcribe import wav
from whisperctl.transcribe.batch import Batch
from whisperctl.transcribe.recordings import Recording, find
from whisperctl.transcribe.results import Failed, Result
from whisperctl.transcribe.retries import Patient
from whisperctl.transcribe.sound import RATE
from whisperctl.transcribe.wishes import Wishes

STEP, PIECE = 24, 28
"""Seconds from one piece to the next, and of a piece."""


class Heard:
    """Keeps when so much audio was transcribed."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []
        self.levels: list[int] = []

    def opened(self, recording: Recording, seconds: float | None) -> None: ...

    def heard(self, seconds: float) -> None:
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
    minutes = np.tile(minute, max(1, round(hours * 60)))
    path.write_bytes(wav.header(minutes) + minutes.tobytes())


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def bare(url: str, model: str, path: Path) -> float:
    """CPU seconds of the bare client."""
    parts, boundary = urlsplit(url), "bare7d9boundary"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n--{boundary}\r\n'
        'Content-Disposition: form-data; name="file"; filename="audio.wav"\r\n\r\n'
    ).encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    began, size = cpu(), path.stat().st_size
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    with path.open("rb") as file:
        for start in range(44, size, STEP * 2 * RATE):
            file.seek(start)
            data = np.frombuffer(file.read(PIECE * 2 * RATE), np.int16)
            content = head + wav.header(data) + data.tobytes() + f"\r\n--{boundary}--\r\n".encode()
            connection.request("POST", "/v1/audio/transcriptions", content, headers)
            connection.getresponse().read()
    return cpu() - began


def transcribed(url: str, model: str, path: Path, parallelism: int | None) -> tuple[float, float, int]:
    """CPU seconds, audio seconds per second in the middle of the run, and the last number of requests in flight."""
    heard, clock = Heard(), SystemClock()
    with Endpoint(url, None, 600) as endpoint, tempfile.TemporaryDirectory() as spool:
        patient = Patient(endpoint, clock, Alarm(endpoint, None, clock, 600, heard.say))
        wishes = Wishes(ask=Ask(model=model, timed=True, language="en"))
        batch = Batch(wishes, patient, parallelism, clock, heard, spool=Path(spool))
        began = cpu()
        for result in batch.run(find([str(path)], Path(spool))):
            if isinstance(result, Failed):
                sys.exit(f"{result.name}: {result.reason}")
        used = cpu() - began
    times = sorted(heard.times)
    middle = times[len(times) // 5 : len(times) * 4 // 5]
    rate = sum(seconds for _, seconds in middle[1:]) / max(middle[-1][0] - middle[0][0], 1e-9)
    return used, rate, heard.levels[-1] if heard.levels else parallelism or 0


@contextmanager
def stub(capacity: int, seconds: float) -> Iterator[str]:
    """A stand-in server."""
    command = [sys.executable, "-m", "benchmarks.stub_server", "--capacity", str(capacity), "--seconds", str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def cost(hours: float, folder: Path) -> None:
    """CPU an audio hour against a server that answers at once."""
    recording(path := folder / "long.wav", hours)
    with stub(1000, 0) as url:
        least = bare(url, "stub", path) / hours
        ours = transcribed(url, "stub", path, 8)[0] / hours
    print("| | CPU s an audio hour |\n|---|---|")
    print(f"| bare client | {least:.2f} |\n| transcribe | {ours:.2f} ({ours / least:.1f} ×) |\n")


def row(url: str, name: str, model: str, path: Path, hours: float, parallelism: int | None) -> None:
    used, rate, level = transcribed(url, model, path, parallelism)
    way = f"--parallelism {parallelism}" if parallelism else "by itself"
    print(f"| {name} | {way} | {level} | {rate:.0f} | {used / hours:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="a server that is up, instead of the stand-in")
    parser.add_argument("--model", default="stub")
    parser.add_argument("--hours", type=float, default=3.0, help="audio of each run")
    parser.add_argument("--capacities", default="8,64", help="of the stand-in, requests at a time of 1 s")
    parser.add_argument("--parallelism", default="64,256", help="fixed numbers to compare with, of a server that is up")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cost(options.hours, folder)
        path = folder / "long.wav"
        print("| server | requests in flight | at the end | audio-s/s | CPU s an audio hour |\n|---|---|---|---|---|")
        if options.url:
            for parallelism in (None, *map(int, options.parallelism.split(","))):
                row(options.url, options.url, options.model, path, options.hours, parallelism)
            return
        for capacity in map(int, options.capacities.split(",")):
            with stub(capacity, 1.0) as url:
                for parallelism in (None, capacity):
                    row(url, f"{capacity} at a time, 1 s", options.model, path, options.hours, parallelism)


if __name__ == "__main__":
    main()
