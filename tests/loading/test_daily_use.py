"""What people trip over every day, as they type it: no file here, a shared part, standard input, a pasted secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import program
from tests.harness.program import Ran

SHARED = """\
apiVersion: whisperctl/v1
model: {name: openai/whisper-small, revision: 973afd24965f72e36ca33b3055d56a652f456b4d}
vllm: {version: 0.19.1}
instance_type_group: {name: 12288 MB + NVIDIA Tesla T4, gpu: T4}
version: {name: v1, minimum_instances: 1}
"""
ADVISORY = "vLLM 0.19.1 has known security holes"


def stack(name: str) -> str:
    return f"stack: {name}\ndeployment: {{name: {name}}}\n"


def run(folder: Path, *args: str, stdin: str = "", **environ: str) -> Ran:
    return program.run(*args, environ={"HOME": str(folder), **environ}, folder=folder, stdin=stdin)


@pytest.fixture
def overlays(tmp_path: Path) -> Path:
    """Two stacks over one part, each in a folder of its own."""
    for name, text in (
        ("base/whisper.yaml", SHARED),
        ("env/dev/whisper.yaml", f"extends: ../../base/whisper.yaml\n{stack('dev')}"),
        ("env/prod/whisper.yaml", f"extends: ../../base/whisper.yaml\n{stack('prod')}"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize("args", [(), (".",), ("env",), ("env/prod/../dev", "env/prod")])
def test_a_shared_part_is_warned_of_once_under_its_own_path(overlays: Path, args: tuple[str, ...]) -> None:
    ran = run(overlays, "validate", *args)
    assert ran.code == 0
    assert [line.split(": ")[1] for line in ran.out.splitlines()] == ["stack dev is valid", "stack prod is valid"]
    assert [line.split(":")[0] for line in ran.err.splitlines() if ADVISORY in line] == ["base/whisper.yaml"]
    marks = run(overlays, "validate", *args, "--format", "github").out
    assert marks.startswith(f"::warning file=base/whisper.yaml,line=3,col=17::vllm.version: {ADVISORY}")
    assert ".." not in marks


def test_commands_for_one_stack_ask_for_its_file(overlays: Path) -> None:
    ran = run(overlays, "logs", UBIOPS_API_TOKEN="x", UBIOPS_PROJECT="demo")
    assert ran.code == 1
    assert ran.err == (
        "stack.yaml:1:1: error: there is no such file\n"
        "  Name one of the stack files below: env/dev/whisper.yaml, env/prod/whisper.yaml.\n"
    )


def test_from_a_folder_below_the_file_above_is_named(overlays: Path) -> None:
    (overlays / "env/dev/whisper.yaml").rename(overlays / "stack.yaml")
    below = overlays / "base/notes"
    below.mkdir()
    assert run(below, "plan").err == (
        "stack.yaml:1:1: error: there is no such file\n  There is one above: ../../stack.yaml.\n"
    )
    (below / ".git").mkdir()
    assert "There is one above" not in run(below, "plan").err  # it is no file of this repository


def test_a_folder_that_was_deleted_meanwhile_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    ran = program.run("plan", environ={"HOME": str(tmp_path)})
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "error: The current folder does not exist any more. Change to another one.\n"


def test_standard_input_is_a_file(tmp_path: Path) -> None:
    ran = run(tmp_path, "validate", "-", stdin=SHARED + stack("one"))
    assert (ran.code, ran.out.split(" is valid")[0]) == (0, "-: stack one")
    wrong = run(tmp_path, "validate", "-", stdin=SHARED + stack("one") + "environmnt: {}\n")
    assert wrong.code == 1
    assert "-:8:1: error: environmnt: this key is not known\n  Did you mean `environment`?" in wrong.err


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("hf_good_token", ""),
        ("hf_good_token\n", "[secret-white-space]"),
        (" hf_good_token", "[secret-white-space]"),
        ("", "error: env.HF_TOKEN.value: the environment variable HF_TOKEN is empty"),
    ],
)
def test_a_secret_as_a_ci_passes_it(tmp_path: Path, value: str, message: str) -> None:
    """GitHub gives an undefined secret as the empty text, and people paste line ends."""
    text = SHARED.replace("0.19.1", "0.32.0") + stack("one") + 'env: {HF_TOKEN: {value: "${HF_TOKEN}", secret: true}}\n'
    (tmp_path / "stack.yaml").write_text(text)
    environ = {
        "HF_TOKEN": value,
        "UBIOPS_API_TOKEN": "x",
        "UBIOPS_PROJECT": "demo",
        "UBIOPS_API_HOST": "http://[::1]:9",
    }
    ran = run(tmp_path, "plan", **environ)
    assert (message in ran.err) if message else ("HF_TOKEN" not in ran.err)
    assert "hf_good_token" not in ran.all
    assert run(tmp_path, "validate").code == 0  # which needs none


def test_what_extends_does_not_lead_to_is_told_alone(tmp_path: Path) -> None:
    for extends, message in (
        ("[a, b]", "must be the path of one file, not a list"),
        ("nowhere.yaml", "there is no file"),
    ):
        (tmp_path / "stack.yaml").write_text(f"apiVersion: whisperctl/v1\nextends: {extends}\n{stack('one')}")
        ran = run(tmp_path, "validate")
        assert ran.code == 1
        assert ran.err.count("error: ") == 1
        assert f"error: extends: {message}" in ran.err
