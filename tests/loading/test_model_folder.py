"""Model folders: sizes, shapes, and what they say of the model."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from whisperctl.errors import SpecError
from whisperctl.loading import Loaded, load_stacks
from whisperctl.package.build import build_package
from whisperctl.serving import catalog
from whisperctl.serving.checkpoint import Unusable, folder_files, folder_model, weight_files

NANO = Path(__file__).parents[2] / "specs" / "whisper-nano"
STACK = """\
apiVersion: whisperctl/v1
stack: folder
model: {name: mine, task: %s}
vllm: {version: 0.26.0, tensor_parallel_size: %d}
deployment: {name: folder}
instance_type_group: {name: gpu, gpu: L4, gpu_count: 3}
version: {name: v1}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(NANO, tmp_path / "mine")
    return tmp_path / "mine"


def load(folder: Path, task: str = "transcription", split: int = 1) -> Loaded:
    (folder.parent / "stack.yaml").write_text(STACK % (task, split))
    return load_stacks([folder.parent / "stack.yaml"], {})


def change(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_a_folder_beside_the_file_is_a_folder(folder: Path) -> None:
    loaded = load(folder)
    assert loaded.stacks[0].model.folder == folder
    assert loaded.stacks[0].model.served_name == "mine"
    assert loaded.warnings == ()


@pytest.mark.parametrize("name", ["model.safetensors", "preprocessor_config.json"])
def test_large_folders(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as file:
        file.truncate(3 * 2**30)
    assert ["the package has 3.0 GiB" in warning.message for warning in load(folder).warnings] == [True]
    with (folder / name).open("r+b") as file:
        file.truncate(9 * 2**30)
    with pytest.raises(SpecError, match=r"holds 9\.0 GiB of model: at most 8"):
        load(folder)


def test_the_shape_is_read(folder: Path) -> None:
    shape = folder_model(folder)
    assert (shape.d_model, shape.heads, shape.encoder_layers, shape.decoder_layers) == (192, 3, 4, 2)
    assert 3_900_000 < shape.parameters < 4_000_000
    assert (shape.translates, shape.stored_dtype) == (True, "float16")


def test_heads_are_divided_by_the_folders_own_number(folder: Path) -> None:
    assert load(folder, split=3).stacks[0].vllm.tensor_parallel_size == 3
    with pytest.raises(SpecError, match="2 does not divide the model's 3 attention heads"):
        load(folder, split=2)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"d_model": 1280, "encoder_layers": 32, "decoder_layers": 4}, "was not trained for translation"),
        ({"vocab_size": 51864}, "knows English only"),
    ],
)
def test_what_cannot_translate_is_not_asked_to(folder: Path, values: dict[str, int], why: str) -> None:
    change(folder, **values)
    with pytest.raises(SpecError, match=why):
        load(folder, task="translation")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not readable JSON"),
        ("[]", "holds no object"),
        ('{"model_type": "llama"}', "names the model type 'llama', not 'whisper'"),
        ('{"model_type": "whisper"}', "does not name the architecture WhisperForConditionalGeneration"),
        ('{"model_type": "whisper", "architectures": ["WhisperModel"]}', "does not name the architecture"),
        ('{"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}', "lacks a usable d_model"),
        ('{"model_type": "whisper", "architectures": 5}', "does not name the architecture"),
        ("[" * 100_000, "is not readable JSON"),
    ],
)
def test_a_folder_that_is_no_whisper(folder: Path, text: str, why: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(Unusable) as caught:
        folder_model(folder)
    assert why in caught.value.message


@pytest.mark.parametrize("value", [0, -1, 1e999, 10**400, "384", None, True])
def test_a_shape_that_is_no_number_is_told(folder: Path, value: Any) -> None:
    change(folder, d_model=value)
    with pytest.raises(SpecError, match="lacks a usable d_model"):
        load(folder)


def test_a_shorter_decoder_is_heeded(folder: Path) -> None:
    change(folder, max_target_positions=224)
    with pytest.raises(SpecError, match="this model's decoder has 224 positions"):
        load(folder)


def shards(folder: Path, *, of: int = 2) -> None:
    """Weights in several files, as `save_pretrained` writes them."""
    names = [f"model-{n:05}-of-{of:05}.safetensors" for n in range(1, of + 1)]
    for name in names:
        (folder / name).write_bytes(b"weights")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict(enumerate(names))}))
    (folder / "model.safetensors").unlink()


def test_all_files_of_the_weights_are_packed(folder: Path) -> None:
    shards(folder)
    (folder / "optimizer.safetensors").touch()
    packed = {name for name in folder_files(folder) if "safetensors" in name}
    assert packed == {
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json",
    }  # fmt: skip
    load(folder)


