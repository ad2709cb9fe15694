"""Create, change, leave alone, destroy: what users do all day, against a real socket."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.project import CPU, T4, Project, actions, paths, report
from whisperctl.apply.events import Message
from whisperctl.errors import NotOwned, Refused
from whisperctl.plan.plan import Plan
from whisperctl.state.resources import Kind, Masked

ENV = {"env": {"PLAIN": "1", "TOKEN_FOR_HUB": {"value": "s3cr3t-canary", "secret": True}}}


def test_a_fresh_stack_is_created_and_a_second_plan_is_empty(project: Project) -> None:
    outcome = project.apply(**ENV)
    assert set(actions(outcome.plan).values()) == {"create"}
    books = project.books()
    assert books["version/alpha/v1"]["environment_name"] == "whisperctl"
    assert books["env_var/alpha/v1/PLAIN"]["value"] == "1"
    assert books["service/alpha"]["version"] == "v1"
    plan = project.plan_one(**ENV)
    assert plan.is_empty
    assert plan.unchanged == len(outcome.plan.changes)


def test_a_stack_without_labels_is_proven_by_what_its_package_names(project: Project) -> None:
    """Also where the emulator only keeps the books."""
    plain = {"labels": None, "minimum_instances": None}
    for name in ("first name", "second"):
        project.apply(version=plain, model={"served_name": name})
        ran = project.cli("smoke", str(project.folder / "stack.yaml"))
        assert name in ran.out, ran


@pytest.mark.parametrize(
    ("minimum", "message"),
    [
        (0, "an instance starts on the first request"),
        (1, "an instance starts at once"),
        (2, "2 instances start at once"),
    ],
)
def test_a_first_revision_says_when_instances_start(project: Project, minimum: int, message: str) -> None:
    plan = project.plan_one(version={"minimum_instances": minimum, "maximum_instances": 2})
    assert effect_of(plan, Kind.PACKAGE) == f"first revision: {message}"


def test_the_first_revision_of_a_paused_stack_starts_no_instance_at_once(project: Project) -> None:
    project.apply()
    pause(project)
    plan = project.plan_one(version={"name": "v2", "minimum_instances": 1})
    assert effect_of(plan, Kind.PACKAGE) == "first revision: an instance starts on the first request"


def effect_of(plan: Plan, kind: Kind) -> str:
    [change] = [change for change in plan.changes if change.address.kind is kind and change.action != "delete"]
    return change.effect


def test_no_lease_is_left_and_no_write_is_made_for_nothing(project: Project) -> None:
    project.apply()
    with project.counted() as made:
        project.apply()
    assert not [line for line in made if not line.startswith("GET")]
    labels = (project.api().deployment("alpha") or {})["labels"]
    assert "whisperctl-lease" not in labels
    assert labels["whisperctl-version"] == "v1"


CHANGES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("minimum", {"version": {"minimum_instances": 0}}, ["version/alpha/v1 minimum_instances"]),
    ("maximum", {"version": {"maximum_instances": 3}}, ["version/alpha/v1 maximum_instances"]),
    ("idle time", {"version": {"maximum_idle_time": 600}}, ["version/alpha/v1 maximum_idle_time"]),
    ("description", {"version": {"description": "x"}}, ["version/alpha/v1 description"]),
    ("scaling", {"version": {"scaling_strategy": "moderate"}}, ["version/alpha/v1 scaling_strategy"]),
    ("queue", {"version": {"maximum_queue_size": 5}}, ["version/alpha/v1 maximum_queue_size"]),
    ("retention mode", {"version": {"request_retention_mode": "none"}}, ["version/alpha/v1 request_retention_mode"]),
    ("retention time", {"version": {"request_retention_time": 3600}}, ["version/alpha/v1 request_retention_time"]),
    (
        "interruption",
        {"version": {"restart_request_interruption": True}},
        ["version/alpha/v1 restart_request_interruption"],
    ),
    ("health check", {"version": {"health_check": {"interval": 10}}}, ["version/alpha/v1 health_check.interval"]),
    ("version label", {"version": {"labels": {"team": "speech"}}}, ["version/alpha/v1 labels.team"]),
    ("deployment description", {"deployment": {"description": "new"}}, ["deployment/alpha description"]),
    ("deployment label", {"deployment": {"labels": {"a": "b"}}}, ["deployment/alpha labels.a"]),
    ("group", {"instance_type_group": {"name": CPU, "gpu": "T4"}}, ["version/alpha/v1 instance_type_group_name"]),
    ("service description", {"service": {"description": "d"}}, ["service/alpha description"]),
    ("rate limit", {"service": {"rate_limit": 60}}, ["service/alpha rate_limit"]),
    (
        "user limit",
        {"service": {"concurrency_limit_user_default": 4}},
        ["service/alpha concurrency_limit_user_default"],
    ),
    ("service label", {"service": {"labels": {"x": "y"}}}, ["service/alpha labels.x"]),
    (
        "excluded extensions",
        {"service": {"request_logging_excluded_extensions": ["wav"]}},
        ["service/alpha request_logging_excluded_extensions"],
    ),
    ("pass through", {"service": {"authentication_header_pass_through": True}},
     ["service/alpha authentication_header_pass_through"]),
    ("routing", {"service": {"cache_aware_llm_routing": True}}, ["service/alpha cache_aware_llm_routing"]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_each_field_changes_and_goes_back_to_what_a_fresh_stack_has(
    project: Project, change: dict[str, Any], expected: list[str]
) -> None:
    project.apply()
    fresh = project.books()
    outcome = project.apply(**change)
    assert [line for line in paths(outcome.plan) if not line.startswith(("package/", "environment"))] == expected
    project.apply()
    assert project.books() == fresh


def test_env_vars_are_added_changed_and_removed_and_foreign_ones_stay(project: Project) -> None:
    project.apply(env={"KEPT": "1", "CHANGED": "a", "GONE": "x"})
    project.api().create_env_var("alpha", "v1", {"name": "THEIRS", "value": "theirs", "secret": False})
    outcome = project.apply(env={"KEPT": "1", "CHANGED": "b", "ADDED": "y"})
    assert actions(outcome.plan) == {
        "env_var/alpha/v1/ADDED": "create",
        "env_var/alpha/v1/CHANGED": "update",
        "env_var/alpha/v1/GONE": "delete",
    }
    collected = {e["name"]: e["value"] for e in project.api().env_vars("alpha", "v1")}
    assert collected == {"KEPT": "1", "CHANGED": "b", "ADDED": "y", "THEIRS": "theirs"}


def test_a_secret_is_noticed_when_it_changes_and_never_shown(project: Project) -> None:
    project.apply(env={"T": {"value": "first-canary", "secret": True}})
    plan = project.plan_one(env={"T": {"value": "second-canary", "secret": True}})
    [change] = plan.changes
    assert [(f.path, f.before, f.after) for f in change.fields] == [("value", Masked.SECRET, Masked.SECRET_CHANGED)]
    project.apply(env={"T": {"value": "second-canary", "secret": True}})
    assert project.plan_one(env={"T": {"value": "second-canary", "secret": True}}).is_empty
    assert not project.plan_one(env={"T": {"value": "first-canary", "secret": True}}).is_empty


def test_a_plain_value_that_becomes_a_secret_is_not_shown_on_its_way(project: Project) -> None:
    project.apply(env={"T": "canary"})
    plan = project.plan_one(env={"T": {"value": "canary", "secret": True}})
    assert "canary" not in str(plan.changes)
    project.apply(env={"T": {"value": "canary", "secret": True}})
    [variable] = project.api().env_vars("alpha", "v1")
    assert variable["secret"]
    assert variable["value"] is None


def test_a_secret_that_becomes_plain_is_replaced(project: Project) -> None:
    project.apply(env={"T": {"value": "open-soon", "secret": True}})
    outcome = project.apply(env={"T": "open-soon"})
    assert actions(outcome.plan) == {"env_var/alpha/v1/T": "replace"}
    [variable] = project.api().env_vars("alpha", "v1")
    assert variable["value"] == "open-soon"


def test_a_renamed_version_is_made_proven_and_only_then_the_old_one_goes(project: Project) -> None:
    project.apply(env={"A": "1"})
    endpoint = project.api().service("alpha")["endpoint"]
    outcome = project.apply(version={"name": "v2"}, env={"A": "1"})
    made = [f"{r.operation.kind} {r.operation.address}" for r in outcome.results]
    order = ["create version/alpha/v2", "update service/alpha", "probe version/alpha/v2", "delete version/alpha/v1"]
    assert [made.index(line) for line in order] == sorted(made.index(line) for line in order)
    assert project.api().service("alpha")["endpoint"] == endpoint
    assert (project.api().deployment("alpha") or {})["default_version"] == "v2"
    assert [v["version"] for v in project.api().versions("alpha")] == ["v2"]


def test_a_renamed_service_and_a_renamed_deployment_leave_nothing_behind(project: Project) -> None:
    project.apply()
    project.apply(service={"name": "beta"})
    assert [s["name"] for s in project.api().services()] == ["beta"]
    project.apply(service={"name": "beta"}, deployment={"name": "gamma"})
    assert [d["name"] for d in project.api().deployments()] == ["gamma"]
    assert project.api().service("beta")["deployment"] == "gamma"


def test_several_services_and_one_of_them_removed(project: Project) -> None:
    two = [{"name": "one", "port": 8080}, {"name": "two", "port": 8080, "rate_limit": 5}]
    project.apply(service=two)
    assert {s["name"] for s in project.api().services()} == {"one", "two"}
    outcome = project.apply(service=two[:1])
    assert actions(outcome.plan) == {"service/two": "delete"}
    project.apply(service=None)
    assert project.api().services() == []


def test_a_managed_group_is_created_changed_renamed_and_removed(project: Project) -> None:
    types = sorted(item["name"] for item in project.api().instance_types())[:3]
    before = project.books()
    mine = {"name": "mine", "gpu": "T4", "instance_types": types[:2]}
    project.apply(instance_type_group=mine)
    assert project.books()["group/mine"][0][0] == types[0]
    outcome = project.apply(instance_type_group=mine | {"instance_types": types[:1]})
    assert actions(outcome.plan) == {"instance_type_group/mine": "update"}
    assert [item[0] for item in project.books()["group/mine"]] == types[:1]
    timed = [{"name": types[0], "priority": 3, "schedule_timeout": 900}, types[2]]
    project.apply(instance_type_group=mine | {"instance_types": timed})
    assert project.books()["group/mine"] == [(types[2], 1, 300), (types[0], 3, 900)]
    outcome = project.apply(instance_type_group=mine | {"name": "renamed"})
    assert actions(outcome.plan)["instance_type_group/mine"] == "delete"
    assert "group/mine" not in project.books()
    project.apply()
    assert {name for name in project.books() if name.startswith("group/")} == {
        name for name in before if name.startswith("group/")
    }


def test_a_group_of_another_stack_is_refused_naming_it(project: Project) -> None:
    mine = {"name": "mine", "gpu": "T4", "instance_types": [project.api().instance_types()[0]["name"]]}
    project.apply(instance_type_group=mine)
    with pytest.raises(NotOwned, match="instance_type_group/mine exists and belongs to the stack 'alpha'"):
        project.plan_one(stack="beta", deployment={"name": "beta"}, service=None, instance_type_group=mine)


def test_a_group_that_is_no_longer_managed_is_let_go_of(project: Project) -> None:
    types = [project.api().instance_types()[0]["name"]]
    project.apply(instance_type_group={"name": "mine", "instance_types": types})
    project.apply(instance_type_group={"name": "mine"})
    project.destroy(instance_type_group={"name": "mine"})
    assert "group/mine" in project.books()


def test_the_environment_moves_between_managed_and_package(project: Project) -> None:
    project.apply()
    project.apply(environment={"mode": "package"})
    books = project.books()
    assert books["version/alpha/v1"]["environment_name"] != "whisperctl"
    assert "environment" in books, "the revision before may be gone back to"
    project.apply()
    assert project.books()["version/alpha/v1"]["environment_name"] == "whisperctl"


def test_foreign_labels_stay_and_labels_that_left_the_spec_go(project: Project) -> None:
    project.apply(version={"labels": {"ours": "1"}})
    api = project.api()
    labels = (api.version("alpha", "v1") or {})["labels"]
    api.update_version("alpha", "v1", {"labels": labels | {"theirs": "2"}})
    assert project.plan_one(version={"labels": {"ours": "1"}}).is_empty
    project.apply()
    after = (api.version("alpha", "v1") or {})["labels"]
    assert "ours" not in after
    assert after["theirs"] == "2"


def test_what_was_set_by_hand_and_is_not_in_the_spec_stays(project: Project) -> None:
    project.apply()
    project.api().update_version("alpha", "v1", {"description": "by hand", "maximum_queue_size": 7})
    project.api().update_service("alpha", {"rate_limit": 9})
    assert project.plan_one().is_empty
    project.apply(version={"maximum_instances": 2})
    raw = project.api().version("alpha", "v1") or {}
    assert (raw["description"], raw["maximum_queue_size"]) == ("by hand", 7)
    assert project.api().service("alpha")["rate_limit"] == 9


def _apply_then_make_it_structured(project: Project, **more: Any) -> None:
    """A stack whose deployment takes structured data: nobody can change that, and no spec can want it."""
    project.apply(**more)
    api = project.api()
    labels = {name: text for name, text in (api.deployment("alpha") or {})["labels"].items() if name != "whisperctl-id"}
    for service in api.services():
        api.delete_service(service["name"])
    api.delete_deployment("alpha")
    fields = [{"name": "a", "data_type": "string"}]
    api.create_deployment(
        {"name": "alpha", "input_type": "structured", "input_fields": fields, "output_type": "plain", "labels": labels}
    )
    owned = {"labels": {"whisperctl-stack": "alpha", "whisperctl-digest": "of an earlier version of this tool"}}
    api.create_version("alpha", {"version": "v1", "instance_type_group_name": T4, **owned})
    api.create_version("alpha", {"version": "v0", "instance_type_group_name": T4, **owned})
    for name in ("alpha", "leaving"):
        api.create_service({"name": name, "deployment": "alpha", "version": "v1", "port": 8080, **owned})


def test_an_immutable_field_replaces_the_deployment_and_all_below_it(project: Project) -> None:
    types = [project.api().instance_types()[0]["name"]]
    more: dict[str, Any] = {"env": {"A": "1"}, "instance_type_group": {"name": "mine", "instance_types": types}}
    _apply_then_make_it_structured(project, **more)
    outcome = project.apply(**more)
    [change] = [c for c in outcome.plan.changes if str(c.address) == "deployment/alpha"]
    assert change.action == "replace"
    assert "input_type cannot be changed in place" in change.reason
    assert actions(outcome.plan)["service/alpha"] == "replace"
    assert actions(outcome.plan)["version/alpha/v0"] == "delete"
    assert (project.api().deployment("alpha") or {})["input_type"] == "plain"
    assert [s["name"] for s in project.api().services()] == ["alpha"]


def test_a_protected_stack_is_neither_replaced_nor_destroyed(project: Project) -> None:
    _apply_then_make_it_structured(project)
    assert [remark.source for remark in project.plan_one(protect=True).refused] == [f"{project.folder}/stack.yaml:30"]
    for destroy in (False, True):
        with pytest.raises(Refused, match="protect"):
            project.perform(project.write(protect=True), destroy=destroy)


def test_a_deployment_with_somebody_elses_version_is_never_deleted(project: Project) -> None:
    _apply_then_make_it_structured(project)
    project.api().create_version("alpha", {"version": "theirs", "instance_type_group_name": T4})
    with pytest.raises(NotOwned, match="theirs"):
        project.plan_one()
    outcome = project.destroy()
    assert "theirs" in outcome.plan.warnings[0].text
    assert [v["version"] for v in project.api().versions("alpha")] == ["theirs"]


def test_a_foreign_revision_is_drift_and_is_replaced(project: Project, tmp_path: Any) -> None:
    project.apply()
    [stack] = project.load()
    from whisperctl.package.build import build_package

    by_hand = project.api().upload("alpha", "v1", build_package(stack))
    project.control("POST", "clock", {"advance": 3600})
    _until(lambda: (project.api().version("alpha", "v1") or {})["active_revision"] == by_hand)
    outcome = project.apply()
    [change] = outcome.plan.changes
    assert str(change.address) == "package/alpha/v1"
    assert by_hand in change.reason


def test_build_logs_are_seen_where_the_clock_of_ubiops_is_ahead(project: Project) -> None:
    project.control("POST", "clock", {"advance": 60})
    project.apply()
    logs = [event for event in project.events if isinstance(event, Message) and event.level == "log"]
    said = [(event.address.kind, event.text) for event in logs]
    assert (Kind.ENVIRONMENT_TAG, "Build finished") in said
    assert (Kind.PACKAGE, "Build finished") in said


def test_destroy_removes_everything_of_ours_and_a_second_one_does_nothing(project: Project) -> None:
    before = project.books()
    project.api().create_deployment({"name": "foreign", "input_type": "plain", "output_type": "plain"})
    types = [project.api().instance_types()[0]["name"]]
    more = {"instance_type_group": {"name": "mine", "instance_types": types}, **ENV}
    project.apply(**more)
    outcome = project.destroy(**more)
    assert outcome.results[-1].operation.address.names == ("alpha",)
    assert project.books().keys() == before.keys() | {"deployment/foreign"}
    again = project.destroy(**more)
    assert again.plan.is_empty
    assert again.results == ()


def test_destroy_cancels_a_build_that_was_left_running(project: Project) -> None:
    project.fault("build-endless", count=1)
    [outcome] = project.perform(project.write(rollout={"timeout": 1}))
    assert not outcome.succeeded
    project.destroy()
    assert project.names() == set()


def test_two_stacks_share_an_environment_and_the_last_one_takes_it_along(project: Project) -> None:
    one = project.write("one.yaml")
    two = project.write("two.yaml", stack="beta", deployment={"name": "beta"}, service={"name": "beta"})
    for outcome in project.perform(one, two):
        assert outcome.succeeded, report(outcome)
    assert len(project.api().tags("whisperctl") or []) == 1
    [outcome] = project.perform(one, destroy=True)
    assert outcome.succeeded, report(outcome)
    assert len(project.api().tags("whisperctl") or []) == 1
    [outcome] = project.perform(two, destroy=True)
    assert outcome.succeeded, report(outcome)
    assert project.api().environment("whisperctl") is None


def test_both_stacks_of_a_shared_environment_destroyed_together(project: Project) -> None:
    files = [
        project.write("one.yaml"),
        project.write("two.yaml", stack="beta", deployment={"name": "beta"}, service={"name": "beta"}),
    ]
    project.perform(*files)
    for outcome in project.perform(*files, destroy=True):
        assert outcome.succeeded, report(outcome)
    assert project.names() == set()


def test_the_tags_of_the_last_three_revisions_are_kept(project: Project) -> None:
    tags = []
    for number in range(5):
        # Another revision each time, so that there is something to go back to.
        project.apply(environment={"requirements": [f"six==1.{number}"]}, vllm={"max_model_len": 400 + number})
        tags.append((project.api().version("alpha", "v1") or {})["environment_tag"])
    assert {tag["name"] for tag in project.api().tags("whisperctl") or []} == set(tags[-3:])


def test_a_paused_stack_is_left_asleep(project: Project) -> None:
    project.apply()
    api = project.api()
    pause(project)
    plan = project.plan_one()
    assert plan.changes == ()
    assert "paused" in plan.warnings[0].text
    outcome = project.apply(version={"maximum_instances": 4})
    assert "probe" not in {r.operation.kind for r in outcome.results}
    assert (api.version("alpha", "v1") or {})["minimum_instances"] == 0


def pause(project: Project) -> None:
    """As the command does it, but with no instance to stop."""
    api = project.api()
    labels = (api.version("alpha", "v1") or {})["labels"]
    api.update_version("alpha", "v1", {"minimum_instances": 0, "labels": labels | {"whisperctl-paused": "1"}})


@pytest.mark.parametrize(
    ("changes", "deployment", "version"),
    [
        ({"version": {"name": "v2"}}, "alpha", "v2"),
        ({"deployment": {"name": "beta"}}, "beta", "v1"),
        ({"deployment": {"name": "beta"}, "version": {"name": "v2"}}, "beta", "v2"),
    ],
)
def test_a_pause_goes_on_to_a_version_that_takes_the_place_of_the_paused_one(
    project: Project, changes: dict[str, Any], deployment: str, version: str
) -> None:
    project.apply()
    pause(project)
    outcome = project.apply(**changes)
    [warning] = outcome.plan.warnings
    assert warning.text == "the stack is paused: minimum_instances stays 0 until `whisperctl resume`"
    assert "probe" not in {r.operation.kind for r in outcome.results}
    raw = project.api().version(deployment, version) or {}
    assert (raw["minimum_instances"], raw["labels"]["whisperctl-paused"]) == (0, "1")
    assert project.plan_one(**changes).is_empty


def test_a_pause_goes_on_through_a_replaced_deployment(project: Project) -> None:
    _apply_then_make_it_structured(project)
    pause(project)
    outcome = project.apply()
    assert actions(outcome.plan)["version/alpha/v1"] == "replace"
    raw = project.api().version("alpha", "v1") or {}
    assert (raw["minimum_instances"], raw["labels"]["whisperctl-paused"]) == (0, "1")
    assert project.plan_one().is_empty


def test_a_stack_that_was_resumed_while_its_version_is_renamed_is_awake(project: Project) -> None:
    """The new version was born asleep and woken; what is left of the old one must not put a third to sleep."""
    project.apply()
    pause(project)
    project.fault("build-fail", count=1)
    [outcome] = project.perform(project.write(version={"name": "v2"}, vllm={"max_model_len": 400}))
    assert not outcome.succeeded
    api = project.api()
    labels = dict((api.version("alpha", "v2") or {})["labels"])
    assert labels.pop("whisperctl-paused") == "1"
    api.update_version("alpha", "v2", {"minimum_instances": 1, "labels": labels})
    assert project.plan_one(version={"name": "v2"}).warnings == ()
    assert project.plan_one(version={"name": "v3"}).warnings == ()
    project.apply(version={"name": "v3"})
    assert (api.version("alpha", "v3") or {})["minimum_instances"] == 1


def test_a_stack_without_a_service_is_proven_by_its_deployment(project: Project) -> None:
    outcome = project.apply(service=None)
    assert "probe" in {r.operation.kind for r in outcome.results}


def test_an_unknown_group_is_refused_with_those_that_exist(project: Project) -> None:
    with pytest.raises(NotOwned, match=r"no instance type group 'nowhere'[\s\S]*Tesla T4"):
        project.plan_one(instance_type_group={"name": "nowhere", "gpu": "T4"})
    assert T4 in {group["name"] for group in project.api().groups()}


def _until(done: Any) -> None:
    import time

    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
