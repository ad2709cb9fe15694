"""What an effect needs to know from the documents: labels, context, environment, health; and the builds themselves.

Contract: reads documents, starts nothing but builds and health probes; the platform decides when.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from whisperctl.emulator.clock import stamp
from whisperctl.emulator.rules.variables import effective
from whisperctl.emulator.runtime import builds, packages, sockets
from whisperctl.emulator.runtime.orphans import MARK
from whisperctl.emulator.runtime.process import Launch
from whisperctl.emulator.store import Doc, Store
from whisperctl.emulator.words import words

if TYPE_CHECKING:
    from whisperctl.emulator.platform import Platform

# What an instance sees of the emulator's own environment; nothing else of the user's shell reaches a package.
PASSED_ON = words(
    "LANG LC_ALL TZ TMPDIR LD_LIBRARY_PATH LD_PRELOAD HF_HOME HF_HUB_OFFLINE HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy"
    " https_proxy no_proxy SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE"
)
PASSED_PREFIXES = ("CUDA", "NVIDIA_", "NCCL_")
ONLY_BOOKS = "The emulator runs with --runtime none: it keeps the books and executes no code"
HEALTH_INTERVAL = 30
HEALTH_TIMEOUT = 5


@dataclass(slots=True)
class BuildFaults:
    """Builds that are made to fail or never to end, and instances that never get healthy; counted down."""

    fail: int = 0
    endless: int = 0
    unhealthy: int = 0
    text: str = "The build failed on demand"

    def clear(self) -> None:
        self.fail = self.endless = self.unhealthy = 0

    def listed(self) -> list[dict[str, Any]]:
        counts = {"build-fail": self.fail, "build-endless": self.endless, "unhealthy": self.unhealthy}
        return [{"kind": kind, "count": count} for kind, count in counts.items() if count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where something runs."""

    project: str
    project_name: str
    deployment: Doc
    version: Doc
    labels: dict[str, Any] = field(default_factory=dict)


def site(store: Store, doc: Doc) -> Site:
    """The version, deployment and project of a revision or instance."""
    version = store.by_id("version", doc.parent)
    deployment = store.by_id("deployment", version.parent) if version else None
    if version is None or deployment is None:
        raise LookupError(doc.id)
    project = store.by_id("project", deployment.parent)
    labels = {
        "deployment_id": deployment.id,
        "deployment_name": deployment.name,
        "deployment_version_id": version.id,
        "deployment_version": version.name,
    }
    return Site(
        project=deployment.parent,
        project_name=str(project.name) if project else "",
        deployment=deployment,
        version=version,
        labels=labels,
    )


def instance_labels(store: Store, where: Site, ident: str) -> dict[str, Any]:
    """The labels of an instance's output; while it works on a request, that request's id too."""
    doc = store.by_id("instance", ident)
    body = doc.body if doc else {}
    return where.labels | {
        "instance_id": ident,
        "process_id": 0,
        "deployment_version_revision_id": body.get("_revision"),
        "deployment_request_id": body.get("_request"),
        "environment_name": where.version.body["environment_name"],
        "environment_tag": where.version.body["environment_tag"],
    }


def crash_event(where: Site, doc: Doc, text: str, now: float) -> dict[str, Any]:
    return {
        "date": stamp(now),
        "object_type": "deployment_version",
        "object_id": where.version.id,
        "object_name": where.version.name,
        "parent_object_name": where.deployment.name,
        "parent_object_id": where.deployment.id,
        "type": "instance_crashed",
        "log_timestamp": int(now * 1e9),
        "text": f"{doc.id}: {text}",
        "_at": now,
    }


def absent_answer(processes: bool) -> dict[str, Any]:
    """What a request gets from an instance that is only a row in the books."""
    if processes:
        return {"error": "The instance has no process that could answer"}
    return {"result": json.dumps({"status": "healthy", "note": ONLY_BOOKS})}


async def build(platform: Platform, kind: str, ident: str) -> builds.Verdict | None:
    """The verdict on a tag or revision; None for a build that never ends."""
    store, faults = platform.store, platform.faults
    doc = store.by_id(kind, ident)
    if doc is None:
        return None
    if faults.endless > 0:
        faults.endless -= 1
        return None
    if faults.fail > 0:
        faults.fail -= 1
        verdict = builds.Verdict(error=faults.text)
    elif kind == "tag":
        verdict = await builds.build_tag(_file(store, doc.body["_file"]), _checker(platform), _shell(platform, {}))
    else:
        verdict = await _build_revision(platform, doc)
    _log_build(platform, kind, ident, verdict)
    return verdict


async def _build_revision(platform: Platform, doc: Doc) -> builds.Verdict:
    store = platform.store
    version = store.by_id("version", doc.parent)
    tag = store.by_id("tag", version.body["_tag"]) if version else None
    if version is None or tag is None or tag.body["status"] != "available":
        state = tag.body["status"] if tag else "gone"
        return builds.Verdict(error=f"Environment tag is not available (its status is {state})")
    variables = effective(store, version)
    lines = requirements_of(tag)
    return await builds.build_revision(
        _file(store, doc.body["_package"]),
        lines,
        _checker(platform),
        _shell(platform, variables),
        variables.get("SYS_DEPLOYMENT_FILE_NAME", builds.MAIN_FILE),
    )


def requirements_of(tag: Doc) -> list[str]:
    """The requirement lines that an environment tag was built from."""
    files = {item["name"]: item["content"] for item in tag.body.get("_dependencies", [])}
    return builds.requirement_lines(files.get("requirements.txt", ""))


