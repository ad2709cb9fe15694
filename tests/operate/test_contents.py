"""A plan tells what a new package changes about the server: it reads the active one back."""

from __future__ import annotations

import io
import json
import shutil
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from tests.harness.operator import Operator
from tests.operate.conftest import SECOND
from whisperctl import __version__
from whisperctl.control.api import Api
from whisperctl.loading import load_stacks
from whisperctl.package.build import Package, build_package
from whisperctl.plan.package_changes import LARGEST, differences
from whisperctl.state.diff import FieldChange
from whisperctl.state.labels import Labels
from whisperctl.state.records import RecordedRevision

CHANGED = SECOND.replace("max_model_len: 448", "max_model_len: 440, args: {seed: 7, enforce-eager: true}")
HIDDEN = "(not shown: from an environment variable)"
DIGEST_ALONE = "what is rendered from the stack file has changed"


def package_of(folder: Path, text: str) -> Package:
    file = folder / "stack.yaml"
    file.write_text(text)
    [stack] = load_stacks([file], {}).stacks
    return build_package(stack)


def zipped(package: Package) -> io.BytesIO:
    stream = io.BytesIO()
    package.write(stream)
    return stream


def steps_of(text: str, address: str = "package/speech/v1") -> dict[str, str]:
    """The lines of a change: name -> step."""
    block = text.split(f" {address}\n", 1)[1].split("=>", 1)[0]
    return {name.strip(): step for name, _, step in (line.partition(" : ") for line in block.splitlines()) if step}


def test_each_setting_and_option_has_a_line(operator: Operator) -> None:
    operator.write(CHANGED)
    lines = steps_of(operator.good("plan").out)
    assert {name: step for name, step in lines.items() if name != "digest"} == {
        "max_model_len": "448 -> 440",
        "--seed": '(not set) -> "7"',
        "--enforce-eager": '(not set) -> "on"',
    }
    assert " -> " in lines["digest"]
    assert steps_of(operator.good("plan", "--format", "markdown").out) == lines


def test_json_has_it_in_the_reason(operator: Operator) -> None:
    operator.write(CHANGED)
    document = json.loads(operator.good("plan", "--format", "json").out)
    [change] = document["stacks"][0]["changes"]
    assert [field["path"] for field in change["fields"]] == ["digest"]
    assert change["reason"] == (
        f'{DIGEST_ALONE}: max_model_len 448 -> 440; --enforce-eager (not set) -> "on"; --seed (not set) -> "7"'
    )


def test_a_saved_plan_shows_it_too_and_is_not_stale(operator: Operator) -> None:
    operator.write(CHANGED)
    operator.good("plan", "-o", "plan.bin")
    ran = operator.good("apply", "--plan", "plan.bin")
    assert steps_of(ran.out)["max_model_len"] == "448 -> 440"


def test_an_apply_shows_it_before_it_asks(operator: Operator) -> None:
    operator.write(CHANGED)
    ran = operator.run("apply")
    assert ran.code == 1
    assert steps_of(ran.out)["max_model_len"] == "448 -> 440"


def test_another_environment_tells_what_is_in_it(operator: Operator, control: httpx.Client) -> None:
    operator.write(SECOND.replace("[anyio]", "['numpy<3'], apt: [ffmpeg, git]"))
    lines = steps_of(operator.good("plan").out, "version/speech/v1")
    assert lines.pop("environment_tag").startswith('"vllm-0.32.0-')
    assert lines == {
        "requirements.anyio": '"anyio" -> (not set)',
        "requirements.numpy": '(not set) -> "numpy<3"',
        "apt.build-essential": '"installed" -> (not set)',
        "apt.git": '(not set) -> "installed"',
        "apt.python3-dev": '"installed" -> (not set)',
    }
    document = json.loads(operator.good("plan", "--format", "json").out)
    assert 'requirements.numpy (not set) -> "numpy<3"' in json.dumps(document, ensure_ascii=False).replace('\\"', '"')
    control.post("/faults", json={"kind": "error", "status": 403, "method": "GET", "path": "/dependency-files$"})
    assert list(steps_of(operator.good("plan").out, "version/speech/v1")) == ["environment_tag"]


@pytest.mark.parametrize("status", [403, 404])
def test_where_the_package_cannot_be_read_the_plan_is_the_same_without(
    operator: Operator, control: httpx.Client, status: int
) -> None:
    operator.write(CHANGED)
    fault = {"kind": "error", "status": status, "method": "GET", "path": "/download$"}
    control.post("/faults", json=fault).raise_for_status()
    assert list(steps_of(operator.good("plan").out)) == ["digest"]


