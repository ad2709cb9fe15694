"""Whatever an apply notes on an object is read back as it was written."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.state.test_labels import NAME, WORD, round_trip
from whisperctl.state.labels import Labels, new
from whisperctl.state.records import (
    LeaseHolder,
    MadeFrom,
    RecordedRevision,
    Rendering,
    RolloutRecord,
    RolloutState,
)

DECIMAL = st.decimals(0, 99, places=4).map(float)
TIMES = st.sampled_from(["2020-01-01T00:00:00Z", "2026-11-29T23:59:59Z"])
ROLLOUTS = st.builds(
    RolloutRecord,
    state=st.sampled_from(get_args(RolloutState)),
    stage=st.sampled_from(["", "start", "gate", "switch", "bake"]),
    wer=st.none() | DECIMAL,
    serving_wer=st.none() | DECIMAL,
    latency=st.none() | DECIMAL,
    serving_latency=st.none() | DECIMAL,
    at=st.just("") | TIMES,
)


@given(record=ROLLOUTS)
def test_how_far_a_rollout_has_come_comes_back(record: RolloutRecord) -> None:
    labels = round_trip({}, rollout=record)
    assert labels.rollout is not None
    figures = ("wer", "serving_wer", "latency", "serving_latency")
    rounded = {name: None if (v := getattr(record, name)) is None else pytest.approx(v, abs=0.001) for name in figures}
    assert (labels.rollout.state, labels.rollout.stage, labels.rollout.at) == (record.state, record.stage, record.at)
    assert {name: getattr(labels.rollout, name) for name in figures} == rounded


@given(texts=st.lists(WORD, min_size=3, max_size=3), numbers=st.lists(st.integers(0, 10**6), min_size=4, max_size=4))
def test_the_other_single_values_come_back(texts: list[str], numbers: list[int]) -> None:
    rendering = Rendering(texts[0], texts[1], texts[2])
    before, raised, start, build = numbers
    labels = round_trip(
        {"theirs": "1"},
        digest=texts[2],
        rendering=rendering,
        applied=texts[0],
        version=texts[1],
        tool=texts[0],
        id=texts[1],
        restart=(before, raised),
        start_seconds=start,
        build_seconds=build,
        served=True,
        trimmed=["deployment.description", "env_var.value"],
    )
    assert labels.rendering == rendering
    assert (labels.applied, labels.version, labels.tool, labels.id) == (texts[0], texts[1], texts[0], texts[1])
    assert (labels.restart, labels.start_seconds, labels.build_seconds) == ((before, raised), start, build)
    assert (labels.served, labels.trimmed) == (True, frozenset(("deployment.description", "env_var.value")))
    # A package that an earlier version of this tool recorded leaves the label of the one before it.
    assert Labels(labels.written(digest=f"{texts[2]}0")).rendering is None


LONG = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
LISTED = st.dictionaries(NAME.filter(lambda name: "=" not in name), LONG, max_size=3)


@given(listed=LISTED, commits=st.lists(st.none() | st.text("0123456789abcdef", min_size=40, max_size=40), max_size=3))
def test_secrets_listings_and_revisions_come_back(listed: dict[str, str], commits: list[str | None]) -> None:
    revisions = [RecordedRevision(f"i{n}", f"d{n}", "tag", commit or "") for n, commit in enumerate(commits)]
    labels = round_trip({}, revisions=revisions, listed=listed, secrets={"A": "00ff.11ee", "B_2": "22.33"})
    assert labels.revisions == revisions
    assert labels.listed == listed
    assert labels.secrets == {"A": "00ff.11ee", "B_2": "22.33"}


@pytest.mark.parametrize(
    "text", ["0::" + "\x80" * 4 + "\U00010000" * 12, "whisper;" * 40, "=2=a=" * 60, "a" * 999, ""], ids=len
)
def test_a_listing_that_one_label_does_not_hold_comes_back(text: str) -> None:
    listed = {"openai-compatible": "true", "openai-model-names": text}
    assert round_trip({}, listed=listed).listed == listed


@given(name=NAME, flags=st.lists(WORD, max_size=40))
def test_what_a_version_was_made_from_comes_back_as_far_as_a_label_holds_it(name: str, flags: list[str]) -> None:
    made = MadeFrom(vllm="0.32.0", model=name, flags=" ".join(flags), commit="c" * 40, served=name)
    back = round_trip({}, made=made).made
    assert (back.vllm, back.model, back.commit, back.served) == (made.vllm, made.model, made.commit, made.served)
    assert made.flags.startswith(back.flags.rstrip("….")[:100])


def test_each_change_has_its_way_back_and_a_lease_leaves_the_rest() -> None:
    full = new(owner="s", digest="d", version="v1", tags=["a"], lease=LeaseHolder("", "n", 1, "b", "4", 1, "9"))
    taken = Labels(full)
    assert taken.without_lease == new(owner="s", digest="d", version="v1", tags=["a"])
    assert taken.without_bookkeeping == {"whisperctl-stack": "s"}
    begun = Labels(taken.written(digest=None, version=None, tags=["a", "b"]))
    back = {name: text for name, text in {**begun.all, **begun.bookkeeping_of(taken)}.items() if text is not None}
    assert back == full
