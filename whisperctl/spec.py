"""What the user wrote: a validated stack with every default filled in. Types only, no behaviour beyond look-ups.

Field names are UbiOps' and vLLM's own. `loading` makes these from YAML; nothing else should.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from whisperctl.errors import Mark, Problem

Auto = Literal["auto"]
Gpu = Literal["T4", "L4", "A10", "A100", "H100", "H200", "CPU"]
NO_FILE = "--stack "
"""What the `file` of a stack begins with that no file declares: the option that named it."""
Path_ = tuple[str | int, ...]
"""Where a value stands inside a document: `("version", "labels", "team")`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """The Whisper checkpoint: a Hugging Face id, or a folder that is packed along."""

    name: str
    """As written: the id, or the folder relative to the stack file."""
    folder: Path | None
    """Absolute path of the local model folder; None for a Hugging Face id."""
    revision: str | None
    task: Literal["transcription", "translation"]
    served_name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Vllm:
    """The server and its options; `auto` values are decided by `package` or when the package starts."""

    version: str
    dtype: str
    max_model_len: int
    gpu_memory_utilization: float
    tensor_parallel_size: int
    api_server_count: int | Auto
    max_num_seqs: int | Auto
    max_num_batched_tokens: int | Auto
    startup_timeout: int
    """Seconds until /health must answer."""
    allow_unlisted: bool
    args: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """What the package runs in."""

    mode: Literal["managed", "package"]
    base_name: str
    base_tag: str | None
    """None: the newest tag when the managed tag is first built."""
    requirements: tuple[str, ...]
    apt: tuple[str, ...]
    lock: Path | None = None
    """Absolute path of the file that pins every package."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """A UbiOps deployment."""

    name: str
    description: str
    input_type: str
    output_type: str
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceTypeChoice:
    """One instance type of a managed group, in order of preference."""

    name: str
    priority: int | None
    schedule_timeout: int | None
    """Seconds before UbiOps tries the next type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceTypeGroup:
    """What the instances run on; managed when `instance_types` is not empty, else it must exist."""

    name: str
    gpu: Gpu
    gpu_count: int
    instance_types: tuple[InstanceTypeChoice, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A UbiOps deployment version. `fields` holds everything to compare and send but name and labels."""

    name: str
    labels: Mapping[str, str]
    fields: Mapping[str, Any]
    """UbiOps' names: minimum_instances, maximum_instances, maximum_idle_time, health_check, and any other given."""
    line: str | None = None
    """The name in the file, where `name` is that of a live version of that line (`rollout.strategy: blue_green`)."""

    @property
    def minimum_instances(self) -> int:
        """Instances that always run."""
        return int(self.fields["minimum_instances"])

    @property
    def maximum_instances(self) -> int:
        """Instances that run at most."""
        return int(self.fields["maximum_instances"])

    @property
    def maximum_idle_time(self) -> int:
        """Seconds without a request before an instance stops."""
        return int(self.fields["maximum_idle_time"])


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvVar:
    """An environment variable of the version; a secret's value never appears in a repr."""

    name: str
    value: str = field(repr=False)
    secret: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A UbiOps service; `fields` holds all but name and labels; `deployment` and `version` are the stack's own."""

    name: str
    labels: Mapping[str, str]
    fields: Mapping[str, Any]
    """UbiOps' names: port, authentication_required, and any other given."""

    @property
    def port(self) -> int:
        """The port inside the instance."""
        return int(self.fields["port"])

    @property
    def authentication_required(self) -> bool:
        """Whether the endpoint asks for a UbiOps token."""
        return bool(self.fields["authentication_required"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Smoke:
    """The transcription that ends an apply."""

    audio: Path
    """Absolute path."""
    expect: str
    max_wer: float
    """Word error rate, 0 to 1."""
    language: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """What a new version may be worse by than the one that serves."""

    max_wer_increase: float = 0.02
    """Difference of word error rates, 0 to 1, over all recordings."""
    max_latency_ratio: float = 1.5
    """Of the median times of an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """How an apply moves and proves."""

    strategy: Literal["in_place", "blue_green"]
    timeout: int
    """Seconds for each wait."""
    smokes: tuple[Smoke, ...]
    """The recordings of `smoke`, which is one or a list."""
    gate: Gate = Gate()
    bake: int = 60
    """Seconds that a new version must keep well after the switch."""
    keep: int = 1
    """Earlier versions that are kept asleep for a rollback."""
    restart_on_env_change: bool = True
    """Whether running instances are replaced when an env var that they read at start has changed."""
    wave: int = 1
    """Stacks of a higher wave start when those of the lower ones have passed."""

    @property
    def smoke(self) -> Smoke | None:
        """The first recording."""
        return self.smokes[0] if self.smokes else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """Earlier names of the same things, the latest first as written; empty where nothing has moved."""

    stack: tuple[str, ...] = ()
    deployment: tuple[str, ...] = ()
    version: tuple[str, ...] = ()
    services: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Today's name of a service -> its earlier names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What a plan may cost."""

    max_credits_per_hour: float | None = None
    """At maximum_instances; None: any."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """One stack.yaml, validated."""

    name: str
    file: str
    """The stack file as the user named it (for messages)."""
    project: str | None
    model: Model
    vllm: Vllm
    environment: Environment
    deployment: Deployment
    instance_type_group: InstanceTypeGroup
    version: Version
    env: tuple[EnvVar, ...]
    services: tuple[Service, ...]
    rollout: Rollout
    protect: bool
    whisperctl: str | None = None
    """Versions of this tool that may plan and apply the file (PEP 440)."""
    moved: Moved = Moved()
    policy: Policy = Policy()
    acknowledge: tuple[str, ...] = ()
    """Names of warnings that are not told."""
    ignore_changes: tuple[str, ...] = ()
    """Spec paths, as written: `version.minimum_instances`, `service.NAME.rate_limit`, `env.NAME`."""
    marks: Mapping[Path_, Mark] = field(repr=False, compare=False)
    """Where each value stands; a list of services has `("service", 0, "port")`, a single one `("service", "port")`."""
    substituted: frozenset[Path_] = field(default=frozenset(), repr=False, compare=False)
    """Values that hold what an environment variable held: messages do not show them."""
    taken_from: Mapping[Path_, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)
    """Value -> names of the environment variables that it was made of, in their order."""
    warnings: tuple[Problem, ...] = field(default=(), repr=False, compare=False)
    """What loading the file and its parts warned of."""

    @property
    def owners(self) -> tuple[str, ...]:
        """Its name, and those that it had: whose objects are its own."""
        return (self.name, *self.moved.stack)

    def mark(self, *path: str | int) -> Mark:
        """The place of the value at `path`, or of its nearest enclosing value that is written down."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path) or Mark(file=self.file, line=1, column=1)

    def source(self, *path: str | int) -> str:
        """`stack.yaml:41`: file and line of the value at `path`; a stack that no file declares has no lines."""
        if self.file.startswith(NO_FILE):
            return self.file
        mark = self.mark(*path)
        return f"{mark.file}:{mark.line}"
