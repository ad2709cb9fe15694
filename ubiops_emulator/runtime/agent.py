"""A script that is an instance: loads a package, instantiates `Deployment`, answers requests, dies with its emulator.

Contract: standard library only. Speaks JSON lines over the socket whose file descriptor is its first argument; the
package's own output stays on standard output and error. The end of the socket ends the whole process group.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

GRACE = 10.0


def load(folder: str, file_name: str) -> Any:
    """The class `Deployment` of the package.

    Raises:
        ImportError: the file is not a Python file.
    """
    sys.path[:0] = [folder, os.path.join(folder, "libraries")]  # noqa: PTH118 - nothing but strings needed
    path = os.path.join(folder, file_name)  # noqa: PTH118
    spec = importlib.util.spec_from_file_location("deployment", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file_name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["deployment"] = module
    spec.loader.exec_module(module)
    return module.Deployment


def end_group() -> None:
    """The emulator is gone: end this process and everything it started."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN) if threading.current_thread() is threading.main_thread() else None
    os.killpg(os.getpgrp(), signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def listen(stream: Any, tasks: queue.Queue[dict[str, Any]]) -> None:
    """Hand messages on; the end of the stream is the end of this process."""
    for line in stream:
        tasks.put(json.loads(line))
    end_group()


def answer(deployment: Any, task: dict[str, Any], say: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Call `request()`, or `requests()` where only that exists; whatever it raises is the request's error."""

    def streaming_update(data: Any) -> None:
        say({"event": "update", "id": task["id"], "data": data})

    context = {"id": task["id"], "streaming_update": streaming_update}
    try:
        single = hasattr(deployment, "request")
        method = deployment.request if single else deployment.requests
        extra = [context] if len(inspect.signature(method).parameters) > 1 else []
        result = method(task["data"] if single else [task["data"]], *extra)
        result = result if single else result[0]
        json.dumps(result)
    except Exception as error:
        traceback.print_exc()
        return {"event": "result", "id": task["id"], "error": f"{type(error).__name__}: {error}"}
    return {"event": "result", "id": task["id"], "result": result}


def main() -> None:
    """Be the process of an instance, told on standard input what to do."""
    # This script's own folder must not shadow a module of the package.
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]  # noqa: PTH100, PTH120
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    channel = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(channel.fileno(), False)
    reader, writer = channel.makefile("r"), channel.makefile("w")
    start = json.loads(reader.readline())
    tasks: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=listen, args=(reader, tasks), daemon=True).start()

    def say(message: dict[str, Any]) -> None:
        writer.write(json.dumps(message) + "\n")
        writer.flush()

    deployment = load(start["folder"], start["file"])(start["folder"], start["context"])
    say({"event": "ready"})
    while True:
        say(answer(deployment, tasks.get(), say))


if __name__ == "__main__":
    main()
