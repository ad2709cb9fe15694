"""A line of versions that is called otherwise: its live versions are renamed with it, and nothing is gated again."""

from __future__ import annotations

from tests.harness.project import Project
from tests.rollout.conftest import line


def test_the_versions_of_a_line_are_renamed_with_it(project: Project) -> None:
    project.apply(**line())
    api = project.api()
    [before] = api.versions("alpha")
    url = api.service("alpha")["endpoint"]
    moved = {"stack": "alpha", "deployment": "alpha", "version": "v1"}
    renamed = line(stack="beta", deployment={"name": "beta"}, version={"name": "main"}, moved=moved)
    outcome = project.apply(**renamed)
    kinds = [result.operation.kind for result in outcome.results]
    assert not {"gate", "upload", "switch", "bake"} & set(kinds)
    [after] = api.versions("beta")
    assert (after["id"], after["version"]) == (before["id"], before["version"].replace("v1-", "main-"))
    assert after["active_revision"] == before["active_revision"]
    service = api.service("alpha")
    assert (service["endpoint"], service["version"]) == (url, after["version"])
    assert not project.plan_one(**renamed).is_pending