def test_what_somebody_else_uploaded_is_not_shown(operator: Operator, api: Api) -> None:
    class Foreign:
        def write(self, stream: BinaryIO) -> None:
            with zipfile.ZipFile(stream, "w") as archive:
                archive.writestr("p/deployment.py", "CONFIG = {'token': 'hunter2'}\nclass Deployment: ...\n")

    revision = api.upload("speech", "v1", Foreign())
    deadline = time.monotonic() + 20
    while (api.version("speech", "v1") or {})["active_revision"] != revision:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ran = operator.good("plan")
    assert "hunter2" not in ran.all
    assert list(steps_of(ran.out)) == ["digest"]


def test_an_unchanged_stack_reads_no_package(operator: Operator, control: httpx.Client) -> None:
    operator.good("plan")
    paths = [line["path"] for line in control.get("/journal").json()]
    assert paths
    assert not [path for path in paths if path.endswith("/download")]


def test_files_are_compared_whole(tmp_path: Path) -> None:
    text = SECOND.replace("environment: {", "environment: {mode: package, apt: [ffmpeg], ").replace(
        "hunter2-hf-secret, secret: true", "x"
    )
    old = package_of(tmp_path, text)
    new = package_of(tmp_path, text.replace("[anyio]", "[httpx]").replace(" apt: [ffmpeg],", ""))
    code = new.files["deployment.py"]
    assert isinstance(code, bytes)
    new = replace(new, files={**new.files, "deployment.py": code + b"# changed\n", "model/config.json": b"{}"})
    by_path = {change.path: change for change in differences(zipped(old), new)}
    assert list(by_path) == ["deployment.py", "model/config.json", "requirements.txt", "ubiops.yaml"]
    assert by_path["requirements.txt"].before == ["vllm[audio]==0.32.0", "anyio"]
    assert by_path["requirements.txt"].after == ["vllm[audio]==0.32.0", "httpx"]
    assert '    - "python3-dev"' in by_path["ubiops.yaml"].after
    assert '    - "python3-dev"' not in by_path["ubiops.yaml"].before
    assert str(by_path["deployment.py"].before).startswith("sha256 ")
    assert by_path["model/config.json"] == FieldChange(
        path="model/config.json", before=None, after="sha256 44136fa355b3"
    )


@pytest.mark.parametrize("gpu", ["T4", "H100"])
def test_a_package_does_not_differ_from_itself(tmp_path: Path, gpu: str) -> None:
    package = package_of(
        tmp_path,
        SECOND.replace("gpu: T4", f"gpu: {gpu}")
        .replace("12288 MB + NVIDIA Tesla T4", "mine")
        .replace("hunter2-hf-secret", "x"),
    )
    assert differences(zipped(package), package) == ()


@pytest.mark.parametrize("code", [b"", b"CONFIG = [", b"CONFIG = open('x')", b"\x00\xff", b"class Deployment: ..."])
def test_code_without_a_literal_is_one_file(tmp_path: Path, code: bytes) -> None:
    new = package_of(tmp_path, SECOND.replace("hunter2-hf-secret", "x"))
    differing = differences(zipped(Package(files={"deployment.py": code})), new)
    assert "deployment.py" in {change.path for change in differing}
    assert differing[0].before is None


def test_a_package_with_a_model_in_it_is_not_fetched_whole(newcomer: Operator) -> None:
    folder = newcomer.folder / "whisper-nano"
    shutil.copytree(Path(__file__).parents[2] / "specs" / "whisper-nano", folder)
    with (folder / "tokenizer_config.json").open("a") as file:
        file.write(" " * LARGEST)
    text = SECOND.replace("openai/whisper-small, revision: 973afd24965f72e36ca33b3055d56a652f456b4d", "./whisper-nano")
    text = text.replace("openai-model-names: openai/whisper-small", "openai-model-names: whisper-nano")
    newcomer.write(text)
    newcomer.good("apply", "--yes")
    newcomer.write(text.replace("max_model_len: 448", "max_model_len: 440"))
    assert list(steps_of(newcomer.good("plan").out)) == ["digest"]