def _log_build(platform: Platform, kind: str, ident: str, verdict: builds.Verdict) -> None:
    store = platform.store
    doc = store.by_id(kind, ident)
    if doc is None:
        return
    if kind == "tag":
        environment = store.by_id("environment", doc.parent)
        if environment is None:
            return
        project = environment.parent
        labels: dict[str, Any] = {"environment_name": environment.name, "environment_tag": doc.name}
    else:
        where = site(store, doc)
        project, labels = where.project, where.labels | {"deployment_version_revision_id": doc.id}
        tagged = where.version.body
        labels |= {"environment_name": tagged["environment_name"], "environment_tag": tagged["environment_tag"]}
    platform.log(project, ["Build started", *verdict.log], labels, level="info", system=True)
    if verdict.error:
        platform.log(project, [verdict.error], labels, level="error", system=True)
    else:
        platform.log(project, ["Build finished"], labels, level="info", system=True)


async def launch(platform: Platform, doc: Doc, where: Site) -> Launch | None:
    """What to start for an instance; None when there is no package."""
    store = platform.store
    revision = store.by_id("revision", doc.body["_revision"] or "")
    package = _file(store, revision.body["_package"]) if revision else None
    if package is None:
        return None
    target = store.folder / "instances" / doc.id
    target.mkdir(parents=True, exist_ok=True)
    folder = await asyncio.to_thread(packages.unpack, package, target, "deployment_package")
    variables = effective(store, where.version)
    port = sockets.free_port()
    mark = f"{platform.mark}#{doc.id}"
    python = interpreter(platform)
    env = _shell(platform, variables) | {"WHISPERCTL_PORT": str(port), MARK: mark}
    return Launch(
        python=python,
        folder=folder.resolve(),
        file=variables.get("SYS_DEPLOYMENT_FILE_NAME", builds.MAIN_FILE),
        context=_context(where, variables),
        env=env,
        port=port,
        mark=mark,
    )


def _context(where: Site, variables: dict[str, str]) -> dict[str, Any]:
    body = where.deployment.body
    return {
        "project": where.project_name,
        "project_id": where.project,
        "deployment": where.deployment.name,
        "deployment_id": where.deployment.id,
        "version": where.version.name,
        "version_id": where.version.id,
        "input_type": body["input_type"],
        "output_type": body["output_type"],
        "input_fields": body["input_fields"],
        "output_fields": body["output_fields"],
        "language": where.version.body["environment_name"],
        "environment_variables": variables,
        "process_id": 0,
    }


def interpreter(platform: Platform) -> str:
    return platform.settings.python or sys.executable


def _checker(platform: Platform) -> str | None:
    return interpreter(platform) if platform.settings.runtime == "process" else None


def _shell(platform: Platform, variables: dict[str, str]) -> dict[str, str]:
    passed = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith(PASSED_PREFIXES)}
    home = platform.store.folder / "home"
    home.mkdir(exist_ok=True)
    bin_folder = str(Path(interpreter(platform)).parent)
    path = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    passed.setdefault("HF_HOME", str(Path("~/.cache/huggingface").expanduser()))
    env = passed | {"HOME": str(home.resolve()), "PATH": f"{bin_folder}:{path}"} | variables
    env["PATH"] = env["PATH"] if env["PATH"].startswith(bin_folder) else f"{bin_folder}:{env['PATH']}"
    return env


def _file(store: Store, package: dict[str, Any] | None) -> Path | None:
    return store.folder / "files" / package["sha256"] if package else None


def health_check(store: Store, doc: Doc) -> dict[str, Any] | None:
    """The version's health check, if a service points at the version: otherwise it is not used."""
    version = store.by_id("version", doc.parent)
    found: dict[str, Any] | None = version.body["health_check"] if version else None
    return found


def actual_port(store: Store, doc: Doc, wanted: int) -> int:
    """Where an instance really listens for a port of its own network: packages share this machine's ports."""
    version = store.by_id("version", doc.parent)
    main = ((version.body["health_check"] or {}).get("port") if version else None) or wanted
    given = int(doc.body.get("_process_port") or wanted)
    return given if wanted == main else wanted


async def watch_health(platform: Platform, ident: str) -> None:
    """Probe an instance for as long as its process lives."""
    process = platform.processes.get(ident)
    failures = 0
    async with httpx.AsyncClient() as client:
        while process is not None and platform.processes.get(ident) is process:
            doc = platform.store.by_id("instance", ident)
            check = health_check(platform.store, doc) if doc else None
            if doc is None or check is None:
                return
            good = await _probe(client, platform, doc, check)
            failures = 0 if good else failures + 1
            limit = check.get("failure_threshold") or 1
            if good or failures >= limit:
                _set_health(platform, ident, good)
            interval = float(check.get("interval") or HEALTH_INTERVAL)
            await asyncio.sleep(interval if good else min(interval, 1.0))


async def _probe(client: httpx.AsyncClient, platform: Platform, doc: Doc, check: dict[str, Any]) -> bool:
    if platform.faults.unhealthy > 0:
        return False
    port = actual_port(platform.store, doc, check["port"])
    try:
        answer = await client.get(
            f"http://127.0.0.1:{port}{check['path']}", timeout=float(check.get("timeout") or HEALTH_TIMEOUT)
        )
    except httpx.HTTPError:
        return False
    return answer.is_success


def _set_health(platform: Platform, ident: str, good: bool) -> None:
    doc = platform.store.by_id("instance", ident)
    if doc is None or doc.body["_healthy"] == good:
        return
    doc.body["_healthy"] = good
    with platform.store.transaction():
        platform.store.save(doc)
    platform.touch({doc.parent})
