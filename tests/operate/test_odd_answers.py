"""Any value of any answer of UbiOps may be of another kind: each command ends in what it knows or in one line.

The answers of a real run are recorded, then given again with one value replaced; the command runs inside this process
and asks over a socket.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.harness import loopback, program
from tests.harness.operator import Operator
from tests.harness.sweeps import EXHAUSTIVE
from ubiops_emulator.testing import Emulator
from whisperctl.control.shapes import misfit

VALUES: tuple[Any, ...] = (None, 7, "x", [], {}, [None], {"x": None})
COMMANDS = [
    "status", "doctor", "history", "logs", "plan", "drift", "curl", "list", "usage",
    "plan --destroy",
]  # fmt: skip
SAMPLE = 8
PARTS = 6 if EXHAUSTIVE else 1
"""All misfits of one command are up to 2,900: workers share them."""


class Replay:
    """Answers as the emulator does, once it has heard it; one value of one answer is replaced."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.answers: dict[tuple[str, str], tuple[int, Any]] = {}
        self.odd: tuple[tuple[str, str], tuple[Any, ...], Any] | None = None

    def answer(self, verb: str, target: str, body: bytes) -> tuple[int, Any]:
        key = (verb, target.partition("?")[0])
        if key not in self.answers:
            headers = {"Authorization": f"Token {self.emulator.token}", "Content-Type": "application/json"}
            answer = loopback.request(verb, self.emulator.root + target, headers=headers, content=body, timeout=30)
            self.answers[key] = (answer.status_code, answer.json() if answer.content else None)
        status, value = self.answers[key]
        if self.odd and self.odd[0] == key:
            value = replaced(value, self.odd[1], self.odd[2])
        return status, value


def replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    """A copy of `value` with what is at `path` replaced."""
    if not path:
        return by
    copied = deepcopy(value)
    parent = copied
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = by
    return copied


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON document; of lists the first two items."""
    yield path
    if isinstance(value, dict):
        for name, each in value.items():
            yield from places(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value[:2]):
            yield from places(each, (*path, index))


def misfits(replay: Replay) -> list[tuple[tuple[str, str], tuple[Any, ...], Any]]:
    """Every value of every recorded answer, replaced by one of another kind."""
    return [
        (key, path, by) for key, (_, value) in sorted(replay.answers.items()) for path in places(value) for by in VALUES
    ]


@contextmanager
def serving(replay: Replay) -> Iterator[str]:
    """The address of an API that answers as `replay` says."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else each body waits 40 ms for the client's acknowledgement of its head

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, value = replay.answer(self.command, self.path, body)
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v2"
        server.shutdown()


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("command", COMMANDS)
def test_an_odd_value_ends_in_what_is_known_or_in_one_line(operator: Operator, command: str, part: int) -> None:
    replay = Replay(operator.emulator)
    with serving(replay) as host:
        environ = operator.env(UBIOPS_API_HOST=host)
        expected = program.run(*command.split(), environ=environ, folder=operator.folder)
        assert expected.code in (0, 2), expected
        cases = misfits(replay)
        chosen = cases[part::PARTS] if EXHAUSTIVE else random.Random(command).sample(cases, min(SAMPLE, len(cases)))
        failed = []
        for replay.odd in chosen:
            ran = program.run("-v", *command.split(), environ=environ, folder=operator.folder)
            if ran.code not in (0, 1, 2) or "whisperctl itself has failed" in ran.err or "Traceback" in ran.err:
                failed.append((replay.odd, ran.err[-900:]))
        assert not failed, f"{len(failed)} of {len(chosen)}: {failed[:3]}"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("deployment_versions_list", [{"version": {"name": "v1"}}]),
        ("services_list", [{"name": "a", "deployment": {"name": "b"}}]),
        ("project_instances_list", {"results": [{"id": "a", "status": "running", "instance_type": "gpu-l4"}]}),
        ("instance_types_list", {"results": [{"name": "a", "accelerator": "one"}]}),
        ("environment_tags_usage", [{"deployment": []}]),
        (
            "time_series_data_list",
            {"data_points": [{"start_date": "2026-11-29", "end_date": {}, "value": 1}]},
        ),
        ("time_series_data_list", {"data": [{"start_date": "0001-01-01T00:00:00+14:00", "value": 1}]}),
        ("deployment_version_requests_batch_get", [{"id": "a"}]),
        ("deployments_get", {"name": "a", "port": float("nan")}),
        ("deployment_versions_list", [{"version": "v1", "minimum_instances": 10**400}]),
    ],
)
def test_a_value_that_breaks_what_is_computed_from_it_is_odd(method: str, answer: Any) -> None:
    assert misfit(method, answer) is not None
    assert misfit("deployment_versions_list", [{"version": "v1", "instance_type": "gpu-l4"}]) is None


def test_one_odd_object_ends_no_list_for_those_who_only_look(operator: Operator) -> None:
    replay = Replay(operator.emulator)
    groups = ("GET", "/v2/projects/demo/instance-type-groups")
    with serving(replay) as host:
        environ = operator.env(UBIOPS_API_HOST=host)
        for command in ("status", "doctor", "plan"):
            replay.odd = None
            expected = program.run(command, environ=environ, folder=operator.folder)
            replay.odd = (groups, ("results", -1), {"id": 7, "name": None})
            ran = program.run(command, environ=environ, folder=operator.folder)
            left_out = "warning: The host's answer to instance_type_groups_list has an object without `name`: left out."
            if command == "plan":  # who is to change something must know what there is
                assert (ran.code, "instance_type_groups_list has an object without `name`" in ran.err) == (1, True)
            else:
                assert (ran.code, ran.out, ran.err.count(left_out)) == (expected.code, expected.out, 1), ran
