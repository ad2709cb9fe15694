"""Our own labels on UbiOps' objects: their names, and how each value is packed into text.

No other module knows a label's name or splits its text: `Labels.of(raw)` unpacks an object's labels, and
`labels.written(digest=…, tags=…)` packs changes into the whole map that a PATCH needs (UbiOps replaces the map), with
everybody else's labels kept. Reads and writes nothing itself.

A value is at most 255 characters of `[A-Za-z0-9._/ +;:-]`: what UbiOps accepts beyond that is not documented. Lists
are joined with `;`, any other character inside an item is written as `:XX` (hexadecimal UTF-8), and a list too long for
one label goes on in `NAME-2`, `NAME-3`, ….
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypedDict, Unpack, cast, get_args
from urllib.parse import unquote

from whisperctl.errors import WhisperctlError

OWN_PREFIX: Final = "whisperctl-"
"""What all of our labels begin with."""
MAX_LENGTH: Final = 255
"""Characters of a value."""
SHARED: Final = "shared"
"""Owner of a managed environment: every stack of the project may use it."""
KEPT_REVISIONS: Final = 3
"""Revisions whose tags are kept, for a rollback."""

_OWNER: Final = "whisperctl-stack"
_ID: Final = "whisperctl-id"
_DIGEST: Final = "whisperctl-digest"
_ORIGIN: Final = "whisperctl-origin"
_TOOL: Final = "whisperctl-tool"
_PROTECT: Final = "whisperctl-protect"
_SERVED: Final = "whisperctl-served"
_APPLIED: Final = "whisperctl-applied"
_LEASE: Final = "whisperctl-lease"
_GROUPS: Final = "whisperctl-group"
_VERSION: Final = "whisperctl-version"
_ENV_NAMES: Final = "whisperctl-env"
_SECRET: Final = "whisperctl-secret-"  # noqa: S105 - a label's name
_REVISION: Final = "whisperctl-revision-"
_TRACKED: Final = "whisperctl-fields"
_TAGS: Final = "whisperctl-tags"
_PAUSED: Final = "whisperctl-paused"
_RESTART: Final = "whisperctl-restart"
_ROLLOUT: Final = "whisperctl-rollout"
_MADE: Final = "whisperctl-made"
_LISTED: Final = "whisperctl-listed"
_START_SECONDS: Final = "whisperctl-start-seconds"

_BOOKKEEPING: Final = (_DIGEST, _VERSION, _TAGS, _LEASE, _ID, _ORIGIN, _TOOL, _PROTECT, _SERVED, _START_SECONDS)
"""Labels of the deployment that say nothing about what it is like."""
_CREATING: Final = "creating "
"""In the group label, before a name: a managed group is about to be created, its id is not known yet."""
_REFUSED: Final = re.compile(r"[^A-Za-z0-9._/ +;:-]")
_ESCAPED: Final = re.compile(r"[^A-Za-z0-9._/ +-]")
_CODES: Final = re.compile(r"(?::[0-9A-F]{2})+")


@dataclass(frozen=True, slots=True)
class RecordedRevision:
    """One of the last revisions that we uploaded, as the version's labels tell."""

    revision: str
    digest: str
    tag: str
    """The environment tag that it ran in; empty in mode `package`."""


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


class Changes(TypedDict, total=False):
    """What `Labels.written` takes; None, or an empty list or mapping, removes the label."""

    owner: str | None
    id: str | None
    digest: str | None
    origin: str | None
    tool: str | None
    protect: bool
    served: bool
    applied: str | None
    lease: LeaseHolder | None
    group_ids: Iterable[str]
    groups_begun: Iterable[str]
    version: str | None
    env_names: Iterable[str]
    secrets: Mapping[str, str]
    revisions: Sequence[RecordedRevision]
    tracked: Iterable[str]
    tags: Iterable[str]
    paused_minimum: int | str | None
    restart: tuple[int, int] | None
    rollout: RolloutRecord | None
    made: Iterable[str]
    listed: Mapping[str, str]
    start_seconds: int | None
    user: Mapping[str, str | None]
    """Labels of the stack file; a None removes one."""


