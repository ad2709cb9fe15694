"""Stack files as people write them every day (`daily/`): a plan, or one clear message, and never what is secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.project import Project

DAILY = Path(__file__).parent / "daily"
SECRET = "hf_abcdefgh12345678"


@pytest.mark.parametrize(
    ("file", "environ", "code", "lines"),
    [
        ("base.yaml", {}, 0, ["+ package/dep1/v1"]),
        ("production.yaml", {}, 0, ["+ deployment/whisper-prod", "+ service/whisper-prod"]),
        ("trim.yaml", {}, 0, ['description = "Speech to text\\nfor the call centre\\n"', "+ env_var/dep1/v1/CERT"]),
        (
            "token-not-secret.yaml",
            {"HF_TOKEN": SECRET},
            0,
            ["secret = false", "value  = (from ${HF_TOKEN})", "[unmarked-secret]"],
        ),
        ("upgrade.yaml", {"HF": SECRET}, 0, ["value  = (secret)", "+ env_var/dep1/v1/A"]),
        ("empty-secret.yaml", {"HF_TOKEN": SECRET}, 0, ["value  = (secret)"]),
        (
            "empty-secret.yaml",
            {"HF_TOKEN": ""},
            1,
            ["empty-secret.yaml:10:21: error: env.HF_TOKEN.value: the environment variable HF_TOKEN is"],
        ),
        (
            "empty-secret.yaml",
            {"HF_TOKEN": f"{SECRET}\n"},
            0,
            ["[secret-white-space]"],
        ),
        (
            "flow-interpolation.yaml",
            {"N": "1"},
            1,
            [
                "flow-interpolation.yaml:9:41: error: this is not valid YAML: did not find expected ',' or '}'",
                'Between { } and [ ] a ${NAME} stands in quotes: {minimum_instances: "${N}"}.',
            ],
        ),
        (
            "huge-int.yaml",
            {},
            1,
            ["huge-int.yaml:11:20: error: rollout.timeout: this is no number that can be used", "more than 40 char"],
        ),
    ],
)
def test_a_file_gives_its_plan_or_one_clear_message(
    project: Project, file: str, environ: dict[str, str], code: int, lines: list[str]
) -> None:
    ran = project.cli("plan", str(DAILY / file), **environ)
    assert ran.code == code
    assert [line for line in lines if line not in ran.all] == []
    assert ran.err.count("error: ") == code
    for form in ("text", "json", "markdown"):
        assert SECRET not in project.cli("plan", "--format", form, str(DAILY / file), **environ).all


def test_a_copy_of_productions_file_takes_nothing_from_it(project: Project) -> None:
    assert project.cli("apply", "--yes", str(DAILY / "production.yaml")).code == 0
    before = project.books()
    copy = str(DAILY / "staging.yaml")
    assert "refused: " in project.cli("plan", copy).out
    ran = project.cli("apply", "--yes", copy)
    assert ran.code == 1
    assert "production.yaml" in ran.err
    assert "staging.yaml" in ran.err
    assert project.books() == before
    assert project.cli("drift", str(DAILY / "production.yaml")).code == 0
