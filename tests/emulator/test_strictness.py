"""What the emulator refuses, and what it clears: requests that the official client would not send."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import ubiops

from tests.emulator.conftest import PROJECT
from tests.harness import loopback
from ubiops_emulator.testing import Emulator

P = f"/v2/projects/{PROJECT}"
PLAIN = {"input_type": "plain", "output_type": "plain"}
CPU = "16384 MB + 4 vCPU"
T4 = "12288 MB + NVIDIA Tesla T4"


def error(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    return str(answer.json()["error"])


DEPLOYMENTS: list[tuple[dict[str, Any], str]] = [
    ({}, "name: this field is required"),
    ({"name": ""}, "name: this field may not be blank"),
    ({"name": "x" * 65}, "name: at most 64 characters"),
    ({"name": "Upper"}, "name: only lowercase letters"),
    ({"name": "under_score"}, "name: only lowercase letters"),
    ({"name": 5}, "name: a string is required"),
    ({"name": None}, "name: this field may not be null"),
    ({"name": "a", "nonsense": 1}, "nonsense: unknown field"),
    ({"name": "a", "default_version": "v1"}, "default_version: this field cannot be set on create"),
    ({"name": "a", "description": "d" * 401}, "description: at most 400"),
    ({"name": "a", "input_type": "json"}, '"json" is not a valid choice'),
    ({"name": "a"}, "input_type: this field is required"),
    ({"name": "a", "labels": ["x"]}, "labels: a map of strings is required"),
    ({"name": "a", "labels": {"x": 1}}, "labels must be strings: x"),
    ({"name": "a", **PLAIN, "input_fields": [{"name": "f", "data_type": "int"}]}, "must be empty"),
    ({"name": "a", **PLAIN, "input_type": "structured", "input_fields": [{"name": "f"}]}, "input_fields[0].data_type"),
    (
        {"name": "a", **PLAIN, "input_type": "structured", "input_fields": [{"name": "f", "data_type": "int"}] * 2},
        "must be unique",
    ),
]


@pytest.mark.parametrize(("body", "text"), DEPLOYMENTS)
def test_deployments_are_checked(http: httpx.Client, body: dict[str, Any], text: str) -> None:
    assert text in error(http.post(f"{P}/deployments", json=body), 400)


def test_all_problems_at_once(http: httpx.Client) -> None:
    text = error(http.post(f"{P}/deployments", json={"nmae": "a", "description": 1}), 400)
    assert text == "nmae: unknown field; description: a string is required; name: this field is required"


VERSIONS: list[tuple[dict[str, Any], str]] = [
    ({"minimum_instances": 3, "maximum_instances": 2}, "minimum_instances: must not exceed"),
    ({"maximum_instances": 21}, "maximum_instances: must be at most 20"),
    ({"minimum_instances": "1"}, "minimum_instances: an integer is required"),
    ({"minimum_instances": True}, "minimum_instances: an integer is required"),
    ({"maximum_idle_time": 9}, "maximum_idle_time: must be at least 10"),
    ({"maximum_idle_time": 3601}, "maximum_idle_time: must be at most 3600"),
    ({"maximum_idle_time": 299, "instance_type_group_name": T4}, "must be at least 300 with a GPU"),
    ({"request_retention_mode": "Full"}, '"Full" is not a valid choice'),
    ({"scaling_strategy": "wild"}, "scaling_strategy"),
    ({"language": "python3-12"}, "language: unknown field"),
    ({"static_ip": False}, "static_ip: unknown field"),
    ({"health_check": {"path": "/health"}}, "health_check: port and path are required together"),
    ({"health_check": {"port": 1, "path": "health"}}, "health_check.path: must start with /"),
    ({"health_check": {"port": 1, "path": "/", "retries": 1}}, "health_check.retries: unknown field"),
    ({"command": ["x"]}, "command and args: only allowed without request format"),
    ({"environment": "a", "environment_name": "b"}, "contradict each other"),
    ({"instance_type_group_id": "no"}, "is not a valid UUID"),
]


@pytest.mark.parametrize(("body", "text"), VERSIONS)
def test_versions_are_checked(http: httpx.Client, name: str, version: Any, body: dict[str, Any], text: str) -> None:
    path = f"{P}/deployments/{name}/versions"
    assert text in error(http.post(path, json={"version": "v2"} | body), 400)
    assert text in error(http.patch(f"{path}/v1", json=body), 400)
    assert [item["version"] for item in http.get(path).json()] == ["v1"]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"environment_name": "nowhere"}, "Environment was not found"),
        ({"environment": "python3-11"}, "Environment was not found"),
        (
            {"environment_name": "ubiops-ubuntu24-04-python3-12", "environment_tag": "v0"},
            "Environment tag was not found",
        ),
        ({"instance_type_group_name": "no such group"}, "Instance type group was not found"),
        ({"instance_type": "no such type"}, "Instance type was not found"),
    ],
)
def test_references_of_versions(http: httpx.Client, name: str, version: Any, body: dict[str, Any], text: str) -> None:
    answer = http.post(f"{P}/deployments/{name}/versions", json={"version": "v2"} | body)
    assert error(answer, 404) == text


def test_the_environment_alias_is_taken_and_not_returned(http: httpx.Client, name: str, version: Any) -> None:
    path = f"{P}/deployments/{name}/versions/v1"
    body = http.patch(path, json={"environment": "ubiops-ubuntu24-04-python3-13"}).json()
    assert (body["environment_name"], body["environment_tag"]) == ("ubiops-ubuntu24-04-python3-13", "v5.25.0")
    assert "environment" not in body
    older = http.patch(path, json={"environment_tag": "v5.24.0"}).json()
    assert (older["environment_name"], older["environment_tag"]) == ("ubiops-ubuntu24-04-python3-13", "v5.24.0")


def test_null_clears_what_is_nullable(http: httpx.Client, name: str, version: Any) -> None:
    path = f"{P}/deployments/{name}/versions/v1"
    health = {"port": 8080, "path": "/health"}
    assert http.patch(path, json={"health_check": health}).json()["health_check"] == health
    assert http.patch(path, json={}).json()["health_check"] == health
    assert http.patch(path, json={"health_check": None}).json()["health_check"] is None
    assert "may not be null" in error(http.patch(path, json={"maximum_instances": None}), 400)
    service = {"name": name, "deployment": name, "version": "v1", "port": 80, "rate_limit": 5}
    assert http.post(f"{P}/services", json=service).json()["rate_limit"] == 5
    cleared = http.patch(f"{P}/services/{name}", json={"version": None, "rate_limit": None}).json()
    assert (cleared["version"], cleared["rate_limit"]) == (None, None)
    assert "may not be null" in error(http.patch(f"{P}/services/{name}", json={"port": None}), 400)
    assert http.delete(f"{P}/services/{name}").status_code == 204


def test_immutable_fields(http: httpx.Client, name: str, version: Any) -> None:
    for field, value in (("supports_request_format", False), ("input_type", "plain"), ("output_type", "plain")):
        text = error(http.patch(f"{P}/deployments/{name}", json={field: value}), 400)
        assert text == f"{field}: this field cannot be set after creation"
    http.post(f"{P}/environments", json={"name": name})
    assert "after creation" in error(http.patch(f"{P}/environments/{name}", json={"name": "other"}), 400)
    http.post(f"{P}/environments/{name}/tags", json={"name": "t1"})
    assert "after creation" in error(http.patch(f"{P}/environments/{name}/tags/t1", json={"name": "t2"}), 400)
    assert error(http.put(f"{P}/deployments/{name}", json={}), 501).endswith(f"PUT {P}/deployments/{name}")


def test_a_group_shows_nothing_of_the_emulators_own(http: httpx.Client, name: str) -> None:
    [first, *_] = http.get(f"{P}/instance-types").json()["results"]
    made = http.post(f"{P}/instance-type-groups", json={"name": name, "instance_types": [{"id": first["id"]}]}).json()
    [shown] = http.get(f"{P}/instance-type-groups/{made['id']}").json()["instance_types"]
    assert not [key for key in shown if key.startswith("_")]
    http.delete(f"{P}/instance-type-groups/{made['id']}")


def test_generated_tag_names(http: httpx.Client, name: str) -> None:
    http.post(f"{P}/environments", json={"name": name})
    made = http.post(f"{P}/environments/{name}/tags", json={}).json()["name"]
    assert http.get(f"{P}/environments/{name}/tags/{made}").status_code == 200


@pytest.mark.parametrize("wrong", ["_X", "X_", "1X", "A-B", "A B", "", "X" * 65])
def test_variable_names(http: httpx.Client, wrong: str) -> None:
    body = {"name": wrong, "value": "", "secret": False}
    assert "name:" in error(http.post(f"{P}/environment-variables", json=body), 400)


def test_partial_updates_of_variables(http: httpx.Client, name: str, version: Any) -> None:
    path = f"{P}/deployments/{name}/environment-variables"
    body = {"name": "A_1", "value": "", "secret": False}
    made = http.post(path, json=body).json()
    assert http.patch(f"{path}/{made['id']}", json={"value": "b"}).json()["value"] == "b"
    assert http.patch(f"{path}/A_1", json={"secret": True}).json()["value"] is None
    assert "readable" in error(http.patch(f"{path}/A_1", json={"secret": False}), 400)
    missing = error(http.post(path, json={"name": "B"}), 400)
    assert missing == "value: this field is required; secret: this field is required"
    answers = [http.get(path).text, http.get(f"{path}/A_1").text]
    assert all('"b"' not in text for text in answers)


SERVICES: list[tuple[dict[str, Any], int, str]] = [
    ({"port": 0}, 400, "port: must be at least 1"),
    ({"port": 65536}, 400, "port: must be at most 65535"),
    ({"port": None}, 400, "port"),
    ({"health_check": {"path": "/"}}, 400, "health_check: unknown field"),
    ({"rate_limit_token": 5}, 400, "rate_limit_token: unknown field"),
    ({"health_check_path": "/"}, 400, "health_check_path: unknown field"),
    ({"version": "v9"}, 404, "Deployment version was not found"),
    ({"type": "kubernetes_imported"}, 400, "not enabled"),
    ({"imported_name": "x"}, 400, "only allowed for a kubernetes_imported"),
    ({"rate_limit": 0}, 400, "rate_limit: must be at least 1"),
    ({"authentication_required": False, "rate_limit_user_default": 3}, 400, "only allowed when authentication"),
    ({"request_logging_excluded_paths": "x" * 401}, 400, "at most 400"),
]


@pytest.mark.parametrize(("body", "status", "text"), SERVICES)
def test_services_are_checked(
    http: httpx.Client, name: str, version: Any, body: dict[str, Any], status: int, text: str
) -> None:
    full = {"name": name, "deployment": name, "port": 80} | body
    assert text in error(http.post(f"{P}/services", json=full), status)


def test_a_service_needs_a_version_to_default_to(http: httpx.Client, name: str) -> None:
    http.post(f"{P}/deployments", json={"name": name} | PLAIN)
    text = error(http.post(f"{P}/services", json={"name": name, "deployment": name, "port": 80}), 400)
    assert text == "version: the deployment has no default version"


def test_apps_have_a_fixed_number_of_instances(http: httpx.Client, name: str) -> None:
    http.post(f"{P}/deployments", json={"name": name, "supports_request_format": False})
    http.post(f"{P}/environments", json={"name": name})
    http.post(f"{P}/environments/{name}/tags", json={"name": "t1", "supports_request_format": False})
    path = f"{P}/deployments/{name}/versions"
    body = {"version": "v1", "environment_name": name, "minimum_instances": 0, "command": ["serve"], "args": "-x"}
    made = http.post(path, json=body).json()
    assert (made["minimum_instances"], made["maximum_instances"]) == (0, 0)
    assert (made["command"], made["args"]) == (["serve"], "-x")
    assert http.patch(f"{path}/v1", json={"command": None}).json()["command"] is None
    assert "must equal" in error(http.patch(f"{path}/v1", json={"maximum_instances": 2}), 400)
    files = {"file": ("p.zip", b"x")}
    assert error(http.post(f"{path}/v1/revisions", files=files), 400)
    http.delete(f"{P}/deployments/{name}")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "JSON parse error"),
        (b"[]", "must be a JSON object"),
        (b'{"name": NaN}', "JSON parse error"),
        (b"\xff", "JSON parse error"),
        (b"[" * 100_000, "JSON parse error"),
    ],
)
def test_bodies_that_are_no_json_object(http: httpx.Client, body: bytes, text: str) -> None:
    answer = http.post(f"{P}/deployments", content=body, headers={"Content-Type": "application/json"})
    assert text in error(answer, 400)


def test_other_media_types(http: httpx.Client) -> None:
    answer = http.post(f"{P}/deployments", content=b"<x/>", headers={"Content-Type": "application/xml"})
    assert "application/xml" in error(answer, 415)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (None, "credentials were not provided"),
        ("Token", "Invalid token header"),
        ("Token Token abc", "should not contain spaces"),
        ("Basic abc", "Invalid token header"),
        ("Token abc", "Invalid token."),
    ],
)
def test_tokens(emulator: Emulator, header: str | None, text: str) -> None:
    headers = {"Authorization": header} if header else {}
    assert text in error(loopback.get(f"{emulator.host}/projects", headers=headers), 401)


@pytest.mark.parametrize("path", ["/v2/pipelines", "/v3/projects", "/", "/v2/projects/demo/buckets", "/docs"])
def test_what_is_not_there_says_so(http: httpx.Client, path: str) -> None:
    assert error(http.get(path), 501) == f"The emulator does not implement GET {path}"


def test_unknown_query_parameters_are_refused(http: httpx.Client) -> None:
    assert "environment_type" in error(http.get(f"{P}/environments?environment_type=base"), 400)
    assert error(http.get(f"{P}/deployments?labels=x"), 400)
    assert error(http.get(f"{P}/instance-types?limit=251"), 400)
    assert error(http.get(f"{P}/instance-types?cursor=!!"), 400) == "Invalid cursor"


def test_names_are_encoded(http: httpx.Client) -> None:
    assert error(http.get(f"{P}/deployments/a%2Fb"), 404) == "Deployment was not found"


def test_switches_turn_strictness_off(http: httpx.Client, name: str, version: Any) -> None:
    switches = {
        "duplicate_status": 409,
        "reject_unknown_fields": False,
        "service_blocks_delete": False,
        "status_follows_instances": False,
    }
    before = http.get("/_emulator/switches").json()
    assert http.patch("/_emulator/switches", json=switches).json() == before | switches
    try:
        body = {"name": name, "nonsense": 1} | PLAIN
        error(http.post(f"{P}/deployments", json=body), 409)
        path = f"/v2.1/projects/{PROJECT}/deployments/{name}"
        old = http.post(f"{path}/versions", json={"version": "v2", "environment": "python3-12", "language": "x"})
        assert old.json()["environment_name"] == "ubiops-ubuntu24-04-python3-12"
        http.post(f"{P}/services", json={"name": name, "deployment": name, "version": "v2", "port": 80})
        assert http.delete(f"{path}/versions/v2").status_code == 204
        http.delete(f"{P}/services/{name}")
    finally:
        http.patch("/_emulator/switches", json=before)


def test_switches_turn_the_tutorials_ways_off(http: httpx.Client, name: str, version: Any) -> None:
    http.patch("/_emulator/switches", json={"legacy_environment_names": False, "legacy_api_path": False})
    try:
        error(http.get(f"/v2.1/projects/{PROJECT}"), 501)
        body = {"version": "v2", "environment": "python3-12"}
        assert error(http.post(f"{P}/deployments/{name}/versions", json=body), 404) == "Environment was not found"
    finally:
        http.patch("/_emulator/switches", json={"legacy_environment_names": True, "legacy_api_path": True})


def test_a_server_that_trims_text(http: httpx.Client, name: str) -> None:
    body = PLAIN | {"name": f" {name}", "description": " two\nlines \n", "labels": {"team": " audio "}}
    error(http.post(f"{P}/deployments", json=body), 400)
    http.patch("/_emulator/switches", json={"trim_text": True})
    try:
        made = http.post(f"{P}/deployments", json=body).json()
        variable = {"name": "A", "value": "x \n", "secret": False}
        stored = http.post(f"{P}/deployments/{name}/environment-variables", json=variable).json()
    finally:
        http.patch("/_emulator/switches", json={"trim_text": False})
    assert (made["name"], made["description"], made["labels"]) == (name, "two\nlines", {"team": "audio"})
    assert stored["value"] == "x"


def test_secrets_never_leave(http: httpx.Client, api: ubiops.CoreApi, name: str, version: Any) -> None:
    body = ubiops.EnvironmentVariableCreate(name="S", value=f"secret-{name}", secret=True)
    api.deployment_environment_variables_create(PROJECT, name, body)
    paths = [
        f"{P}/deployments/{name}/environment-variables",
        f"{P}/deployments/{name}/environment-variables/S",
        f"{P}/deployments/{name}/versions/v1/environment-variables",
        f"{P}/audit",
        f"{P}/logs",
        "/_emulator/journal",
    ]
    assert all(f"secret-{name}" not in http.get(path).text for path in paths)
