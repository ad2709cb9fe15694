"""Checks of env vars: those that the package or vLLM reads, those that would break the server, audio limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from whisperctl.loading.checks.finding import Finding, history, warning
from whisperctl.serving import catalog
from whisperctl.serving.launch import server_environment
from whisperctl.spec import Path_, Stack

DEAD_VARIABLES = {
    "VLLM_ATTENTION_BACKEND": "From 0.15.0 on it is read nowhere. Write vllm.args: {attention-backend: …}, or nothing: "
    "whisperctl renders what the GPU needs.",
}  # fmt: skip


SECONDS, DECODED_BYTES = "VLLM_MAX_AUDIO_DECODE_DURATION_S", "VLLM_MAX_AUDIO_DECODE_BYTES"


AUDIO_LIMITS = ("VLLM_MAX_AUDIO_CLIP_FILESIZE_MB", SECONDS, DECODED_BYTES)


BYTES_PER_SECOND = 48000 * 2 * 4
"""Decoded audio of 48 kHz in stereo: vLLM counts before it resamples."""


OUR_VARIABLES = frozenset({"VLLM_EXTRA_ARGS"})


DANGEROUS = {
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "A Whisper decoder has 448 positions; past them it reads foreign memory.",
    "VLLM_SERVER_DEV_MODE": "It opens debugging routes to every caller.",
    "PYTHONOPTIMIZE": "It removes checks that vLLM's safety rests on (CVE-2026-41523).",
}


def api_key(stack: Stack) -> Iterator[Finding]:
    """vLLM's own key and UbiOps' token travel in one header, and old releases let everybody past the key."""
    if not any(var.name == "VLLM_API_KEY" for var in stack.env):
        return
    path = ("env", "VLLM_API_KEY")
    public = [service for service in stack.services if not service.authentication_required]
    if public and catalog.within(stack.vllm.version, "0", "0.22.0"):
        message = f"vLLM {stack.vllm.version} can be used without its key (CVE-2026-48746), and a service is public"
        yield Finding(path, message, "Take 0.22.0 or newer, or write authentication_required: true.")
    elif stack.services and not public:
        message = "vLLM wants its key in the header that carries UbiOps' token: calls through the service would fail"
        yield warning(path, "vllm-key", message, "Leave it out: authentication_required already protects the service.")


def variables(stack: Stack) -> Iterator[Finding]:
    """`VLLM_*` variables are ones that the release reads; none is known to be dangerous."""
    known = catalog.variables(stack.vllm.version)
    for var in stack.env:
        path = ("env", var.name)
        if var.name in DANGEROUS:
            yield Finding(path, f"{var.name} must not be set", DANGEROUS[var.name])
        elif not var.name.startswith("VLLM_") or var.name in known | OUR_VARIABLES:
            continue
        elif catalog.release(stack.vllm.version) is not None:
            yield _unread(stack.vllm.version, path, var.name, known)


def _unread(version: str, path: Path_, name: str, known: frozenset[str]) -> Finding:
    if ranges := catalog.variable_ranges(name):
        message = f"vLLM {version} does not read {name}: {history(ranges)}"
        return Finding(path, message, DEAD_VARIABLES.get(name, "Leave it out."))
    near = get_close_matches(name, known, n=1)
    return Finding(
        path, f"vLLM {version} does not read {name}", f"Did you mean {near[0]}?" if near else "Leave it out."
    )


def audio_limits(stack: Stack) -> Iterator[Finding]:
    """Limits on uploads are numbers, and an hour more of audio is let through as decoded bytes, too."""
    written = {var.name: var.value for var in stack.env if var.name in AUDIO_LIMITS}
    for name, value in written.items():
        if not value.isdecimal():
            yield Finding(("env", name), "must be a whole number: vLLM would not start", "Write it without a unit.")
    seconds = written.get(SECONDS, "")
    rendered = server_environment(stack).get(DECODED_BYTES)
    if rendered and DECODED_BYTES not in written and seconds.isdecimal():
        needed = int(seconds) * BYTES_PER_SECOND
        if needed > int(rendered):
            message = f"{seconds} s of stereo are {needed} bytes, and {DECODED_BYTES} is {rendered}"
            yield warning(("env", SECONDS), "audio-limit", message, f'Add {DECODED_BYTES}: "{needed}".')


def backend_variable(stack: Stack) -> Iterator[Finding]:
    """0.13 and 0.14 still read the variable, and announce its end."""
    names: Mapping[str, object] = {var.name: var for var in stack.env}
    if "VLLM_ATTENTION_BACKEND" in names and catalog.within(stack.vllm.version, "0.13.0", "0.15.0"):
        message = (
            f"vLLM {stack.vllm.version} is the last line that reads VLLM_ATTENTION_BACKEND; it is rendered as its flag"
        )
        yield warning(
            ("env", "VLLM_ATTENTION_BACKEND"), "backend-variable", message, "Write vllm.args: {attention-backend: …}."
        )


CHECKS = (api_key, variables, audio_limits, backend_variable)
