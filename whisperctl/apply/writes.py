"""One operation of a plan against UbiOps: write, check, wait. Decides nothing that the plan did not decide.

Before each write the object is read again and compared with what the plan was made from; a create that lost its answer
is resolved by reading its name. Waits for builds are in `builds`, for the endpoint in `proving`.
"""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace

from whisperctl import __version__
from whisperctl.apply.fresh import LOOK_PAUSES, access_to, create_once, read_now, unchanged
from whisperctl.apply.job import FAILED, Job
from whisperctl.apply.payloads import (
    change,
    creation,
    is_group,
    wanted_labels,
)
from whisperctl.apply.polling import wait_for
from whisperctl.apply.versions import keep_what_is_used
from whisperctl.control.api import Json
from whisperctl.errors import ApiError, Contended, NotFound, StalePlan
from whisperctl.plan.operations import Operation
from whisperctl.state import secret
from whisperctl.state.desired import digest_of
from whisperctl.state.fingerprints import fingerprint, live_digest
from whisperctl.state.labels import Changes, Labels, owner
from whisperctl.state.live import LABELLED, read_live
from whisperctl.state.moves import other_owners
from whisperctl.state.objects import access
from whisperctl.state.resources import Address, Kind, deployment_address, env_var_address, version_address
from whisperctl.state.tags import needed_tags

SEAL_READS = 4
"""Requests at a time while what was applied is read back."""


def create(job: Job, operation: Operation) -> None:
    """Make the object behind the operation's address."""
    address = operation.address
    match address.kind:
        case Kind.DEPLOYMENT:
            _create_deployment(job, address)
        case Kind.INSTANCE_TYPE_GROUP:
            _create_group(job, address)
        case _:
            _create_simply(job, address)
    job.created.add(address)


def _create_simply(job: Job, address: Address) -> None:
    if unchanged(job, address) is not None:
        return  # the shared environment: another stack was quicker
    raw = _made(job, address)
    job.saw(address, raw)
    _write_id(job, address, raw)


def _made(job: Job, address: Address) -> Json | None:
    body, calls = creation(job, address), access_to(job, address)
    return create_once(job, address, lambda: calls.create(body), calls.read)


def _write_id(job: Job, address: Address, raw: Json | None) -> None:
    """Write the object's own id on it: a copy of its labels then tells another's."""
    if raw is None or address.kind not in LABELLED or Labels.of(raw).id == raw["id"]:
        return
    with job.lock:
        labels = Labels.of(raw).written(id=raw["id"])
        if address.kind is Kind.DEPLOYMENT:
            labels = job.lease.labels(raw, labels)
        with suppress(NotFound):  # it is not seen everywhere yet: its id is written when all is done
            job.saw(address, access_to(job, address).change(raw, {"labels": labels}))


def _create_deployment(job: Job, address: Address) -> None:
    """The deployment, born with our lease on it.

    Raises:
        Contended: another apply of the same stack has just created it.
    """
    sent = job.clock.boottime()
    try:
        unchanged(job, address)
        raw = _made(job, address)
    except (ApiError, StalePlan) as error:
        found = read_now(job, address)
        if found is None or owner(found) != job.plan.stack:
            raise
        raise Contended(str(error)) from error
    holder = Labels.of(raw).lease
    if raw is not None and (holder is None or holder.nonce != job.lease.holder.nonce):
        raise Contended(f"{address} was created by another apply of this stack.")
    job.lease.begin(sent)
    job.saw(address, raw)
    _write_id(job, address, raw)


def update(job: Job, operation: Operation) -> None:
    """Patch the object behind the operation's address with what differs."""
    address = operation.address
    with job.lock:
        raw = unchanged(job, address)
        if raw is None:
            raise StalePlan(f"{address} disappeared on UbiOps since the plan was made.\n  Plan again.")
        body = change(job, address, raw)
        if address.kind is Kind.DEPLOYMENT:
            body["labels"] = job.lease.labels(raw, body["labels"])
        job.saw(address, access_to(job, address).change(raw, body))


