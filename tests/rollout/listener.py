"""A stand-in for `vllm`: takes the command line of `vllm serve`, and hears what its environment tells it to.

Contract: a program of its own that imports nothing of ours; it runs as an instance's server on the emulator.
HEARS: the text of every transcription. DELAY: seconds that one takes. DIES_AFTER: transcriptions until it hears nothing
but noise. NEVER_UP: exit at the start.
"""

from __future__ import annotations

import http.server
import itertools
import json
import os
import sys
import time

SPOKEN = itertools.count(1)
SECONDS = 2
"""How long the audio of every request is, as vLLM tells it in `usage`."""


def served_name() -> str:
    arguments = sys.argv[1:]
    if "--served-model-name" in arguments:
        return arguments[arguments.index("--served-model-name") + 1]
    return arguments[arguments.index("serve") + 1]


def transcription() -> dict[str, object]:
    time.sleep(float(os.environ.get("DELAY", "0")))
    limit = os.environ.get("DIES_AFTER")
    is_noise = limit is not None and next(SPOKEN) > int(limit)
    text = "noise" if is_noise else os.environ.get("HEARS", "hello world")
    return {"text": text, "usage": {"type": "duration", "seconds": SECONDS}}


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self.answer({"object": "list", "data": [{"id": served_name(), "object": "model"}]})
        else:
            self.answer({})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.answer(transcription())

    def answer(self, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    if "NEVER_UP" in os.environ:
        print("ValueError: no room for the model", file=sys.stderr, flush=True)
        sys.exit(1)
    port = int(sys.argv[sys.argv.index("--port") + 1])
    http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
