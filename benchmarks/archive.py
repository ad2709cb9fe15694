"""What a recording costs on a Dask cluster, beside tasks of bare Dask that do nothing, and beside one process.

    .venv/bin/python -m benchmarks.archive [--recordings 1000] [--rounds 3] [--minutes 10] [--files 24]

Needs the extra `archive`. Two workers as `--cluster local` starts them, and a stand-in server that answers at once.
Prints Markdown tables, start-up left out, each row the median of rounds that take turns:

- milliseconds a task: bare Dask's on the same cluster, by one `map` of all and submitted one by one; recordings of half
  a second of digital silence, of which nothing is sent: the nearest to empty work (a WAV read and looked at, an empty
  transcript written and noted in the ledger); and of half a second of noise, with one HTTP request more and its answer,
  which the stand-in makes on the same cores;
- audio seconds per second of long recordings, on that cluster and in one process without it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import transcribe as single
from benchmarks.transcribe_many import recordings
from whisperctl.endpoint.transcription import Ask
from whisperctl.transcribe import archive, outputs, wav
from whisperctl.transcribe.archive_tasks import Place
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.recordings import find
from whisperctl.transcribe.results import Done

BAR = 3.0
LEASES = archive.LEASES


def nothing(_number: int) -> None:
    """A task that does nothing."""


def one_by_one(client: Any, count: int) -> float:
    """Seconds of so many tasks that do nothing, each submitted by itself."""
    began = time.monotonic()
    client.gather([client.submit(nothing, number, pure=False) for number in range(count)])
    return time.monotonic() - began


def mapped(client: Any, count: int) -> float:
    """Seconds of so many tasks that do nothing, submitted at once: the least that Dask takes."""
    began = time.monotonic()
    client.gather(client.map(nothing, range(count), pure=False))
    return time.monotonic() - began


def silent(folder: Path, count: int) -> None:
    """Half a second of digital silence each."""
    samples = np.zeros(8000, np.int16)
    for number in range(count):
        (folder / f"{number:05}.wav").write_bytes(wav.header(samples) + samples.tobytes())


def archived(client: Any, url: str, folder: Path) -> float:
    """Seconds of an archive of the recordings in `folder`, transcripts and ledger written."""
    options = TranscriptOptions(ask=Ask(model="stub", timed=True, language="en"))
    place = Place(url=url, model="stub", home=url, timeout=60, wake_timeout=60, variables=())
    named = find([str(folder)], folder)
    with tempfile.TemporaryDirectory() as out, outputs.opened(out) as output:
        began = time.monotonic()
        results = list(archive.Archive(options, [place], LEASES, client, single.Progress(), output).run(named))
        took = time.monotonic() - began
        written = len(list(Path(out).glob("*.txt")))
    failed = [one for one in results if not isinstance(one, Done)]
    if failed or written != len(named):
        sys.exit(f"{written} of {len(named)} transcripts: {failed[:1]}")
    return took


def in_one_process(url: str, folder: Path) -> float:
    """Seconds of the same without a cluster, nothing written."""
    began = time.monotonic()
    single.transcribed(url, "stub", folder, LEASES)
    return time.monotonic() - began


@contextmanager
def prepared(count: int) -> Iterator[tuple[Any, str, Path]]:
    """A cluster whose workers have transcribed something, a server, and folders with `count` short recordings each."""
    with (
        tempfile.TemporaryDirectory() as name,
        single.stub(1000, 0) as url,
        archive.cluster(archive.LOCAL, LEASES) as client,
    ):
        first = Path(name) / "first"
        for make, folder, files in (
            (recordings, first, 4 * LEASES),
            (recordings, Path(name) / "noise", count),
            (silent, Path(name) / "silence", count),
        ):
            folder.mkdir()
            make(folder, files)
        archived(client, url, first)
        yield client, url, Path(name)


def in_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Way -> its median seconds."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            taken[name].append(way())
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def short_ones(client: Any, url: str, folder: Path, count: int, rounds: int) -> None:
    """Print milliseconds a task."""
    ways = {
        "bare Dask, nothing to do, one `map` of all": lambda: mapped(client, count),
        "bare Dask, nothing to do, submitted one by one": lambda: one_by_one(client, count),
        "`transcribe --cluster local`, silence": lambda: archived(client, url, folder / "silence"),
        "`transcribe --cluster local`, noise": lambda: archived(client, url, folder / "noise"),
    }
    taken = in_turns(ways, rounds)
    least, each = list(taken.values())[:2]
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    print(f"{count} tasks, {workers} workers, load {os.getloadavg()[0]:.1f}\n")
    print(f"| | ms a task | of one `map` (bar of empty work: {BAR:.0f} ×) | of one by one |\n|---|---|---|---|")
    for name, seconds in taken.items():
        print(f"| {name} | {seconds / count * 1000:.1f} | {seconds / least:.1f} × | {seconds / each:.1f} × |")
    print(flush=True)


def long_ones(client: Any, url: str, folder: Path, minutes: float, files: int, rounds: int) -> None:
    """Print audio seconds per second."""
    folder = folder / "long"
    folder.mkdir()
    single.recording(folder / "0.wav", minutes / 60)
    for number in range(1, files):
        (folder / f"{number}.wav").hardlink_to(folder / "0.wav")
    ways = {
        "one process": lambda: in_one_process(url, folder),
        "`--cluster local`": lambda: archived(client, url, folder),
    }
    print(f"{files} recordings of {minutes:.0f} minutes, load {os.getloadavg()[0]:.1f}\n")
    print("| | audio-s/s |\n|---|---|")
    for name, seconds in in_turns(ways, rounds).items():
        print(f"| {name} | {files * minutes * 60 / seconds:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10.0, help="of a long recording")
    parser.add_argument("--files", type=int, default=24, help="long recordings; 0 leaves them out")
    options = parser.parse_args()
    with prepared(options.recordings) as (client, url, folder):
        short_ones(client, url, folder, options.recordings, options.rounds)
        if options.files:
            long_ones(client, url, folder, options.minutes, options.files, options.rounds)


if __name__ == "__main__":
    main()
