"""How requests that come at once spread over front ends, as vLLM's do it and with a socket for each.

vLLM's API servers share one listening socket, each with an event loop of uvloop's: whoever wakes first accepts all that
wait. With SO_REUSEPORT and a socket of its own for each, the kernel deals connections out by their addresses. Counts
only: the machine's cores do not matter for them. `spread.py PROCESSES CONNECTIONS SECONDS_OF_WORK`.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import sys
import time
from collections import Counter

import uvloop

REQUEST, ANSWER, EACH = 1000, 1, 2
"""Bytes of a request and of its answer, and requests on each connection."""


def listening(port: int = 0) -> socket.socket:
    """A socket that others may stand beside at the same port, as vLLM makes its own."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


def front_end(shared: socket.socket, number: int, work: float, own: bool) -> None:
    """Answer each request with the own number, after some work."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            try:
                await reader.readexactly(REQUEST)
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            end = time.process_time() + work
            while time.process_time() < end:
                pass
            writer.write(bytes([number]))
        writer.close()

    async def serve() -> None:
        door = listening(shared.getsockname()[1]) if own else shared
        server = await asyncio.start_server(answer, sock=door, backlog=2048)
        await server.serve_forever()

    uvloop.run(serve())


async def burst(port: int, connections: int) -> Counter[int]:
    """Requests by the front end that answered, over connections that are made at once."""

    async def ask() -> list[int]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        numbers = []
        for _ in range(EACH):
            writer.write(b"x" * REQUEST)
            numbers.append((await reader.readexactly(ANSWER))[0])
        writer.close()
        return numbers

    answers = await asyncio.gather(*[ask() for _ in range(connections)])
    return Counter(number for numbers in answers for number in numbers)


def main() -> None:
    """Print the counts of three bursts for either way."""
    processes, connections, work = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    context = multiprocessing.get_context("fork")
    for own in (False, True):
        shared = listening()
        started = [
            context.Process(target=front_end, args=(shared, number, work, own), daemon=True)
            for number in range(processes)
        ]
        for process in started:
            process.start()
        time.sleep(2)
        for _ in range(3):
            counts = asyncio.run(burst(shared.getsockname()[1], connections))
            most = sorted(counts.values(), reverse=True)
            print("own sockets" if own else "one socket", most, f"of {counts.total()}", flush=True)
        for process in started:
            process.terminate()


if __name__ == "__main__":
    main()