def rename(job: Job, operation: Operation) -> None:
    """Give an object its new name, and with the deployment all objects of a renamed stack their owner's.

    What leads to it, or names it, is read again afterwards.
    """
    new, pending = operation.address, dict(job.plan.live.renamed)
    if new in pending:
        _give_name(job, pending[new], new)
    job.named.add(new)
    if new.kind is Kind.DEPLOYMENT:
        for address in other_owners(job.plan.wanted.stack, job.plan.live.owned):
            _give_owner(job, address)
    done = all(address in job.named for address in pending)
    for address, planned in job.plan.live.owned.items():
        if address.kind in (Kind.DEPLOYMENT, Kind.VERSION, Kind.SERVICE):
            raw = _read_by_name(job, address)
            if done and raw is not None and address.kind is Kind.SERVICE:
                raw = _led_again(job, address, raw, planned)
            job.saw(address, raw)


def _led_again(job: Job, address: Address, raw: Json, planned: Json) -> Json:
    """Point a service again that has lost what was renamed: UbiOps is not documented to follow names or ids."""
    route = {field: planned[field] for field in ("deployment", "version") if planned.get(field)}
    earlier = {old.names[-1] for old in job.plan.live.renamed.values() if old.kind is Kind.VERSION}
    if route.get("version") in earlier or planned.get("deployment") != job.deployment:
        return raw  # its own change points it again
    if all(raw.get(field) == name for field, name in route.items()):
        return raw
    return job.api.update_service(address.names[0], route)


def _give_name(job: Job, old: Address, new: Address) -> None:
    calls, there = access(job.api, old), access(job.api, new)
    raw = calls.read() if calls else None
    if raw is None or calls is None or fingerprint(new, raw, job.plan.wanted.state) != job.seen.get(new):
        raise StalePlan(f"{old} changed on UbiOps since the plan was made.\n  Nothing was written to it. Plan again.")
    field = "version" if new.kind is Kind.VERSION else "name"
    with job.lease.renaming(new.names[0]) if new.kind is Kind.DEPLOYMENT else nullcontext():
        try:
            calls.change(raw, {field: new.names[-1]})
        except ApiError:
            # Its answer may have been lost, and the repeated request then finds nothing under the old name.
            after = there.read() if there else None
            if after is None or after["id"] != raw["id"]:
                raise


def _read_by_name(job: Job, address: Address) -> Json | None:
    """The object under the name that it has at this moment."""
    waiting = address in job.plan.live.renamed and address not in job.named
    calls = access(job.api, job.plan.live.renamed[address] if waiting else address)
    return calls.read() if calls else None


def _give_owner(job: Job, address: Address) -> None:
    """Write the stack's new name on an object of its own."""
    with job.lock:
        raw = _read_by_name(job, address)
        waiting = address in job.plan.live.renamed and address not in job.named
        calls = access(job.api, job.plan.live.renamed[address] if waiting else address)
        if raw is None or calls is None or owner(raw) not in job.plan.wanted.stack.owners:
            raise StalePlan(f"{address} changed on UbiOps since the plan was made.\n  Plan again.")
        labels = Labels.of(raw).written(owner=job.plan.stack)
        if address.kind is Kind.DEPLOYMENT:
            labels = job.lease.labels(raw, labels)
        calls.change(raw, {"labels": labels})


def delete(job: Job, operation: Operation) -> None:
    """Delete the object behind the operation's address and wait until it is gone."""
    address = operation.address
    match address.kind:
        case Kind.ENVIRONMENT_TAG:
            _delete_tag(job, address)
            return
        case Kind.ENVIRONMENT:
            if not job.api.tags(*address.names):
                job.api.delete_environment(*address.names)
            return
        case _:
            raw = read_now(job, address)
    if raw is None:
        _forget(job, address)  # somebody has deleted it meanwhile, or what it hung on is gone
        return
    unchanged(job, address)
    if address.kind is Kind.VERSION and raw.get("default"):
        _hand_on_default(job, address)
    for pause in LOOK_PAUSES:
        try:
            if address.kind is Kind.DEPLOYMENT:
                _refuse_foreign_versions(job, address)
            access_to(job, address).delete(raw)
            break
        except ApiError as error:
            # What used it is gone, but perhaps not everywhere yet.
            if error.status not in (400, 409):
                raise
            if pause is None:
                if not _is_earlier_version(job, address):
                    raise
                keep_what_is_used(job, address.names[1])
                job.warn(address, f"is kept, since something uses it: {error.reason}")
                return
            job.clock.sleep(pause)
    wait_for(
        lambda: read_now(job, address),
        lambda found: found is None or found.get("id") != raw["id"],
        clock=job.clock,
        timeout=job.timeout,
        what=f"{address} to be gone",
    )
    _forget(job, address)


