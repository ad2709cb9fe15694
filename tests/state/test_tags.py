"""Environment tags that nothing needs any more are given to one stack to delete; those that anybody needs, to none."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.answers import project
from tests.plan.states import (
    NOTHING,
    applied,
    desired,
    line,
    live,
    relabelled,
    stack,
    with_version,
)
from whisperctl.state.desired import Desired
from whisperctl.state.labels import new
from whisperctl.state.live import Live
from whisperctl.state.records import RecordedRevision
from whisperctl.state.resources import deployment_address, version_address
from whisperctl.state.tags import needed_tags, retired_tags, touched_tags

VERSION, DEPLOYMENT = version_address("speech", "v1"), deployment_address("speech")
OURS = {"id": "n1", "name": "whisperctl", "labels": new(owner="shared", id="n1")}
BEFORE = desired(stack(), tag="one")
AFTER = desired(stack(), code="two", tag="two")


def with_revisions(state: Live, *revisions: tuple[str, str], tags: tuple[str, ...] = ()) -> Live:
    """The same, these pairs of digest and tag recorded on the version, and `tags` on the deployment."""
    recorded = [RecordedRevision(f"r{number}", digest, tag) for number, (digest, tag) in enumerate(revisions)]
    version = relabelled(state.owned[VERSION], revisions=recorded)
    return live({**state.owned, VERSION: version, DEPLOYMENT: relabelled(state.owned[DEPLOYMENT], tags=tags)})


def retired(
    *stacks: tuple[Desired, Live],
    destroy: bool = False,
    tags: tuple[str, ...] = ("one", "two"),
    environment: Any = OURS,
    others: tuple[dict[str, Any], ...] = (),
    used: dict[str, list[str]] | None = None,
) -> list[list[str]]:
    """What each stack deletes, in a project of these tags, `others`' deployments, and tags that deployments use."""
    answers = {
        "environments/whisperctl": environment,
        "environments/whisperctl/tags": [{"id": tag, "name": tag, "status": "available"} for tag in tags],
        "deployments": list(others),
        **{
            f"environments/whisperctl/tags/{tag}/usage": [
                {"deployment": name, "version": "v1"} for name in (used or {}).get(tag, [])
            ]
            for tag in tags
        },
    }
    api, asked = project({path: answer for path, answer in answers.items() if answer is not None})
    wants, lives = [want for want, _ in stacks], [state for _, state in stacks]
    result = [["/".join(address.names) for address in each] for each in retired_tags(api, wants, lives, destroy)]
    assert all(line.startswith("GET ") for line in asked.asked)
    return result


def test_a_tag_that_a_new_one_replaces_is_deleted_and_the_environment_stays() -> None:
    assert retired((AFTER, applied(BEFORE))) == [["whisperctl/one"]]


def test_an_unchanged_stack_asks_nothing() -> None:
    api, asked = project({})
    assert retired_tags(api, [BEFORE, AFTER], [applied(BEFORE), NOTHING], False) == [[], []]
    assert asked.asked == []


def test_the_last_stack_takes_the_environment_with_it() -> None:
    only = ("one",)
    assert retired((BEFORE, applied(BEFORE)), destroy=True, tags=only) == [["whisperctl/one", "whisperctl"]]
    assert retired((BEFORE, applied(BEFORE)), destroy=True) == [["whisperctl/one"]]  # the other is nobody's we know


def test_what_a_stack_that_is_not_planned_notes_is_needed() -> None:
    """Also one that only keeps it for a rollback, or is about to use it: no version runs in it."""
    theirs = {"id": "d2", "name": "other", "labels": new(owner="beta", id="d2", tags=["one"])}
    assert retired((AFTER, applied(BEFORE)), others=(theirs,)) == [[]]
    everything = retired((BEFORE, applied(BEFORE)), destroy=True, tags=("one", "two"), others=(theirs,))
    assert everything == [[]]
    ours = {"id": "d1", "name": "speech", "labels": new(owner="alpha", id="d1", tags=["one"])}
    nobodys = {"id": "d3", "name": "third", "labels": new(owner="beta", id="d9", tags=["one"])}
    assert retired((AFTER, applied(BEFORE)), others=(ours, nobodys)) == [["whisperctl/one"]]


