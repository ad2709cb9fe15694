"""Checks of `vllm.args` and VLLM_EXTRA_ARGS: options that the release has, with values that it takes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher, get_close_matches
from itertools import pairwise
from typing import Any

from whisperctl.loading.checks.finding import Finding, history, in_message, is_hidden, warning
from whisperctl.serving import catalog
from whisperctl.serving.launch import backend_is_variable, option_name
from whisperctl.spec import Path_, Stack

OURS = {
    "--model": "model.name", "--revision": "model.revision", "--served-model-name": "model.served_name",
    "--dtype": "vllm.dtype", "--max-model-len": "vllm.max_model_len",
    "--gpu-memory-utilization": "vllm.gpu_memory_utilization",
    "--tensor-parallel-size": "vllm.tensor_parallel_size", "--api-server-count": "vllm.api_server_count",
    "--max-num-seqs": "vllm.max_num_seqs", "--max-num-batched-tokens": "vllm.max_num_batched_tokens",
}  # fmt: skip
"""Options with a key of their own."""

SHORT = {
    "--tp": "--tensor-parallel-size", "--dp": "--data-parallel-size", "--pp": "--pipeline-parallel-size",
    "--q": "--quantization", "--cc": "--compilation-config", "--ac": "--attention-config",
    "--O": "--optimization-level",
}  # fmt: skip
"""vLLM's short names, with the dashes that they get here."""

NUMBERS = {"--port": (1, 65535), "--shutdown-timeout": (0, 3600), "--data-parallel-size": (1, 64)}
"""Options whose value whisperctl itself relies on."""

SHOWN_CHOICES = 12
"""Of a long list, such as that of attention backends, more would hide the message."""

UNSET = ("", "None")
"""What vLLM reads as no value where it may be missing."""

REFUSED = {
    "--host": "The server listens on 0.0.0.0, because a service routes straight to it; WHISPERCTL_HOST overrides that.",
    "--config": "Write the options themselves into vllm.args: a file on this machine is not in the package.",
    "--api-key": "A key written here can be read by everyone who may see the version, and UbiOps takes the same "
    "header. Use service.authentication_required.",
    "--hf-token": "A token written here can be read by everyone who may see the version. "
    "Write env: HF_TOKEN: {value: \"${HF_TOKEN}\", secret: true}.",
    "--trust-remote-code": "Whisper needs no code from the hub, and this would run what it finds there.",
    "--pipeline-parallel-size": "vLLM does not split Whisper into a pipeline. Leave it out: several GPUs serve "
    "a copy each.",
    "--nnodes": "An instance is one machine. More of them: version.maximum_instances.",
    **dict.fromkeys(("--headless", "--uds", "--grpc", "--ssl-keyfile", "--ssl-certfile"),
        "UbiOps and the health check speak plain HTTP to the server's port, and would get no answer."),
}  # fmt: skip

NOT_AT_START = {
    **REFUSED, "--port": "Write vllm.args.port.", "--shutdown-timeout": "Write vllm.args.shutdown-timeout.",
    "--model": "Write model.name.", "--served-model-name": "Write model.served_name.",
}  # fmt: skip
"""What VLLM_EXTRA_ARGS cannot set either: the rest of the stack would not know."""

INSTEAD = {
    "--task": "Whisper needs no such option: leave it out. model.task says what the endpoint is for.",
    "--attention-backend": "There it is the environment variable VLLM_ATTENTION_BACKEND.",
    "--disable-log-requests": "Requests are not logged unless --enable-log-requests is given: leave it out.",
    "--enable-chunked-prefill": "vLLM switches it off for Whisper.",
}

IGNORED = frozenset({
    "--enable-chunked-prefill", "--enable-prefix-caching", "--limit-mm-per-prompt", "--mm-processor-cache-gb",
})  # fmt: skip
"""What vLLM takes and switches off for encoder-decoder models (its log: `Encoder-decoder models do not support chunked
prefill nor prefix caching; disabling both.`); one recording a request is the most that Whisper takes."""


def ignored(stack: Stack) -> Iterator[Finding]:
    """Options that change nothing for a Whisper are told of."""
    for key, value in stack.vllm.args.items():
        name = option_name(key)
        if name in IGNORED and value is not False and name in catalog.options(stack.vllm.version):
            message = f"vLLM {stack.vllm.version} ignores {name} for Whisper"
            yield warning(("vllm", "args", key), "ignored-option", message, "Leave it out.")


