#!/usr/bin/env python3
"""Takes the picture of the Grafana dashboard: its panels drawn from what a real Prometheus says to their own queries.

    .venv/bin/python scripts/docs_dashboard.py

Needs Debian's `prometheus`. Starts a local UbiOps with the tests' stand-in for vLLM, `whisperctl watch` with quick
rounds, and a Prometheus that scrapes it every second; then two minutes of a stack's life: somebody scales it, it
mishears, it does not start, it is put right. Grafana itself is in no package index: this script draws, in the
dashboard's own layout.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import httpx

from tests.harness.project import Project
from tests.rollout.conftest import interpreter, line
from tests.rollout.test_watch_endpoint import set_by_hand
from ubiops_emulator import testing

ROOT = Path(__file__).resolve().parent.parent
DASHBOARD = ROOT / "docs" / "watch" / "dashboard.json"
PICTURE = ROOT / "docs" / "img" / "watch-dashboard.svg"
COLUMN, ROW, GAP = 46, 26, 8
"""Pixels of one step of the dashboard's grid, and between two panels."""
COLORS = ("#73bf69", "#5794f2", "#f2cc0c", "#ff9830", "#b877d9", "#f2495c")
GOOD, BAD, PAPER, PANEL, TEXT, FAINT = "#37872d", "#c4162a", "#111217", "#181b1f", "#ccccdc", "#2c3235"
SAID = {"Healthy": {1: "healthy", 0: "not healthy"}, "Drift": {1: "drift", 0: "as applied"}}
"""What a panel's value mappings say."""

Series = tuple[str, list[tuple[float, float]]]
"""A legend, and values by time."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[str]:
    """A Prometheus that scrapes 127.0.0.1:`target` every second; its address."""
    port = free_port()
    (folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [{"job_name": "watch", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
            }
        )
    )
    command = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    process = subprocess.Popen(command)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def life(project: Project, wait: Callable[[float], object]) -> None:
    """Two minutes in which things go wrong and are put right."""
    wait(20)
    file = str(project.folder / "stack.yaml")
    project.cli("scale", "--min", "2", "--max", "2", file)
    wait(20)
    project.cli("apply", "--yes", file)
    wait(15)
    set_by_hand(project, HEARS="hello moon", DELAY="0.4")
    wait(20)
    set_by_hand(project, NEVER_UP="1")
    wait(20)
    project.cli("apply", "--yes", file)
    project.api().delete_env_var("alpha", "v1", _id_of(project, "NEVER_UP"))
    set_by_hand(project, HEARS="hello world", DELAY="0")
    wait(25)


def _id_of(project: Project, name: str) -> str:
    return next(str(item["id"]) for item in project.api().env_vars("alpha", "v1") if item["name"] == name)


def asked(url: str, expression: str, legend: str, since: float, until: float) -> list[Series]:
    """What Prometheus says to a panel's query."""
    query = expression.replace("$project", ".*").replace("$stack", ".*")
    given: dict[str, str | float] = {"query": query, "start": since, "end": until, "step": 1}
    results = (
        httpx.get(f"{url}/api/v1/query_range", params=given, timeout=30).raise_for_status().json()["data"]["result"]
    )
    return [
        (_legend(legend, each["metric"]), [(float(when), float(value)) for when, value in each["values"]])
        for each in results
    ]


