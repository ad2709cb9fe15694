"""The one way to open a file that somebody names: regular, bounded, inside, and at once."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from whisperctl.errors import SpecError
from whisperctl.files import TooLarge, Unreadable, home_of, open_file, read_file, read_text
from whisperctl.loading import load_stacks

STACK = """\
apiVersion: whisperctl/v1
stack: one
model: {name: openai/whisper-small, revision: 973afd24965f72e36ca33b3055d56a652f456b4d}
vllm: {version: 0.26.0}
deployment: {name: one}
instance_type_group: {name: shared, gpu: L4}
version: {name: v1, minimum_instances: 1}
"""


@pytest.fixture
def special(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One of each that is no file to read."""
    os.mkfifo(tmp_path / "fifo")
    server = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    server.bind("socket")
    (tmp_path / "folder").mkdir()
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(1 << 40)
    yield tmp_path
    server.close()


REASONS = {
    "fifo": "it is a pipe, not a file",
    "socket": "it is a socket, not a file",
    "folder": "it is a folder, not a file",
    "device": "it is a device, not a file",
    "loop": "it is a link that leads to itself",
    "nowhere": "it is a link that leads nowhere",
    "giant": "it is larger than 1 KiB",
    "absent": "there is no such file",
    "nul\0": "its name holds a NUL character",
}