def test_the_environment_stays_while_another_stack_notes_a_tag_that_is_not_there_yet() -> None:
    theirs = {"id": "d2", "name": "other", "labels": new(owner="beta", id="d2", tags=["soon"])}
    assert retired((BEFORE, applied(BEFORE)), destroy=True, tags=("one",), others=(theirs,)) == [["whisperctl/one"]]


@pytest.mark.parametrize(("user", "deleted"), [("speech", ["whisperctl/one"]), ("by-hand", [])])
def test_a_tag_that_a_version_of_somebody_else_runs_in_stays(user: str, deleted: list[str]) -> None:
    assert retired((AFTER, applied(BEFORE)), used={"one": [user]}) == [deleted]


@pytest.mark.parametrize("environment", [None, {**OURS, "labels": {}}, {**OURS, "labels": new(owner="beta")}])
def test_an_environment_that_is_not_ours_loses_nothing(environment: Any) -> None:
    assert retired((AFTER, applied(BEFORE)), environment=environment) == [[]]


def test_a_tag_that_two_stacks_let_go_of_goes_to_the_first_by_name() -> None:
    names = ("zeta", "alpha")
    pairs = [(desired(stack(name, deployment=name), tag="one"), name) for name in names]
    stacks = [(want, applied(want)) for want, _ in pairs]
    assert retired(*stacks, destroy=True, tags=("one",)) == [["whisperctl"], ["whisperctl/one"]]


def test_a_tag_that_one_stack_lets_go_of_and_another_needs_stays() -> None:
    other = desired(stack("beta", deployment="beta", services=["beta"]), tag="one")
    assert retired((AFTER, applied(BEFORE)), (other, NOTHING)) == [[], []]


def test_a_tag_that_is_gone_already_is_not_deleted() -> None:
    assert retired((AFTER, applied(BEFORE)), tags=("two",)) == [[]]


def test_tags_of_the_last_three_revisions_are_kept_for_a_rollback() -> None:
    digests = [("d0", "zero"), ("d1", "one"), ("d2", "two")]
    state = with_revisions(applied(BEFORE), *digests)
    assert needed_tags(desired(stack(), code="new", tag="new"), state, False) == {"new", "zero", "one"}
    same = [(BEFORE.package.digest, "one"), ("d1", "older"), ("d2", "oldest")]
    assert needed_tags(BEFORE, with_revisions(applied(BEFORE), *same), False) == {"one", "older", "oldest"}
    assert needed_tags(BEFORE, state, True) == set()


def test_tags_of_versions_that_sleep_for_a_rollback_are_kept() -> None:
    serves = applied(desired(line(), tag="one"))
    state = with_version(serves, "v1-0000000a", "served", at="2026-01-01T00:00:00Z")
    new_version = desired(line("v1-00000002"), code="two", tag="two")
    assert needed_tags(new_version, state, False) == {"two", "one"}  # that of the one which is deleted is not
    two = desired(line("v1-00000002", keep=2), code="two", tag="two")
    assert needed_tags(two, state, False) == {"two", "one", "vllm-1"}


def test_a_stack_has_touched_what_it_runs_in_keeps_and_notes() -> None:
    state = with_revisions(applied(BEFORE), ("d1", "kept"), ("d2", ""), tags=("noted",))
    assert touched_tags(AFTER, state, False) == {"one", "kept", "noted"}
    assert touched_tags(AFTER, state, True) == {"one", "kept", "noted", "two"}
    elsewhere = {**state.owned[VERSION], "environment_name": "by-hand", "environment_tag": "theirs"}
    assert touched_tags(AFTER, live({VERSION: elsewhere}), False) == {"kept"}
