"""history and rollback: what can be gone back to, what is changed by it, and what happens when it fails."""

from __future__ import annotations

import io
import json
import signal
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.harness.operator import Operator
from tests.operate.conftest import FIRST, SECOND, writes
from whisperctl.control.api import Api, Json


class Zip:
    """A package as somebody uploads it by hand."""

    def __init__(self, text: str) -> None:
        self.stream = io.BytesIO()
        with zipfile.ZipFile(self.stream, "w") as archive:
            archive.writestr("deployment_package/deployment.py", text)

    def write(self, stream: object) -> None:
        stream.write(self.stream.getvalue())  # type: ignore[attr-defined]


def revisions(operator: Operator) -> list[Json]:
    listed: list[Json] = json.loads(operator.good("history", "--format", "json").out)["revisions"]
    return listed


def version(api: Api) -> Json:
    raw = api.version("speech", "v1")
    assert raw is not None
    return raw


def package(api: Api, revision: str) -> bytes:
    stream = io.BytesIO()
    api.download("speech", "v1", revision, stream)
    return stream.getvalue()


def test_history_lists_what_was_uploaded_newest_first(operator: Operator) -> None:
    second, first = revisions(operator)
    assert (second["active"], first["active"]) == (True, False)
    assert (second["rollback"], first["rollback"]) == (False, True)
    assert first["created"] < second["created"]
    assert len(first["digest"]) == 64
    assert first["digest"] != second["digest"]
    assert first["environment_tag"] != second["environment_tag"]
    lines = operator.good("history").out.splitlines()
    assert lines[0].split() == ["REVISION", "CREATED", "BY", "STATUS", "COMMIT", "PACKAGE", "ENVIRONMENT", "TAG",
                                "ROLLBACK"]  # fmt: skip
    assert lines[1].startswith(f"*  {second['id']}")
    assert lines[2].startswith(f"   {first['id']}")
    assert lines[2].endswith("  possible")


def test_a_revision_shows_the_commit_that_it_was_made_from_also_after_a_rollback_to_it(operator: Operator) -> None:
    for commit, length in (("a" * 40, 300), ("b" * 40, 200)):
        operator.write(SECOND.replace("max_model_len: 448", f"max_model_len: {length}"))
        assert operator.run("apply", "--yes", GITHUB_SHA=commit).code == 0
    assert ", commit aaaaaaaaaaaa)" in operator.good("rollback", "--yes").out
    assert [each["commit"] for each in revisions(operator)] == ["a" * 40, "b" * 40, "a" * 40, None, None]
    assert "  aaaaaaaaaaaa  " in operator.good("history").out.splitlines()[1]


def test_the_active_revision_shows_the_environment_that_it_runs_in_now(operator: Operator, api: Api) -> None:
    """Other requirements alone make another tag and no other package."""
    operator.write(SECOND.replace("anyio", "sniffio"))
    operator.good("apply", "--yes")
    active, first = revisions(operator)
    assert active["environment_tag"] == version(api)["environment_tag"]
    assert first["rollback"] is True


def test_rollback_uploads_the_old_package_sets_its_tag_and_proves(operator: Operator, api: Api) -> None:
    second, first = revisions(operator)
    before = version(api)
    variables = api.env_vars("speech", "v1")
    ran = operator.good("rollback", "--yes")
    assert first["id"] in ran.out
    assert f"environment_tag {second['environment_tag']} -> {first['environment_tag']}" in ran.out
    assert "Env vars, labels, scaling and services stay as they are now." in ran.out
    assert "healthy" in ran.err
    after = version(api)
    assert after["active_revision"] not in (first["id"], second["id"])
    assert package(api, after["active_revision"]) == package(api, first["id"])
    assert after["environment_tag"] == first["environment_tag"]
    assert api.env_vars("speech", "v1") == variables
    assert {key: value for key, value in after.items() if key in ("minimum_instances", "health_check")} == {
        key: value for key, value in before.items() if key in ("minimum_instances", "health_check")
    }
    assert "whisperctl-lease" not in (api.deployment("speech") or {})["labels"]


