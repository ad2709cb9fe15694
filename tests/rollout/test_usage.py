"""usage: hours of audio from what a real service was asked and its instance answered."""

from __future__ import annotations

import json

from tests.harness.project import Project
from tests.rollout.conftest import line
from tests.rollout.listener import SECONDS


def test_audio_hours_are_those_of_the_stored_answers(project: Project) -> None:
    project.apply(**line())
    file = str(project.folder / "stack.yaml")
    for _ in range(2):
        project.cli("smoke", file)  # which fails: this server does not translate
    [entry] = json.loads(project.cli("usage", file, "--format", "json").out)["stacks"]
    total = entry["total"]
    assert entry["audio_unknown"] is None
    recordings = total["audio_hours"] * 3600 / SECONDS
    assert recordings >= 2
    assert abs(recordings - round(recordings)) < 0.01
    assert total["credits_per_audio_hour"] > 0
