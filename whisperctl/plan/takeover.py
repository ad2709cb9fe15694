"""Stacks of whisperctl 0.1: a package that only this version's own files would change stays, until something else does.

To take a stack over must build nothing and replace no instance. Whether only our files differ shows in the package that
runs, which is read for that: its settings, requirements and model are those of the stack file, or it is replaced like
any other. The apply then records it as what the stack file says (`apply.bookkeeping.seal`), so that this is asked once.
"""

from __future__ import annotations

from dataclasses import replace

from whisperctl.control.api import Api
from whisperctl.plan.package_changes import is_our_file, recorded_differences
from whisperctl.state.desired import Wanted
from whisperctl.state.labels import Labels
from whisperctl.state.line import is_line
from whisperctl.state.live import Live
from whisperctl.state.resources import package_address, version_address


def with_running_package(wanted: Wanted, live: Live, api: Api) -> Wanted:
    """What is wanted, with the package that runs where it is one of whisperctl 0.1 that differs in our own files alone.

    Raises:
        Interrupted: the user interrupted.
    """
    stack = wanted.stack
    address = package_address(stack.deployment.name, stack.version.name)
    # Told by the version: what only began, or took over a part, leaves its id unwritten until its package is recorded.
    active, labels = live.owned.get(address), Labels.of(live.owned.get(version_address(*address.names)))
    if active is None or is_line(stack) or labels.id is not None or labels.digest is None:
        return wanted
    if active["digest"] == wanted.package.digest or address in live.renamed:
        return wanted
    differences = recorded_differences(wanted, live, api, active["digest"])
    if not differences or not all(is_our_file(item) for item in differences):
        return wanted
    fields = {"digest": active["digest"]}
    as_it_runs = {address: replace(wanted.state[address], fields=fields)}
    return replace(wanted, state={**wanted.state, **as_it_runs}, unsettled={**wanted.unsettled, **as_it_runs})