def test_the_next_plan_says_how_the_spec_differs_and_apply_goes_forward_again(operator: Operator, api: Api) -> None:
    second, first = revisions(operator)
    operator.good("rollback", "--yes")
    [plan] = json.loads(operator.good("plan", "--format", "json").out)["stacks"]
    changes = {change["address"]: change for change in plan["changes"]}
    assert changes.keys() == {"version/speech/v1", "package/speech/v1"}
    assert changes["package/speech/v1"]["action"] == "update"
    assert changes["package/speech/v1"]["fields"] == [
        {"path": "digest", "before": first["digest"], "after": second["digest"]}
    ]
    assert changes["version/speech/v1"]["fields"] == [
        {"path": "environment_tag", "before": first["environment_tag"], "after": second["environment_tag"]}
    ]
    operator.write(FIRST)
    assert operator.run("plan", "--format", "json").out.count('"changes": []') == 1
    operator.write(SECOND)
    operator.good("apply", "--yes")
    assert operator.run("plan", "--detailed-exitcode").code == 0


def test_after_a_rollback_drift_and_plan_say_that_it_was_one(operator: Operator) -> None:
    operator.good("rollback", "--yes")
    ran = operator.run("drift")
    assert ran.code == 2
    assert "the package of an earlier revision is active, after a rollback" in ran.out
    assert "The stack file is what was last applied" in ran.out
    assert "has changed" not in ran.out
    operator.write(SECOND.replace("max_model_len: 448", "max_model_len: 300"))
    assert "what is rendered from the stack file has changed" in operator.run("plan").out


def test_rolling_back_twice_is_undoing_it(operator: Operator) -> None:
    second, first = revisions(operator)
    operator.good("rollback", "--yes")
    assert [r["same_package_as"] for r in revisions(operator)] == [first["id"], None, None]
    assert f"{first['digest'][:12]} as in {first['id'][:8]} " in operator.good("history").out
    operator.good("rollback", "--yes")
    assert next(r for r in revisions(operator) if r["active"])["digest"] == second["digest"]


def test_rollback_asks_and_without_a_terminal_refuses(operator: Operator, control: httpx.Client) -> None:
    ran = operator.run("rollback")
    assert ran.code == 1
    assert "goes back to an earlier revision" in ran.out
    assert "there is no terminal.\n  Pass --yes." in ran.err
    assert writes(control) == []


def test_to_takes_the_start_of_an_id(operator: Operator, api: Api) -> None:
    _, first = revisions(operator)
    operator.good("rollback", "--to", first["id"][:8].upper(), "--yes")
    assert next(r for r in revisions(operator) if r["active"])["digest"] == first["digest"]


def test_what_cannot_be_gone_back_to_is_refused_with_the_reason(
    operator: Operator, api: Api, control: httpx.Client
) -> None:
    second, _ = revisions(operator)
    by_hand = api.upload("speech", "v1", Zip("class Deployment:\n    def request(self, data):\n        return data\n"))
    control.delete("/journal")
    for to, why in (
        ("ffffffff-nope", "No revision begins with 'ffffffff-nope'."),
        ("", "3 revisions begin with ''."),
        (by_hand, "cannot be gone back to: "),
    ):
        ran = operator.run("rollback", "--yes", f"--to={to}")
        assert ran.code == 1
        assert why in ran.err
    assert writes(control) == []
    assert second["id"] in operator.run("history").out


def test_the_active_one_is_no_target(operator: Operator, control: httpx.Client) -> None:
    second, _ = revisions(operator)
    ran = operator.run("rollback", "--yes", "--to", second["id"])
    assert ran.code == 1
    assert f"Revision {second['id']} cannot be gone back to: it is active." in ran.err
    assert writes(control) == []


