"""Values of options, judged by whisperctl and by the parser of the vLLM that is installed: one refuses as the other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.refusals import refusal
from whisperctl.loading.checks.arguments import NUMBERS, OURS, REFUSED, UNSET
from whisperctl.serving import catalog

from .conftest import surroundings, vllm_version

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
PARSER = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from vllm.config import AttentionConfig, MambaConfig, MultiModalConfig
from vllm.entrypoints.cli.serve import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

LATER = {
    "--attention-backend": lambda value: AttentionConfig(backend=value),
    "--mamba-backend": lambda value: MambaConfig(backend=value),
    "--mm-encoder-attn-backend": lambda value: MultiModalConfig(mm_encoder_attn_backend=value),
}
parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
sys.stderr = open(os.devnull, "w")

def takes(name, word):
    try:
        read = parser.parse_args([f"{name}={word}"])
        LATER.get(name, lambda value: None)(getattr(read, name[2:].replace("-", "_")))
    except (SystemExit, Exception):
        return False
    return True

for line in sys.stdin:
    print(json.dumps(takes(*json.loads(line))), file=answers, flush=True)
"""


@pytest.fixture(scope="module")
def vllm_takes() -> Iterator[Callable[[str, str], bool]]:
    """Whether the parser of the installed vLLM takes a value for an option."""
    command = [sys.executable, "-c", PARSER]
    with subprocess.Popen(
        command,
        env=surroundings(),
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:

        def ask(name: str, word: str) -> bool:
            assert child.stdout is not None
            print(json.dumps([name, word]), file=child.stdin, flush=True)
            return bool(json.loads(child.stdout.readline()))

        yield ask


def refusal_of(folder: Path, name: str, word: str) -> str:
    """What `validate` says against a value; empty: nothing."""
    return refusal(folder, vllm={"version": VERSION, "args": {name: word.replace("$", "$$")}})


@settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))
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
