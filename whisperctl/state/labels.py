"""Our own labels on UbiOps' objects: their names, and how each value is packed into text.

No other module knows a label's name or splits its text: `Labels.of(raw)` unpacks an object's labels, and
`labels.written(digest=…, tags=…)` packs changes into the whole map that a PATCH needs (UbiOps replaces the map), with
everybody else's labels kept. Reads and writes nothing itself.

How text is packed is told by `label_text`, what a label tells beyond a name or a number by `records`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypedDict, Unpack
from urllib.parse import unquote

from whisperctl.state.label_text import (
    OWN_PREFIX,
    checked,
    escaped_items,
    in_labels,
    is_one_of,
    items,
    merged,
    shortened,
    unescaped,
)
from whisperctl.state.records import (
    LeaseHolder,
    MadeFrom,
    RecordedRevision,
    Rendering,
    RolloutRecord,
    lease_of,
    listed_of,
    made_of,
    packed_commits,
    packed_lease,
    packed_listed,
    packed_made,
    packed_rendering,
    packed_revision,
    packed_rollout,
    rendering_of,
    revisions_of,
    rollout_of,
)

KEPT_REVISIONS: Final = 3
"""Revisions whose tags are kept, for a rollback."""

_OWNER: Final = "whisperctl-stack"
_ID: Final = "whisperctl-id"
_DIGEST: Final = "whisperctl-digest"
_ORIGIN: Final = "whisperctl-origin"
_TOOL: Final = "whisperctl-tool"
_PROTECT: Final = "whisperctl-protect"
_SERVED: Final = "whisperctl-served"
_RENDERED: Final = "whisperctl-rendered"
_TRIMMED: Final = "whisperctl-trimmed"
_APPLIED: Final = "whisperctl-applied"
_LEASE: Final = "whisperctl-lease"
_GROUPS: Final = "whisperctl-group"
_VERSION: Final = "whisperctl-version"
_ENV_NAMES: Final = "whisperctl-env"
_SECRET: Final = "whisperctl-secret-"  # noqa: S105 - a label's name
_REVISION: Final = "whisperctl-revision-"
_COMMITS: Final = f"{_REVISION}commits"
"""Beside those of the revisions, which earlier versions of this tool read and write without one."""
_TRACKED: Final = "whisperctl-fields"
_TAGS: Final = "whisperctl-tags"
_PAUSED: Final = "whisperctl-paused"
_RESTART: Final = "whisperctl-restart"
_ROLLOUT: Final = "whisperctl-rollout"
_MADE: Final = "whisperctl-made"
_LISTED: Final = "whisperctl-listed"
_START_SECONDS: Final = "whisperctl-start-seconds"
_BUILD_SECONDS: Final = "whisperctl-build-seconds"

_BOOKKEEPING: Final = (
    _DIGEST, _VERSION, _TAGS, _LEASE, _ID, _ORIGIN, _TOOL, _PROTECT, _SERVED, _TRIMMED, _START_SECONDS,
    _BUILD_SECONDS,
)  # fmt: skip
"""Labels of the deployment that say nothing about what it is like."""
_CREATING: Final = "creating "
"""In the group label, before a name: a managed group is about to be created, its id is not known yet."""


class Changes(TypedDict, total=False):
    """What `Labels.written` takes; None, or an empty list or mapping, removes the label."""

    owner: str | None
    id: str | None
    digest: str | None
    origin: str | None
    tool: str | None
    protect: bool
    served: bool
    trimmed: Iterable[str]
    applied: str | None
    lease: LeaseHolder | None
    group_ids: Iterable[str]
    groups_begun: Iterable[str]
    version: str | None
    env_names: Iterable[str]
    secrets: Mapping[str, str]
    revisions: Sequence[RecordedRevision]
    rendering: Rendering | None
    tracked: Iterable[str]
    tags: Iterable[str]
    paused_minimum: int | str | None
    restart: tuple[int, int] | None
    rollout: RolloutRecord | None
    made: MadeFrom
    listed: Mapping[str, str]
    start_seconds: int | None
    build_seconds: int | None
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
        return unescaped(text) if text else None

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
    def trimmed(self) -> frozenset[str]:
        """The fields (`deployment.description`) of which UbiOps took white space off the ends; on the deployment."""
        return frozenset(self.all.get(_TRIMMED, "").split())

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
        return [entry for entry in self._groups if not entry.startswith(_CREATING)]

    @property
    def groups_begun(self) -> list[str]:
        """Names of groups that are about to be created, whose ids are not known yet; on the deployment."""
        begun = (entry for entry in self._groups if entry.startswith(_CREATING))
        return [entry.removeprefix(_CREATING) for entry in begun]

    @property
    def _groups(self) -> list[str]:
        entries = escaped_items(self.all, _GROUPS)
        # Earlier versions of this tool escaped the names that are about to be created with %XX.
        old = {entry for entry in entries if entry.startswith(_CREATING) and "%" in entry}
        return [unquote(entry) if entry in old else unescaped(entry) for entry in entries]

    @property
    def version(self) -> str | None:
        """The one version that the stack owns, on the deployment; absent while that is not settled."""
        return self.all.get(_VERSION)

    @property
    def env_names(self) -> list[str]:
        """Names of the env vars that are ours, on the version."""
        return items(self.all, _ENV_NAMES)

    @property
    def secrets(self) -> dict[str, str]:
        """Name of a secret env var -> salted fingerprint of the value that was set, on the version."""
        return {name.removeprefix(_SECRET): text for name, text in self.all.items() if name.startswith(_SECRET)}

    @property
    def revisions(self) -> list[RecordedRevision]:
        """The last revisions that we uploaded, newest first, on the version."""
        texts = (self.all.get(f"{_REVISION}{number}", "") for number in range(1, 10))
        return revisions_of(texts, items(self.all, _COMMITS))

    @property
    def rendering(self) -> Rendering | None:
        """Where the package comes from, on the version; None of one that an early version of this tool recorded."""
        rendering = rendering_of(self.all.get(_RENDERED, ""))
        return rendering if rendering and rendering.package == self.digest else None

    @property
    def tracked(self) -> list[str]:
        """Optional fields and `labels.NAME` that we set, so that leaving them out of the spec resets them."""
        return items(self.all, _TRACKED)

    @property
    def tracked_fields(self) -> set[str]:
        """The names of the tracked fields, without the user's labels among them."""
        return {name for name in self.tracked if not name.startswith("labels.")}

    @property
    def tracked_labels(self) -> set[str]:
        """The labels among those, by their names."""
        return {name.removeprefix("labels.") for name in self.tracked if name.startswith("labels.")}

    @property
    def tags(self) -> list[str]:
        """Environment tags that the stack uses, keeps for a rollback or has still to delete, on the deployment."""
        return items(self.all, _TAGS)

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
        return rollout_of(text) if text else None

    @property
    def made(self) -> MadeFrom:
        """What a version was made from, for its history."""
        return made_of(items(self.all, _MADE))

    @property
    def listed(self) -> dict[str, str]:
        """Labels that list a version at the project's OpenAI-compatible endpoint, while it sleeps without them."""
        return listed_of(items(self.all, _LISTED))

    @property
    def start_seconds(self) -> int | None:
        """How long the stack's last proven start took, from its waking to an answer, on the deployment."""
        return self._seconds(_START_SECONDS)

    @property
    def build_seconds(self) -> int | None:
        """How long the last build took: of the stack's package on the deployment, of a tag on the environment."""
        return self._seconds(_BUILD_SECONDS)

    def _seconds(self, name: str) -> int | None:
        text = self.all.get(name, "")
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
        return {name: text for name, text in self.all.items() if not is_one_of(name, _BOOKKEEPING)}

    def bookkeeping_of(self, other: Labels) -> dict[str, str | None]:
        """What puts back the digest, version and tags that `other` tells, as changes of single labels."""
        names = (_DIGEST, _VERSION, _TAGS)
        ours = {name: None for name in self.all if is_one_of(name, names)}
        return ours | {name: text for name, text in other.all.items() if is_one_of(name, names)}

    def written(self, **changes: Unpack[Changes]) -> dict[str, str]:
        """The whole map to send: everything that is there, with `changes` in it.

        Raises:
            WhisperctlError: a value is longer than UbiOps is known to take.
        """
        return merged(self.all, self.packed(**changes))

    def packed(self, **changes: Unpack[Changes]) -> dict[str, str | None]:
        """`changes` as single labels; None removes one. What a list or mapping no longer holds is removed."""
        given: dict[str, Any] = dict(changes)
        labels: dict[str, str | None] = dict(given.pop("user", {}))
        if "group_ids" in given or "groups_begun" in given:
            ids = given.pop("group_ids", self.group_ids)
            begun = given.pop("groups_begun", self.groups_begun)
            labels |= self._list(_GROUPS, [*ids, *(_CREATING + name for name in begun)])
        for key in given.keys() & _LISTS.keys():
            labels |= self._list(_LISTS[key], given[key])
        for key in given.keys() & _MAPS.keys():
            prefix, pack = _MAPS[key]
            labels |= {name: None for name in self.all if name.startswith(prefix)}
            labels |= pack(given[key])
        for key in given.keys() & _TEXTS.keys():
            name, text = _TEXTS[key]
            labels[name] = None if given[key] is None else text(given[key])
        return {name: checked(name, text) for name, text in labels.items()}

    def _list(self, name: str, items: Iterable[str]) -> dict[str, str | None]:
        return {**{known: None for known in self.all if is_one_of(known, (name,))}, **in_labels(name, items)}


