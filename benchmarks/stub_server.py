"""A stand-in for a Whisper server: so many requests at a time, a fixed time each, the rest waits in line.

    .venv/bin/python -m benchmarks.stub_server --capacity 64 --seconds 1 [--per-minute 600]

Prints its port. The body is read and thrown away, so that it costs little beside the client that is measured. POST
`/_capacity/N` changes how many it serves from now on; GET `/_seen` tells how many were answered and how many refused.
Of the answer's text nothing is true.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import deque
from string import ascii_lowercase


def answer(number: int) -> bytes:
    """A transcript of 28 seconds: 78 words in six segments, no two alike, as it is with speech."""
    chance = random.Random(number)
    said = [" ".join("".join(chance.choices(ascii_lowercase, k=5)) for _ in range(13)) for _ in range(6)]
    segments = [
        {"id": at, "start": 4.6 * at, "end": 4.6 * (at + 1), "text": text, "avg_logprob": -0.2, "tokens": []}
        for at, text in enumerate(said)
    ]
    return json.dumps({"text": " ".join(said), "language": "en", "duration": "28.0", "segments": segments}).encode()


ANSWERS = [answer(number) for number in range(40)]


class Server:
    """What all connections share."""

    def __init__(self, capacity: int, seconds: float, per_minute: int | None) -> None:
        self.capacity, self.seconds, self.per_minute = capacity, seconds, per_minute
        self.running = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.window, self.used = time.monotonic(), 0
        self.answered = self.refused = self.most = 0

    async def serve(self) -> None:
        """Take one request's time."""
        if self.running >= self.capacity or self.waiting:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append(turn)
            await turn
        else:
            self.running += 1
        self.most = max(self.most, self.running)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        self.running -= 1
        self.answered += 1
        self.admit()

    def admit(self) -> None:
        """Let those in line start, as far as there is room."""
        for _ in range(min(len(self.waiting), self.capacity - self.running)):
            self.running += 1  # now, not when its task goes on: somebody else may come before
            self.waiting.popleft().set_result(None)

    def refuses(self) -> float | None:
        """Seconds until the next window, if this one's requests are used up."""
        if self.per_minute is None:
            return None
        if (now := time.monotonic()) - self.window >= 60:
            self.window, self.used = now, 0
        self.used += 1
        return None if self.used <= self.per_minute else 60 - (now - self.window)


class Connection(asyncio.Protocol):
    """One client's connection: HTTP/1.1, one request after the other."""

    def __init__(self, server: Server) -> None:
        self.server, self.head, self.left = server, b"", 0
        self.asked = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.left:
            self.left -= len(data)
        else:
            self.head += data
            head, end, rest = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            self.asked, *lines = head.decode("latin-1").split("\r\n")
            lengths = [line.split(":")[1] for line in lines if line.lower().startswith("content-length:")]
            if any(line.lower().startswith("expect:") for line in lines):
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.left, self.head = (int(lengths[0]) if lengths else 0) - len(rest), b""
        if self.left == 0:
            self.task = asyncio.ensure_future(self.answer(self.asked.split(" ")))

    async def answer(self, asked: list[str]) -> None:
        status, body, more = await self.made(asked[0], asked[1])
        self.transport.write(
            b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s"
            % (status, more, len(body), body)
        )

    async def made(self, verb: str, path: str) -> tuple[bytes, bytes, bytes]:
        """Status line, body and further header lines."""
        server = self.server
        if path.startswith("/_capacity/"):
            server.capacity = int(path.rpartition("/")[2])
            server.admit()
        if verb == "GET" or path.startswith("/_"):
            counts = {"answered": server.answered, "refused": server.refused, "most": server.most}
            return b"200 OK", json.dumps(counts).encode(), b""
        if (wait := server.refuses()) is not None:
            server.refused += 1
            return b"429 Too Many Requests", b"{}", b"x-ratelimit-reset: %d\r\n" % (int(wait) + 1)
        await server.serve()
        return b"200 OK", ANSWERS[server.answered % len(ANSWERS)], b""


async def listen(server: Server, port: int) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", port, backlog=2048)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--capacity", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0, help="service time of a request")
    parser.add_argument("--per-minute", type=int, help="requests a minute; more are refused with 429")
    options = parser.parse_args()
    asyncio.run(listen(Server(options.capacity, options.seconds, options.per_minute), options.port))


if __name__ == "__main__":
    main()
