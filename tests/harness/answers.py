"""A project of literals under the real client: what UbiOps answers, by path; any other path is not found.

Contract: stands where the transport does, for tests of what is read and judged. Nothing of UbiOps' behaviour is in it:
a write is answered with what it brought, and changes nothing. Whatever needs more goes to the emulator.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import requests

from whisperctl.control.api import Api
from whisperctl.control.transport import api_error

ROOT = "/projects/p/"


class Answers:
    """Takes requests as `PooledRest` does.

    Args:
        by_path: what a GET answers: `deployments` → a list, `environments/whisperctl` → an object. Paths of other
            than the project `p` begin with a slash. A whole number is the status of a refusal, bytes are a file.
    """

    timeout = 60.0
    skips = False

    def __init__(self, by_path: Mapping[str, Any]) -> None:
        self.by_path = by_path
        self.asked: list[str] = []
        """`GET deployments`, a line a request."""

    def request(self, method: str, host: str, resource_path: str, **more: Any) -> requests.Response:
        """One answer, or the error that the transport makes of it."""
        path = resource_path.removeprefix(ROOT)
        self.asked.append(f"{method} {path}")
        if method == "GET":
            answer = self.by_path.get(path, 404)
        else:
            answer = {"id": "i1", "name": "n1", "version": "v1", "deployment": "d1", **(more.get("body") or {})}
        response = requests.Response()
        response.url = host + resource_path
        response.status_code = answer if isinstance(answer, int) else 200
        content = {"error": "refused"} if isinstance(answer, int) else answer
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        response.raw = io.BytesIO(b"" if method == "DELETE" else text)
        if response.status_code >= 400:
            raise api_error(method, path, response)
        return response


def project(by_path: Mapping[str, Any]) -> tuple[Api, Answers]:
    """The project, and what is asked of it."""
    answers = Answers(by_path)
    return Api("https://ubiops.test/v2", "p", "some-token").over(answers), answers


def page(*items: Mapping[str, Any]) -> dict[str, Any]:
    """The only page of a list that comes in pages."""
    return {"results": list(items), "next": None}
