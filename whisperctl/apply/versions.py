"""Single writes on the versions of a line: records of how far each has come, minima, and putting one to sleep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from whisperctl.apply.awake import schedule_seconds, stop_instances, wake
from whisperctl.apply.context import ApplyContext
from whisperctl.apply.failed_starts import Starts, last_logs
from whisperctl.apply.fresh import change_now
from whisperctl.control.api import Json
from whisperctl.endpoint.gate import Measured
from whisperctl.errors import GateFailed
from whisperctl.state.labels import Labels
from whisperctl.state.records import RolloutRecord, RolloutState
from whisperctl.state.resources import Address, deployment_address, version_address
from whisperctl.state.rollout import LineRollout


def rollout_in(context: ApplyContext) -> LineRollout:
    """The rollout that the plan describes; only rollouts have operations that ask for it."""
    assert context.plan.rollout is not None
    return context.plan.rollout


def record_of(
    context: ApplyContext,
    state: RolloutState,
    stage: str = "",
    new: Measured | None = None,
    serving: Measured | None = None,
) -> RolloutRecord:
    """A record as of now, with the figures of a gate where there are some."""
    return RolloutRecord(
        state=state,
        stage=stage,
        wer=new.wer if new else None,
        serving_wer=serving.wer if serving else None,
        latency=new.latency if new else None,
        serving_latency=serving.latency if serving else None,
        at=datetime.fromtimestamp(context.clock.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


def write_record(context: ApplyContext, version: str, record: RolloutRecord) -> None:
    """Write how far a version has come."""
    patch(context, version, lambda raw: {"labels": Labels.of(raw).written(rollout=record)})


def write_state(context: ApplyContext, version: str, state: RolloutState, stage: str = "") -> None:
    """Write how far a version has come, and keep the figures of its gate."""
    record = Labels.of(read(context, version)).rollout or record_of(context, state)
    write_record(
        context,
        version,
        replace(
            record_of(context, state, stage),
            wer=record.wer,
            serving_wer=record.serving_wer,
            latency=record.latency,
            serving_latency=record.serving_latency,
        ),
    )


def keep_what_is_used(context: ApplyContext, version: str) -> None:
    """Record that UbiOps refused to delete an earlier version, since something uses it: later plans leave it alone."""
    write_record(context, version, record_of(context, "kept"))


def read(context: ApplyContext, version: str) -> Json:
    """The version as it is now.

    Raises:
        GateFailed: it is gone.
    """
    return _there(context, version, context.api.version(context.deployment, version))


def _there(context: ApplyContext, version: str, raw: Json | None) -> Json:
    if raw is None:
        raise GateFailed(
            f"{version_address(context.deployment, version)} disappeared while it was rolled out.\n  Apply again."
        )
    return raw


def patch(context: ApplyContext, version: str, body_of: Callable[[Json], Json]) -> None:
    """Change a version as follows from how it is right before each try, and remember it as it is then.

    Raises:
        GateFailed: it is gone.
    """
    address = version_address(context.deployment, version)
    with context.lock:
        written = change_now(context.api, address, lambda raw: body_of(_there(context, version, raw)))
        if written is not None:
            context.saw(address, written)


def set_minimum(context: ApplyContext, version: str, minimum: int) -> None:
    """Set how many instances a version keeps, where that differs."""
    body = {"minimum_instances": minimum}
    patch(context, version, lambda raw: body if raw.get("minimum_instances") != minimum else {})


def make_default(context: ApplyContext, version: str) -> None:
    """Make it the deployment's default version."""
    with context.lock:
        raw = context.api.deployment(context.deployment) or {}
        if raw.get("default_version") != version:
            body = {"default_version": version}
            context.saw(deployment_address(context.deployment), context.api.update_deployment(context.deployment, body))


def sleep(context: ApplyContext, version: str) -> None:
    """Let a version keep no instance, and stop those that run: until then they cost."""
    set_minimum(context, version, 0)
    stop_instances(context.api, context.deployment, version)


def wake_up(context: ApplyContext, address: Address, instances: int) -> None:
    """Return once as many instances of the new version run; what their logs say of failed starts ends it early."""
    rollout, starts, since = rollout_in(context), Starts(context, address), int(context.clock.time() * 1e9)
    context.say(address, f"waking {instances} instance{'s' if instances > 1 else ''} with deployment requests")
    begun = context.clock.monotonic()
    were_none = wake(
        context.api,
        rollout.deployment,
        rollout.new,
        instances=instances,
        timeout=context.timeout,
        schedule_seconds=schedule_seconds(context.api, context.plan.desired.stack.instance_type_group),
        clock=context.clock,
        checks=(starts.look,),
        more=lambda: last_logs(context, since),
    )
    if were_none:
        context.started(begun)
