"""Env vars that a version inherits from its deployment or its project, of those that steer what runs in it. Reads only.

UbiOps lists a version's own and inherited variables together; an own one hides an inherited one of its name (UbiOps
reference, 5.3). A version that is yet to be made inherits what its deployment has, or, without one, the project.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from whisperctl.control.api import Api, Json
from whisperctl.errors import ApiError
from whisperctl.serving.steering import steers


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Inherited:
    """One variable that a version does not set and gets all the same."""

    name: str
    value: str | None
    """None of a secret one: UbiOps does not tell it."""
    level: str
    """`project` or `deployment`."""


def inherited_variables(listed: Iterable[Json], level: str = "") -> tuple[Inherited, ...]:
    """Those that steer, by name.

    Args:
        listed: a version's list; with `level`, the own list of a deployment or project, which is then all inherited.
        level: `deployment` or `project`.
    """
    return tuple(
        sorted(
            Inherited(
                name=item["name"],
                value=None if item.get("secret") else str(item.get("value") or ""),
                level=str(item.get("inheritance_type") or level),
            )
            for item in listed
            if (level or item.get("inheritance_type")) and steers(item["name"])
        )
    )


def to_be_inherited(api: Api, deployment: str | None, project: Sequence[Json] = ()) -> tuple[Inherited, ...]:
    """What a version that does not exist yet will inherit.

    Args:
        api: the control plane.
        deployment: its deployment, if that exists.
        project: the project's own variables, for a version whose deployment does not exist either.
    """
    if deployment is None:
        return inherited_variables(project, "project")
    try:
        return inherited_variables(api.deployment_env_vars(deployment), "deployment")
    except ApiError:
        return ()  # a token that may not read them: a warning less, and no failure


def project_variables(api: Api) -> list[Json]:
    """The project's own env vars; none where the token may not read them: that keeps nobody from planning."""
    try:
        return api.project_env_vars()
    except ApiError:
        return []
