"""watch: each thing told once, what may be healed is, and the program with its metrics, webhook and signals."""

from __future__ import annotations

import configparser
import http.server
import json
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from tests.harness import loopback
from tests.harness.project import Project
from whisperctl.cli.commands.watch import watch
from whisperctl.operate.watch.conditions import Condition, Notice, OpenConditions
from whisperctl.operate.watch.heal import Healing
from whisperctl.operate.watch.metrics import Board
from whisperctl.operate.watch.observation import Observation
from whisperctl.operate.watch.probing import Probe
from whisperctl.operate.watch.rounds import Rounds

DOCS = Path(__file__).parents[2] / "docs" / "watch"
SEEN = [Observation(stack="a", project="p")]


def wrong(about: str = "", text: str = "", kind: Any = "drift") -> Condition:
    return Condition(project="p", stack="a", kind=kind, about=about, text=text)


def in_short(notices: Sequence[Notice]) -> list[tuple[str, str, str]]:
    return [(notice.state, notice.condition.kind, notice.condition.about) for notice in notices]


def test_each_thing_is_told_once_when_it_begins_and_once_when_it_is_over() -> None:
    state = OpenConditions()
    assert in_short(state.news([wrong("x")], SEEN)) == [("begins", "drift", "x")]
    assert state.news([wrong("x")], SEEN) == []
    assert in_short(state.news([wrong("x", "2 -> 3"), wrong("y")], SEEN)) == [
        ("begins", "drift", "x"),
        ("begins", "drift", "y"),
    ]
    assert in_short(state.news([wrong("y")], SEEN)) == [("over", "drift", "x")]
    dark = [Observation(stack="a", project="p", error="503")]
    assert in_short(state.news([wrong(kind="unreadable")], dark)) == [("begins", "unreadable", "")]
    assert in_short(state.news([wrong("y")], SEEN)) == [("over", "unreadable", "")]
    assert state.open == [wrong("y")]


@dataclass
class Heard:
    """What rounds told."""

    notices: list[Notice] = field(default_factory=list)
    healings: list[Healing] = field(default_factory=list)

    def __call__(self, notices: Sequence[Notice], healings: Sequence[Healing]) -> None:
        self.notices += notices
        self.healings += healings

    def news(self) -> list[tuple[str, str, str]]:
        news, self.notices = in_short(self.notices), []
        return news


def rounds(project: Project, listener: Heard, heals: bool = False) -> Rounds:
    stacks = project.load()
    world = project.world()
    return Rounds(
        stacks=lambda: stacks, world=world, clock=world.clock, interval=1, probe_every=0, heals=heals, tell=listener,
    )  # fmt: skip


def test_a_day_with_faults(project: Project) -> None:
    project.apply(vllm={"version": "0.32.0"}, version={"minimum_instances": 1, "maximum_instances": 2})
    listener, api = Heard(), project.api()
    watch = rounds(project, listener)
    watch.round()
    assert listener.news() == []
    api.update_version("alpha", "v1", {"maximum_instances": 3})
    watch.round()
    watch.round()
    [notice] = listener.notices
    assert notice.condition.text == "maximum_instances 2 -> 3"
    assert listener.news() == [("begins", "drift", "version/alpha/v1")]
    project.fault("unhealthy")
    watch.round()
    assert ("begins", "unhealthy", "alpha") in listener.news()
    project.fault("error", method="GET", path="/deployments$", status=503, count=100)
    watch.round()
    assert ("begins", "unreadable", "") in listener.news()
    project.calm()
    api.update_version("alpha", "v1", {"maximum_instances": 2})
    watch.round()
    assert set(listener.news()) == {
        ("over", "unreadable", ""), ("over", "unhealthy", "alpha"), ("over", "drift", "version/alpha/v1"),
    }  # fmt: skip
    project.write(vllm={"version": "0.32.0"}, version={"maximum_instances": 5})
    moved = rounds(project, listener)
    moved.round()
    assert [kind for _, kind, _ in listener.news()] == ["moved on"]


def test_heal_puts_back_and_deletes_nothing(project: Project) -> None:
    project.apply(vllm={"version": "0.32.0"}, env={"A": "1"}, version={"maximum_instances": 2})
    listener, api = Heard(), project.api()
    watch = rounds(project, listener, heals=True)
    api.update_version("alpha", "v1", {"maximum_instances": 3})
    watch.round()
    assert [(healing.done, healing.text) for healing in listener.healings] == [(True, "put back version/alpha/v1")]
    assert (api.version("alpha", "v1") or {})["maximum_instances"] == 2
    watch.round()
    assert listener.news() == [("begins", "drift", "version/alpha/v1"), ("over", "drift", "version/alpha/v1")]
    listener.healings.clear()
    api.delete_service("alpha")
    watch.round()
    assert [healing.done for healing in listener.healings] == [True]
    assert api.find_service("alpha") is not None
    listener.healings.clear()
    project.write(vllm={"version": "0.32.0"}, env={"A": "2"}, version={"maximum_instances": 4})
    api.update_version("alpha", "v1", {"maximum_instances": 3})
    moved = rounds(project, listener, heals=True)
    with project.counted() as made:
        moved.round()
        moved.round()
    assert [line for line in made if not line.startswith("GET")] == []
    assert [(healing.done, healing.text) for healing in listener.healings] == [
        (False, "not put back: the stack file has moved on")
    ]


def test_heal_rolls_nothing_out(project: Project) -> None:
    project.apply(env={"A": "1"}, rollout={"strategy": "blue_green", "bake": 0})
    listener, api = Heard(), project.api()
    [version] = [raw["version"] for raw in api.versions("alpha")]
    [variable] = api.env_vars("alpha", version)
    api.update_env_var("alpha", version, variable["id"], {"name": "A", "value": "2"})
    rounds(project, listener, heals=True).round()
    assert listener.news() == [("begins", "drift", f"env_var/alpha/{version}/A")]
    assert [(healing.done, healing.text) for healing in listener.healings] == [
        (False, "not put back: that takes a new version of the line, which `whisperctl apply` rolls out")
    ]