@dataclass(frozen=True, slots=True)
class Labels:
    """All labels of one object: ours unpacked, everybody's kept."""

    all: Mapping[str, str]
    """As UbiOps tells them."""

    @classmethod
    def of(cls, raw: Mapping[str, Any] | None) -> Labels:
        """The labels of an object as UbiOps told it; none of None, and none where it says null."""
        return cls((raw or {}).get("labels") or {})

    # --- one of our labels each ---------------------------------------------------------------------------------------

    @property
    def owner(self) -> str | None:
        """The stack whose object this is; part of the create request."""
        return self.all.get(_OWNER)

    @property
    def id(self) -> str | None:
        """The object's own id, written right after the create: a copied map of labels tells another's."""
        return self.all.get(_ID)

    @property
    def digest(self) -> str | None:
        """What the object was made from; written only after the step that it stands for has succeeded."""
        return self.all.get(_DIGEST)

    @property
    def origin(self) -> str | None:
        """Where the stack file comes from, on the deployment; as `shortened` if that is long."""
        text = self.all.get(_ORIGIN)
        return _unescaped(text) if text else None

    @property
    def tool(self) -> str | None:
        """The version of this tool that applied last, on the deployment."""
        return self.all.get(_TOOL)

    @property
    def is_of_first_version(self) -> bool:
        """Whether a deployment was applied by whisperctl 0.1, and by none since: later ones write their version."""
        return self.tool is None and self.id is None and self.digest is not None

    @property
    def protect(self) -> bool:
        """Whether the stack is protected, whatever the file says now; on the deployment."""
        return self.all.get(_PROTECT) == "true"

    @property
    def served(self) -> bool:
        """Whether the stack had a service when it was last applied; on the deployment."""
        return self.all.get(_SERVED) == "true"

    @property
    def applied(self) -> str | None:
        """A digest of the live objects as the last apply left them, on the deployment."""
        return self.all.get(_APPLIED)

    @property
    def lease(self) -> LeaseHolder | None:
        """Who works on the stack at this moment; on the deployment only, outside every fingerprint."""
        text = self.all.get(_LEASE)
        return lease_of(text) if text else None

    @property
    def group_ids(self) -> list[str]:
        """Ids of the managed instance type groups, on the deployment."""
        return [entry for entry in _items(self.all, _GROUPS) if not entry.startswith(_CREATING)]

    @property
    def groups_begun(self) -> list[str]:
        """Names of groups that are about to be created, whose ids are not known yet; on the deployment."""
        begun = (entry for entry in _items(self.all, _GROUPS) if entry.startswith(_CREATING))
        return [entry.removeprefix(_CREATING) for entry in begun]

    @property
    def version(self) -> str | None:
        """The one version that the stack owns, on the deployment; absent while that is not settled."""
        return self.all.get(_VERSION)

    @property
    def env_names(self) -> list[str]:
        """Names of the env vars that are ours, on the version."""
        return _items(self.all, _ENV_NAMES)

    @property
    def secrets(self) -> dict[str, str]:
        """Name of a secret env var -> salted fingerprint of the value that was set, on the version."""
        return {name.removeprefix(_SECRET): text for name, text in self.all.items() if name.startswith(_SECRET)}

    @property
    def revisions(self) -> list[RecordedRevision]:
        """The last revisions that we uploaded, newest first, on the version."""
        texts = (self.all.get(f"{_REVISION}{number}", "").split(" ") for number in range(1, 10))
        return [RecordedRevision(*parts) for parts in texts if len(parts) == 3]

    @property
    def tracked(self) -> list[str]:
        """Optional fields and `labels.NAME` that we set, so that leaving them out of the spec resets them."""
        return _items(self.all, _TRACKED)

    @property
    def tracked_fields(self) -> set[str]:
        """The fields among those."""
        return {name for name in self.tracked if not name.startswith("labels.")}

    @property
    def tracked_labels(self) -> set[str]:
        """The labels among those, by their names."""
        return {name.removeprefix("labels.") for name in self.tracked if name.startswith("labels.")}

    @property
    def tags(self) -> list[str]:
        """Environment tags that the stack uses, keeps for a rollback or has still to delete, on the deployment."""
        return _items(self.all, _TAGS)

    @property
    def paused_minimum(self) -> int | None:
        """minimum_instances that a paused version goes back to, on the version; None when it is not paused."""
        text = self.all.get(_PAUSED)
        if text is None:
            return None
        return int(text) if text.isdecimal() else 0

    @property
    def restart(self) -> tuple[int, int] | None:
        """minimum_instances as it was before a restart raised it, and as it was raised; on the version, meanwhile."""
        match self.all.get(_RESTART, "").split(" "):
            case [before, raised] if before.isdecimal() and raised.isdecimal():
                return int(before), int(raised)
            case _:
                return None

    @property
    def rollout(self) -> RolloutRecord | None:
        """How far a version of a line has come; None where it was made in place, or by hand."""
        text = self.all.get(_ROLLOUT)
        return _rollout_of(text) if text else None

    @property
    def made(self) -> list[str]:
        """What a version was made from, for its history: `vllm 0.32.0`, `model NAME`, `commit HASH`."""
        return _items(self.all, _MADE)

    @property
    def listed(self) -> dict[str, str]:
        """Labels that list a version at the project's OpenAI-compatible endpoint, while it sleeps without them."""
        return dict(item.split("=", 1) for item in _items(self.all, _LISTED) if "=" in item)

    @property
    def start_seconds(self) -> int | None:
        """How long the stack's last proven start took, from its waking to an answer, on the deployment."""
        text = self.all.get(_START_SECONDS, "")
        return int(text) if text.isdecimal() else None

    # --- many of them -------------------------------------------------------------------------------------------------

    @property
    def of_others(self) -> dict[str, str]:
        """The labels that are not ours."""
        return {name: text for name, text in self.all.items() if not name.startswith(OWN_PREFIX)}

    @property
    def without_lease(self) -> dict[str, str]:
        """Everything but who works on the stack at this moment."""
        return {name: text for name, text in self.all.items() if name != _LEASE}

    @property
    def without_bookkeeping(self) -> dict[str, str]:
        """Everything but what taking, renewing and giving back a lease may change."""
        return {name: text for name, text in self.all.items() if not _is_one_of(name, _BOOKKEEPING)}

    def bookkeeping_of(self, other: Labels) -> dict[str, str | None]:
        """What puts back the digest, version and tags that `other` tells, as changes of single labels."""
        names = (_DIGEST, _VERSION, _TAGS)
        ours = {name: None for name in self.all if _is_one_of(name, names)}
        return ours | {name: text for name, text in other.all.items() if _is_one_of(name, names)}

    def written(self, **changes: Unpack[Changes]) -> dict[str, str]:
        """The whole map to send: everything that is there, with `changes` in it.

        Raises:
            WhisperctlError: a value is longer than UbiOps is known to take.
        """
        return merged(self.all, self.packed(**changes))

    def packed(self, **changes: Unpack[Changes]) -> dict[str, str | None]:
        """`changes` as single labels; None removes one. What a list or mapping no longer holds is removed."""
        given: dict[str, Any] = dict(changes)
        found: dict[str, str | None] = dict(given.pop("user", {}))
        if "group_ids" in given or "groups_begun" in given:
            ids = given.pop("group_ids", self.group_ids)
            begun = given.pop("groups_begun", self.groups_begun)
            found |= self._list(_GROUPS, [*ids, *(_CREATING + name for name in begun)])
        for key in given.keys() & _LISTS.keys():
            found |= self._list(_LISTS[key], given[key])
        for key in given.keys() & _MAPS.keys():
            prefix, pack = _MAPS[key]
            found |= {name: None for name in self.all if name.startswith(prefix)}
            found |= pack(given[key])
        for key in given.keys() & _TEXTS.keys():
            name, text = _TEXTS[key]
            found[name] = None if given[key] is None else text(given[key])
        return {name: _checked(name, text) for name, text in found.items()}

    def _list(self, name: str, items: Iterable[str]) -> dict[str, str | None]:
        before: dict[str, str | None] = {known: None for known in self.all if _is_one_of(known, (name,))}
        return before | _in_labels(name, items)