def test_a_missing_file_of_the_weights_is_told(folder: Path) -> None:
    shards(folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(SpecError, match=r"lacks model-00002-of-00002\.safetensors\n"):
        load(folder)


def test_an_index_names_no_file_outside_the_folder(folder: Path) -> None:
    shards(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../etc/passwd"}}')
    assert weight_files(folder) == (folder / "passwd",)


def test_of_several_copies_of_the_weights_one_is_packed(folder: Path) -> None:
    """As `hf download openai/whisper-large-v3` leaves them."""
    for name in ("model.fp32-00001-of-00002.safetensors", "model.safetensors.index.json", "pytorch_model.bin"):
        (folder / name).write_text("{}")
    packed = [name for name in folder_files(folder) if "model." in name]
    assert packed == ["model.safetensors"]


def test_pytorchs_files_are_taken_where_there_are_no_others(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')
    assert "pytorch_model.bin" in folder_files(folder)
    load(folder)


def test_links_are_followed_and_broken_ones_told(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "blob")
    (folder / "model.safetensors").symlink_to("blob")
    assert load(folder).stacks[0].model.folder == folder
    (folder / "blob").unlink()
    with pytest.raises(SpecError, match="is no file to pack: it is a link that leads nowhere"):
        load(folder)


def test_the_hubs_cache_links_to_its_own_blobs(folder: Path) -> None:
    blobs, snapshot = folder.parent / "blobs", folder.parent / "snapshots" / "973afd2"
    blobs.mkdir()
    snapshot.parent.mkdir()
    (folder / "model.safetensors").rename(blobs / "0123")
    (folder / "model.safetensors").symlink_to("../../blobs/0123")
    folder.rename(snapshot)
    packed = folder_files(snapshot)
    assert packed["model.safetensors"] == blobs / "0123"
    (snapshot / "vocab.json").unlink()
    (snapshot / "vocab.json").symlink_to("../../secret")
    (folder.parent / "secret").touch()
    with pytest.raises(Unusable, match="is a link that leads out of the folder"):
        folder_files(snapshot)


@pytest.mark.parametrize("name", ["added_tokens.json", "vocab.json", "model-00001.safetensors", "config.json"])
@pytest.mark.parametrize("target", ["/etc/passwd", "/proc/self/environ", "/dev/zero", "fifo", "../outside"])
def test_nothing_of_this_machine_is_packed_through_a_link(folder: Path, name: str, target: str) -> None:
    os.mkfifo(folder / "fifo")
    (folder.parent / "outside").write_text("{}")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    with pytest.raises(SpecError, match=f"its {name} is "):
        load(folder)


def test_what_an_index_names_is_no_way_out(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model-00001.safetensors").touch()
    (folder / "shadow").symlink_to("/etc/passwd")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "shadow"}}')
    with pytest.raises(SpecError, match="its shadow is a link that leads out of the folder"):
        load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "model.safetensors"])
def test_special_files_of_a_model_folder_are_refused_at_once(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(SpecError, match="is a pipe, not a file"):
        load(folder)


def test_a_config_of_any_size_is_read_to_its_bound_only(folder: Path) -> None:
    with (folder / "config.json").open("r+b") as file:
        file.truncate(1 << 40)
    with pytest.raises(SpecError, match=r"its config\.json is not readable JSON"):
        load(folder)


def test_a_pointer_is_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(SpecError, match="holds a Git LFS pointer"):
        load(folder)


def test_an_adapter_is_told_apart(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").touch()
    with pytest.raises(SpecError, match="It is a LoRA adapter"):
        load(folder)


def test_a_folder_may_be_called_anything(folder: Path) -> None:
    odd = folder.rename(folder.parent / "mein Modell ü🎙 'x' {y}")
    name = json.dumps(f"./{odd.name}", ensure_ascii=False)
    (folder.parent / "stack.yaml").write_text((STACK % ("transcription", 1)).replace("name: mine", f"name: {name}"))
    [stack] = load_stacks([folder.parent / "stack.yaml"], {}).stacks
    assert stack.model.folder == odd
    assert set(build_package(stack).files) >= {"model/model.safetensors", "model/config.json"}


def test_versions_compare_as_numbers() -> None:
    assert catalog.numbers("0.10.1.1") > catalog.numbers("0.10.1") > catalog.numbers("0.9.2")
    assert catalog.numbers("0.20") == catalog.numbers("0.20.0")
    assert catalog.within("0.15.0", "0.15.0", "0.19.1")
    assert not catalog.within("0.19.1", "0.15.0", "0.19.1")
