"""The model of a stack: its shape from the catalogue or from its folder, and the files of a folder that Whisper needs.

Reads a model folder's config and sizes; never its weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whisperctl import catalog
from whisperctl.catalog import KnownModel
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
    "model.safetensors.index.json",
)
"""Everything but weights that vLLM and transformers read of a Whisper checkpoint."""

ENGLISH_VOCABULARY = 51864
"""Tokens of the `.en` checkpoints; multilingual ones have more, and small models of one's own have fewer."""

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
    config = _config(folder)
    if config.get("model_type") != "whisper":
        named = config.get("model_type", "nothing")
        raise Unusable(f"its config.json names the model type {named!r}, not 'whisper'")
    try:
        return _shape(folder, config)
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable(f"its config.json lacks a usable {error.args[0] if error.args else 'shape'}") from error


def _shape(folder: Path, config: dict[str, Any]) -> KnownModel:
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    size = 4 if stored == "float32" else 2
    width, encoder, decoder = int(config["d_model"]), int(config["encoder_layers"]), int(config["decoder_layers"])
    english_only = int(config.get("vocab_size", 0)) == ENGLISH_VOCABULARY
    return KnownModel(
        name=folder.name,
        d_model=width,
        heads=int(config["decoder_attention_heads"]),
        encoder_layers=encoder,
        decoder_layers=decoder,
        parameters=sum(file.stat().st_size for file in weight_files(folder)) // size,
        stored_dtype=stored,
        languages=1 if english_only else 99,
        translates=not english_only and not catalog.cannot_translate(width, encoder, decoder),
        licence="",
        source="config.json",
    )


def _config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise Unusable("there is no such folder", "The path counts from the folder of the file that it is written in.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise Unusable("it has no config.json", "Export the model with `save_pretrained`.") from error
    except (OSError, ValueError) as error:
        raise Unusable("its config.json is not readable JSON") from error
    if not isinstance(config, dict):
        raise Unusable("its config.json holds no object")
    return config


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The weights: safetensors, or PyTorch's files where there are none."""
    safe = sorted(folder.glob("*.safetensors"))
    return tuple(safe or sorted(folder.glob("pytorch_model*.bin")))


def folder_files(folder: Path) -> dict[str, Path]:
    """The files of a model folder that are packed along, by name."""
    small = (folder / name for name in SMALL_FILES)
    index = [folder / "pytorch_model.bin.index.json"] if not any(folder.glob("*.safetensors")) else []
    files = [*(file for file in (*small, *index) if file.is_file()), *weight_files(folder)]
    return {file.name: file for file in files}


def missing_files(folder: Path) -> Iterator[str]:
    """What the folder lacks to be served, in words."""
    has = set(folder_files(folder))
    if not weight_files(folder):
        yield "weights (model.safetensors)"
    if "tokenizer.json" not in has and not {"vocab.json", "merges.txt"} <= has:
        yield "a tokenizer (tokenizer.json, or vocab.json and merges.txt)"
    if not {"preprocessor_config.json", "processor_config.json"} & has:
        yield "preprocessor_config.json"