def arguments(stack: Stack) -> Iterator[Finding]:
    """Every option in `vllm.args` exists in the release and is not set elsewhere."""
    seen: dict[str, str] = {}
    for key, value in stack.vllm.args.items():
        path, name = ("vllm", "args", key), option_name(key)
        if name in seen:
            yield Finding(path, f"this is the same option as `{seen[name]}`", "Keep one of the two.")
        seen[name] = key
        yield from _argument(stack, path, name, value)


def _argument(stack: Stack, path: Path_, name: str, value: Any) -> Iterator[Finding]:
    bare = name.partition(".")[0]
    if bare in OURS:
        yield Finding(path, f"vllm.args cannot set {bare}", f"Write {OURS[bare]}.")
    elif bare in REFUSED and value is not False:
        yield Finding(path, f"vllm.args cannot set {bare}", REFUSED[bare])
    elif name == "--attention-backend" and isinstance(value, str) and backend_is_variable(stack):
        return  # rendered as the environment variable that these releases take
    elif name in NUMBERS and not _is_number(value, *NUMBERS[name]):
        yield Finding(path, f"must be a whole number from {NUMBERS[name][0]} to {NUMBERS[name][1]}")
    elif value in ("true", "false"):
        yield Finding(path, f"this is the text `{value}`: the server would not start", f"Write {value} without quotes.")
    elif not str(value).replace("\t", "").replace("\n", "").isprintable():
        yield Finding(path, "holds characters that cannot be printed")
    elif name == "--port" or catalog.release(stack.vllm.version) is None:
        return
    else:
        version = stack.vllm.version
        yield from (
            _unknown_option(version, path, name) or _unfit(version, path, name, value) or _wrong(stack, path, value)
        )