def test_a_tag_that_is_gone_is_told_in_history(operator: Operator, api: Api) -> None:
    _, first = revisions(operator)
    api.delete_tag("whisperctl", first["environment_tag"])
    assert f"no: its environment tag {first['environment_tag']} is gone" in operator.good("history").out
    ran = operator.run("rollback", "--yes")
    assert ran.code == 1
    assert "has no earlier revision to go back to." in ran.err
    assert "is gone" in ran.err


def test_a_build_that_fails_leaves_the_version_as_it_was(operator: Operator, api: Api, control: httpx.Client) -> None:
    before = version(api)
    control.post("/faults", json={"kind": "build-fail", "count": 1, "text": "no disk left"})
    ran = operator.run("rollback", "--yes")
    assert ran.code == 1
    assert "no disk left" in ran.err
    after = version(api)
    assert after["active_revision"] == before["active_revision"]
    assert after["environment_tag"] == before["environment_tag"]
    assert after["labels"] == before["labels"]
    assert "whisperctl-lease" not in (api.deployment("speech") or {})["labels"]
    assert operator.run("plan", "--detailed-exitcode").code == 0


def test_an_interrupt_leaves_nothing_held_and_says_how_to_finish(
    operator: Operator, api: Api, control: httpx.Client
) -> None:
    _, first = revisions(operator)
    control.post("/faults", json={"kind": "build-endless", "count": 1})
    process = operator.start("rollback", "--yes")
    assert process.stderr is not None
    while "Build started" not in (line := process.stderr.readline()):
        assert line, "it ended"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"finish with\n  whisperctl rollback stack.yaml --to {first['id']}\n" in err
    assert "whisperctl-lease" not in (api.deployment("speech") or {})["labels"]
    assert version(api)["environment_tag"] == first["environment_tag"]


def test_a_paused_stack_is_rolled_back_asleep(operator: Operator, api: Api) -> None:
    operator.good("pause")
    ran = operator.good("rollback", "--yes")
    assert "The stack is paused and stays asleep: the endpoint is not tried." in ran.out
    assert "healthy" not in ran.err
    assert version(api)["minimum_instances"] == 0
    assert version(api)["labels"]["whisperctl-paused"] == "1"


def test_a_lost_answer_to_the_upload_is_no_second_upload(operator: Operator, api: Api, control: httpx.Client) -> None:
    count = len(revisions(operator))
    control.post("/faults", json={"kind": "drop-after", "method": "POST", "path": "/revisions$", "count": 1})
    operator.good("rollback", "--yes")
    assert len(revisions(operator)) == count + 1


def test_a_package_that_serves_another_name_is_asked_for_that_name(operator: Operator, tmp_path: Path) -> None:
    """What the old package calls its model, not what the stack file says now, is what the proof asks for."""
    from whisperctl.loading import load_stacks
    from whisperctl.operate.rollback import as_packaged
    from whisperctl.package.build import build_package

    [old] = load_stacks([operator.write(SECOND)], {}).stacks
    renamed = SECOND.replace("name: openai/whisper-small,", "name: openai/whisper-small, served_name: ears,")
    renamed = renamed.replace("openai-model-names: openai/whisper-small", "openai-model-names: ears")
    [new] = load_stacks([operator.write(renamed)], {}).stacks
    file = tmp_path / "package.zip"
    with file.open("wb") as stream:
        build_package(old).write(stream)
    assert as_packaged(new, file).model.served_name == "openai/whisper-small"
    with file.open("wb") as stream:
        Zip("print('no CONFIG here')").write(stream)
    assert as_packaged(new, file).model.served_name == "ears"


@pytest.mark.parametrize("form", ["text", "json"])
def test_history_of_a_version_without_revisions(newcomer: Operator, api: Api, form: str) -> None:
    newcomer.write(SECOND)
    api.create_deployment({"name": "speech", "input_type": "plain", "output_type": "plain"})
    api.create_version("speech", {"version": "v1", "environment_name": "ubiops-ubuntu24-04-python3-12"})
    ran = newcomer.good("history", "--format", form)
    assert "has no revision yet" in ran.out if form == "text" else json.loads(ran.out)["revisions"] == []