def new(**changes: Unpack[Changes]) -> dict[str, str]:
    """The labels of an object that is about to be created."""
    return Labels({}).written(**changes)


def lease_change(holder: LeaseHolder | None) -> dict[str, str | None]:
    """The change of the lease label alone."""
    return {_LEASE: packed_lease(holder) if holder else None}


def _pack_revisions(revisions: Sequence[RecordedRevision]) -> dict[str, str]:
    texts = {f"{_REVISION}{number}": packed_revision(each) for number, each in enumerate(revisions[:KEPT_REVISIONS], 1)}
    return texts | in_labels(_COMMITS, packed_commits(revisions[:KEPT_REVISIONS]))


_LISTS: Final[Mapping[str, str]] = {"env_names": _ENV_NAMES, "tracked": _TRACKED, "tags": _TAGS}
_MAPS: Final[Mapping[str, tuple[str, Callable[[Any], dict[str, str]]]]] = {
    "secrets": (_SECRET, lambda secrets: {_SECRET + name: text for name, text in secrets.items()}),
    "listed": (_LISTED, lambda listed: in_labels(_LISTED, packed_listed(listed))),
    "revisions": (_REVISION, _pack_revisions),
    "made": (_MADE, lambda made: in_labels(_MADE, packed_made(made))),
}
_TEXTS: Final[Mapping[str, tuple[str, Callable[[Any], str | None]]]] = {
    "owner": (_OWNER, str),
    "id": (_ID, str),
    "digest": (_DIGEST, str),
    "origin": (_ORIGIN, shortened),
    "tool": (_TOOL, str),
    "protect": (_PROTECT, lambda protected: "true" if protected else None),
    "served": (_SERVED, lambda served: "true" if served else None),
    "trimmed": (_TRIMMED, lambda fields: " ".join(sorted(fields)) or None),
    "applied": (_APPLIED, str),
    "lease": (_LEASE, packed_lease),
    "version": (_VERSION, str),
    "rendering": (_RENDERED, packed_rendering),
    "paused_minimum": (_PAUSED, str),
    "restart": (_RESTART, lambda bounds: f"{bounds[0]} {bounds[1]}"),
    "rollout": (_ROLLOUT, packed_rollout),
    "start_seconds": (_START_SECONDS, str),
    "build_seconds": (_BUILD_SECONDS, str),
}
