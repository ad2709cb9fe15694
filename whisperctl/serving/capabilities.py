"""What a stack's model and vLLM release can do, and why not where they cannot. Pure look-ups, None where unknown."""

from __future__ import annotations

from whisperctl.serving import catalog
from whisperctl.spec import Stack

_TIMES = "0.12"
"""First release whose verbose_json has segments."""
_DETECTION = "0.17"
"""First release that detects the language; earlier ones take English without a word."""

_PROMPT = "0.34"
"""First release that is not in the catalogue: every one in it spoils the output."""


def cannot_translate(stack: Stack) -> str | None:
    """Why the model does not translate, or None when it does or is not in the catalogue."""
    known = catalog.model(stack.model.name)
    if known is None or known.translates:
        return None
    only = "it knows English only" if known.languages == 1 else "it was not trained for it"
    return f"{known.name} does not translate: {only}"


def cannot_time(stack: Stack) -> str | None:
    """Why there are no times, or None when there are."""
    if _older(stack, _TIMES):
        return f"vLLM {stack.vllm.version} has no verbose_json; {_TIMES} and later do"
    return None


def cannot_detect(stack: Stack) -> str | None:
    """Why the language is not detected, or None when it is."""
    known = catalog.model(stack.model.name)
    if known is not None and known.languages == 1:
        return f"{known.name} knows English only"
    if _older(stack, _DETECTION):
        return f"vLLM {stack.vllm.version} takes English when no language is given; {_DETECTION} and later detect it"
    return None


def cannot_prompt(stack: Stack) -> str | None:
    """Why a prompt does harm, or None for a release that is not known yet.

    vLLM builds the prefix with `<|prev|>`, which Whisper's vocabulary lacks (its token is `<|startofprev|>`), so that
    the decoder is misled (vllm-project/vllm#53206, open in every release of the catalogue).
    """
    if _older(stack, _PROMPT):
        return (
            f"vLLM {stack.vllm.version} spoils what Whisper writes when a prompt is given: it puts a token before it "
            "that Whisper does not have (vllm-project/vllm#53206)"
        )
    return None


def cannot_speak(stack: Stack, language: str) -> str | None:
    """Why the model does not know the language with the code `language`, or None when it does or is not known."""
    known, codes = catalog.model(stack.model.name), catalog.language_codes()
    if known is None or language not in codes or codes.index(language) < known.languages:
        return None
    only = "English only" if known.languages == 1 else f"{known.languages} languages without it"
    return f"{known.name} does not know the language {language}: it knows {only}"


def _older(stack: Stack, version: str) -> bool:
    return catalog.numbers(stack.vllm.version) < catalog.numbers(version)
