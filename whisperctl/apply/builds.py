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
from whisperctl.apply.fresh import create_once, is_lost, not_there, send_until_arrived, write_labels
from whisperctl.apply.job import FAILED, Job
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

    def of(self, api: Api, wanted: EnvironmentBuild) -> threading.Lock:
        """The lock of a tag in the project of `api`."""
        with self._lock:
            return self._locks.setdefault((api.project, wanted.name, wanted.tag), threading.Lock())


def build(job: Job, operation: Operation, locks: TagLocks) -> None:
    """Make sure that the environment tag is available.

    Raises:
        BuildFailed: with the build's own error and its last log lines.
    """
    wanted = job.plan.wanted.build
    if wanted is None:
        raise AssertionError("a plan in mode `package` builds no tag")
    with locks.of(job.api, wanted):
        begun = job.clock.monotonic()
        started = _start_tag(job, operation.address, wanted)
        if started is not None:
            _wait_for_tag(job, operation.address, wanted, started)
            # One that built already took longer than it was waited for.
            whole = started["status"] == "pending"
            _record_build(job, wanted, max(round(job.clock.monotonic() - begun), 1) if whole else None)


def _start_tag(job: Job, address: Address, wanted: EnvironmentBuild) -> Json | None:
    """Create the tag and upload its files unless that was done; the tag to wait for, None if it is built."""
    api = job.api
    tag = api.tag(wanted.name, wanted.tag)
    if tag is not None and tag["status"] in FAILED:
        # Whether a failed tag can be built again under its name is not documented: it is made anew.
        job.say(address, f"removing the tag whose build {ended(tag)}")
        api.delete_tag(wanted.name, wanted.tag)
        tag = None
    if tag is None:
        body = {"name": wanted.tag, "supports_request_format": True}
        tag = create_once(
            job, address, lambda: api.create_tag(wanted.name, body), lambda: api.tag(wanted.name, wanted.tag)
        )
        assert tag is not None, "create_once waits until the tag is there"
    if tag["status"] == "pending":
        base = (wanted.base_name, wanted.base_tag or _newest_tag(job, wanted.base_name))
        job.say(address, f"building on {base[0]}:{base[1]}")
        _send_build(job, address, wanted, base)
    elif tag["status"] != "available":
        job.say(address, f"already {tag['status']}: waiting for that build")
    return tag if tag["status"] != "available" else None


def _send_build(job: Job, address: Address, wanted: EnvironmentBuild, base: tuple[str, str]) -> None:
    def started() -> bool | None:
        status = (job.api.tag(wanted.name, wanted.tag) or {}).get("status", "pending")
        return True if status != "pending" else None

    def send() -> bool:
        job.api.build_tag(wanted.name, wanted.tag, base, wanted)
        return True

    # Lost or refused: somebody (perhaps this very request) may have started it.
    send_until_arrived(
        job,
        address,
        "the upload",
        send,
        started,
        may_have_arrived=lambda _error: True,
        is_young=not_there,
    )


def _newest_tag(job: Job, base: str) -> str:
    tags = job.api.tags(base)
    usable = [tag for tag in tags or [] if tag["status"] == "available" and not tag.get("deprecated")]
    usable = [tag for tag in usable if tag.get("supports_request_format", True)]
    if not usable:
        stack = job.plan.wanted.stack
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
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _wait_for_tag(job: Job, address: Address, wanted: EnvironmentBuild, started: Json) -> None:
    query = f"| environment_name=`{wanted.name}` and environment_tag=`{wanted.tag}`"
    # Lines before it was created are of an earlier tag of this name, and of versions that ran in that one.
    logs = _Logs(job, address, query, datetime.fromisoformat(started["creation_date"]).timestamp())
    built = wait_for(
        lambda: job.api.tag(wanted.name, wanted.tag) or {"status": "gone"},
        lambda tag: tag["status"] in ("available", "gone", *FAILED),
        clock=job.clock,
        timeout=job.timeout,
        what=f"{address} to build",
        advice="It goes on building on UbiOps: apply again to go on waiting, or raise rollout.timeout.",
        tick=logs.tell,
    )
    logs.more()
    if built["status"] != "available":
        raise BuildFailed(logs.failure(built))


def _record_build(job: Job, wanted: EnvironmentBuild, seconds: int | None) -> None:
    """The environment's digest, and how long a build takes: each stack of the project is told that of the last one."""
    environment = environment_address(wanted.name)
    digest = digest_of({environment: job.plan.wanted.state[environment]})

    def recorded(raw: Json) -> Mapping[str, str]:
        labels = Labels.of(raw)
        if owner(raw) != SHARED:
            return labels.all
        return labels.written(digest=digest, build_seconds=seconds or labels.build_seconds)

    write_labels(job, environment, recorded)


def upload(job: Job, operation: Operation) -> None:
    """Make sure that the version runs this package, and record its revision.

    Raises:
        BuildFailed: with the build's own error and its last log lines.
    """
    address = operation.address
    version = job.api.version(job.deployment, job.version) or {}
    active = version.get("active_revision")
    running = {item["id"] for item in job.api.instances(job.deployment, job.version)} if active else set()
    begun = job.clock.monotonic()
    uploaded = _already_uploaded(job, version)
    rendering = _rendering(job)  # now: the files of a model may be others when the build has ended
    revision = uploaded or _send_package(job, address, version.get("latest_revision"))
    if revision != active:
        job.outdated |= running
    job.say(address, f"revision {revision} is building")
    query = (
        f"| deployment_name=`{job.deployment}` and deployment_version=`{job.version}`"
        f" and deployment_version_revision_id=`{revision}`"
    )
    logs = _Logs(job, address, query, job.clock.time() - 60)
    built = wait_for(
        lambda: job.api.revision(job.deployment, job.version, revision),
        lambda answer: answer["status"] in ("success", *FAILED),
        clock=job.clock,
        timeout=job.timeout,
        what=f"revision {revision} of {address} to build",
        advice="It goes on building on UbiOps: apply again to go on waiting, or raise rollout.timeout.",
        tick=logs.tell,
    )
    logs.more()
    if built["status"] != "success":
        raise BuildFailed(logs.failure(built))
    _wait_until_active(job, address, revision, version.get("latest_revision"))
    _record_revision(job, revision, rendering)
    if uploaded is None:
        job.build_seconds = max(round(job.clock.monotonic() - begun), 1)


