"""A UbiOps project for one test: the emulator over a socket, the product in front of it, and its books laid open."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.harness import program
from tests.harness.program import Ran
from tests.harness.terminal import Terminal
from ubiops_emulator.testing import Emulator
from whisperctl.apply.events import Event, Message
from whisperctl.apply.outcome import Outcome
from whisperctl.clock import StoppableClock
from whisperctl.control.api import Api
from whisperctl.engine import World, apply_plans, plan_stacks
from whisperctl.loading import load_stacks
from whisperctl.plan.plan import Plan
from whisperctl.spec import Stack
from whisperctl.state.label_text import OWN_PREFIX

T4 = "12288 MB + NVIDIA Tesla T4"
CPU = "16384 MB + 4 vCPU"
VOLATILE = {
    "id", "creation_date", "last_updated", "time_created", "time_updated", "last_file_upload", "status", "size",
    "active_revision", "latest_revision", "instance_type_group_id", "endpoint", "has_request_method",
    "has_requests_method",
}  # fmt: skip

BASE: dict[str, Any] = {
    "apiVersion": "whisperctl/v1",
    "stack": "alpha",
    "model": {"name": "openai/whisper-small", "revision": "973afd24965f72e36ca33b3055d56a652f456b4d"},
    "vllm": {"version": "0.24.0"},
    "deployment": {"name": "alpha"},
    "instance_type_group": {"name": T4, "gpu": "T4"},
    "version": {
        "name": "v1",
        "minimum_instances": 1,
        "labels": {"openai-compatible": "true", "openai-model-names": "openai/whisper-small"},
    },
    "service": {"name": "alpha", "port": 8080},
}


class QuickClock(StoppableClock):
    """Sleeps last a few milliseconds: what is waited for at the emulator takes no longer."""

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 0.01))


@dataclass(slots=True)
class Project:
    """One emulator's project `demo`, and a folder for stack files."""

    emulator: Emulator = field(repr=False)
    folder: Path
    events: list[Event] = field(default_factory=list, repr=False)
    parallelism: int = 10

    @classmethod
    def fresh(cls, emulator: Emulator, folder: Path) -> Self:
        """The project with nothing in it, without faults, without a limit of requests, and with an empty journal."""
        made = cls(emulator=emulator, folder=folder)
        made.calm()
        made.control("POST", "reset")
        made.control("PATCH", "switches", {"rate_limit": 0})
        made.forget()
        return made

    @property
    def said(self) -> list[str]:
        """What was said meanwhile, log lines included."""
        return [event.text for event in self.events if isinstance(event, Message)]

    # --- the product ------------------------------------------------------------------------------------------------

    def write(self, name: str = "stack.yaml", /, **changes: Any) -> Path:
        """Write a stack file: the base with `changes` merged in; `service=None` removes a section."""
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(merged(BASE, changes), indent=1, ensure_ascii=False))
        return file

    def load(self, *files: Path | str, environ: Mapping[str, str] = os.environ) -> tuple[Stack, ...]:
        return load_stacks([Path(file) for file in files or (self.folder / "stack.yaml",)], environ).stacks

    def world(self, clock: StoppableClock | None = None, timeout: float = 20.0, allow_delete: bool = True) -> World:
        """What the engine works with; tests call one stack's files as they like, unless they are about that."""
        clock = clock or QuickClock()
        return World(
            apis={"demo": self.api(clock, timeout)},
            project_of=lambda _stack: "demo",
            token=self.emulator.token,
            parallelism=self.parallelism,
            clock=clock,
            listen=self.events.append,
            allow_delete=allow_delete,
        )

    def api(self, clock: StoppableClock | None = None, timeout: float = 20.0) -> Api:
        host, token = self.emulator.host, self.emulator.token
        clock = clock or QuickClock()
        return Api(host, "demo", token, timeout=timeout, clock=clock, parallelism=self.parallelism)

    def plan(self, *files: Path | str, destroy: bool = False) -> list[Plan]:
        return plan_stacks(self.load(*files), self.world(), destroy)

    def plan_one(self, **changes: Any) -> Plan:
        [plan] = self.plan(self.write(**changes))
        return plan

    def perform(self, *files: Path | str, destroy: bool = False, world: World | None = None) -> list[Outcome]:
        """Plan and apply (or destroy) without a terminal in between."""
        world = world or self.world()
        return apply_plans(plan_stacks(self.load(*files), world, destroy), world)

    def apply(self, **changes: Any) -> Outcome:
        """Apply the base stack with changes; fail the test unless that succeeds."""
        [outcome] = self.perform(self.write(**changes))
        assert outcome.succeeded, report(outcome)
        return outcome

    def apply_twice(self) -> str:
        """The path of a stack file that was applied with two packages, so that there is one to go back to."""
        for length in (400, 448):
            self.apply(vllm={"max_model_len": length})
        return str(self.folder / "stack.yaml")

    def destroy(self, **changes: Any) -> Outcome:
        [outcome] = self.perform(self.write(**changes), destroy=True)
        assert outcome.succeeded, report(outcome)
        return outcome

    def cli(self, *args: str, **environ: str) -> Ran:
        """A command, inside this process."""
        return program.run(*args, environ=self.environ(**environ))

    def spawn(
        self, *args: str, cwd: Path | None = None, out: int = subprocess.PIPE, **environ: str
    ) -> subprocess.Popen[str]:
        """A command as a process of its own."""
        return program.start(*args, environ=self.environ(**environ), folder=cwd, stdout=out)

    def terminal(self, *args: str, columns: int = 100, rows: int = 24, **environ: str) -> Terminal:
        """A command on a terminal, with colours."""
        own = {"TERM": "xterm-256color", "NO_COLOR": ""}
        return Terminal(*args, environ=self.environ(**(own | environ)), columns=columns, rows=rows)

    def environ(self, **more: str) -> dict[str, str]:
        return program.environment(self.emulator, **({"NO_COLOR": "1"} | more))

    # --- the emulator -----------------------------------------------------------------------------------------------

    def control(self, verb: str, path: str, body: Any = None) -> Any:
        """A call below `/_emulator/`."""
        return self.emulator.control(verb, path, body)

    def fault(self, kind: str, **more: Any) -> None:
        self.control("POST", "faults", {"kind": kind, **more})

    def calm(self) -> None:
        self.control("DELETE", "faults")

    def journal(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.control("GET", "journal")
        return entries

    def forget(self) -> None:
        self.control("DELETE", "journal")

    @contextmanager
    def counted(self) -> Iterator[list[str]]:
        """Collects `VERB path` of every API request made meanwhile."""
        self.forget()
        requests: list[str] = []
        yield requests
        lines = [f"{entry['method']} {entry['path']}" for entry in self.journal()]
        requests += [line for line in lines if "/_emulator/" not in line]

    def books(self) -> dict[str, Any]:
        """Everything in the project, without ids, times and our own bookkeeping, in one comparable value."""
        api = self.api()
        objects: dict[str, Any] = {}
        for deployment in api.deployments():
            name = deployment["name"]
            objects[f"deployment/{name}"] = _plain(api.deployment(name) or {})
            for item in api.versions(name):
                version = item["version"]
                objects[f"version/{name}/{version}"] = _plain(api.version(name, version) or {})
                objects |= {f"env_var/{name}/{version}/{e['name']}": _plain(e) for e in api.env_vars(name, version)}
        objects |= {f"service/{s['name']}": _plain(api.service(s["name"])) for s in api.services()}
        objects |= {f"group/{g['name']}": _group(g) for g in api.groups()}
        if environment := api.environment("whisperctl"):
            objects["environment"] = _plain(environment)
            objects |= {f"tag/{tag['name']}": _plain(tag) for tag in api.tags("whisperctl") or []}
        return objects

    def names(self) -> set[str]:
        """What exists beyond what a fresh project has."""
        return {name for name in self.books() if not name.startswith("group/")}


def _plain(raw: Mapping[str, Any]) -> dict[str, Any]:
    labels = {k: v for k, v in (raw.get("labels") or {}).items() if not k.startswith(OWN_PREFIX)}
    owner = (raw.get("labels") or {}).get("whisperctl-stack")
    return {k: v for k, v in raw.items() if k not in VOLATILE} | {"labels": labels, "owner": owner}


def _group(raw: Mapping[str, Any]) -> Any:
    return [(item["name"], item["priority"], item["schedule_timeout"]) for item in raw["instance_types"]]


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Deep: maps merge, everything else replaces, None removes."""
    result = dict(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def report(outcome: Outcome) -> str:
    """Why an outcome is no success."""
    lines = [f"{r.status} {r.operation.kind} {r.operation.address}: {r.error}" for r in outcome.results]
    return "\n".join([*lines, f"remaining {outcome.remaining}", outcome.error])


def actions(plan: Plan) -> dict[str, str]:
    """Address -> action."""
    return {str(change.address): change.action for change in plan.changes}


def paths(plan: Plan) -> list[str]:
    """Every field that changes, as `ADDRESS PATH`."""
    return [f"{change.address} {item.path}" for change in plan.changes for item in change.fields]
