"""A headless Chromium that a test steers: opens a page, evaluates, chooses files, presses keys, takes pictures.

Contract: spoken to through its DevTools protocol over a WebSocket on loopback; gone when the block ends.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.harness import loopback

SECONDS = 60.0
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync", "--mute-audio",
    "--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0",
    "--autoplay-policy=no-user-gesture-required", "--window-size=1000,800",
)  # fmt: skip


class Page:
    """One tab."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> Any:
        """One call of the protocol; its result."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(SECONDS))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """Of a JavaScript expression, awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """The expression's value once it is true."""
        deadline = time.monotonic() + SECONDS
        while not (value := self.value(expression)):
            assert time.monotonic() < deadline, f"{expression}: {self.value('document.body.innerText')}"
            time.sleep(0.02)
        return value

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files for an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])

    def press(self, key: str, text: str = "") -> None:
        """A key, down and up."""
        code = {"Tab": 9, "Enter": 13, "ArrowRight": 39}[key]
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **more)

    def tree(self) -> list[tuple[str, str]]:
        """Role and name of what a screen reader finds."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        ]

    def picture(self, file: Path) -> None:
        file.write_bytes(b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def chromium(profile: Path, *flags: str) -> Iterator[Page]:
    """A tab of a fresh browser."""
    command = ["chromium", *FLAGS, f"--user-data-dir={profile}", *flags, "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        active, deadline = profile / "DevToolsActivePort", time.monotonic() + SECONDS
        while not (active.exists() and active.read_text().count("\n")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        port = active.read_text().split()[0]
        tabs = loopback.get(f"http://127.0.0.1:{port}/json", trust_env=False).json()
        url = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(url, max_size=1 << 26, proxy=None) as connection:
            yield Page(connection)
    finally:
        process.kill()
        process.wait()
