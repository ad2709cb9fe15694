"""Going back to an earlier revision: its package is uploaded again and its environment tag set.

Env vars, labels of the user, scaling and services stay as they are. The new revision is recorded like an applied one,
so that the next plan says how the spec differs. When the new revision does not build, the tag goes back too.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from whisperctl.apply import builds, proof
from whisperctl.apply.context import ApplyContext
from whisperctl.apply.events import Level, Message, announced
from whisperctl.apply.lease import Lease
from whisperctl.apply.renewals import leased
from whisperctl.control.api import Api
from whisperctl.engine import World
from whisperctl.errors import ApiError, Interrupted, StalePlan, WhisperctlError
from whisperctl.operate.history import History, Revision, read_history
from whisperctl.operate.owned import owned_version
from whisperctl.package.build import EnvironmentBuild, Package, build_environment, build_package
from whisperctl.plan.operations import Operation
from whisperctl.plan.package_changes import config
from whisperctl.plan.plan import Plan
from whisperctl.spec import Stack
from whisperctl.state.desired import desired_state
from whisperctl.state.labels import Labels
from whisperctl.state.live import ENVIRONMENT, Live
from whisperctl.state.resources import Address, package_address, version_address

PACKAGE_FILE = "package.zip"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollback:
    """What a rollback will do."""

    stack: Stack
    active: Revision | None
    target: Revision
    tag_before: str
    tag_after: str
    paused: bool
    """A paused version is left asleep: nothing is proven then."""


def plan_rollback(api: Api, stack: Stack, to: str | None) -> Rollback:
    """Choose the revision to go back to: `to`, an id or the start of one, else the previous successful one.

    Raises:
        WhisperctlError: the version is not ours, or there is no such revision, or it cannot be gone back to.
    """
    owned_version(api, stack)
    history = read_history(api, stack)
    target = history.previous if to is None else _named(history, to)
    if target is None:
        raise WhisperctlError(_nothing(stack, history))
    if target.obstacle:
        raise WhisperctlError(
            f"Revision {target.id} cannot be gone back to: {target.obstacle}.\n"
            "  Nothing was changed. `whisperctl history` lists what is possible."
        )
    before = str(history.version.get("environment_tag") or "")
    return Rollback(
        stack=stack,
        active=history.active,
        target=target,
        tag_before=before,
        tag_after=target.tag or before,
        paused=Labels.of(history.version).paused_minimum is not None,
    )


def _named(history: History, to: str) -> Revision:
    matches = [revision for revision in history.revisions if revision.id.startswith(to.lower())]
    exact = [revision for revision in matches if revision.id == to.lower()]
    if len(exact or matches) == 1:
        return (exact or matches)[0]
    what = f"No revision begins with {to!r}" if not matches else f"{len(matches)} revisions begin with {to!r}"
    raise WhisperctlError(f"{what}.\n  `whisperctl history` lists them.")


def _nothing(stack: Stack, history: History) -> str:
    name = version_address(stack.deployment.name, stack.version.name)
    reasons = [f"    {revision.id}: {revision.obstacle}" for revision in history.revisions if not revision.active]
    text = f"{name} has no earlier revision to go back to."
    return "\n".join([text, *reasons, "  Nothing was changed. Put the stack file back in Git and apply it."])


def perform_rollback(rollback: Rollback, world: World) -> str:
    """Do it and prove the endpoint; the id of the new revision.

    Raises:
        StalePlan: somebody changed the version meanwhile.
        BuildFailed: the package did not build again; the environment tag is what it was.
        Unhealthy: the endpoint does not come up with it.
        Interrupted: the user interrupted; the text says how to finish.
    """
    try:
        return _perform(rollback, world)
    except Interrupted:
        raise Interrupted(
            "Interrupted. What UbiOps is building goes on there; finish with\n"
            f"  whisperctl rollback {rollback.stack.file} --to {rollback.target.id}"
        ) from None


def _perform(rollback: Rollback, world: World) -> str:
    stack, api = rollback.stack, world.api(rollback.stack)
    address = version_address(stack.deployment.name, stack.version.name)

    say = _speaker(rollback, world)
    with TemporaryDirectory(prefix="whisperctl-") as folder:
        file = Path(folder) / PACKAGE_FILE
        say(address, f"downloading the package of revision {rollback.target.id}")
        _download(api, rollback, file)
        with leased(api, stack.deployment.name, world.clock, lambda text: say(address, text)) as lease:
            rollback = _as_things_are(api, rollback)
            context = _context(rollback, world, file, lease)
            upload = Operation(id=next(world.ids), kind="upload", address=package_address(*address.names))
            with _tag_set(lease.api, rollback, say), announced(upload, stack.name, world.clock, world.listen):
                builds.upload(context, upload)
            if not rollback.paused:
                probe = Operation(id=next(world.ids), kind="probe", address=address)
                with announced(probe, stack.name, world.clock, world.listen):
                    proof.prove(context, probe, world.token)
    return str((api.version(*address.names) or {}).get("active_revision"))


def _download(api: Api, rollback: Rollback, file: Path) -> None:
    stack = rollback.stack
    with file.open("wb") as stream:
        api.download(stack.deployment.name, stack.version.name, rollback.target.id, stream)
    if not zipfile.is_zipfile(file):
        raise WhisperctlError(
            f"The package of revision {rollback.target.id} came back as something that is no zip archive.\n"
            "  Nothing was changed. Try again, or put the stack file back in Git and apply it."
        )


def _as_things_are(api: Api, rollback: Rollback) -> Rollback:
    """The rollback to the same revision from what is there now, which another command may have changed meanwhile.

    Raises:
        StalePlan: there is no going back to that revision any more.
    """
    try:
        return plan_rollback(api, rollback.stack, rollback.target.id)
    except ApiError:
        raise
    except WhisperctlError as error:
        raise StalePlan(
            f"The version changed while this waited: {error}\n  Nothing was written. Look at `whisperctl history`."
        ) from error


@contextmanager
def _tag_set(api: Api, rollback: Rollback, say: Callable[[Address, str], None]) -> Iterator[None]:
    """Set the target's environment tag; back to the one before if what follows fails.

    An interrupt leaves it: UbiOps goes on building the package, which needs it.
    """
    names = (rollback.stack.deployment.name, rollback.stack.version.name)
    address = version_address(*names)
    if rollback.tag_after == rollback.tag_before:
        yield
        return
    before = owned_version(api, rollback.stack).get("environment_name")
    api.update_version(*names, {"environment_name": ENVIRONMENT, "environment_tag": rollback.tag_after})
    say(address, f"environment tag {rollback.tag_before} -> {rollback.tag_after}")
    try:
        yield
    except WhisperctlError:
        api.update_version(*names, {"environment_name": before, "environment_tag": rollback.tag_before})
        say(address, f"environment tag back to {rollback.tag_before}")
        raise


def _context(rollback: Rollback, world: World, file: Path, lease: Lease) -> ApplyContext:
    """What an apply of exactly this package would work with: the stack as the package serves it, nothing else of it."""
    stack, target = rollback.stack, rollback.target
    desired = desired_state(as_packaged(stack, file), build_package(stack), build_environment(stack))
    desired = replace(
        desired,
        package=_Stored(files={}, file=file, recorded=target.digest),
        build=_environment_of(target.tag) if target.tag else None,
    )
    plan = Plan(
        stack=stack.name,
        project=world.project_of(stack),
        fingerprint="",
        desired=desired,
        live=Live(owned={}, foreign={}, fingerprints={}),
    )

    def tell(about: Address, level: Level, text: str) -> None:
        world.listen(Message(stack=stack.name, address=about, level=level, text=text))

    return ApplyContext(plan=plan, clock=world.clock, tell=tell, lease=lease)


def _speaker(rollback: Rollback, world: World) -> Callable[[Address, str], None]:
    return lambda about, text: world.listen(Message(stack=rollback.stack.name, address=about, level="say", text=text))


def _environment_of(tag: str) -> EnvironmentBuild:
    return EnvironmentBuild(name=ENVIRONMENT, tag=tag, base_name="", base_tag=None, files={}, digest="")


@dataclass(frozen=True, kw_only=True)
class _Stored(Package):
    """A package that UbiOps kept, with the digest that was recorded when it was uploaded."""

    file: Path
    recorded: str

    @cached_property
    def digest(self) -> str:
        return self.recorded

    def write(self, stream: BinaryIO) -> None:
        with self.file.open("rb") as source:
            shutil.copyfileobj(source, stream)


def as_packaged(stack: Stack, file: Path) -> Stack:
    """The stack with the name that the old package serves its model under, so that the proof asks for that one."""
    with zipfile.ZipFile(file) as archive:
        code = next((name for name in archive.namelist() if name.endswith("deployment.py")), None)
        names = config(archive.read(code) if code else b"").get("served_names")
    if not isinstance(names, list) or not names or stack.model.served_name in names:
        return stack
    return replace(stack, model=replace(stack.model, served_name=str(names[0])))
