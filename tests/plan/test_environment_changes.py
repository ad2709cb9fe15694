"""What another environment tag changes, from literals."""

from __future__ import annotations

import pytest

from whisperctl.package.build import EnvironmentBuild
from whisperctl.plan.environment_changes import environment_differences

TAG = {"base_environment_name": "ubuntu", "base_environment_tag": "v1"}
FILES = {
    "requirements.txt": "vllm[audio]==0.32.0\nnumpy<3\nanyio @ https://me:pw@example.org/a.whl\n--pre\n",
    "ubiops.yaml": 'apt:\n  packages:\n    - "ffmpeg"\n    - "git"\n',
}


def build(base: str = "ubuntu", tag: str | None = "v1", **files: str) -> EnvironmentBuild:
    content = {**FILES, **{name.replace("_", "."): text for name, text in files.items()}}
    encoded = {name: text.encode() for name, text in content.items() if text}
    return EnvironmentBuild(name="whisperctl", tag="t", base_name=base, base_tag=tag, files=encoded, digest="d")


def steps(new: EnvironmentBuild) -> list[str]:
    return [f"{step.path}: {step.before} -> {step.after}" for step in environment_differences(TAG, FILES, new)]


def test_the_same_content_has_no_step() -> None:
    assert steps(build()) == []
    assert steps(build(tag=None)) == []  # the newest when it was built


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (build(tag="v2"), ["base: ubuntu:v1 -> ubuntu:v2"]),
        (build(base="debian", tag=None), ["base: ubuntu:v1 -> debian"]),
        (
            build(requirements_txt="vllm[audio]==0.33.0\nanyio @ https://me:pw@example.org/a.whl\n--pre\nsoxr\n"),
            [
                "requirements.numpy: numpy<3 -> None",
                "requirements.soxr: None -> soxr",
                "requirements.vllm: vllm[audio]==0.32.0 -> vllm[audio]==0.33.0",
            ],
        ),
        (
            build(requirements_txt=FILES["requirements.txt"].replace("a.whl", "b.whl")),
            ["requirements.anyio: {0} -> {0} (another address or hash)".format("anyio @ https://example.org/…")],
        ),
        (build(ubiops_yaml='apt:\n  packages:\n    - "ffmpeg"\n'), ["apt.git: installed -> None"]),
        (build(ubiops_yaml=""), ["apt.ffmpeg: installed -> None", "apt.git: installed -> None"]),
    ],
)  # fmt: skip
def test_each_package_and_the_base_have_a_step(new: EnvironmentBuild, expected: list[str]) -> None:
    assert steps(new) == expected
