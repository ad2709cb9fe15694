"""The two long operations: an environment tag, and a package, each uploaded once and waited for with its logs.

Both look first at what is there: a tag that is built is left alone, one that builds is waited for, an upload whose
answer was lost is found again by its content. So nothing that is built is ever built twice.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from whisperctl import __version__
from whisperctl.apply.context import FAILED, ApplyContext
from whisperctl.apply.fresh import create_once, is_lost, not_there, send_until_arrived, write_labels
from whisperctl.apply.polling import wait_for
from whisperctl.clock import latest_moment
from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError, BuildFailed, StalePlan, WhisperctlError
from whisperctl.loading.commit import commit_of
from whisperctl.package.build import EnvironmentBuild
from whisperctl.plan.operations import Operation
from whisperctl.plan.package_changes import settings_digest
from whisperctl.state.desired import digest_of
from whisperctl.state.labels import Labels
from whisperctl.state.ownership import SHARED, owner
from whisperctl.state.records import RecordedRevision, Rendering
from whisperctl.state.resources import Address, environment_address, version_address

LAST_LINES = 20
"""Log lines shown with a failed build."""
LOG_LINES = 500
"""Log lines asked for at a time while a build runs."""
ENDED = {"cancelled": "was cancelled", "gone": "is gone"}
"""How a build ended, where UbiOps' word for it makes no sentence."""


class TagLocks:
    """One lock for each environment tag that an apply builds.

    Stacks that are applied together share tags: the first one builds, the others find it built.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[tuple[str, str, str], threading.Lock] = {}

    def of(self, api: Api, desired: EnvironmentBuild) -> threading.Lock:
        """The lock of a tag in the project of `api`."""
        with self._lock:
            return self._locks.setdefault((api.project, desired.name, desired.tag), threading.Lock())


def build(context: ApplyContext, operation: Operation, locks: TagLocks) -> None:
    """Make sure that the environment tag is available.

    Raises:
        BuildFailed: with the build's own error and its last log lines.
    """
    desired = context.plan.desired.build
    if desired is None:
        raise AssertionError("a plan in mode `package` builds no tag")
    with locks.of(context.api, desired):
        begun = context.clock.monotonic()
        started = _start_tag(context, operation.address, desired)
        if started is not None:
            _wait_for_tag(context, operation.address, desired, started)
            # One that built already took longer than it was waited for.
            whole = started["status"] == "pending"
            _record_build(context, desired, max(round(context.clock.monotonic() - begun), 1) if whole else None)


def _start_tag(context: ApplyContext, address: Address, desired: EnvironmentBuild) -> Json | None:
    """Create the tag and upload its files unless that was done; the tag to wait for, None if it is built."""
    api = context.api
    tag = api.tag(desired.name, desired.tag)
    if tag is not None and tag["status"] in FAILED:
        # Whether a failed tag can be built again under its name is not documented: it is made anew.
        context.say(address, f"removing the tag whose build {ended(tag)}")
        api.delete_tag(desired.name, desired.tag)
        tag = None
    if tag is None:
        body = {"name": desired.tag, "supports_request_format": True}
        tag = create_once(
            context, address, lambda: api.create_tag(desired.name, body), lambda: api.tag(desired.name, desired.tag)
        )
        assert tag is not None, "create_once waits until the tag is there"
    if tag["status"] == "pending":
        base = (desired.base_name, desired.base_tag or _newest_tag(context, desired.base_name))
        context.say(address, f"building on {base[0]}:{base[1]}")
        _send_build(context, address, desired, base)
    elif tag["status"] != "available":
        context.say(address, f"already {tag['status']}: waiting for that build")
    return tag if tag["status"] != "available" else None


def _send_build(context: ApplyContext, address: Address, desired: EnvironmentBuild, base: tuple[str, str]) -> None:
    def started() -> bool | None:
        status = (context.api.tag(desired.name, desired.tag) or {}).get("status", "pending")
        return True if status != "pending" else None

    def send() -> bool:
        context.api.build_tag(desired.name, desired.tag, base, desired)
        return True

    # Lost or refused: somebody (perhaps this very request) may have started it.
    send_until_arrived(
        context,
        address,
        "the upload",
        send,
        started,
        may_have_arrived=lambda _error: True,
        is_young=not_there,
    )


def _newest_tag(context: ApplyContext, base: str) -> str:
    tags = context.api.tags(base)
    usable = [tag for tag in tags or [] if tag["status"] == "available" and not tag.get("deprecated")]
    usable = [tag for tag in usable if tag.get("supports_request_format", True)]
    if not usable:
        stack = context.plan.desired.stack
        what = (
            f"has no usable tag of the base environment {base!r}"
            if tags is not None
            else f"has no environment {base!r}"
        )
        raise WhisperctlError(
            f"{stack.source('environment', 'base')}: this project {what}.\n"
            "  Name one of the base environments that the console lists, such as ubiops-ubuntu24-04-python3-12."
        )
    return str(max(usable, key=lambda tag: (str(tag["creation_date"]), _natural(tag["name"])))["name"])


def _natural(name: str) -> list[tuple[int, str]]:
    """`v5.10` after `v5.9`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _wait_for_tag(context: ApplyContext, address: Address, desired: EnvironmentBuild, started: Json) -> None:
    query = f"| environment_name=`{desired.name}` and environment_tag=`{desired.tag}`"
    # Lines before it was created are of an earlier tag of this name, and of versions that ran in that one.
    logs = _Logs(context, address, query, datetime.fromisoformat(started["creation_date"]).timestamp())
    built = wait_for(
        lambda: context.api.tag(desired.name, desired.tag) or {"status": "gone"},
        lambda tag: tag["status"] in ("available", "gone", *FAILED),
        clock=context.clock,
        timeout=context.timeout,
        what=f"{address} to build",
        advice="It goes on building on UbiOps: apply again to go on waiting, or raise rollout.timeout.",
        tick=logs.tell,
    )
    logs.more()
    if built["status"] != "available":
        raise BuildFailed(logs.failure(built))


