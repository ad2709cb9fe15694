"""Why an object is made or changed, in words: the line of the file that it differs from, or that no line names it.

Pure; what is different is told by `changes`.
"""

from __future__ import annotations

from collections.abc import Sequence

from whisperctl import __version__
from whisperctl.spec import Stack
from whisperctl.state.desired import Desired, spec_path
from whisperctl.state.diff import FieldChange
from whisperctl.state.live import Live, is_sealed, rendered_by
from whisperctl.state.resources import Address, Kind

OWNER = "stack"
"""The path of the stack's name in a change: a label, and not UbiOps' own."""


def name_field(address: Address) -> str:
    """The field that holds an object's name, on UbiOps."""
    return "version" if address.kind is Kind.VERSION else "name"


def why_created(address: Address, live: Live) -> str:
    """That it is not there yet, or not usable."""
    if address.kind is Kind.ENVIRONMENT_TAG and live.tag_status:
        return f"the tag exists, but its build is {live.tag_status}"
    return "not on UbiOps yet"


def why_updated(desired: Desired, live: Live, address: Address, fields: Sequence[FieldChange]) -> str:
    """The lines of the file that the fields differ from; of a package, who made what is live."""
    if address.kind is Kind.PACKAGE and str(fields[0].before).startswith("revision "):
        return f"{fields[0].before} is active"
    if address.kind is Kind.PACKAGE:
        other_tool = _other_tool(desired, live)
        if is_sealed(desired, live) and not other_tool:
            return "the package of an earlier revision is active, after a rollback"
        return "what is rendered from the stack file has changed" + other_tool
    moved = _why_moved(desired.stack, live, address, fields)
    fields = [item for item in fields if item.path not in moved]
    reasons = [_why_different(desired.stack, address, item) for item in fields]
    return "; ".join([*reasons, *(f"{path} differs from {place}" for path, place in moved.items())])


def _why_different(stack: Stack, address: Address, field: FieldChange) -> str:
    """The line that the field differs from; or that no line names it, so that its default counts."""
    path = declared_at(stack, address, field.path)
    place = stack.source(*path)
    if path in stack.marks:
        return f"{field.path} differs from {place}"
    if field.after is None:
        return f"{field.path} is not in {place}"
    return f"{field.path} differs from its default: {place} does not name it"


def declared_at(stack: Stack, address: Address, field: str) -> tuple[str | int, ...]:
    """Where the file says what the field is to be: names have sections of their own, a group's types a list."""
    if address.kind is Kind.SERVICE and field in ("version", "deployment"):
        return (field, "name")
    if field == name_field(address) and address.kind in (Kind.DEPLOYMENT, Kind.VERSION):
        return spec_path(stack, address, "name")
    if address.kind is Kind.INSTANCE_TYPE_GROUP:
        return spec_path(stack, address, field.split(".", maxsplit=1)[0])
    return spec_path(stack, address, field)


def _why_moved(stack: Stack, live: Live, address: Address, fields: Sequence[FieldChange]) -> dict[str, str]:
    """The place of `moved` for a name that the file moves."""
    is_moved = {OWNER: True, name_field(address): address in live.renamed}
    section = {Kind.DEPLOYMENT: "deployment", Kind.VERSION: "version", Kind.SERVICE: "service"}.get(address.kind, "")
    sections = {OWNER: "stack", name_field(address): section}
    return {
        item.path: stack.source("moved", sections[item.path])
        for item in fields
        if is_moved.get(item.path) and ("moved", sections[item.path]) in stack.marks
    }


def _other_tool(desired: Desired, live: Live) -> str:
    """That another version of this tool rendered what is live, to follow the reason; empty if it was this one."""
    tool = rendered_by(live, desired.stack.deployment.name, desired.stack.version.name)
    return f"; rendered by {tool}, this is {__version__}" if tool and tool != __version__ else ""
