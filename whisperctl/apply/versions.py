"""Single writes on the versions of a line: records of how far each has come, minima, and putting one to sleep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from whisperctl.apply.awake import schedule_seconds, stop_instances, wake
from whisperctl.apply.failed_starts import Starts, last_logs
from whisperctl.apply.job import Job
from whisperctl.control.api import Json
from whisperctl.endpoint.gate import Measured
from whisperctl.errors import GateFailed
from whisperctl.state.labels import Labels
from whisperctl.state.records import RolloutRecord, RolloutState
from whisperctl.state.resources import Address, deployment_address, version_address
from whisperctl.state.rollout import LineRollout


def rollout_in(job: Job) -> LineRollout:
    """The rollout that the plan describes; only rollouts have operations that ask for it."""
    assert job.plan.rollout is not None
    return job.plan.rollout


def record_of(
    job: Job, state: RolloutState, stage: str = "", new: Measured | None = None, serving: Measured | None = None
) -> RolloutRecord:
    """A record as of now, with the figures of a gate where there are some."""
    return RolloutRecord(
        state=state,
        stage=stage,
        wer=new.wer if new else None,
        serving_wer=serving.wer if serving else None,
        latency=new.latency if new else None,
        serving_latency=serving.latency if serving else None,
        at=datetime.fromtimestamp(job.clock.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def write_record(job: Job, version: str, record: RolloutRecord) -> None:
    """Write how far a version has come."""
    with job.lock:
        raw = read(job, version)
        patch(job, version, {"labels": Labels.of(raw).written(rollout=record)})


def write_state(job: Job, version: str, state: RolloutState, stage: str = "") -> None:
    """Write how far a version has come, and keep the figures of its gate."""
    record = Labels.of(read(job, version)).rollout or record_of(job, state)
    write_record(job, version, replace(record_of(job, state, stage), wer=record.wer, serving_wer=record.serving_wer,
                                       latency=record.latency, serving_latency=record.serving_latency))  # fmt: skip


def keep_what_is_used(job: Job, version: str) -> None:
    """Record that UbiOps refused to delete an earlier version, since something uses it: later plans leave it alone."""
    write_record(job, version, record_of(job, "kept"))


def read(job: Job, version: str) -> Json:
    """The version as it is now.

    Raises:
        GateFailed: it is gone.
    """
    raw = job.api.version(job.deployment, version)
    if raw is None:
        raise GateFailed(
            f"{version_address(job.deployment, version)} disappeared while it was rolled out.\n  Apply again."
        )
    return raw


def patch(job: Job, version: str, body: Mapping[str, Any]) -> None:
    """Change a version and remember it as it is then."""
    address = version_address(job.deployment, version)
    job.saw(address, job.api.update_version(job.deployment, version, body))


def set_minimum(job: Job, version: str, minimum: int) -> None:
    """Set how many instances a version keeps, where that differs."""
    if read(job, version).get("minimum_instances") != minimum:
        patch(job, version, {"minimum_instances": minimum})


def make_default(job: Job, version: str) -> None:
    """Make it the deployment's default version."""
    with job.lock:
        raw = job.api.deployment(job.deployment) or {}
        if raw.get("default_version") != version:
            body = {"default_version": version}
            job.saw(deployment_address(job.deployment), job.api.update_deployment(job.deployment, body))


def sleep(job: Job, version: str) -> None:
    """Let a version keep no instance, and stop those that run: until then they cost."""
    set_minimum(job, version, 0)
    stop_instances(job.api, job.deployment, version)


def wake_up(job: Job, address: Address, instances: int) -> None:
    """Return once as many instances of the new version run; what their logs say of failed starts ends it early."""
    rollout, starts, since = rollout_in(job), Starts(job, address), int(job.clock.time() * 1e9)
    job.say(address, f"waking {instances} instance{'s' if instances > 1 else ''} with deployment requests")
    begun = job.clock.monotonic()
    were_none = wake(
        job.api,
        rollout.deployment,
        rollout.new,
        instances=instances,
        timeout=job.timeout,
        schedule_seconds=schedule_seconds(job.api, job.plan.wanted.stack.instance_type_group),
        clock=job.clock,
        checks=(starts.look,),
        more=lambda: last_logs(job, since),
    )
    if were_none:
        job.started(begun)