def test_what_came_out_of_the_environment_is_not_shown_nor_a_password_of_an_address(operator: Operator) -> None:
    lines = (
        'environment: {mode: package, requirements: ["--extra-index-url https://me:PIPKEY@pypi.example/p/s", numpy]}'
    )
    text = SECOND.replace("environment: {requirements: [anyio]}", lines).replace(
        "max_model_len: 448", "max_model_len: 448, args: {generation-config: 'ARGUMENT', seed: 1}"
    )
    variables = text.replace("PIPKEY", "${PIPKEY}").replace("ARGUMENT", "${ARGUMENT}")
    operator.write(variables)
    assert operator.run("apply", "--yes", PIPKEY="tok-old", ARGUMENT="arg-old").code == 0
    operator.write(variables.replace("numpy", "numpy<3"))
    shown = [operator.run("plan", "--format", form, PIPKEY="tok-new", ARGUMENT="arg-new") for form in ("text", "json")]
    assert steps_of(shown[0].out)["requirements.txt"] == f"{HIDDEN} -> {HIDDEN}"
    assert steps_of(shown[0].out)["--generation-config"] == f"{HIDDEN} -> {HIDDEN}"
    # What an older file took from the environment, and this one says openly, or not at all.
    operator.write(text.replace("PIPKEY", "open").replace("generation-config: 'ARGUMENT', seed: 1", "seed: 2"))
    shown.append(operator.run("plan"))
    differing = steps_of(shown[-1].out)
    assert differing["--generation-config"] == "(not shown: it may be from an environment variable) -> (not set)"
    assert differing["--seed"] == '"1" -> "2"'
    for ran in shown:
        assert ran.code == 0
        assert not [word for word in ("tok-old", "tok-new", "arg-old", "arg-new") if word in ran.all]


def test_a_large_file_is_hashed_in_pieces(tmp_path: Path) -> None:
    large = tmp_path / "model.safetensors"
    with large.open("wb") as file:
        file.truncate(300 << 20)
    old = Package(files={"deployment.py": b"CONFIG = {}"})
    tracemalloc.start()
    differing = differences(zipped(old), replace(old, files={**old.files, "model/model.safetensors": large}))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [change.path for change in differing] == ["model/model.safetensors"]
    assert peak < 20 << 20


@pytest.mark.parametrize("status", [429, 503])
def test_a_package_is_asked_for_once(operator: Operator, control: httpx.Client, status: int) -> None:
    operator.write(CHANGED)
    fault = {"kind": "error", "status": status, "method": "GET", "path": "/download$"}
    control.post("/faults", json=fault).raise_for_status()
    assert list(steps_of(operator.good("plan").out)) == ["digest"]
    asked = [line for line in control.get("/journal").json() if line["path"].endswith("/download")]
    assert len(asked) == 1


def test_a_package_of_another_whisperctl_is_told_by_both_versions(operator: Operator, api: Api, tmp_path: Path) -> None:
    package = package_of(tmp_path, SECOND)
    code = package.files["deployment.py"]
    assert isinstance(code, bytes)
    older = Package(files={**package.files, "deployment.py": code + b"\n# as an earlier version rendered it\n"})
    revision = api.upload("speech", "v1", older)
    while (raw := api.version("speech", "v1") or {})["active_revision"] != revision:
        time.sleep(0.05)
    known = Labels.of(raw)
    recorded = [RecordedRevision(revision, older.digest, known.revisions[0].tag), *known.revisions]
    rendering = replace(known.rendering, tool="0.0.1", package=older.digest) if known.rendering else None
    labels = known.written(revisions=recorded, digest=older.digest, rendering=rendering)
    api.update_version("speech", "v1", {"labels": labels})
    deployment = Labels.of(api.deployment("speech"))
    api.update_deployment("speech", {"labels": deployment.written(digest="0" * 32)})
    operator.write(SECOND)
    difference = f"rendered by 0.0.1, this is {__version__}"
    stays = operator.good("plan", "--detailed-exitcode").out
    assert f"rendered by 0.0.1, this is {__version__}: what the stack file says is the same" in stays
    operator.write(CHANGED)
    assert _package_reason(operator).startswith(f"{DIGEST_ALONE}; {difference}: ")


def _package_reason(operator: Operator) -> str:
    changes = json.loads(operator.good("plan", "--format", "json").out)["stacks"][0]["changes"]
    [reason] = [change["reason"] for change in changes if change["address"] == "package/speech/v1"]
    return str(reason)