class Hook(http.server.BaseHTTPRequestHandler):
    """Takes what a webhook is sent."""

    taken: list[Any]

    def do_POST(self) -> None:
        self.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[Any]]]:
    taken: list[Any] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Hook,), {"taken": taken}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/services/T0/hunter2-webhook", taken
    server.shutdown()
    server.server_close()
    thread.join()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_program_tells_posts_counts_and_ends(project: Project, webhook: tuple[str, list[Any]]) -> None:
    project.apply(vllm={"version": "0.24.0"}, env={"KEY": {"value": "hunter2-canary", "secret": True}})
    project.api().update_version("alpha", "v1", {"maximum_instances": 3, "description": "hunter2-canary"})
    url, taken = webhook
    port, file = free_port(), str(project.folder / "stack.yaml")
    process = project.spawn(
        "watch", file, "--metrics-port", str(port), "--format", "json", "--interval", "1", WHISPERCTL_NOTIFY=url
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = json.loads(process.stdout.readline())
    assert (line["stack"], line["kind"], line["state"], line["about"]) == (
        "alpha",
        "drift",
        "begins",
        "version/alpha/v1",
    )
    while not taken:
        threading.Event().wait(0.01)
    shown = loopback.get(f"http://127.0.0.1:{port}/metrics").text
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    assert 'whisperctl_drift{project="demo",stack="alpha"} 1.0' in shown
    assert "whisperctl_rounds_total 1.0" in shown
    assert "maximum_instances" in taken[0]["text"]
    assert list(taken[0]) == ["text"]
    assert not [secret for secret in ("hunter2", project.emulator.token) if secret in out + err + shown + str(taken)]


def test_a_project_that_cannot_be_read_at_the_start_is_an_error(project: Project) -> None:
    project.write()
    ran = project.cli("watch", str(project.folder / "stack.yaml"), UBIOPS_API_TOKEN="wrong-token")
    assert ran.code == 1
    assert "token" in ran.err
    for url, reason in (("ftp://host/x", "wants an https:// URL"), ("http://example.com/T0/hunter2", "in clear text")):
        ran = project.cli("watch", str(project.folder / "stack.yaml"), "--notify", url)
        assert (ran.code, reason in ran.err, "hunter2" in ran.err) == (1, True, False)
    assert project.cli("watch", "--metrics-port", "http").code == 64


def names(text: str) -> set[str]:
    return set(re.findall(r"\bwhisperctl_[a-z_]+", text))


def test_dashboard_and_alerts_ask_for_metrics_that_there_are() -> None:
    board = Board()
    board.put([Observation(stack="a", project="p")], [], {}, seconds=1.0, ended=2.0)
    exported = {sample.name for metric in board.collect() for sample in metric.samples}
    exported |= {metric.name for metric in board.collect()}
    dashboard = json.loads((DOCS / "dashboard.json").read_text())
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) >= 10
    assert names(" ".join(asked)) <= exported
    assert names((DOCS / "alerts.yml").read_text()) <= exported
    text = (DOCS.parent / "watch.md").read_text()
    assert {metric.name for metric in board.collect()} <= {name.removesuffix("_total") for name in names(text)}


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool (Debian: prometheus) is not installed")
def test_promtool_takes_the_alert_rules_and_the_metrics() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", DOCS / "alerts.yml"], capture_output=True, check=False, text=True
    )
    assert (checked.returncode, "6 rules found" in checked.stdout) == (0, True), checked
    registry, board = CollectorRegistry(auto_describe=False), Board()
    registry.register(board)
    good = Probe(stack="a", project="p", seconds=0.5, wer=0.1)
    board.put([Observation(stack="a", project="p")], [wrong()], {("p", "a"): good}, seconds=1.0, ended=2.0)
    exposed = generate_latest(registry)
    assert exposed.count(b"whisperctl_") > 20
    linted = subprocess.run(["promtool", "check", "metrics"], input=exposed, capture_output=True, check=False)
    assert (linted.returncode, linted.stderr) == (0, b""), linted


def test_unit_and_manifest_call_watch_as_it_is_called() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.read(DOCS / "whisperctl-watch.service")
    started = shlex.split(unit["Service"]["ExecStart"])[1:]
    manifest = yaml.safe_load((DOCS / "kubernetes.yaml").read_text())
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    for command in (started, container["args"]):
        assert command[0] == "watch"
        parsed = watch.make_context("watch", [*command[1:], "--notify", "http://127.0.0.1:1"])
        assert (parsed.params["metrics_port"][1], parsed.params["form"]) == (9464, "json")


def test_a_version_that_runs_and_serves_nobody_is_a_leak(project: Project) -> None:
    project.apply(vllm={"version": "0.32.0"})
    listener, api = Heard(), project.api()
    old = api.version("alpha", "v1") or {}
    labels = {name: value for name, value in old["labels"].items() if name != "whisperctl-id"}
    same = {name: old[name] for name in ("instance_type_group_id", "environment_name", "environment_tag")}
    body = {"version": "v0", "minimum_instances": 1, "maximum_instances": 1, "labels": labels, **same}
    made = api.create_version("alpha", body)
    api.update_version("alpha", "v0", {"labels": labels | {"whisperctl-id": made["id"]}})
    rounds(project, listener).round()
    [leak] = [notice.condition for notice in listener.notices if notice.condition.kind == "leak"]
    assert (leak.about, leak.text) == ("v0", "it runs or is kept awake for 720 credits a day and serves nobody")
