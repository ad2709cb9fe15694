"""What our labels hold comes back as it was packed, beside everybody else's; and only one module knows how."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whisperctl
from whisperctl.errors import WhisperctlError
from whisperctl.state import labels as module
from whisperctl.state.label_text import MAX_LENGTH, OWN_PREFIX
from whisperctl.state.labels import Labels, new
from whisperctl.state.records import LeaseHolder, MadeFrom, RecordedRevision, lease_of

WORD = st.text(alphabet="abcdef0123456789-", min_size=1, max_size=36)
NAME = st.text(min_size=1, max_size=19).filter(lambda text: max(text) < "\ud800" or max(text) > "\udfff")
NAMES = st.lists(NAME, unique=True, max_size=12)
FOREIGN = st.dictionaries(NAME.filter(lambda name: not name.startswith("whisperctl-")), st.text(max_size=300))
ALLOWED = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._/ +;:-")


def round_trip(foreign: dict[str, str], **changes: object) -> Labels:
    written = Labels(foreign).written(**changes)  # type: ignore[arg-type]
    ours = {name: text for name, text in written.items() if name.startswith("whisperctl-")}
    assert all(len(text) <= MAX_LENGTH and set(text) <= ALLOWED for text in ours.values())
    assert {name: text for name, text in written.items() if name not in ours} == foreign
    return Labels(written)


@given(foreign=FOREIGN, names=NAMES)
def test_lists_of_any_names_and_length_come_back(foreign: dict[str, str], names: list[str]) -> None:
    labels = round_trip(foreign, env_names=names, tags=names, tracked=[f"labels.{name}" for name in names])
    assert labels.env_names == names
    assert labels.tags == names
    assert labels.tracked_labels == set(names)
    assert labels.of_others == foreign


@given(foreign=FOREIGN, ids=st.lists(WORD, unique=True, max_size=9), begun=NAMES)
def test_groups_that_exist_and_that_are_begun_share_a_label(
    foreign: dict[str, str], ids: list[str], begun: list[str]
) -> None:
    labels = round_trip(foreign, group_ids=ids, groups_begun=begun)
    assert (labels.group_ids, labels.groups_begun) == (ids, begun)
    assert Labels(labels.written(groups_begun=[])).group_ids == ids


@given(texts=st.lists(WORD, min_size=5, max_size=5), count=st.integers(0, 10**9), paused=st.integers(0, 99))
def test_single_values_come_back(texts: list[str], count: int, paused: int) -> None:
    holder = LeaseHolder("", texts[0], count, texts[1], texts[2], count, texts[3])
    labels = round_trip({}, owner=texts[0], digest=texts[1], lease=holder, paused_minimum=paused, protect=True)
    assert (labels.owner, labels.digest, labels.paused_minimum, labels.protect) == (*texts[:2], paused, True)
    assert labels.lease is not None
    assert labels.lease == LeaseHolder(labels.lease.text, texts[0], count, texts[1], texts[2], count, texts[3])


def test_a_none_an_empty_list_and_an_empty_mapping_remove() -> None:
    full = new(digest="d", tags=["a"], secrets={"A": "1.2", "B": "3.4"}, env_names=["x" * 200, "y" * 200], protect=True)
    assert len(full) == 7
    left = Labels(full).written(digest=None, tags=[], secrets={"B": "3.4"}, env_names=["x"], protect=False)
    assert left == {"whisperctl-secret-B": "3.4", "whisperctl-env": "x"}


def test_the_labels_of_the_stack_file_are_set_and_removed_beside_ours() -> None:
    labels = Labels({"theirs": "1", "old": "2", "whisperctl-stack": "s"})
    assert labels.written(user={"old": None, "new": "3"}) == {"theirs": "1", "whisperctl-stack": "s", "new": "3"}


def test_only_the_last_three_revisions_are_kept() -> None:
    revisions = [RecordedRevision(f"i{n}", f"d{n}", "" if n else "tag", "c" * 40 if n % 2 else "") for n in range(5)]
    assert Labels(new(revisions=revisions)).revisions == revisions[:3]


def test_what_a_version_was_made_from_comes_back_as_far_as_a_label_holds_it() -> None:
    made = MadeFrom(vllm="0.32.0", model="o/m", flags="--seed 7", commit="c" * 40, served="a b")
    assert Labels(new(made=made)).made == made
    long = Labels(new(made=MadeFrom(vllm="0.32.0", model="m" * 300, flags="f" * 300, served="s" * 300))).made
    assert (long.model, long.flags) == ("m" * 246 + "...", "f" * 246 + "...")
    assert (long.commit, long.served) == ("", "")
    assert new(made=MadeFrom()) == {}


def test_what_earlier_versions_wrote_is_read() -> None:
    labels = Labels(
        {
            "whisperctl-group": "4a5b-6c;creating 12288 MB %2B NVIDIA Tesla T4",
            "whisperctl-fields": "description;labels.team",
            "whisperctl-lease": "host 4711 12345 cafe0123 1764000000",
            "whisperctl-paused": "2",
        }
    )
    assert (labels.group_ids, labels.groups_begun) == (["4a5b-6c"], ["12288 MB + NVIDIA Tesla T4"])
    assert (labels.tracked_fields, labels.tracked_labels) == ({"description"}, {"team"})
    assert labels.lease == LeaseHolder("host 4711 12345 cafe0123 1764000000")
    assert labels.paused_minimum == 2


@given(text=st.text(max_size=99))
def test_any_text_is_read_as_somebody_s(text: str) -> None:
    assert lease_of(text).text == text
    names = [f"whisperctl-{name}" for name in ("group", "env", "tags", "fields", "revision-1", "paused", "protect")]
    labels = Labels(dict.fromkeys(names, text))
    assert isinstance(labels.paused_minimum, int)
    assert all(labels.env_names)
    assert len(labels.revisions) == (len(text.split(" ")) == 3)


def test_a_value_that_ubiops_may_refuse_is_refused_here() -> None:
    with pytest.raises(WhisperctlError, match="whisperctl-version cannot hold"):
        new(version="v" * 256)
    with pytest.raises(WhisperctlError, match="whisperctl-tool cannot hold"):
        new(tool="a\nb")


@pytest.mark.parametrize("origin", ["github.com/acme/speech//stacks/prod.yaml", "host:8443/a//ü b/%41.yaml", "x" * 255])
def test_an_origin_comes_back(origin: str) -> None:
    assert round_trip({}, origin=origin).origin == origin


def test_a_long_origin_is_cut_on_the_left_and_told_apart() -> None:
    one, two = (f"github.com/{letter * 300}//stacks/prod.yaml" for letter in "ab")
    assert new(origin=one) != new(origin=two)
    assert (round_trip({}, origin=one).origin or "").endswith("//stacks/prod.yaml")


def test_null_labels_are_none() -> None:
    assert Labels.of({"labels": None}) == Labels.of(None) == Labels.of({}) == Labels({})


def test_no_other_module_names_a_label_or_takes_its_text_apart() -> None:
    names = {text for name, text in vars(module).items() if isinstance(text, str) and text.startswith("whisperctl-")}
    names.discard(OWN_PREFIX)
    assert len(names) > 20
    root = Path(whisperctl.__file__).parent
    wrong = []
    for file in sorted(root.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if file == Path(module.__file__):
            continue
        texts = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
        named = [text for text in texts if isinstance(text, str) and text.startswith(tuple(names))]
        wrong += [f"{file}: {text}" for text in named if " " not in text]
        wrong += [f"{file}: {word}" for word in ("_LABEL =", '.get("labels")', 'raw["labels"]') if word in source]
    assert wrong == []