def _forget(job: Job, address: Address) -> None:
    """The object is gone, and all that hung on it."""
    names = address.names
    below = {
        Kind.DEPLOYMENT: (Kind.VERSION, Kind.ENV_VAR, Kind.PACKAGE),
        Kind.VERSION: (Kind.ENV_VAR, Kind.PACKAGE),
    }.get(address.kind, ())
    for known in list(job.seen):
        if known == address or (known.kind in below and known.names[: len(names)] == names):
            job.saw(known, None)
    if address.kind is Kind.DEPLOYMENT and names == (job.deployment,):
        job.lease.end()


def _is_earlier_version(job: Job, address: Address) -> bool:
    """Whether it is a version of the line that is only to be deleted because there are enough of them."""
    rollout = job.plan.rollout
    return rollout is not None and address.kind is Kind.VERSION and address.names[1] in rollout.leaving


def _delete_tag(job: Job, address: Address) -> None:
    """Unless something uses it after all. A build that was left running is cancelled: UbiOps deletes none."""
    if job.api.tag_usage(*address.names):
        return
    if _is_building(job.api.tag(*address.names)):
        job.say(address, "cancelling its build")
        try:
            job.api.cancel_tag(*address.names)
        except ApiError as error:
            if error.status not in (400, 409):  # it has just ended
                raise
        wait_for(
            lambda: job.api.tag(*address.names),
            lambda tag: not _is_building(tag),
            clock=job.clock,
            timeout=job.timeout,
            what=f"the build of {address} to end",
        )
    job.api.delete_tag(*address.names)


def _is_building(tag: Json | None) -> bool:
    return tag is not None and tag["status"] not in ("pending", "available", *FAILED)


def _refuse_foreign_versions(job: Job, address: Address) -> None:
    """UbiOps deletes a deployment with all of its versions: nobody's may have been added since the plan was made."""
    foreign = [raw["version"] for raw in job.api.versions(address.names[0]) if owner(raw) != job.plan.stack]
    if foreign:
        raise StalePlan(f"{address} holds {', '.join(foreign)} now, not ours: it was not deleted.\n  Plan again.")


def _hand_on_default(job: Job, leaving: Address) -> None:
    """Make the stack's version the deployment's default before the default is deleted."""
    successor = version_address(job.deployment, job.version)
    if job.plan.destroy or leaving == successor or leaving.names[0] != job.deployment:
        return
    try:
        with job.lock:
            raw = job.api.update_deployment(job.deployment, {"default_version": job.version})
            job.saw(deployment_address(job.deployment), raw)
    except ApiError as error:
        if error.status not in (400, 404):
            raise
        # A paused successor is not available: UbiOps then chooses the default itself, or has none.
        job.warn(leaving, f"{job.version} did not become the default version: {error.reason}")


def claim(job: Job, operation: Operation) -> None:
    """Write the names of new env vars on the version before they are created: a crash in between leaves them ours.

    Fingerprints of secrets that are about to be set go: until they are recorded nobody knows which value is there.
    """
    secrets = {variable.name for variable in job.plan.wanted.stack.env if variable.secret}
    touched = {c.address.names[2] for c in job.plan.changes if c.address.kind is Kind.ENV_VAR and c.action != "delete"}
    known = Labels.of(job.plan.live.owned.get(operation.address)).secrets
    kept = {name: text for name, text in known.items() if name not in secrets & touched}
    _patch_version_labels(job, operation.address, {"secrets": kept})


