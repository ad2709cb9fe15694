"""The model: whether it can be served, can do the task, and is named the same everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from whisperctl.files import Unreadable
from whisperctl.loading.checks.finding import Finding, in_message, warning
from whisperctl.loading.checks.rollout import recordings
from whisperctl.serving import catalog
from whisperctl.serving.checkpoint import (
    MOST,
    USUAL_LIMIT,
    Unusable,
    folder_files,
    folder_model,
    known_model,
    missing_files,
)
from whisperctl.serving.launch import served_names
from whisperctl.spec import Path_, Stack

NAME = ("model", "name")
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$", re.ASCII)
WEIGHTS_OF_OTHERS = {
    "ct2": "CTranslate2",
    "ctranslate2": "CTranslate2",
    "ggml": "whisper.cpp (GGML)",
    "gguf": "llama.cpp (GGUF)",
    "mlx": "Apple's MLX",
    "onnx": "ONNX Runtime",
}
"""Words of a model's name that say for which other program its weights were converted."""
OTHER_FAMILIES = {
    "canary-": "Canary",
    "granite-speech": "Granite Speech",
    "parakeet": "Parakeet",
    "qwen3-asr": "Qwen3-ASR",
    "voxtral": "Voxtral",
    "wav2vec": "wav2vec",
}
"""Other families of speech recognition; only Whisper is rendered and checked for (vllm-whisper reference, 3)."""
OTHERWISE = "Name a Whisper in the format of transformers, such as openai/whisper-small."
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


def hub_name(stack: Stack) -> Iterator[Finding]:
    """A Hugging Face id has an owner; a model that the catalogue lacks is not checked any further."""
    if stack.model.folder is not None:
        return
    if not _HUB_ID.match(stack.model.name):
        hint = "Write a Hugging Face id such as openai/whisper-small, or a folder such as ./models/mine."
        yield Finding(NAME, "this is neither a Hugging Face id (owner/name) nor a folder beside this file", hint)
    elif refused := _unservable(stack.model.name):
        yield Finding(NAME, f"{stack.model.name} {refused}", OTHERWISE)
    elif known_model(stack.model) is None:
        near = catalog.near_model(stack.model.name)
        hint = "Its size, its heads and its languages are not checked; a fine-tuned Whisper works all the same."
        hint = f"Did you mean {near}? {hint}" if near else hint
        yield warning(NAME, "unknown-model", f"the catalogue does not know the model {stack.model.name}", hint)


def _unservable(name: str) -> str:
    """Why the server cannot load what the name promises, or would not serve it as a Whisper; empty: it may."""
    if "faster-whisper" in name.lower():
        return f"has weights for {WEIGHTS_OF_OTHERS['ct2']}, which vLLM cannot load"
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    if formats := words & WEIGHTS_OF_OTHERS.keys():
        return f"has weights for {WEIGHTS_OF_OTHERS[min(formats)]}, which vLLM cannot load"
    family = next((family for family in OTHER_FAMILIES if family in name.lower()), "")
    return f"is a {OTHER_FAMILIES[family]}, not a Whisper" if family and "whisper" not in words else ""


def revision(stack: Stack) -> Iterator[Finding]:
    """The same weights tomorrow: a commit is pinned."""
    pinned, path = stack.model.revision, ("model", "revision")
    if stack.model.folder is not None:
        if pinned:
            yield warning(
                path, "folder-revision", "a folder has no revision: it is packed along as it is", "Leave it out."
            )
    elif pinned is None:
        hint = "Add revision: with the 40-digit commit from the model's page, or other weights may be served tomorrow."
        yield warning(path, "revision-missing", "no revision is pinned", hint)
    elif not _COMMIT.match(pinned):
        hint = "Write the 40-digit commit that it stands for now."
        yield warning(path, "revision-branch", f"`{pinned}` is a branch or tag, which can move", hint)
    elif (whose := catalog.revision_of(pinned)) and whose.lower() != stack.model.name.lower():
        hint = "Take the commit from the page of the model that you mean, or leave the line out."
        message = f"this is a commit of {whose}, and the model is {stack.model.name}"
        yield warning(path, "other-models-revision", message, hint)


