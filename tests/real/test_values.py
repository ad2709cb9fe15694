"""Values of options, judged by whisperctl and by the parser of the vLLM that is installed: one refuses as the other."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.harness.sweeps import EXHAUSTIVE
from tests.refusals import refusal
from whisperctl.loading.checks.arguments import NUMBERS, OURS, REFUSED, UNSET
from whisperctl.serving import catalog

from .conftest import vllm_version

VERSION = (vllm_version() or "0").partition("+")[0]
OPTIONS = sorted(
    name
    for name in catalog.options(VERSION) - {*NUMBERS, *OURS, *REFUSED}
    if catalog.option_kind(VERSION, name) in ("value", "list")
)
CHOICES = sorted({choice for name in OPTIONS for choice in catalog.accepted(VERSION, name).choices})
WORDS = st.one_of(
    st.sampled_from(
        ["0", "7", "-1", "1.5", "1e3", "inf", "4k", "1_0", " 8 ", "٣", "auto", "16", "x", "{}", "[1]", "a b"]
    ),
    st.sampled_from(CHOICES or [""]),
    st.sampled_from(CHOICES or [""]).map(str.swapcase),
    st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8),
)
LATER = {
    "--attention-backend": ("AttentionConfig", "backend"),
    "--mamba-backend": ("MambaConfig", "backend"),
    "--mm-encoder-attn-backend": ("MultiModalConfig", "mm_encoder_attn_backend"),
}
"""What vLLM reads as a text and refuses when it makes its settings: class of `vllm.config`, field."""


@pytest.fixture(scope="module")
def vllm_takes() -> Callable[[str, str], bool]:
    """Whether the parser of the installed vLLM takes a value for an option.

    In this process, since other tests of this worker want vLLM, too: it takes 12 s of a core to load.
    """
    with warnings.catch_warnings(action="ignore"):
        config = importlib.import_module("vllm.config")
        serve = importlib.import_module("vllm.entrypoints.cli.serve")
        arguments = importlib.import_module("vllm.utils.argparse_utils")
        parser = serve.make_arg_parser(arguments.FlexibleArgumentParser(prog="vllm serve"))

    def takes(name: str, word: str) -> bool:
        try:
            with redirect_stderr(StringIO()), warnings.catch_warnings(action="ignore"):
                read = parser.parse_args([f"{name}={word}"])
                if name in LATER:
                    kind, field = LATER[name]
                    getattr(config, kind)(**{field: getattr(read, name[2:].replace("-", "_"))})
        except (SystemExit, Exception):
            return False
        return True

    return takes


def refusal_of(folder: Path, name: str, word: str) -> str:
    """What `validate` says against a value; empty: nothing."""
    return refusal(folder, vllm={"version": VERSION, "args": {name: word.replace("$", "$$")}})


@settings(max_examples=3000 if EXHAUSTIVE else 500, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(OPTIONS or [""]), word=WORDS)
def test_what_is_refused_vllm_refuses_too(
    tmp_path: Path, vllm_takes: Callable[[str, str], bool], name: str, word: str
) -> None:
    # YAML's own words in quotes are refused as a slip everywhere, also where vLLM would read them as JSON.
    assume(word not in ("true", "false"))
    said = refusal_of(tmp_path, name, word)
    accepted = catalog.accepted(VERSION, name)
    if said:
        assert not vllm_takes(name, word), said
    elif accepted.choices and not accepted.suggested and word not in UNSET:
        assert vllm_takes(name, word)


def test_every_choice_is_one_of_vllms(tmp_path: Path, vllm_takes: Callable[[str, str], bool]) -> None:
    pairs = [(name, choice) for name in OPTIONS for choice in catalog.accepted(VERSION, name).choices]
    assert len(pairs) > 100
    assert [pair for pair in pairs if refusal_of(tmp_path, *pair) or not vllm_takes(*pair)] == []
