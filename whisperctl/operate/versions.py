"""The versions of a line: which one serves, which sleep for a rollback, what each is and what its gate measured.

Reads only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, assert_never

from whisperctl.control.api import Api, Json
from whisperctl.errors import WhisperctlError
from whisperctl.operate.owned import absent
from whisperctl.spec import Stack
from whisperctl.state.labels import Labels
from whisperctl.state.ownership import owner
from whisperctl.state.records import RolloutRecord
from whisperctl.state.serving import serving

Use = Literal["serves", "sleeps", "failed", "rolled back", "unfinished"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LineVersion:
    """One version of a line."""

    number: int
    """What `rollback --to` takes: 1 is the newest."""
    name: str
    use: Use
    created: str
    """ISO 8601, as UbiOps tells it."""
    model: str
    vllm: str
    flags: str
    """Of `vllm serve`, as far as a label holds them."""
    commit: str
    """Of the stack file's repository; empty where it is not known."""
    record: RolloutRecord | None
    minimum_instances: int
    environment_tag: str

    @property
    def obstacle(self) -> str:
        """Why there is no going back to it; empty where there is."""
        match self.use:
            case "serves":
                return "it serves"
            case "unfinished":
                return "it was never finished"
            case "failed":
                return f"its rollout failed at its {self.record.stage or 'gate'}" if self.record else "it failed"
            case "sleeps" | "rolled back":
                return ""


def read_versions(api: Api, stack: Stack) -> list[LineVersion]:
    """The versions of the stack's line, newest first.

    Raises:
        WhisperctlError: there are none, or UbiOps cannot be read.
    """
    raws = [raw for raw in api.versions(stack.deployment.name) if owner(raw) == stack.name]
    if not raws:
        raise absent(api, stack)
    serves = serving(api, stack).version.name
    raws.sort(key=lambda raw: str(raw.get("creation_date") or ""), reverse=True)
    return [_version(number, raw, serves) for number, raw in enumerate(raws, 1)]


def _version(number: int, raw: Json, serves: str) -> LineVersion:
    labels = Labels.of(raw)
    made = labels.made
    return LineVersion(
        number=number,
        name=str(raw["version"]),
        use=_use(raw, labels.rollout, serves),
        created=str(raw.get("creation_date") or ""),
        model=made.model,
        vllm=made.vllm,
        flags=made.flags,
        commit=made.commit,
        record=labels.rollout,
        minimum_instances=int(raw.get("minimum_instances") or 0),
        environment_tag=str(raw.get("environment_tag") or ""),
    )


def _use(raw: Json, record: RolloutRecord | None, serves: str) -> Use:
    if raw["version"] == serves and (record is None or record.state not in ("begun", "failed")):
        return "serves"
    match record.state if record else "served":
        case "failed":
            return "failed"
        case "left":
            return "rolled back"
        case "begun" | "passed":
            return "unfinished"
        case "served" | "kept":
            return "sleeps"
        case _ as state:
            assert_never(state)


def chosen(versions: list[LineVersion], to: str | None) -> LineVersion:
    """The version that a rollback means: by number or name, else the newest that sleeps.

    Raises:
        WhisperctlError: there is none of that name, or it cannot be gone back to.
    """
    if to is None:
        target = next((version for version in versions if not version.obstacle), None)
        if target is None:
            reasons = "\n".join(f"    {version.name}: {version.obstacle}" for version in versions)
            raise WhisperctlError(
                f"There is no earlier version to go back to.\n{reasons}\n"
                "  Nothing was changed. Put the stack file back in Git and apply it."
            )
        return target
    target = next((version for version in versions if to in (str(version.number), version.name)), None)
    if target is None:
        raise WhisperctlError(f"There is no version {to!r}.\n  `whisperctl history` lists them.")
    if target.obstacle:
        raise WhisperctlError(
            f"{target.name} cannot be gone back to: {target.obstacle}.\n"
            "  Nothing was changed. `whisperctl history` lists what is possible."
        )
    return target
