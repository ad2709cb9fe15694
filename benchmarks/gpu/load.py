"""Closed-loop load on /v1/audio/transcriptions: client processes that send a different 30-second WAV every time."""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import time
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import aiohttp

SECONDS, RATE = 30, 16000
TOKENS = 120
"""Output tokens of every request: the model of random weights never ends by itself."""
VARIED = (60, 180)
"""Least and most tokens where the lengths vary: 120 in the mean as well."""
BOUNDARY = "whisperctl7d9boundary"
CLIPS = 8
"""Different recordings of each client process; one sample is changed in every request besides."""


def recording(seed: int) -> bytes:
    """Noise and four tones, as 16-bit mono WAV."""
    random = np.random.default_rng(seed)
    at = np.arange(SECONDS * RATE) / RATE
    sound = 0.1 * random.standard_normal(SECONDS * RATE)
    for frequency in random.uniform(100, 4000, 4):
        sound += 0.1 * np.sin(2 * np.pi * frequency * at)
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return stream.getvalue()


def form(fields: Mapping[str, str], audio: bytes) -> tuple[bytes, int]:
    """A multipart body, and where its first sample stands."""
    head = "".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    head += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    before = (head + "Content-Type: audio/wav\r\n\r\n").encode()
    return before + audio + f"\r\n--{BOUNDARY}--\r\n".encode(), len(before) + 44


@dataclass
class Outcome:
    """What a level did: each request's start and end (monotonic seconds), and what went wrong."""

    times: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    sample: str = ""
    cpu: float = 0.0


class Client:
    """One client process's requests."""

    def __init__(self, number: int, model: str, left: Synchronized[int] | None) -> None:
        fields = {"model": model, "language": "en", "temperature": "0", "response_format": "json"}
        fields["max_completion_tokens"] = f"{TOKENS:03d}"
        self.bodies = [form(fields, recording(number * 1000 + clip)) for clip in range(CLIPS)]
        self.length_at = self.bodies[0][0].index(b"\r\n\r\n%03d\r\n" % TOKENS) + 4
        self.number, self.left, self.sent = number, left, count(1)

    def body(self, varied: bool) -> bytes:
        """A request whose audio nobody sent before."""
        unique = next(self.sent)
        content, at = self.bodies[unique % CLIPS]
        changed = bytearray(content)
        changed[at : at + 8] = (unique * 64 + self.number).to_bytes(8, "little")
        if varied:
            least, most = VARIED
            tokens = least + unique * 37 % (most - least + 1)
            changed[self.length_at : self.length_at + 3] = f"{tokens:03d}".encode()
        return bytes(changed)

    def another(self, until: float | None) -> bool:
        """Whether one more request is to be sent: until a time, or until the level's requests are used up."""
        if until is not None:
            return time.monotonic() < until
        assert self.left is not None
        with self.left.get_lock():
            self.left.value -= 1
            return self.left.value >= 0

    async def run(self, urls: Sequence[str], loops: int, seconds: float | None, varied: bool) -> Outcome:
        """Keep `loops` requests in flight."""
        import aiohttp

        outcome, until = Outcome(), time.monotonic() + seconds if seconds is not None else None
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=300)

        async def loop(own: int, session: aiohttp.ClientSession) -> None:
            url = urls[own % len(urls)] + "/v1/audio/transcriptions"
            while len(outcome.errors) < 20 and self.another(until):
                body, begin = self.body(varied), time.monotonic()
                try:
                    async with session.post(url, data=body, headers=headers) as answer:
                        text = await answer.text()
                    if answer.status != 200:
                        outcome.errors.append(f"{answer.status} {text[:300]}")
                        continue
                    outcome.sample = text[:200]
                    outcome.times.append((begin, time.monotonic()))
                except (aiohttp.ClientError, TimeoutError) as error:
                    outcome.errors.append(repr(error)[:300])

        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            await asyncio.gather(*[loop(own + self.number, session) for own in range(loops)])
        outcome.cpu = time.process_time()
        return outcome


def client_process(number: int, model: str, pipe: Connection, left: Synchronized[int]) -> None:
    """Serve the generator: (urls, loops, seconds, varied) in, an Outcome out; None ends."""
    client = Client(number, model, left)
    pipe.send("ready")
    while (task := pipe.recv()) is not None:
        pipe.send(asyncio.run(client.run(*task)))


class Load:
    """The client processes."""

    def __init__(self, model: str, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.left: Synchronized[int] = context.Value("i", 0)
        self.cpu = 0.0
        """CPU seconds of the client processes so far."""
        self.pipes = []
        for number in range(processes):
            ours, theirs = context.Pipe()
            context.Process(target=client_process, args=(number, model, theirs, self.left), daemon=True).start()
            self.pipes.append(ours)
        for pipe in self.pipes:
            pipe.recv()

    def run(
        self,
        urls: Sequence[str],
        concurrency: int,
        *,
        requests: int = 0,
        seconds: float | None = None,
        varied: bool = False,
    ) -> Outcome:
        """`requests` requests, or as many as start within `seconds`; returns when the last is answered."""
        self.left.value = requests
        whole, rest = divmod(concurrency, len(self.pipes))
        for number, pipe in enumerate(self.pipes):
            pipe.send((list(urls), whole + (number < rest), seconds, varied))
        total = Outcome()
        for pipe in self.pipes:
            part = pipe.recv()
            total.times += part.times
            total.errors += part.errors
            total.sample = total.sample or part.sample
            total.cpu += part.cpu
        self.cpu = total.cpu
        return total

    def close(self) -> None:
        """End the client processes."""
        for pipe in self.pipes:
            pipe.send(None)