def _legend(template: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        template = template.replace("{{" + name + "}}", value)
    return template


class Drawing:
    """The dashboard as SVG, panel by panel."""

    def __init__(self, since: float, until: float) -> None:
        self.since, self.until, self.parts = since, until, list[str]()
        self.width, self.height = 24 * COLUMN, 0

    def panel(self, panel: Mapping[str, Any], series: list[Series]) -> None:
        grid = panel["gridPos"]
        x, y = grid["x"] * COLUMN, grid["y"] * ROW
        width, height = grid["w"] * COLUMN - GAP, grid["h"] * ROW - GAP
        self.height = max(self.height, y + height + GAP)
        self.parts.append(
            f'<g transform="translate({x} {y})"><rect width="{width}" height="{height}" rx="3" fill="{PANEL}"/>'
        )
        self.text(12, 20, panel["title"], weight="bold")
        draw = {"stat": self.stat, "table": self.table, "timeseries": self.lines}[panel["type"]]
        draw(panel["title"], series, width, height)
        self.parts.append("</g>")

    def text(self, x: float, y: float, text: str, color: str = TEXT, size: int = 12, weight: str = "normal") -> None:
        look = f'fill="{color}" font-size="{size}" font-weight="{weight}"'
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>')

    def stat(self, title: str, series: list[Series], width: int, height: int) -> None:
        """The latest value, large, on the colour of its mapping."""
        for number, (legend, values) in enumerate(series):
            value, top = values[-1][1], 34 + number * 60
            said = SAID.get(title, {}).get(int(value), f"{value:.0f} s")
            bad = value == (0 if title == "Healthy" else 1) and title in SAID
            fill = BAD if bad else GOOD if title in SAID else FAINT
            self.parts.append(
                f'<rect x="12" y="{top}" width="{width - 24}" height="{height - 50}" rx="3" fill="{fill}"/>'
            )
            self.text(24, top + 34, said, size=26, weight="bold")
            self.text(24, top + 58, legend)

    def table(self, _title: str, series: list[Series], width: int, _height: int) -> None:
        """Each series with when it was there."""
        for number, (legend, values) in enumerate(series):
            y = 44 + number * 20
            begins, ends = values[0][0] - self.since, values[-1][0] - self.since
            now = "now" if values[-1][0] >= self.until - 2 else f"{begins:.0f} to {ends:.0f} s"
            self.text(12, y, legend, color=BAD if now == "now" else TEXT)
            self.text(width - 110, y, now)

    def lines(self, _title: str, series: list[Series], width: int, height: int) -> None:
        """Values over time, with a scale and a legend."""
        left, top, right, bottom = 44, 34, width - 12, height - 40
        most = max((value for _, values in series for _, value in values), default=0.0) or 1.0
        for step in range(3):
            y = bottom - (bottom - top) * step / 2
            self.parts.append(f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>')
            self.text(8, y + 4, f"{most * step / 2:.3g}", size=10)
        at = 12.0
        for number, (legend, values) in enumerate(series):
            color = COLORS[number % len(COLORS)]
            for run in _runs(values):
                points = " ".join(
                    f"{left + (when - self.since) / (self.until - self.since) * (right - left):.1f},"
                    f"{bottom - value / most * (bottom - top):.1f}"
                    for when, value in run
                )
                self.parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.6"/>')
            self.text(at, height - 12, f"— {legend}", color=color, size=11)
            at += 24 + 6.2 * len(legend)

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width - GAP} {self.height}" '
            f'font-family="Inter, Helvetica, Arial, sans-serif"><rect width="100%" height="100%" fill="{PAPER}"/>'
        )
        return "\n".join([head, *self.parts, "</svg>\n"])


def _runs(values: list[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """Values without a gap between them."""
    run: list[tuple[float, float]] = []
    for point in values:
        if run and point[0] - run[-1][0] > 1.5:
            yield run
            run = []
        run.append(point)
    yield run


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = interpreter(folder / "python")
        with testing.running("--speed", "1000", "--python", str(python), data=folder / "data") as emulator:
            project = Project(emulator=emulator, folder=folder)
            project.control("PATCH", "switches", {"rate_limit": 10_000_000})
            project.apply(**line(stack="speech", rollout={"strategy": "in_place"}, version={"maximum_instances": 2}))
            port = free_port()
            watch = project.spawn(
                "watch",
                str(folder / "stack.yaml"),
                "--interval",
                "1",
                "--probe-every",
                "2",
                "--metrics-port",
                str(port),
            )
            try:
                with prometheus(folder, port) as url:
                    since = time.time()
                    life(project, threading.Event().wait)
                    draw(url, since, time.time())
            finally:
                watch.terminate()
                watch.communicate()


def draw(url: str, since: float, until: float) -> None:
    """Write the picture."""
    drawing = Drawing(since, until)
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        targets = panel["targets"]
        series = [s for t in targets for s in asked(url, t["expr"], t.get("legendFormat", ""), since, until)]
        drawing.panel(panel, series)
    PICTURE.write_text(drawing.svg())
    print(f"wrote {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