def _record_build(context: ApplyContext, desired: EnvironmentBuild, seconds: int | None) -> None:
    """The environment's digest, and how long a build takes: each stack of the project is told that of the last one."""
    environment = environment_address(desired.name)
    digest = digest_of({environment: context.plan.desired.state[environment]})

    def recorded(raw: Json) -> Mapping[str, str]:
        labels = Labels.of(raw)
        if owner(raw) != SHARED:
            return labels.all
        return labels.written(digest=digest, build_seconds=seconds or labels.build_seconds)

    write_labels(context, environment, recorded)


def upload(context: ApplyContext, operation: Operation) -> None:
    """Make sure that the version runs this package, and record its revision.

    Raises:
        BuildFailed: with the build's own error and its last log lines.
    """
    address = operation.address
    version = context.api.version(context.deployment, context.version) or {}
    active = version.get("active_revision")
    running = {item["id"] for item in context.api.instances(context.deployment, context.version)} if active else set()
    begun = context.clock.monotonic()
    uploaded = _already_uploaded(context, version)
    rendering = _rendering(context)  # now: the files of a model may be others when the build has ended
    revision = uploaded or _send_package(context, address, version.get("latest_revision"))
    if revision != active:
        context.outdated |= running
    context.say(address, f"revision {revision} is building")
    query = (
        f"| deployment_name=`{context.deployment}` and deployment_version=`{context.version}`"
        f" and deployment_version_revision_id=`{revision}`"
    )
    logs = _Logs(context, address, query, context.clock.time() - 60)
    built = wait_for(
        lambda: context.api.revision(context.deployment, context.version, revision),
        lambda answer: answer["status"] in ("success", *FAILED),
        clock=context.clock,
        timeout=context.timeout,
        what=f"revision {revision} of {address} to build",
        advice="It goes on building on UbiOps: apply again to go on waiting, or raise rollout.timeout.",
        tick=logs.tell,
    )
    logs.more()
    if built["status"] != "success":
        raise BuildFailed(logs.failure(built))
    _wait_until_active(context, address, revision, version.get("latest_revision"))
    _record_revision(context, revision, rendering)
    if uploaded is None:
        context.build_seconds = max(round(context.clock.monotonic() - begun), 1)


def _wait_until_active(context: ApplyContext, address: Address, revision: str, before: str | None) -> None:
    """Wait until the version runs a revision that is built; `before` was the latest one until it was uploaded.

    Raises:
        StalePlan: somebody has uploaded another one meanwhile.
    """
    known = (revision, before, None)  # a read may be answered from a copy that is a moment behind
    now = wait_for(
        lambda: context.api.version(context.deployment, context.version) or {},
        lambda raw: raw.get("active_revision") == revision or raw.get("latest_revision") not in known,
        clock=context.clock,
        timeout=context.timeout,
        what=f"revision {revision} to become active",
        tick=context.lease.check,
    )
    if now.get("active_revision") != revision:
        other = now["latest_revision"]
        raise StalePlan(f"{address}: revision {other} was uploaded while {revision} was built.\n  Plan again.")


