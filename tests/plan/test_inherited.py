"""Env vars of the project or the deployment that steer the server: told with what the file's checks say of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.states import applied, desired, planned, stack
from whisperctl.plan.inherited import inherited_remarks
from whisperctl.serving.steering import steers
from whisperctl.state.inherited import Inherited, inherited_variables


def listed(name: str, value: str | None = "x", level: str | None = "project", secret: bool = False) -> dict[str, Any]:
    return {"id": "e", "name": name, "value": value, "secret": secret, "inheritance_type": level}


@pytest.mark.parametrize("name", ["HF_TOKEN", "HF_ENDPOINT", "VLLM_EXTRA_ARGS", "MAX_MODEL_LEN", "WHISPER_TASK",
                                  "WHISPERCTL_PORT", "PYTHONPATH", "https_proxy", "LD_PRELOAD"])  # fmt: skip
def test_what_steers(name: str) -> None:
    assert steers(name)


@pytest.mark.parametrize("name", ["LOG_LEVEL", "TEAM", "MY_VLLM_X", "DATABASE_URL"])
def test_what_does_not(name: str) -> None:
    assert not steers(name)


def test_own_variables_and_those_that_nothing_reads_are_left_out() -> None:
    variables = inherited_variables(
        [
            listed("VLLM_EXTRA_ARGS"),
            listed("HF_HOME", level=None),
            listed("TEAM"),
            listed("HF_TOKEN", None, secret=True),
        ]
    )
    assert [(var.name, var.value, var.level) for var in variables] == [
        ("HF_TOKEN", None, "project"),
        ("VLLM_EXTRA_ARGS", "x", "project"),
    ]


def var(name: str, value: str | None = "x", level: str = "project") -> Inherited:
    return Inherited(name=name, value=value, level=level)


@pytest.mark.parametrize(
    ("variable", "head"),
    [
        (
            var("HF_HOME", "/data"),
            "`HF_HOME=/data` is set on the project p, not in stack.yaml, and reaches the server.",
        ),
        (var("HF_HOME", "a`b\nc"), "`HF_HOME=a'b c` is set on the project p"),
        (var("HF_TOKEN", None, "deployment"), "HF_TOKEN (secret) is set on the deployment speech, not in stack.yaml"),
        (var("HF_TOKEN", "hf_unmarked"), "HF_TOKEN is set on the project p"),
        (var("VLLM_EXTRA_ARGS", "--api-key=hf_unmarked --seed 7"), "VLLM_EXTRA_ARGS is set on the project p"),
    ],
)
def test_each_is_told_with_where_it_is_set(variable: Inherited, head: str) -> None:
    [remark] = inherited_remarks(stack(), [variable], "p")
    assert remark.text.startswith(head)
    assert remark.text.endswith("takes its place. [inherited-variable]")
    assert "hf_unmarked" not in remark.text


@pytest.mark.parametrize(
    ("variable", "doubt"),
    [
        (var("VLLM_EXTRA_ARGS", "--no-such-thing"), "vLLM 0.24.0 has no option --no-such-thing."),
        (var("VLLM_EXTRA_ARGS", "--kv-cache-dtype fp8"), "an fp8 cache needs bfloat16"),
        (var("VLLM_EXTRA_ARGS", "--kv-cache-dtype=fp8_e4m3"), "an fp8 cache needs bfloat16"),
        (var("VLLM_EXTRA_ARGS", "--host 127.0.0.1"), "VLLM_EXTRA_ARGS cannot set --host."),
        (var("MAX_MODEL_LEN", "4480"), "must be a whole number from 1 to 448."),
        (var("VLLM_SERVER_DEV_MODE", "1"), "VLLM_SERVER_DEV_MODE must not be set."),
        (var("VLLM_NO_SUCH_VARIABLE", "1"), "vLLM 0.24.0 does not read VLLM_NO_SUCH_VARIABLE."),
        (var("HF_HUB_OFFLINE", "1"), "the model is not in the package, and may not be downloaded."),
        (var("WHISPERCTL_PORT", "9"), "the server listens on 8080, not here."),
        (var("WHISPER_TASK", "dance"), "the task must be transcription or translation."),
    ],
)
def test_the_checks_of_the_file_judge_it(variable: Inherited, doubt: str) -> None:
    [remark] = inherited_remarks(stack(), [variable], "p")
    assert f"\n  {doubt}" in remark.text


def test_a_plan_warns_unless_the_file_acknowledges_it_and_changes_nothing() -> None:
    made = stack()
    for each, warned in ((made, 1), (replace(made, acknowledge=("inherited-variable",)), 0)):
        plan = planned(desired(each), replace(applied(desired(each)), inherited=[var("WHISPER_TASK", "translation")]))
        assert (len(plan.warnings), plan.changes) == (warned, ())