def record(job: Job, operation: Operation) -> None:
    """Write which env vars are ours and the fingerprints of the secrets that were just set."""
    stack = job.plan.wanted.stack
    known = Labels.of(job.plan.live.owned.get(operation.address)).secrets
    secrets = {}
    for variable in stack.env:
        if variable.secret:
            written = known.get(variable.name, "")
            address = env_var_address(job.deployment, job.version, variable.name)
            theirs = bool(written) and () in job.plan.wanted.state[address].ignored
            kept = theirs or secret.matches(variable.value, written)
            secrets[variable.name] = (
                written if kept else secret.fingerprint(variable.value, job.plan.project, job.plan.stack, variable.name)
            )
    names = [variable.name for variable in stack.env]
    _patch_version_labels(job, operation.address, {"secrets": secrets, "env_names": names})


def _patch_version_labels(job: Job, address: Address, changes: Changes) -> None:
    with job.lock:
        raw = unchanged(job, address) or {}
        body = {"labels": Labels(wanted_labels(job, address, raw)).written(**changes)}
        job.saw(address, job.api.update_version(address.names[0], address.names[1], body))


def seal(job: Job, operation: Operation) -> None:
    """Record success on the services and the deployment, and give the lease back: always the last write."""
    for address in job.plan.wanted.state:
        if address.kind in LABELLED and address.kind is not Kind.DEPLOYMENT:
            _seal_one(job, address)
    [live] = read_live(job.api, [job.plan.wanted], SEAL_READS)
    with job.lock:
        raw = job.api.deployment(job.deployment)
        if raw is None:
            raise StalePlan(f"{operation.address} disappeared while it was applied.\n  Plan again.")
        group = [
            found["id"]
            for found in (read_now(job, address) for address in job.plan.wanted.state if is_group(address))
            if found
        ]
        start_seconds = job.start_seconds or Labels.of(raw).start_seconds
        labels = Labels.of(raw).written(
            id=raw["id"],
            start_seconds=start_seconds,
            origin=job.plan.origin,
            tool=__version__,
            protect=job.plan.wanted.stack.protect or Labels.of(raw).protect,
            served=bool(job.plan.wanted.stack.services),
            digest=job.plan.wanted.digest,
            applied=live_digest(live.owned, job.plan.wanted.state),
            version=job.version,
            group_ids=group,
            groups_begun=[],
            tags=sorted(needed_tags(job.plan.wanted, job.plan.live, False)),
            lease=None,
        )
        with job.lease.ending():
            job.saw(operation.address, job.api.update_deployment(job.deployment, {"labels": labels}))


def _seal_one(job: Job, address: Address) -> None:
    raw = read_now(job, address)
    if raw is None:
        return
    labels = Labels.of(raw)
    written = labels.written(id=raw["id"])
    if address == version_address(job.deployment, job.version) and job.plan.wanted.keeps_package:
        written = _as_rendered_now(job, Labels(written))
    if address.kind is not Kind.VERSION:  # whose digest is its package's
        written = Labels(written).written(digest=digest_of({address: job.plan.wanted.state[address]}))
    if written != labels.all:
        job.saw(address, access_to(job, address).change(raw, {"labels": written}))


def _as_rendered_now(job: Job, labels: Labels) -> dict[str, str]:
    """Labels that tell the package that runs as what the stack file says, although it was rendered otherwise."""
    digest = job.plan.wanted.package.digest
    newest, *older = labels.revisions
    return labels.written(revisions=[replace(newest, digest=digest), *older], digest=digest)


def _create_group(job: Job, address: Address) -> None:
    """A managed group: its intent, then the group, then its id on the deployment, so that a crash leaves it ours."""
    unchanged(job, address)
    deployment = deployment_address(job.deployment)
    _patch_group_label(job, deployment, address, None)
    raw = _made(job, address)
    job.saw(address, raw)
    _patch_group_label(job, deployment, address, str((raw or {}).get("id")))


def _patch_group_label(job: Job, deployment: Address, group: Address, ident: str | None) -> None:
    """Note that the group is about to be created, or its id once it is."""
    with job.lock:
        raw = job.api.deployment(job.deployment) or {}
        labels = Labels.of(raw)
        begun = [name for name in labels.groups_begun if name != group.names[0]]
        if ident is None:
            body = labels.written(groups_begun=[*begun, group.names[0]])
        else:
            body = labels.written(group_ids=[*labels.group_ids, ident], groups_begun=begun)
        if body != labels.all:
            written = job.lease.labels(raw, body)
            job.saw(deployment, job.api.update_deployment(job.deployment, {"labels": written}))
