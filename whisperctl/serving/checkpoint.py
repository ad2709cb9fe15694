"""The model of a stack: its shape from the catalogue or from its folder, and the files of a folder that Whisper needs.

Reads a model folder's config and sizes; of its weights the first bytes, to tell a Git LFS pointer. Nothing but regular
files whose real path lies below the folder is read or packed: a link could lead to any file of this machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisperctl.files import FileMissing, Unreadable, is_below, open_file, read_text
from whisperctl.serving import catalog
from whisperctl.serving.catalog import KnownModel
from whisperctl.spec import Model

SMALL_FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "normalizer.json",
)
"""Everything but weights that vLLM and transformers read of a Whisper checkpoint."""

WEIGHTS = (("model.safetensors", "*.safetensors"), ("pytorch_model.bin", "pytorch_model*.bin"))
"""What weights are called, in one file and in general, in the order in which vLLM looks for them."""
ARCHITECTURE = "WhisperForConditionalGeneration"
LFS_POINTER = b"version https://git-lfs"

ENGLISH_VOCABULARY = 51864
"""Tokens of the `.en` checkpoints; multilingual ones have more, and small models of one's own have fewer."""

LARGEST_CONFIG, LARGEST_INDEX = 1 << 20, 16 << 20
"""Bytes of what is parsed; real ones have some thousands and some hundred thousands."""
USUAL_LIMIT = 2 * 2**30
"""Bytes: the package size that UbiOps' older documentation names as its limit."""
MOST = 8 * 2**30
"""Bytes: no Whisper checkpoint is that large; large-v3 in float32 has 6.2 GB."""


@dataclass(frozen=True, slots=True)
class Unusable(Exception):
    """The folder cannot be served: what is wrong, and what to do."""

    message: str
    hint: str = ""


def known_model(model: Model) -> KnownModel | None:
    """The model's shape: from its folder's config, else from the catalogue; None when neither tells."""
    if model.folder is None:
        return catalog.model(model.name)
    try:
        return folder_model(model.folder)
    except Unusable:
        return None


def folder_model(folder: Path) -> KnownModel:
    """The shape that the folder's config.json tells.

    Raises:
        Unusable: the folder is missing, or holds no Whisper checkpoint.
    """
    refuse_irregular_files(folder)
    config = _config(folder)
    if config.get("model_type") != "whisper":
        named = config.get("model_type", "nothing")
        raise Unusable(f"its config.json names the model type {named!r}, not 'whisper'")
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or ARCHITECTURE not in architectures:
        hint = f"Export it with `{ARCHITECTURE}.save_pretrained`."
        raise Unusable(f"its config.json does not name the architecture {ARCHITECTURE}", hint)
    try:
        return _shape(folder, config)
    except (KeyError, ValueError) as error:
        raise Unusable(f"its config.json lacks a usable {error.args[0]}") from error


def _shape(folder: Path, config: dict[str, Any]) -> KnownModel:
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    size = 4 if stored == "float32" else 2
    width, encoder, decoder = (_number(config, key) for key in ("d_model", "encoder_layers", "decoder_layers"))
    english_only = config.get("vocab_size") == ENGLISH_VOCABULARY
    return KnownModel(
        name=folder.name,
        d_model=width,
        heads=_number(config, "decoder_attention_heads"),
        encoder_layers=encoder,
        decoder_layers=decoder,
        parameters=sum(file.stat().st_size for file in weight_files(folder) if file.is_file()) // size,
        stored_dtype=stored,
        languages=1 if english_only else 99,
        translates=not english_only and not catalog.cannot_translate(width, encoder, decoder),
        licence="",
        source="config.json",
        decoder_positions=_number(
            {"max_target_positions": catalog.DECODER_POSITIONS, **config}, "max_target_positions"
        ),
    )


def vocabulary(folder: Path) -> int:
    """How many tokens the folder's model knows.

    Raises:
        Unusable: its config.json does not say.
    """
    try:
        return _number(_config(folder), "vocab_size")
    except (KeyError, ValueError) as error:
        raise Unusable("its config.json lacks a usable vocab_size") from error


def _number(config: Mapping[str, Any], key: str) -> int:
    value = config[key]
    if type(value) is not int or not 1 <= value <= 10**6:
        raise ValueError(key)
    return value


