"""What a stack's model and vLLM release can do, and why not where they cannot. Pure look-ups, None where unknown."""

from __future__ import annotations

from whisperctl.serving import catalog
from whisperctl.spec import Stack

_TIMES = "0.12"
"""First release whose verbose_json has segments."""
_DETECTION = "0.17"
"""First release that detects the language; earlier ones take English without a word."""


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


def _older(stack: Stack, version: str) -> bool:
    return catalog.numbers(stack.vllm.version) < catalog.numbers(version)