@pytest.mark.parametrize("name", REASONS)
def test_what_is_no_file_is_refused_at_once(special: Path, name: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_file(special / name, 1024)
    assert caught.value.reason == REASONS[name]


def test_a_file_is_read_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_file(tmp_path / "a", 5) == b"12345"
    with pytest.raises(TooLarge):
        read_file(tmp_path / "a", 4)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("\ufefftext".encode())
    assert read_text(tmp_path / "a", 100) == "text"
    (tmp_path / "b").write_bytes(b"\xff\xfe")
    with pytest.raises(Unreadable, match="not UTF-8 text"):
        read_text(tmp_path / "b", 100)


def test_a_real_path_lies_inside(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "inside").write_text("sibling")
    (tmp_path / "in" / "own").write_text("own")
    (tmp_path / "in" / "near").symlink_to("own")
    (tmp_path / "in" / "out").symlink_to("../inside")
    assert read_file(tmp_path / "in" / "near", 10, inside=tmp_path / "in") == b"own"
    with pytest.raises(Unreadable, match="it leads out of"):
        open_file(tmp_path / "in" / "out", inside=tmp_path / "in")


def test_home_is_the_repository_or_a_files_own_folder(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    assert home_of(tmp_path / "team" / "a", tmp_path / "team") == tmp_path / "team"
    assert home_of(tmp_path / "other" / "a", tmp_path / "team") == tmp_path / "other"
    (tmp_path / ".git").mkdir()
    assert home_of(tmp_path / "other" / "a", tmp_path / "team") == tmp_path


def refusal_of(*paths: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load_stacks(paths, {})
    return str(caught.value)


@pytest.mark.parametrize("name", [name for name in REASONS if "\0" not in name])
def test_no_special_file_is_a_stack_or_a_part_of_one(special: Path, name: str) -> None:
    expected = REASONS[name].replace("larger than 1 KiB", "larger than 1024 KiB")
    direct = refusal_of(special / name)
    assert expected in direct or "holds no stack file" in direct or "this file is larger" in direct
    (special / "stack.yaml").write_text(f"extends: {name}\n{STACK}", encoding="utf-8")
    extended = "giant:1:1: error: " if name == "giant" else "stack.yaml:1:10: error: extends: "
    assert extended in refusal_of(special / "stack.yaml")


@pytest.mark.parametrize("ending", ["yaml", "yml"])
@pytest.mark.parametrize("name", ["fifo", "device", "giant"])
def test_a_directory_with_a_special_file_is_told_of_it(special: Path, name: str, ending: str) -> None:
    (special / "dir").mkdir()
    (special / "dir" / "stack.yaml").write_text(STACK, encoding="utf-8")
    (special / "dir" / f"x.{ending}").symlink_to(special / name)
    if ending == "yaml":
        assert "x.yaml:1:1: error: this file is not read" in refusal_of(special / "dir")
    else:
        [warning] = load_stacks([special / "dir"], {}).warnings
        assert warning.message == "this file cannot be read and is passed over"


@pytest.mark.parametrize(
    "text",
    [
        "extends: ../outside.yaml\n",
        "extends: link.yaml\n",
        "environment: {lock: link.yaml}\n",
        "rollout: {smoke: {audio: link.yaml, expect: x}}\n",
        "rollout: {smoke: [{audio: ../outside.yaml, expect: x}]}\n",
    ],
)
def test_nothing_out_of_the_repository_is_read(tmp_path: Path, text: str) -> None:
    repository = tmp_path / "repository"
    (repository / ".git").mkdir(parents=True)
    (tmp_path / "outside.yaml").write_text("apiVersion: whisperctl/v1\n", encoding="utf-8")
    (repository / "link.yaml").symlink_to("../outside.yaml")
    (repository / "stack.yaml").write_text(STACK + text, encoding="utf-8")
    assert "leads out of" in refusal_of(repository / "stack.yaml")


def test_a_link_of_a_directory_may_not_leave_it(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "other.yaml").write_text(STACK, encoding="utf-8")
    (tmp_path / "dir" / "stack.yaml").symlink_to("../other.yaml")
    assert "this file is not read: it leads out of" in refusal_of(tmp_path / "dir")
    assert load_stacks([tmp_path / "dir" / "stack.yaml"], {}).stacks  # named by hand


def passed_over(folder: Path) -> dict[str, str]:
    collected = load_stacks([folder], {}).warnings
    return {str(Path(problem.where.file).relative_to(folder)): problem.message for problem in collected}


def test_what_a_directory_passes_over_is_told(tmp_path: Path) -> None:
    (tmp_path / "stack.yaml").write_text(STACK, encoding="utf-8")
    (tmp_path / "prod.yaml").write_text("# all gone\n\n", encoding="utf-8")
    (tmp_path / "OLD.YAML").write_text(STACK.replace("one", "old"), encoding="utf-8")
    (tmp_path / ".stacks").mkdir()
    (tmp_path / ".stacks" / "hidden.yaml").write_text(STACK.replace("one", "hidden"), encoding="utf-8")
    assert passed_over(tmp_path) == {
        "prod.yaml": "this file is empty and is passed over",
        "OLD.YAML": "this looks like a stack and is passed over: a directory means its *.yaml files",
        ".stacks/hidden.yaml": "this looks like a stack, and hidden folders are passed over",
    }


def test_a_mounted_config_map_is_read_once_and_nothing_of_it_is_passed_over(tmp_path: Path) -> None:
    """Kubernetes mounts links to a hidden folder that changes its name with every update."""
    (tmp_path / "..2026_11_29").mkdir()
    (tmp_path / "..2026_11_29" / "stack.yaml").write_text(STACK, encoding="utf-8")
    (tmp_path / "..data").symlink_to("..2026_11_29")
    (tmp_path / "stack.yaml").symlink_to("..data/stack.yaml")
    assert len(load_stacks([tmp_path], {}).stacks) == 1
    assert passed_over(tmp_path) == {}


@contextmanager
def nobody() -> Iterator[None]:
    """Root may look into every folder: for a while this process is somebody else."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_cannot_be_read_is_told() -> None:
    with tempfile.TemporaryDirectory() as named:  # pytest's own folders are for nobody but root
        folder = Path(named)
        folder.chmod(0o755)
        (folder / "stack.yaml").write_text(STACK, encoding="utf-8")
        assert passed_over(folder) == {}
        (folder / "closed").mkdir(mode=0)
        with nobody():
            warnings = passed_over(folder)
    assert warnings == {"closed": "this folder cannot be read and is passed over: Permission denied"}