def owner(raw: Mapping[str, Any] | None) -> str | None:
    """The stack whose object `raw` is; nobody's is one whose labels were copied from another object."""
    return None if is_copy(raw) else Labels.of(raw).owner


def is_copy(raw: Mapping[str, Any] | None) -> bool:
    """Whether our labels on `raw` tell the id of another object."""
    ident = Labels.of(raw).id
    return ident is not None and raw is not None and ident != raw.get("id")


def is_made_by_us(raw: Mapping[str, Any]) -> bool:
    """Whether an object that no file names shows that this tool made or adopted it: more than an owner's label.

    Its id is written right after the create; until then there is the version of the tool that creates it, and objects
    of earlier versions of this tool carry a digest.
    """
    labels = Labels.of(raw)
    return not is_copy(raw) and any((labels.id, labels.tool, labels.digest))


def merged(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """`labels` with `changes` over it; a None removes."""
    return {name: text for name, text in {**labels, **changes}.items() if text is not None}


def new(**changes: Unpack[Changes]) -> dict[str, str]:
    """The labels of an object that is about to be created."""
    return Labels({}).written(**changes)


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


def lease_change(holder: LeaseHolder | None) -> dict[str, str | None]:
    """The change of the lease label alone."""
    return {_LEASE: packed_lease(holder) if holder else None}


def _is_one_of(name: str, labels: Sequence[str]) -> bool:
    """Whether `name` is one of our `labels`, or a continuation of a list in one."""
    return any(
        name == label or (name.startswith(f"{label}-") and name[len(label) + 1 :].isdecimal()) for label in labels
    )


def _items(labels: Mapping[str, str], name: str) -> list[str]:
    """The items of a list that begins in the label `name`."""
    texts = [labels.get(name, "")]
    while (further := f"{name}-{len(texts) + 1}") in labels:
        texts.append(labels[further])
    return [_unescaped(item) for text in texts for item in text.split(";") if item]


def _in_labels(name: str, items: Iterable[str]) -> dict[str, str]:
    """A list as one label or several; an item is never cut."""
    texts: list[str] = []
    for item in dict.fromkeys(_escaped(item) for item in items if item):
        if texts and len(texts[-1]) + 1 + len(item) <= MAX_LENGTH:
            texts[-1] += ";" + item
        else:
            texts.append(item)
    return {name if number == 1 else f"{name}-{number}": text for number, text in enumerate(texts, 1)}


def cut(item: str) -> str:
    """The item of a list, cut to what one label holds of it; an ellipsis tells that something is missing."""
    if len(_escaped(item)) <= MAX_LENGTH:
        return item
    while len(_escaped(item + "...")) > MAX_LENGTH:
        item = item[:-1]
    return item + "..."


def _escaped(item: str) -> str:
    return _ESCAPED.sub(lambda match: "".join(f":{byte:02X}" for byte in match[0].encode()), item)


def _unescaped(item: str) -> str:
    if item.startswith(_CREATING) and "%" in item:
        return unquote(item)  # as earlier versions of this tool wrote it
    return _CODES.sub(lambda match: bytes.fromhex(match[0].replace(":", "")).decode(errors="replace"), item)


def shortened(origin: str) -> str:
    """An origin as its label holds it: cut on the left, with a hash, if it is too long."""
    text = _ESCAPED.sub(lambda match: "".join(f":{byte:02X}" for byte in match[0].encode()), origin)
    if len(text) <= MAX_LENGTH:
        return text
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:16]}-{text[len(text) - MAX_LENGTH + 18 :]}"