def _config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise Unusable("there is no such folder", "The path counts from the folder of the file that it is written in.")
    try:
        config = json.loads(read_text(folder / "config.json", LARGEST_CONFIG))
    except FileMissing as error:
        adapter = "It is a LoRA adapter: save its model with it merged in (`merge_and_unload`)."
        hint = adapter if (folder / "adapter_config.json").exists() else "Export the model with `save_pretrained`."
        raise Unusable("it has no config.json", hint) from error
    except (Unreadable, ValueError, RecursionError) as error:
        raise Unusable("its config.json is not readable JSON") from error
    if not isinstance(config, dict):
        raise Unusable("its config.json holds no object")
    return config


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The weights: safetensors, or PyTorch's files where there are none; all that an index names, there or not."""
    for single, pattern in WEIGHTS:
        if (folder / single).is_file():
            return (folder / single,)
        files = [file for file in sorted(folder.glob(pattern)) if file.is_file()]
        if files:
            return tuple(_named_by_index(folder / f"{single}.index.json") or files)
    return ()


def _named_by_index(index: Path) -> list[Path]:
    """The files of a model in several files; empty when there is no index that can be read."""
    try:
        names = set(json.loads(read_text(index, LARGEST_INDEX))["weight_map"].values())
    except (Unreadable, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return []
    return [index.parent / Path(name).name for name in sorted(names, key=str) if isinstance(name, str) and name]


def refuse_irregular_files(folder: Path) -> None:
    """Look at every file of a model folder that could be read or packed.

    Raises:
        Unusable: one is no regular file, or a link out of the folder.
    """
    names = (*SMALL_FILES, *(f"{single}.index.json" for single, _ in WEIGHTS))
    candidates = [folder / name for name in names if os.path.lexists(folder / name)]
    for _, pattern in WEIGHTS:
        candidates += sorted(folder.glob(pattern))
    for file in candidates:
        real_file(folder, file)


def real_file(folder: Path, file: Path) -> Path:
    """The real path of a file of a model folder, which may be a link of the hub's cache to its blobs.

    Raises:
        Unusable: it is no regular file, or lies elsewhere.
    """
    try:
        open_file(file).close()
    except Unreadable as error:
        raise Unusable(f"its {file.name} is no file to pack: {error.reason}", error.hint) from None
    if not any(is_below(file, home) for home in _homes(folder)):
        hint = "Put the file itself into the folder: what is packed can be read by everyone who may see the version."
        raise Unusable(f"its {file.name} is a link that leads out of the folder", hint)
    return Path(os.path.realpath(file))


def _homes(folder: Path) -> tuple[Path, ...]:
    """Where a model folder's files really lie: in it, or, in the hub's cache, among the blobs of the same model."""
    real = Path(os.path.realpath(folder))
    cache = real.parent.parent
    blobs = cache / "blobs"
    return (real, blobs) if real.parent.name == "snapshots" and is_below(blobs, cache) else (real,)


def folder_files(folder: Path) -> dict[str, Path]:
    """The files of a model folder that are packed along, by name: where each really lies.

    Raises:
        Unusable: one of them is no regular file, or lies elsewhere.
    """
    refuse_irregular_files(folder)
    weights = weight_files(folder)
    small = [folder / name for name in SMALL_FILES]
    # Beside one file of weights an index would be another model's, and make vLLM overlook the file.
    indexes = [folder / f"{single}.index.json" for single, _ in WEIGHTS if folder / single not in weights]
    return {file.name: real_file(folder, file) for file in (*small, *indexes, *weights) if os.path.lexists(file)}


def missing_files(folder: Path) -> Iterator[str]:
    """What the folder lacks to be served, in words."""
    has = set(folder_files(folder))
    if not weight_files(folder):
        yield "weights (model.safetensors)"
    for file in weight_files(folder):
        if file.name not in has:
            yield file.name
        elif _is_pointer(file):
            yield f"{file.name} itself, of which it holds a Git LFS pointer (`git lfs pull` fetches it)"
    if "tokenizer.json" not in has and not {"vocab.json", "merges.txt"} <= has:
        yield "a tokenizer (tokenizer.json, or vocab.json and merges.txt)"
    if not {"preprocessor_config.json", "processor_config.json"} & has:
        yield "preprocessor_config.json"


def _is_pointer(file: Path) -> bool:
    with open_file(file) as opened:
        return opened.read(len(LFS_POINTER)) == LFS_POINTER