def folder(stack: Stack) -> Iterator[Finding]:
    """A packed model has what Whisper needs, and no more than fits."""
    packed = stack.model.folder
    if packed is None:
        return
    try:
        folder_model(packed)
    except Unusable as unusable:
        yield Finding(NAME, f"the folder {stack.model.name} cannot be served: {unusable.message}", unusable.hint)
        return
    yield from _content(stack, packed)


def _content(stack: Stack, packed: Path) -> Iterator[Finding]:
    try:
        missing, files = list(missing_files(packed)), folder_files(packed)
    except (Unusable, Unreadable) as error:
        why, hint = (error.message, error.hint) if isinstance(error, Unusable) else (error.reason, error.hint)
        yield Finding(NAME, f"the folder {stack.model.name} cannot be served: {why}", hint)
        return
    if missing:
        hint = "Export model and processor with `save_pretrained` into the same folder."
        yield Finding(NAME, f"the folder {stack.model.name} lacks {', '.join(missing)}", hint)
    size = sum(file.stat().st_size for file in files.values())
    if size > MOST:
        yield Finding(NAME, f"the folder {stack.model.name} holds {size / 2**30:.1f} GiB of model: at most 8", "")
    elif size > USUAL_LIMIT:
        hint = "Store it as float16, or put it on Hugging Face and name its id."
        yield warning(
            NAME, "package-size", f"the package has {size / 2**30:.1f} GiB; UbiOps may refuse more than 2", hint
        )


def task(stack: Stack) -> Iterator[Finding]:
    """The model can do what the stack is for."""
    known = known_model(stack.model)
    declared: dict[Path_, str] = {("model", "task"): stack.model.task}
    declared |= {("env", var.name): var.value for var in stack.env if var.name == "WHISPER_TASK"}
    for path, value in declared.items():
        if value not in ("transcription", "translation"):
            yield Finding(path, "the task must be transcription or translation")
        elif value == "translation" and known is not None and not known.translates:
            why = "knows English only" if known.languages == 1 else "was not trained for translation"
            hint = "openai/whisper-large-v3, -medium and -small translate; turbo, distil and .en models do not."
            yield Finding(path, f"{stack.model.name} {why}", hint)


def language(stack: Stack) -> Iterator[Finding]:
    """The model and vLLM know the language of the smoke recording."""
    for at, smoke in recordings(stack):
        if smoke.language is not None:
            yield from _language(stack, (*at, "language"), smoke.language)


def _language(stack: Stack, path: Path_, code: str) -> Iterator[Finding]:
    known, codes = known_model(stack.model), catalog.language_codes()
    if code not in codes:
        hint = "Write a code such as en, es or de, or leave it out: then the model tells by itself."
        yield Finding(path, f"Whisper has no language {in_message(stack, path, code)}", hint)
    elif known is not None and known.languages == 1 and code != codes[0]:
        yield Finding(path, f"{stack.model.name} knows English only", "Write en, or take a model without .en.")
    elif known is not None and codes.index(code) >= known.languages:
        hint = "openai/whisper-large-v3 and what was made from it do."
        yield Finding(path, f"{stack.model.name} does not know the language `{code}`", hint)


def served_name(stack: Stack) -> Iterator[Finding]:
    """What clients ask for is what the label says: one name, or several with semicolons between them."""
    label = stack.version.labels.get("openai-model-names")
    served, answered = stack.model.served_name, served_names(stack)
    if label is None or label == served:
        return
    path = ("version", "labels", "openai-model-names")
    named = [name for name in map(str.strip, re.split("[;,]", label)) if name]
    if served not in named:
        hint = "Clients find the model by the label and ask for it by the served name: write the same."
        yield Finding(path, f"the label says `{label}`, the server answers to `{served}`", hint)
    elif unknown := [name for name in named if name not in answered]:
        hint = f"It answers to {' and '.join(f'`{name}`' for name in answered)}."
        yield warning(
            path, "served-names", f"the server does not answer to {' or '.join(f'`{name}`' for name in unknown)}", hint
        )


def names_as_words(stack: Stack) -> Iterator[Finding]:
    """vLLM's parser takes what begins with a dash for an option."""
    for name in served_names(stack):
        if name.startswith("-"):
            path = ("model", "served_name") if name == stack.model.served_name else NAME
            yield Finding(path, f"vLLM takes the name `{name}` for an option", "Let it begin with another character.")


CHECKS = (hub_name, revision, folder, task, language, served_name, names_as_words)