def _checked(name: str, text: str | None) -> str | None:
    if text is None or not name.startswith(OWN_PREFIX):
        return text
    if len(text) > MAX_LENGTH or _REFUSED.search(text):
        raise WhisperctlError(
            f"The label {name} cannot hold {text[:60]!r}: UbiOps takes at most {MAX_LENGTH} characters of letters,\n"
            "  digits and ._/ +;:- there. Choose a shorter name."
        )
    return text


_NONE: Final = "-"


def _pack_rollout(record: RolloutRecord) -> str:
    figures = (record.wer, record.serving_wer, record.latency, record.serving_latency)
    numbers = [_NONE if figure is None else f"{figure:.4f}" for figure in figures]
    return " ".join([record.state, record.stage or _NONE, *numbers, record.at or _NONE])


def _rollout_of(text: str) -> RolloutRecord | None:
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


def _pack_revisions(revisions: Sequence[RecordedRevision]) -> dict[str, str]:
    kept = revisions[:KEPT_REVISIONS]
    return {f"{_REVISION}{n}": f"{item.revision} {item.digest} {item.tag}" for n, item in enumerate(kept, 1)}


def _pack_listed(labels: Mapping[str, str]) -> dict[str, str]:
    return _in_labels(_LISTED, (f"{name}={text}" for name, text in labels.items()))


def _pack_secrets(secrets: Mapping[str, str]) -> dict[str, str]:
    return {_SECRET + name: text for name, text in secrets.items()}


_LISTS: Final[Mapping[str, str]] = {"env_names": _ENV_NAMES, "tracked": _TRACKED, "tags": _TAGS, "made": _MADE}
_MAPS: Final[Mapping[str, tuple[str, Callable[[Any], dict[str, str]]]]] = {
    "secrets": (_SECRET, _pack_secrets),
    "listed": (_LISTED, _pack_listed),
    "revisions": (_REVISION, _pack_revisions),
}
_TEXTS: Final[Mapping[str, tuple[str, Callable[[Any], str | None]]]] = {
    "owner": (_OWNER, str),
    "id": (_ID, str),
    "digest": (_DIGEST, str),
    "origin": (_ORIGIN, shortened),
    "tool": (_TOOL, str),
    "protect": (_PROTECT, lambda protected: "true" if protected else None),
    "served": (_SERVED, lambda served: "true" if served else None),
    "applied": (_APPLIED, str),
    "lease": (_LEASE, packed_lease),
    "version": (_VERSION, str),
    "paused_minimum": (_PAUSED, str),
    "restart": (_RESTART, lambda bounds: f"{bounds[0]} {bounds[1]}"),
    "rollout": (_ROLLOUT, _pack_rollout),
    "start_seconds": (_START_SECONDS, str),
}