def _already_uploaded(context: ApplyContext, version: Json) -> str | None:
    """The revision of an earlier apply that was cut off: not recorded, not failed, and of the same content."""
    latest = version.get("latest_revision")
    labels = Labels.of(version)
    recorded = labels.revisions
    if not latest or (recorded and recorded[0].revision == latest and labels.digest):
        return None
    if context.api.revision(context.deployment, context.version, latest)["status"] in FAILED:
        return None
    return str(latest) if _is_this_package(context, latest) else None


def _is_this_package(context: ApplyContext, revision: str) -> bool:
    sink = _Digest()
    try:
        context.api.download(context.deployment, context.version, revision, sink)
    except ApiError:
        return False  # what cannot be read cannot be recognised: it is uploaded again
    return sink.digest() == context.plan.desired.package.digest


def _send_package(context: ApplyContext, address: Address, before: str | None) -> str:
    def sent() -> str | None:
        latest = (context.api.version(context.deployment, context.version) or {}).get("latest_revision")
        return str(latest) if latest and latest != before and _is_this_package(context, latest) else None

    return send_until_arrived(
        context,
        address,
        "the upload",
        lambda: context.api.upload(context.deployment, context.version, context.plan.desired.package),
        sent,
        may_have_arrived=is_lost,
        is_young=lambda error: not_there(error) and bool(context.created),
    )


def _rendering(context: ApplyContext) -> Rendering | None:
    """Where the package comes from; None of a rollback's: whoever rendered it, the next plan reads it."""
    package = context.plan.desired.package
    return Rendering(__version__, settings_digest(package.files), package.digest) if package.files else None


def _record_revision(context: ApplyContext, revision: str, rendering: Rendering | None) -> None:
    """The digest label, and the last revisions with their tags for a rollback."""
    desired = context.plan.desired
    address = version_address(context.deployment, context.version)

    def recorded(raw: Json) -> Mapping[str, str]:
        labels = Labels.of(raw)
        old = [item for item in labels.revisions if item.revision != revision]
        tag = desired.build.tag if desired.build else ""
        revisions = [RecordedRevision(revision, desired.package.digest, tag, _commit(context, old)), *old]
        return labels.written(revisions=revisions, digest=desired.package.digest, rendering=rendering)

    with context.lock:
        write_labels(context, address, recorded)


def _commit(context: ApplyContext, earlier: Sequence[RecordedRevision]) -> str:
    """What the package was made from: the stack file's commit, of a rollback's that of the revision gone back to."""
    package = context.plan.desired.package
    if package.files:
        return commit_of(context.plan.desired.stack.file, os.environ) or ""
    return next((item.commit for item in earlier if item.digest == package.digest), "")


def ended(build: Json) -> str:
    """How the build of a tag or revision ended, to follow `the build`."""
    return ENDED.get(build["status"], str(build["status"]))


class _Logs:
    """The log lines of one build, said as they come."""

    def __init__(self, context: ApplyContext, address: Address, query: str, since: float) -> None:
        self.context, self.address, self.query = context, address, query
        self.since = int(since * 1e9)
        self.asked = context.clock.monotonic()
        self.lines: list[str] = []

    def tell(self) -> None:
        """As `more`, while the stack is still this apply's."""
        self.context.lease.check()
        self.more()

    def more(self) -> None:
        """Read and say the new lines; where they cannot be read a line says why."""
        end = latest_moment(self.context.clock)
        try:
            entries = self.context.api.logs(self.query, self.since, end, LOG_LINES)
        except ApiError as error:
            if not self.lines:
                self.lines.append(f"(no logs: {error.reason})")
            return
        for entry in entries:
            self.since = max(self.since, int(entry["timestamp"]) + 1)
            for line in self.context.redacted(entry["log"]):
                self.lines.append(line)
                self.context.log(self.address, line)

    def failure(self, build: Json) -> str:
        """What is said about a build that did not succeed: its own reason and its last log lines."""
        reason = build.get("error_message")
        text = f"{self.address}: the build {ended(build)}"
        text += ": " + "\n".join(self.context.redacted(reason)) if reason else "."
        if self.lines:
            text += "\n  Its last log lines:\n" + "\n".join(f"    {line}" for line in self.lines[-LAST_LINES:])
        return text + "\n  Mend the cause and apply again: what was done stays done."


class _Digest(io.BytesIO):
    """Takes bytes and keeps only their SHA-256."""

    def __init__(self) -> None:
        super().__init__()
        self._hash = hashlib.sha256()

    def write(self, data: Any) -> int:
        self._hash.update(data)
        return len(data)

    def digest(self) -> str:
        return self._hash.hexdigest()
