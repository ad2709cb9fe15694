"""What adopting means and did, in lines."""

from __future__ import annotations

from collections.abc import Iterator

from whisperctl.operate.adoption import Adoption


def adoption_text(adoption: Adoption, project: str) -> str:
    """Which objects, which labels, and what follows from it."""
    return "\n".join(_lines(adoption, project))


def _lines(adoption: Adoption, project: str) -> Iterator[str]:
    stack = adoption.stack
    yield from _takeovers(adoption, project)
    for title, addresses in (
        ("Comes along", [a for takeover in adoption.takeovers for a in takeover.along]),
        ("Is the stack's already", adoption.owned),
        ("Is not there, apply makes it", adoption.missing),
    ):
        if addresses:
            yield f"{title}: {', '.join(map(str, addresses))}"
    if adoption.strangers:
        versions = ", ".join(f"version/{stack.deployment.name}/{name}" for name in adoption.strangers)
        yield f"Stays as it is, the stack file does not name it: {versions}"
    if adoption.takeovers:
        yield f"Nothing else is changed now. From then on `whisperctl apply` makes them what {stack.file} says,"
        yield "and `whisperctl destroy` deletes them."


def _takeovers(adoption: Adoption, project: str) -> Iterator[str]:
    """The objects that get labels, each with its labels below it."""
    if not adoption.takeovers:
        yield f"Nothing of project {project} is left to adopt for the stack {adoption.stack.name}."
        return
    yield f"The stack {adoption.stack.name} takes over these objects of project {project}."
    yield "Only these labels are written, beside those that are there:"
    for takeover in adoption.takeovers:
        yield f"  {takeover.address}"
        yield from (f"      {name} = {value}" for name, value in takeover.labels.items())
