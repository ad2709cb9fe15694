"""Builds of tags and revisions: from their documents to a verdict, with the output in the project's logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ubiops_emulator.api.rules.variables import effective
from ubiops_emulator.platform import launching
from ubiops_emulator.platform.lineage import site
from ubiops_emulator.runtime import build_checks, packages, venvs
from ubiops_emulator.runtime.build_checks import Verdict
from ubiops_emulator.settings import Settings
from ubiops_emulator.store import Doc, Store

Log = Callable[[str, list[str], dict[str, Any], str], None]


@dataclass(slots=True)
class BuildFaults:
    """Builds that are made to fail or never to end (counted down), and instances that never get healthy."""

    fail: int = 0
    endless: int = 0
    unhealthy: bool = False
    text: str = "The build failed on demand"

    def clear(self) -> None:
        """Let every build and instance do well again."""
        self.fail = self.endless = 0
        self.unhealthy = False

    def listed(self) -> list[dict[str, Any]]:
        """The faults that are set, as the control call shows them."""
        counts = {"build-fail": self.fail, "build-endless": self.endless, "unhealthy": int(self.unhealthy)}
        return [{"kind": kind, "count": count} for kind, count in counts.items() if count]


@dataclass(slots=True, kw_only=True)
class Builder:
    """Builds what is in one store."""

    store: Store
    settings: Settings
    log: Log
    faults: BuildFaults = field(default_factory=BuildFaults)

    async def build(self, kind: str, ident: str) -> Verdict | None:
        """The verdict on a tag or revision; None for a build that never ends."""
        doc = self.store.by_id(kind, ident)
        if doc is None:
            return None
        project, labels = self._labels(doc)
        self.log(project, ["Build started"], labels, "info")
        if self.faults.endless > 0:
            self.faults.endless -= 1
            return None
        if self.faults.fail > 0:
            self.faults.fail -= 1
            verdict = Verdict(error=self.faults.text)
        else:
            verdict = await (self._tag(doc) if kind == "tag" else self._revision(doc))
        self.log(project, verdict.log, labels, "info")
        if verdict.error:
            self.log(project, [verdict.error], labels, "error")
        else:
            self.log(project, ["Build finished"], labels, "info")
        return verdict

    async def _tag(self, doc: Doc) -> Verdict:
        path = launching.stored_file(self.store, doc.body["_file"])
        if doc.body["_file"] and doc.body["_file"]["filename"].endswith(packages.TARS):
            return Verdict(facts={"size": doc.body["_file"]["size"]}, log=["Image stored; the emulator runs no images"])
        secrets = {str(one.name): one.body["value"] for one in self.store.children("secret", doc.id)}
        return await self._satisfied(await build_checks.read_tag(path), secrets)

    async def _revision(self, doc: Doc) -> Verdict:
        version = self.store.by_id("version", doc.parent)
        tag = self.store.by_id("tag", version.body["_tag"]) if version else None
        if version is None or tag is None or tag.body["status"] != "available":
            state = tag.body["status"] if tag else "gone"
            return Verdict(error=f"Environment tag is not available (its status is {state})")
        variables = effective(self.store, version)
        path, name = launching.stored_file(self.store, doc.body["_package"]), launching.main_file(variables)
        verdict = await build_checks.read_package(path, name)
        verdict.lines = [*verdict.lines, *_tag_lines(tag)]
        verdict.facts["_lines"] = verdict.lines
        verdict = await self._satisfied(verdict, {})
        if path is None or verdict.error or self.settings.runtime == "none":
            return verdict
        python = self._interpreter(verdict.lines)
        return await build_checks.try_import(
            path, name, python, launching.shell(self.store, python, variables), verdict
        )

    async def _satisfied(self, verdict: Verdict, secrets: dict[str, str]) -> Verdict:
        """Whether the requirements are (or can be) installed; with runtime none nobody asks."""
        if verdict.error or self.settings.runtime == "none":
            return verdict
        python = self.settings.python
        env = launching.shell(self.store, python, secrets)
        if self.settings.builds == "venv":
            if "UV_DEFAULT_INDEX" in secrets:
                env.setdefault("PIP_INDEX_URL", secrets["UV_DEFAULT_INDEX"])
            verdict.error, printed = await venvs.install(self.store.folder, verdict.lines, python, env)
            verdict.log += _masked(printed, secrets)
            python = self._interpreter(verdict.lines)
        return verdict if verdict.error else await build_checks.check_installed(python, env, verdict)

    def _interpreter(self, lines: list[str]) -> str:
        if self.settings.builds == "venv":
            return venvs.interpreter(self.store.folder, lines, self.settings.python)
        return self.settings.python

    def _labels(self, doc: Doc) -> tuple[str, dict[str, Any]]:
        if doc.kind == "revision":
            where = site(self.store, doc)
            return where.project, where.labels | {"deployment_version_revision_id": doc.id}
        environment = self.store.by_id("environment", doc.parent)
        name = environment.name if environment else None
        labels = {"environment_name": name, "environment_tag": doc.name, "environment_build_id": doc.id}
        return (environment.parent if environment else ""), labels


def _tag_lines(tag: Doc) -> list[str]:
    files = {item["name"]: item["content"] for item in tag.body.get("_dependencies", [])}
    return build_checks.requirement_lines(files.get("requirements.txt", ""))


def _masked(lines: list[str], secrets: dict[str, str]) -> list[str]:
    for value in sorted(filter(None, secrets.values()), key=len, reverse=True):
        lines = [line.replace(value, "(secret)") for line in lines]
    return lines