def _wait_until_active(job: Job, address: Address, revision: str, before: str | None) -> None:
    """Wait until the version runs a revision that is built; `before` was the latest one until it was uploaded.

    Raises:
        StalePlan: somebody has uploaded another one meanwhile.
    """
    known = (revision, before, None)  # a read may be answered from a copy that is a moment behind
    now = wait_for(
        lambda: job.api.version(job.deployment, job.version) or {},
        lambda raw: raw.get("active_revision") == revision or raw.get("latest_revision") not in known,
        clock=job.clock,
        timeout=job.timeout,
        what=f"revision {revision} to become active",
        tick=job.lease.check,
    )
    if now.get("active_revision") != revision:
        other = now["latest_revision"]
        raise StalePlan(f"{address}: revision {other} was uploaded while {revision} was built.\n  Plan again.")


def _already_uploaded(job: Job, version: Json) -> str | None:
    """The revision of an earlier apply that was cut off: not recorded, not failed, and of the same content."""
    latest = version.get("latest_revision")
    labels = Labels.of(version)
    recorded = labels.revisions
    if not latest or (recorded and recorded[0].revision == latest and labels.digest):
        return None
    if job.api.revision(job.deployment, job.version, latest)["status"] in FAILED:
        return None
    return str(latest) if _is_this_package(job, latest) else None


def _is_this_package(job: Job, revision: str) -> bool:
    sink = _Digest()
    try:
        job.api.download(job.deployment, job.version, revision, sink)
    except ApiError:
        return False  # what cannot be read cannot be recognised: it is uploaded again
    return sink.digest() == job.plan.wanted.package.digest


def _send_package(job: Job, address: Address, before: str | None) -> str:
    def sent() -> str | None:
        latest = (job.api.version(job.deployment, job.version) or {}).get("latest_revision")
        return str(latest) if latest and latest != before and _is_this_package(job, latest) else None

    return send_until_arrived(
        job,
        address,
        "the upload",
        lambda: job.api.upload(job.deployment, job.version, job.plan.wanted.package),
        sent,
        may_have_arrived=is_lost,
        is_young=lambda error: not_there(error) and bool(job.created),
    )


def _rendering(job: Job) -> Rendering | None:
    """Where the package comes from; None of a rollback's: whoever rendered it, the next plan reads it."""
    package = job.plan.wanted.package
    return Rendering(__version__, settings_digest(package.files), package.digest) if package.files else None


def _record_revision(job: Job, revision: str, rendering: Rendering | None) -> None:
    """The digest label, and the last revisions with their tags for a rollback."""
    wanted = job.plan.wanted
    address = version_address(job.deployment, job.version)
    with job.lock:
        labels = Labels.of(job.api.version(job.deployment, job.version))
        old = [item for item in labels.revisions if item.revision != revision]
        tag = wanted.build.tag if wanted.build else ""
        revisions = [RecordedRevision(revision, wanted.package.digest, tag, _commit(job, old)), *old]
        written = labels.written(revisions=revisions, digest=wanted.package.digest, rendering=rendering)
        body = {"labels": written}
        job.saw(address, job.api.update_version(job.deployment, job.version, body))


def _commit(job: Job, earlier: Sequence[RecordedRevision]) -> str:
    """What the package was made from: the stack file's commit, of a rollback's that of the revision gone back to."""
    package = job.plan.wanted.package
    if package.files:
        return commit_of(job.plan.wanted.stack.file, os.environ) or ""
    return next((item.commit for item in earlier if item.digest == package.digest), "")


def ended(build: Json) -> str:
    """How the build of a tag or revision ended, to follow `the build`."""
    return ENDED.get(build["status"], str(build["status"]))


class _Logs:
    """The log lines of one build, said as they come."""

    def __init__(self, job: Job, address: Address, query: str, since: float) -> None:
        self.job, self.address, self.query = job, address, query
        self.since = int(since * 1e9)
        self.asked = job.clock.monotonic()
        self.lines: list[str] = []

    def tell(self) -> None:
        """As `more`, while the stack is still this apply's."""
        self.job.lease.check()
        self.more()

    def more(self) -> None:
        """Read and say the new lines; where they cannot be read a line says why."""
        end = latest_moment(self.job.clock)
        try:
            entries = self.job.api.logs(self.query, self.since, end, LOG_LINES)
        except ApiError as error:
            if not self.lines:
                self.lines.append(f"(no logs: {error.reason})")
            return
        for entry in entries:
            self.since = max(self.since, int(entry["timestamp"]) + 1)
            for line in self.job.redacted(entry["log"]):
                self.lines.append(line)
                self.job.log(self.address, line)

    def failure(self, build: Json) -> str:
        """What is said about a build that did not succeed: its own reason and its last log lines."""
        reason = build.get("error_message")
        text = f"{self.address}: the build {ended(build)}"
        text += ": " + "\n".join(self.job.redacted(reason)) if reason else "."
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