def _is_number(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _unknown_option(version: str, path: Path_, name: str) -> list[Finding]:
    known, bare = catalog.options(version), name.partition(".")[0]
    positive = "--" + bare.removeprefix("--no-")
    if bare in known or (positive in known and catalog.option_kind(version, positive) == "switch"):
        return []
    message = f"vLLM {version} has no option {bare}"
    if positive in known:
        return [Finding(path, message, f"{positive} is no switch: it cannot be turned off.")]
    if ranges := catalog.option_ranges(bare):
        return [Finding(path, f"{message}: {history(ranges)}", INSTEAD.get(bare, ""))]
    if bare in SHORT:
        return [Finding(path, message, f"Write {OURS.get(SHORT[bare], SHORT[bare].removeprefix('--'))}.")]
    near = get_close_matches(bare, known, n=1)
    hint = f"Did you mean `{near[0].removeprefix('--')}`?" if near else "`vllm serve --help=all` lists its options."
    return [Finding(path, message, hint)]


def _unfit(version: str, path: Path_, name: str, value: Any) -> list[Finding]:
    """A switch with a value, an option without one: vLLM's parser would refuse them, and the server not start."""
    if name not in catalog.options(version) and name.startswith("--no-"):
        return [Finding(path, "a switch is turned off with false", f"Write {name.removeprefix('--no-')}: false.")]
    match catalog.option_kind(version, name), value:
        case "switch", bool():
            return []
        case "switch", _:
            return [Finding(path, f"{name} is a switch and takes no value", "Write true or false.")]
        case "bare", False:
            return [Finding(path, f"{name} cannot be turned off", "Leave it out.")]
        case "bare", value if value is not True:
            return [Finding(path, f"{name} takes no value", "Write true, or leave it out.")]
        case "value" | "list", bool() if "." not in name:
            return [Finding(path, f"{name} wants a value, not {str(value).lower()}", "Write one, or leave it out.")]
        case _, []:
            return [Finding(path, f"{name} wants a value, and this list is empty", "Leave it out.")]
        case "value", list() if "." not in name:
            return [Finding(path, f"{name} takes one value, not a list", "Write one, without the brackets.")]
        case "list", list() if any(item is None or str(item).startswith("-") for item in value):
            return [
                Finding(path, "a value is null, or would be taken for an option", "Begin it with another character.")
            ]
        case _ if name == "--attention-config.backend" or _has_backend(name, value):
            hint = "whisperctl renders --attention-backend where a GPU needs it, and vLLM takes one of the two."
            return [Finding(path, "write the backend as attention-backend", hint)]
    return []


def _has_backend(name: str, value: Any) -> bool:
    return name == "--attention-config" and isinstance(value, dict) and "backend" in value


def _wrong(stack: Stack, path: Path_, value: Any) -> Iterator[Finding]:
    """Values that vLLM's parser would refuse for certain, and what looks like a slip of the pen."""
    version, name, several = stack.vllm.version, option_name(str(path[-1])), isinstance(value, list)
    accepted = catalog.accepted(version, name)
    for index, item in enumerate(value if several else [value]):
        at = (*path, index) if several else path
        word = item if isinstance(item, str) else json.dumps(item)
        number = _number(word, accepted.number)
        if word in UNSET:
            continue
        if accepted.number and number is None:
            whole = "whole " if accepted.number == "integer" else ""
            yield Finding(at, f"must be a {whole}number, not {in_message(stack, at, word)}")
        elif accepted.choices:
            yield from _unlisted_choice(stack, at, name, word if number is None else str(number), accepted)


def _unlisted_choice(stack: Stack, path: Path_, name: str, word: str, accepted: catalog.Accepted) -> Iterator[Finding]:
    version, shown, hidden = stack.vllm.version, in_message(stack, path, word), is_hidden(stack, path)
    if word in accepted.choices or (accepted.any_case and word.upper() in map(str.upper, accepted.choices)):
        return
    choices = accepted.choices if hidden else _nearest_first(word, accepted.choices)
    slip = not hidden and not accepted.number and bool(get_close_matches(word.upper(), [choices[0].upper()]))
    hint = f"Did you mean `{choices[0]}`?" if slip else ""
    if accepted.suggested:
        if slip:
            message = f"vLLM {version} brings no {shown} along for {name}"
            yield warning(path, "attention-choice", message, f"{hint} It has {_some(choices)}.")
    elif ranges := catalog.choice_ranges(name, word):
        spans = (f"{first} to below {below}" if below else f"{first} and newer" for first, below in ranges)
        message = f"vLLM {version} has no {shown} for {name}: it is in {', '.join(spans)}"
        yield Finding(path, message, f"Here it is one of {_some(choices)}.")
    else:
        yield Finding(path, f"{shown} is not one of {_some(choices)}", hint)


def _some(choices: Sequence[str]) -> str:
    """The first of them, as many as a line holds."""
    more = len(choices) - SHOWN_CHOICES
    return ", ".join(choices[:SHOWN_CHOICES]) + (f" and {more} more" if more > 0 else "")


def _number(word: str, kind: str) -> int | float | None:
    """A number as vLLM's parser reads it; None: it does not, or is not asked to."""
    try:
        return int(word) if kind == "integer" else float(word) if kind == "number" else None
    except ValueError:
        return None


def _nearest_first(word: str, choices: Sequence[str]) -> Sequence[str]:
    """Numbers by their size; texts with the most similar in front, whatever its case."""
    if all(choice.isdecimal() for choice in choices):
        return sorted(choices, key=int)
    return sorted(choices, key=lambda choice: -SequenceMatcher(None, word.upper(), choice.upper()).ratio())


def extra_options(stack: Stack) -> list[tuple[str, str]]:
    """The options in VLLM_EXTRA_ARGS with their values, in their order; none where it cannot be split."""
    try:
        given = [var.value for var in stack.env if var.name == "VLLM_EXTRA_ARGS" and not var.secret]
        words = [word for value in given for word in shlex.split(value)]
    except ValueError:
        return []
    options = []
    for word, following in pairwise([*words, ""]):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            options.append((option_name(name), value if equals else "" if following.startswith("--") else following))
    return options


def extra_arguments(stack: Stack) -> Iterator[Finding]:
    """VLLM_EXTRA_ARGS holds words that the release understands."""
    for var in stack.env:
        if var.name != "VLLM_EXTRA_ARGS" or var.secret:
            continue
        path = ("env", var.name)
        try:
            shlex.split(var.value)
        except ValueError:
            yield Finding(path, "this cannot be split into words as a shell would", "Close every quote.")
            continue
        for name, _ in extra_options(stack):
            if name in NOT_AT_START:
                yield Finding(path, f"VLLM_EXTRA_ARGS cannot set {name}", NOT_AT_START[name])
            elif catalog.release(stack.vllm.version) is not None:
                yield from _unknown_option(stack.vllm.version, path, name)


CHECKS = (arguments, ignored, extra_arguments)
