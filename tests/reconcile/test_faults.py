"""What may go wrong between us and UbiOps, made to go wrong: the end is the same, and nothing is made twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.harness.project import Project, QuickClock, report
from tests.reconcile.test_crashes import builds, settled
from whisperctl.errors import ApiError

STACK: dict[str, Any] = {
    "env": {"A": "1", "B": {"value": "canary", "secret": True}},
    "instance_type_group": {"name": "mine", "gpu": "T4", "instance_types": ["16384mb"]},
}
CHANGED: dict[str, Any] = {**STACK, "env": {"A": "2"}, "version": {"name": "v2"}, "vllm": {"max_model_len": 300}}
FAULTS: dict[str, list[dict[str, Any]]] = {
    "throttled": [{"kind": "throttle", "probability": 0.3, "reset": 0, "path": "/projects/"}],
    "broken gateway": [{"kind": "error", "probability": 0.15, "path": "/projects/"}],
    "lost before": [{"kind": "drop-before", "probability": 0.1, "path": "/projects/"}],
    "lost after": [{"kind": "drop-after", "probability": 0.1, "path": "/projects/"}],
    "every create answered late": [{"kind": "drop-after", "method": "POST", "path": "/projects/", "count": 6}],
    "stale reads": [{"kind": "stale", "probability": 0.1, "path": "/projects/"}],
    "slow": [{"kind": "latency", "ms": 20, "jitter": 20, "path": "/projects/"}],
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_end_is_the_same(project: Project, name: str) -> None:
    project.apply(**STACK)
    project.apply(**CHANGED)
    expected = settled(project)
    project.control("POST", "reset")
    project.forget()
    for values in FAULTS[name]:
        project.fault(**values)
    for stack in (STACK, CHANGED):
        failures: list[str] = []
        for _attempt in range(3):  # a fault may outlast every retry, of a plan, too: then the next apply goes on
            try:
                [outcome] = project.perform(project.write(**stack))
            except ApiError as error:
                failures.append(str(error))
                continue
            if outcome.succeeded:
                break
            failures.append(report(outcome))
        assert len(failures) < 3, failures
    assert set(builds(project).values()) <= {1}
    project.calm()
    assert settled(project) == expected
    for outcome in project.perform(destroy=True):
        assert outcome.succeeded, report(outcome)


def test_a_whole_window_of_429_fails_no_apply(project: Project) -> None:
    project.fault("throttle", count=25, reset=60, path="/projects/")
    project.apply()


def test_an_endpoint_that_is_not_healthy_is_not_proven(project: Project) -> None:
    project.fault("unhealthy")
    [outcome] = project.perform(project.write(rollout={"timeout": 2}))
    assert not outcome.succeeded
    assert "waiting for GET /health: 503" in "\n".join(project.said)
    project.calm()
    project.apply(rollout={"timeout": 2})


def test_a_failed_build_shows_its_last_lines_and_the_next_apply_builds_again(project: Project) -> None:
    project.fault("build-fail", count=1, text="No matching distribution found for vllm")
    [outcome] = project.perform(project.write())
    [failed] = [r for r in outcome.results if r.status == "failed"]
    assert failed.operation.kind == "build"
    assert "No matching distribution found for vllm" in failed.error
    assert "last log lines" in failed.error
    assert {r.operation.kind for r in outcome.results if r.status == "not tried"} >= {"upload", "probe", "seal"}
    assert "whisperctl-lease" not in (project.api().deployment("alpha") or {})["labels"]
    project.apply()


def test_an_endless_build_times_out_and_is_waited_for_by_the_next_apply(project: Project) -> None:
    project.fault("build-endless", count=1)
    [outcome] = project.perform(project.write(rollout={"timeout": 1}))
    [failed] = [r for r in outcome.results if r.status == "failed"]
    assert "Timed out after 1 s" in failed.error
    [outcome] = project.perform(project.write(rollout={"timeout": 1}))
    assert "already building" in " ".join(project.said)


def test_a_failure_stops_only_what_depends_on_it(project: Project) -> None:
    good = project.write("good.yaml", environment={"mode": "package"})
    bad = project.write("bad.yaml", stack="beta", deployment={"name": "beta"}, service={"name": "beta"})
    project.fault("build-fail", count=1)
    one, two = project.perform(good, bad)
    assert {one.succeeded, two.succeeded} == {True, False}


def test_a_refusal_is_told_in_ubiops_own_words(project: Project) -> None:
    [outcome] = project.perform(project.write(version={"request_retention_time": 9}))
    [failed] = [r for r in outcome.results if r.status == "failed"]
    assert "UbiOps answered 400 to POST" in failed.error
    assert "request_retention_time: must be at least 3600" in failed.error


def test_a_problem_of_ubiops_own_says_what_to_do(project: Project) -> None:
    project.fault("error", status=503, path="/deployments$")
    with pytest.raises(ApiError) as caught:
        project.api().deployments()
    hint = str(caught.value).splitlines()[1]
    assert hint.startswith(
        "  UbiOps has a problem of its own (tried 4 times): try again later. `whisperctl doctor` tells"
    )
    project.calm()
    project.fault("error", status=501, path="/deployments$")
    with pytest.raises(ApiError) as caught:
        project.api().deployments()
    assert "try again later" not in str(caught.value)


def test_a_create_that_is_answered_with_an_error_is_told_so(project: Project) -> None:
    create = {"method": "POST", "path": "/deployments$", "count": 1}
    project.fault("error", status=500, **create)
    project.apply()
    project.destroy()
    project.fault("drop-before", **create)
    project.apply()
    assert [text for text in project.said if "did not arrive" in text] == [
        "UbiOps answered 500 to the create; it did not arrive, trying again (1)",
        "no answer to the create; it did not arrive, trying again (1)",
    ]


def test_a_cancelled_build_is_told_in_a_sentence(project: Project) -> None:
    project.fault("build-endless", count=1)
    clock = QuickClock()
    with ThreadPoolExecutor() as pool:
        applying = pool.submit(project.perform, project.write(), world=project.world(clock))
        [tag] = _appears(project, "building")
        project.api().cancel_tag("whisperctl", tag)
        [outcome] = applying.result(20)
    assert f"environment_tag/whisperctl/{tag}: the build was cancelled." in report(outcome)
    project.apply()
    assert "removing the tag whose build was cancelled" in project.said


def _appears(project: Project, status: str) -> list[str]:
    """The names of the tags of that status, once there is one."""
    deadline = time.monotonic() + 20
    while not (collected := [t["name"] for t in project.api().tags("whisperctl") or [] if t["status"] == status]):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return collected


@pytest.mark.parametrize("kind", ["refusal", "error"])
def test_a_version_that_is_not_seen_yet_is_asked_for_again(project: Project, kind: str) -> None:
    # The deployment was just created, and the copy that answers the next call does not know it, or no gateway does.
    project.fault(kind, status=404, method="POST", path="/deployments/alpha/versions$", count=3)
    project.apply()


def test_an_object_that_changed_since_the_plan_is_left_alone(project: Project) -> None:
    from whisperctl.engine import apply_plans, plan_stacks

    project.apply()
    world = project.world()
    plans = plan_stacks(project.load(project.write(version={"maximum_instances": 2})), world)
    project.api().update_version("alpha", "v1", {"maximum_instances": 7})
    [outcome] = apply_plans(plans, world)
    assert any("changed on UbiOps since the plan was made" in r.error for r in outcome.results)
    assert (project.api().version("alpha", "v1") or {})["maximum_instances"] == 7


def test_a_failed_destroy_asks_to_destroy_again(project: Project) -> None:
    project.apply()
    project.fault("error", status=403, method="DELETE", path="/services/alpha$")
    ran = project.cli("destroy", "--yes", str(project.folder / "stack.yaml"))
    assert ran.code == 1
    assert ran.err.endswith("  What was done stays done: mend the cause and destroy again to finish.\n")


def test_a_version_added_since_the_plan_saves_its_deployment(project: Project) -> None:
    from whisperctl.engine import apply_plans, plan_stacks

    project.apply()
    world = project.world()
    plans = plan_stacks(project.load(), world, destroy=True)
    project.api().create_version("alpha", {"version": "theirs"})
    [outcome] = apply_plans(plans, world)
    assert any("holds theirs now" in r.error for r in outcome.results)
    assert [v["version"] for v in project.api().versions("alpha")] == ["theirs"]


@pytest.mark.parametrize("kind", ["drop-before", "drop-after", "error"])
def test_a_lost_deployment_request_is_made_again(project: Project, kind: str) -> None:
    project.fault(kind, method="POST", path="/requests$", count=2)
    project.apply(service=None)


@contextmanager
def a_host_that_says(text: str) -> Iterator[str]:
    """Some other server: its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v2"
        server.shutdown()


@pytest.mark.parametrize("text", ["<html>Welcome</html>", '{"detail": "hello"}', '"hello"', "7", "null"])
def test_a_host_that_is_not_the_api_is_named(project: Project, text: str) -> None:
    with a_host_that_says(text) as host:
        ran = project.cli("plan", str(project.write()), "--host", host)
    assert ran.code == 1
    assert "it must be the API" in ran.err
