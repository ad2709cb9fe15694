"""A stand-in for `vllm`: takes the command line of `vllm serve` and serves /health, as told by STAND_IN_* variables."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

HOW = {name.removeprefix("STAND_IN_"): value for name, value in os.environ.items() if name.startswith("STAND_IN_")}


class Answer(http.server.BaseHTTPRequestHandler):
    """GET /health answers 200, GET /die ends the server, GET /slow takes a second."""

    def do_GET(self) -> None:
        if self.path == "/die":
            print("CUDA error: an illegal memory access was encountered", file=sys.stderr, flush=True)
            os._exit(int(HOW.get("DIE_CODE", "3")))
        if self.path == "/slow":
            print("slow began", flush=True)
            time.sleep(1)
        self.send_response(503 if "UNHEALTHY" in HOW else 200)
        while "DRIBBLE" in HOW:
            self.send_header("X-Another", "line")
            self.flush_headers()
            time.sleep(0.2)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def be_an_engine() -> None:
    """Stay until killed, or until the file that ENGINE_DIES names is there."""
    while not Path(HOW.get("ENGINE_DIES", "/nowhere/at/all")).exists():
        time.sleep(0.02)
    print("CUDA error: out of memory", file=sys.stderr, flush=True)
    sys.exit(5)


def main() -> None:
    """Serve until SIGTERM; then finish what is in flight and leave with 0."""
    if "--headless" in sys.argv:
        HOW["REPORT"] += ".engine"
    report = {"argv": sys.argv[1:], "env": dict(os.environ), "pid": os.getpid()}
    Path(HOW["REPORT"]).write_text(json.dumps(report))
    print("INFO stand-in starts", flush=True)
    if "DIE_AT_START" in HOW:
        print("RuntimeError: no CUDA GPUs are available", file=sys.stderr, flush=True)
        sys.exit(1)
    if "NEVER_READY" in HOW:
        time.sleep(600)
    if "--headless" in sys.argv:
        be_an_engine()
    port = int(sys.argv[sys.argv.index("--port") + 1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
    server.daemon_threads = False
    if "BROOD" in HOW:
        subprocess.Popen([sys.executable, HOW["BROOD"], HOW["BROOD_PIDS"], "stay"])
    if "IGNORE_TERM" in HOW:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    print("INFO drained", flush=True)


main()
