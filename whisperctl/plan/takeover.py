"""Stacks of other versions of this tool: a package that only our own files would change stays.

An upgrade of the tool builds nothing and replaces no instance. Whether only our files differ shows in the package that
runs, which is read for that: its settings, requirements and model are those of the stack file, or it is replaced like
any other. A line of versions stays with the version that serves. A label of its version tells, too; where an early
version of this tool wrote none, the next apply does (`apply.bookkeeping.seal`), so that a package is read once. Whoever
wants today's files says so in the stack file: `whisperctl: ">=VERSION"` leaves no package of an earlier version.
"""

from __future__ import annotations

from dataclasses import replace

from whisperctl.control.api import Api
from whisperctl.plan.content import is_usable
from whisperctl.plan.package_changes import says_the_same, settings_digest
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired, desired_state, resolve
from whisperctl.state.labels import Labels
from whisperctl.state.line import is_line, is_of_line, line_of, named
from whisperctl.state.live import Live, rendered_by
from whisperctl.state.reading import beside_another
from whisperctl.state.resources import package_address, version_address
from whisperctl.state.rollout import rollout_of


def with_running_package(desired: Desired, live: Live, api: Api) -> Desired:
    """What is desired, with the package that runs where it differs from what is rendered now in our own files alone.

    Raises:
        Interrupted: the user interrupted.
    """
    return desired if is_line(desired.stack) else as_it_runs(desired, live, api)


def as_it_serves(desired: Desired, live: Live, api: Api) -> tuple[Desired, Live] | None:
    """Of a line: what is desired and live with the version that serves, where our own files alone would make another.

    Its name tells what it is made from, and that includes the package that it runs: so it keeps both. Where no service
    of the file is there (it was deleted, or has another name now) the deployment's default is what served.

    Raises:
        Interrupted: the user interrupted.
    """
    stack, rollout = desired.stack, rollout_of(desired, live)
    if rollout is None:
        return None
    serving = rollout.serving or _default(live, rollout.deployment)
    if serving in (None, stack.version.name) or not is_of_line(serving, line_of(stack)):
        return None
    there = as_it_runs(desired_state(named(stack, serving), desired.package, desired.build), live, api)
    if not there.keeps_package:
        return None
    there, beside = resolve(there, live.labels), beside_another(live, there)
    return (there, beside) if is_usable(there, beside) else None


def _default(live: Live, deployment: str) -> str | None:
    return next((name for name, raw in live.versions(deployment).items() if raw.get("default")), None)


def as_it_runs(desired: Desired, live: Live, api: Api) -> Desired:
    """What is desired, with the package that its version runs where our own files alone would make another.

    Raises:
        Interrupted: the user interrupted.
    """
    stack = desired.stack
    names = (stack.deployment.name, stack.version.name)
    address = package_address(*names)
    active, labels = live.owned.get(address), Labels.of(live.owned.get(version_address(*names)))
    if active is None or address in live.renamed:
        return desired
    digest = active["digest"]
    # What somebody else uploaded has no digest that is recorded.
    if digest == desired.package.digest or digest != labels.digest or not _may_stay(stack, rendered_by(live, *names)):
        return desired
    if labels.rendering is None:
        same = says_the_same(desired, live, api, digest)
    else:
        same = labels.rendering.settings_digest == settings_digest(desired.package.files)
    if not same:
        return desired
    as_it_runs = {address: replace(desired.state[address], fields={"digest": digest})}
    return replace(desired, state={**desired.state, **as_it_runs}, declared={**desired.declared, **as_it_runs})


def _may_stay(stack: Stack, tool: str | None) -> bool:
    """Whether a version of this tool is among those that the stack file is for."""
    if stack.whisperctl is None or tool is None:
        return True
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(stack.whisperctl).contains(Version(tool), prereleases=True)
    except InvalidVersion:
        return True  # somebody changed the label: nothing follows from it
