"""What a label can tell beyond a name or a number: a revision, a rollout's record, who holds a lease; and their texts.

Pure values. Which label holds which is known by `labels`, how much fits into one by `label_text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from whisperctl.state.label_text import beginning, cut, fits


@dataclass(frozen=True, slots=True)
class RecordedRevision:
    """One of the last revisions that we uploaded, as the version's labels tell."""

    revision: str
    digest: str
    tag: str
    """The environment tag that it ran in; empty in mode `package`."""
    commit: str = ""
    """Of the stack file's repository, 40 or 64 digits; empty where it is not known."""


def packed_revision(revision: RecordedRevision) -> str:
    """The text of one revision's label."""
    return f"{revision.revision} {revision.digest} {revision.tag}"


def packed_commits(revisions: Iterable[RecordedRevision]) -> list[str]:
    """The items of the list of commits, of the revisions whose commit is known."""
    return [f"{each.revision} {each.commit}" for each in revisions if each.commit]


def revisions_of(texts: Iterable[str], commits: Iterable[str]) -> list[RecordedRevision]:
    """The revisions in their labels, `ID DIGEST TAG`, with the commits of those that `ID COMMIT` tells one of."""
    known = dict(item.split(" ", 1) for item in commits if " " in item)
    parts = (text.split(" ") for text in texts)
    return [RecordedRevision(each[0], each[1], each[2], known.get(each[0], "")) for each in parts if len(each) == 3]


@dataclass(frozen=True, slots=True)
class Rendering:
    """Where the package that runs comes from."""

    tool: str
    """The version of this tool that rendered it."""
    settings_digest: str
    """A digest of what the stack file says in it, whichever version renders that: 32 hex digits."""
    package: str
    """The package's own digest: one that an early version of this tool records leaves the label of that before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeFrom:
    """What a version was made from, for its history; each text is empty where it is not known."""

    vllm: str = ""
    """The release, `0.32.0`."""
    model: str = ""
    """The model's name, as far as a label holds it."""
    flags: str = ""
    """Of `vllm serve`, as far as a label holds them."""
    commit: str = ""
    """Of the stack file's repository."""
    served: str = ""
    """The name that the model is served under: whole, or not there, since a rollback serves under it."""


RolloutState = Literal["begun", "passed", "served", "left", "kept", "failed"]
"""Of a version of a line. begun: it is being made; passed: its gate; served: its rollout succeeded; left: a rollback
went away from it; kept: UbiOps refused to delete it, since something uses it; failed: see the stage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutRecord:
    """How far a version of a line has come, and what its gate measured."""

    state: RolloutState
    stage: str = ""
    """What failed: `start`, `gate`, `switch` or `bake`."""
    wer: float | None = None
    """Word error rate of this version over all words of its gate."""
    serving_wer: float | None = None
    """That of the version that served then."""
    latency: float | None = None
    """Median seconds of a transcription."""
    serving_latency: float | None = None
    at: str = ""
    """When, in ISO 8601 with Z."""


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who works on a stack, as the lease label of its deployment tells."""

    text: str
    """The label as it stands: it changes with every renewal."""
    nonce: str = ""
    """Random, of one holder only; empty where the text is of another version of this tool."""
    renewals: int = 0
    boot: str = ""
    """The boot id of the holder's machine."""
    namespace: str = ""
    """Its pid namespace."""
    pid: int = 0
    started: str = ""
    """When that process started, in the kernel's ticks since the boot."""


def packed_lease(holder: LeaseHolder) -> str:
    """The text of the lease label."""
    return " ".join(
        (holder.nonce, str(holder.renewals), holder.boot, holder.namespace, str(holder.pid), holder.started)
    )


def lease_of(text: str) -> LeaseHolder:
    """Who the text of a lease label names; of an unknown form only the text itself."""
    match text.split(" "):
        case [nonce, renewals, boot, namespace, pid, started] if renewals.isdecimal() and pid.isdecimal():
            return LeaseHolder(text, nonce, int(renewals), boot, namespace, int(pid), started)
        case _:
            return LeaseHolder(text)


def packed_made(made: MadeFrom) -> list[str]:
    """The items of the list of what a version was made from: `vllm 0.32.0`, `model NAME`, `commit HASH`."""
    served = f"served {made.served}"
    return [
        f"vllm {made.vllm}" if made.vllm else "",
        cut(f"model {made.model}") if made.model else "",
        cut(f"flags {made.flags}") if made.flags else "",
        f"commit {made.commit}" if made.commit else "",
        served if made.served and fits(served) else "",
    ]


def made_of(items: Iterable[str]) -> MadeFrom:
    """What the items of that list tell; one that this version of the tool does not know is left out."""
    texts = dict(item.split(" ", 1) for item in items if " " in item)
    return MadeFrom(
        vllm=texts.get("vllm", ""),
        model=texts.get("model", ""),
        flags=texts.get("flags", ""),
        commit=texts.get("commit", ""),
        served=texts.get("served", ""),
    )


def packed_listed(listed: Mapping[str, str]) -> list[str]:
    """The items of the list of labels that are put aside: `NAME=TEXT`, the rest of a long text as `=2=NAME=TEXT`."""
    packed = []
    for name, text in listed.items():
        head, number = f"{name}=", 1
        part = beginning(text, head)
        while 0 < len(part) < len(text):
            packed.append(head + part)
            number, text = number + 1, text[len(part) :]
            head = f"={number}={name}="
            part = beginning(text, head)
        packed.append(head + text)
    return packed


def listed_of(items: Iterable[str]) -> dict[str, str]:
    """The labels that the items of that list tell."""
    listed: dict[str, str] = {}
    for item in items:
        match item.split("=", 3):
            case ["", _number, name, rest]:
                listed[name] = listed.get(name, "") + rest
            case [name, *texts] if texts:
                listed[name] = "=".join(texts)
    return listed


_NONE: Final = "-"


def packed_rendering(rendering: Rendering) -> str:
    """The text of the label of what rendered a package."""
    return f"{rendering.tool} {rendering.settings_digest} {rendering.package}"


def rendering_of(text: str) -> Rendering | None:
    """The rendering in a label; None for a malformed one."""
    match text.split(" "):
        case [tool, settings_digest, package]:
            return Rendering(tool, settings_digest, package)
        case _:
            return None


def packed_rollout(record: RolloutRecord) -> str:
    """The text of the rollout label."""
    figures = (record.wer, record.serving_wer, record.latency, record.serving_latency)
    numbers = [_NONE if figure is None else f"{figure:.4f}" for figure in figures]
    return " ".join([record.state, record.stage or _NONE, *numbers, record.at or _NONE])


def rollout_of(text: str) -> RolloutRecord | None:
    """The record in a label; None for a malformed one."""
    try:
        state, stage, *numbers, at = text.split(" ")
        wer, serving_wer, latency, serving_latency = (None if n == _NONE else float(n) for n in numbers)
    except ValueError:
        return None
    if state not in get_args(RolloutState):
        return None
    return RolloutRecord(
        state=cast("RolloutState", state),
        stage="" if stage == _NONE else stage,
        wer=wer,
        serving_wer=serving_wer,
        latency=latency,
        serving_latency=serving_latency,
        at="" if at == _NONE else at,
    )
