"""Start a UbiOps of your own for tests, benchmarks and scripts, wait until it answers, and stop it again.

    from ubiops_emulator import testing

    with testing.running("--runtime", "none", "--speed", "1000") as ubiops:
        subprocess.run(["whisperctl", "apply", "--yes", "stack.yaml"], env=os.environ | ubiops.environ, check=True)

Contract: the emulator is a process of its own (`whisperctl emulator`, run by this interpreter) on a free port of
127.0.0.1; nothing of it is imported here, and nothing of it or of the instances it has started is left after `stop()`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import httpx

START_SECONDS = 60.0
STOP_SECONDS = 60.0
CALL_SECONDS = 60.0
_NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Calls go to http://127.0.0.1: to read the certificates of all authorities takes longer than the call."""
_LINES = 3
"""What it prints when it listens: `export UBIOPS_API_HOST=…`, `…PROJECT=…`, `…API_TOKEN=…`."""


class EmulatorError(Exception):
    """It did not start, or did not end as it should; the text has the end of its log."""


@dataclass(slots=True, eq=False)
class Emulator:
    """A running emulator.

    Attributes:
        process: `whisperctl emulator`, the leader of a session of its own, out of Ctrl-C's reach.
        data: the folder of its state.
        log: the file that its standard error goes to.
        output: the lines that it printed when it listened.
        host: address of the API, for `UBIOPS_API_HOST`: `http://127.0.0.1:PORT/v2`.
        project: name of the project that it starts with.
        token_file: the file that holds the API token.
        temporary: whether `data` goes away with it.
    """

    process: subprocess.Popen[str]
    data: Path
    log: Path
    output: list[str]
    host: str
    project: str
    token_file: Path
    temporary: bool = False

    @property
    def token(self) -> str:
        """The API token of the project's administrator, without `Token `."""
        return self.token_file.read_text().strip()

    @property
    def root(self) -> str:
        """The address without the API's version: `/_emulator/` and `/v2/` are below it."""
        return self.host.removesuffix("/v2")

    @property
    def environ(self) -> dict[str, str]:
        """The variables that point whisperctl, and what else knows UbiOps' own names, to it."""
        return {"UBIOPS_API_HOST": self.host, "UBIOPS_PROJECT": self.project, "UBIOPS_API_TOKEN": self.token}

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call `/_emulator/PATH`, for example `control("POST", "faults", {"kind": "latency", "ms": 50})`.

        Returns:
            The JSON of the answer.

        Raises:
            httpx.HTTPError: it refuses, or does not answer.
        """
        headers = {"Authorization": f"Token {self.token}"}
        url = f"{self.root}/_emulator/{path}"
        plainly: dict[str, Any] = {"timeout": CALL_SECONDS, "trust_env": False, "verify": _NO_AUTHORITIES}
        answer = httpx.request(method, url, headers=headers, json=body, **plainly)
        answer.raise_for_status()
        return answer.json()

    def stop(self, number: int = signal.SIGTERM, timeout: float = STOP_SECONDS) -> int:
        """Send the signal and wait for its end; may be called again.

        Args:
            number: SIGTERM and SIGINT end it in order, and its instances with it; SIGKILL is a crash.
            timeout: seconds until it is killed.

        Returns:
            Its exit code: 0 after SIGTERM, 130 after SIGINT, minus the signal's number if that killed it.

        Raises:
            EmulatorError: it had to be killed.
        """
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise EmulatorError(f"still there {timeout:.0f} s after signal {number}:\n{_end_of(self.log)}") from None
        finally:
            _kill(self.process)
            if self.temporary:
                shutil.rmtree(self.data, ignore_errors=True)


def start(
    *flags: str, data: Path | None = None, environ: Mapping[str, str] | None = None, timeout: float = START_SECONDS
) -> Emulator:
    """Start an emulator on a free port, and wait until it listens.

    Args:
        flags: further ones of `whisperctl emulator`: `--runtime none`, `--speed 1000`, `--fault …`, `--port N`.
        data: folder of its state, made if need be; may hold that of an earlier run. A temporary one without it.
        environ: its environment variables; this process' own without those of UbiOps, if left out.
        timeout: seconds that it may take.

    Raises:
        EmulatorError: it ended, or did not listen in time.
    """
    temporary = data is None
    folder = Path(tempfile.mkdtemp(prefix="ubiops-")) if data is None else data
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "stderr.log"
    command = [sys.executable, "-m", "whisperctl", "emulator", "--port", "0", "--data", str(folder), *flags]
    own = {name: value for name, value in os.environ.items() if not name.startswith("UBIOPS_")}
    with log.open("a") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=own if environ is None else environ,
            start_new_session=True,  # Ctrl-C is for who started it, and who then stops it
        )
    output = _announcement(process, timeout)
    if len(output) < _LINES:
        _kill(process)
        message = f"the emulator did not start:\n{_end_of(log)}"
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)
        raise EmulatorError(message)
    host, project, token = (line.partition("=")[2] for line in output)
    token_file = Path(shlex.split(token.removeprefix('"$(cat ').removesuffix(')"'))[0])
    return Emulator(process, folder, log, output, host, project, token_file, temporary)


@contextmanager
def running(
    *flags: str, data: Path | None = None, environ: Mapping[str, str] | None = None, timeout: float = START_SECONDS
) -> Iterator[Emulator]:
    """An emulator for the length of a block; the arguments are those of `start()`.

    Raises:
        EmulatorError: it did not start, or did not end in order after the block.
    """
    emulator = start(*flags, data=data, environ=environ, timeout=timeout)
    try:
        yield emulator
    finally:
        ended = emulator.process.poll() is not None  # by whoever stopped it inside the block
        code = emulator.stop()
    if code and not ended:
        raise EmulatorError(f"ended with exit code {code}")


def _announcement(process: subprocess.Popen[str], timeout: float) -> list[str]:
    """The lines that it prints once it listens; fewer if it ends before, or has not printed them in time."""
    assert process.stdout is not None
    too_late = Timer(timeout, process.kill)
    too_late.start()
    try:
        lines = [process.stdout.readline().strip() for _ in range(_LINES)]
    except BaseException:  # whoever waits is interrupted, and nobody would know of the process
        _kill(process)
        raise
    finally:
        too_late.cancel()
    return [line for line in lines if line]


def _kill(process: subprocess.Popen[str]) -> None:
    """End it if it has not ended yet, and close its output."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
