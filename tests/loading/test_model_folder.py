"""Model folders: sizes, shapes, and what they say of the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from whisperctl import catalog
from whisperctl.errors import SpecError
from whisperctl.loading import load_stacks
from whisperctl.models import Unusable, folder_model

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
def folder(tmp_path):
    shutil.copytree(NANO, tmp_path / "mine")
    return tmp_path / "mine"


def load(folder: Path, task: str = "transcription", split: int = 1):
    (folder.parent / "stack.yaml").write_text(STACK % (task, split))
    return load_stacks([folder.parent / "stack.yaml"], {})


def change(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_a_folder_beside_the_file_is_a_folder(folder):
    loaded = load(folder)
    assert loaded.stacks[0].model.folder == folder
    assert loaded.stacks[0].model.served_name == "mine"
    assert loaded.warnings == ()


@pytest.mark.parametrize("name", ["model.safetensors", "preprocessor_config.json"])
def test_large_folders(folder, name):
    with (folder / name).open("r+b") as file:
        file.truncate(3 * 2**30)
    assert ["the package has 3.0 GiB" in warning.message for warning in load(folder).warnings] == [True]
    with (folder / name).open("r+b") as file:
        file.truncate(9 * 2**30)
    with pytest.raises(SpecError, match=r"holds 9\.0 GiB of model: at most 8"):
        load(folder)


def test_the_shape_is_read(folder):
    shape = folder_model(folder)
    assert (shape.d_model, shape.heads, shape.encoder_layers, shape.decoder_layers) == (192, 3, 4, 2)
    assert 3_900_000 < shape.parameters < 4_000_000
    assert (shape.translates, shape.stored_dtype) == (True, "float16")


def test_heads_are_divided_by_the_folders_own_number(folder):
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
def test_what_cannot_translate_is_not_asked_to(folder, values, why):
    change(folder, **values)
    with pytest.raises(SpecError, match=why):
        load(folder, task="translation")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is not readable JSON"),
        ("[]", "holds no object"),
        ('{"model_type": "llama"}', "names the model type 'llama', not 'whisper'"),
        ('{"model_type": "whisper"}', "lacks a usable d_model"),
    ],
)
def test_a_folder_that_is_no_whisper(folder, text, why):
    (folder / "config.json").write_text(text)
    with pytest.raises(Unusable) as caught:
        folder_model(folder)
    assert why in caught.value.message


def test_versions_compare_as_numbers():
    assert catalog.numbers("0.10.1.1") > catalog.numbers("0.10.1") > catalog.numbers("0.9.2")
    assert catalog.numbers("0.20") == catalog.numbers("0.20.0")
    assert catalog.within("0.15.0", "0.15.0", "0.19.1")
    assert not catalog.within("0.19.1", "0.15.0", "0.19.1")
