"""The plug-in that replays Whisper's encoder from CUDA graphs, as far as it goes without a GPU."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from whisperctl.package.build import build_package

from .conftest import StackOf

pytestmark = pytest.mark.xdist_group("vllm")  # the worker that loads vLLM, and torch with it, for other tests


@pytest.fixture(scope="module")
def torch() -> Any:
    """It takes seconds to import, so only here."""
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture(scope="module")
def encoders(torch: Any) -> Any:
    """`tests.package.encoders`."""
    return importlib.import_module("tests.package.encoders")


@pytest.fixture(scope="module")
def plugin(torch: Any) -> Any:
    """The plug-in, as a module."""
    return importlib.import_module("templates.whisperctl_encoder")


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("listed", [False, True])
def test_recordings_of_a_step_go_through_the_graph_of_their_number(
    torch: Any, encoders: Any, count: int, listed: bool
) -> None:
    encoder, features = encoders.Encoder(), encoders.features(count)
    graphs = encoders.by_hand(encoder, 3)
    with torch.inference_mode():
        expected = encoder(list(features))
        first = graphs.replay(list(features) if listed else features)
        graphs.replay(encoders.features(count))
    assert torch.equal(first, expected)  # a copy: the next replay writes to the same memory


def test_what_has_no_graph_is_left_to_vllm(encoders: Any) -> None:
    more_than_graphs, shorter = encoders.features(4), encoders.features(1)[..., :-1]
    one_shorter = [encoders.features(1)[0], encoders.features(1)[0, :, :2]]
    for features in (None, [], more_than_graphs, shorter, one_shorter):
        assert encoders.by_hand(encoders.Encoder(), 3).replay(features) is None, features


def test_a_number_whose_graph_differed_is_left_to_vllm(encoders: Any) -> None:
    graphs = encoders.by_hand(encoders.Encoder(), 2)
    graphs.by_count[1] = None
    assert graphs.replay(encoders.features(2)) is None
    assert graphs.replay(encoders.features(1)) is not None


@pytest.mark.parametrize("how", [{"eager": True}, {"lora": object()}, {"parallel": 2}], ids=lambda how: next(iter(how)))
def test_options_that_forbid_graphs_are_heeded_in_silence(
    plugin: Any, encoders: Any, how: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert plugin.captured(encoders.Encoder(), encoders.configuration(**how)).by_count == []
    assert caplog.text == ""


def test_where_capturing_fails_vllm_goes_on_without(
    torch: Any, plugin: Any, encoders: Any, caplog: pytest.LogCaptureFixture
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    graphs = plugin.captured(encoders.Encoder(), encoders.configuration())
    assert graphs.replay(encoders.features(1)) is None
    assert "whisperctl: the encoder runs without CUDA graphs: " in caplog.text


def test_graphs_give_the_same_bits(torch: Any, plugin: Any, encoders: Any) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    encoder, features = encoders.Encoder().cuda().half(), encoders.features(2).cuda()
    graphs = plugin.captured(encoder, encoders.configuration())
    assert len(graphs.by_count) == 3
    with torch.inference_mode():
        assert torch.equal(graphs.replay(features), encoder(list(features.half())))


@pytest.fixture
def release(encoders: Any, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A vLLM in whose registry the plug-in registers."""
    registered: dict[str, Any] = {}
    vllm: Any = ModuleType("vllm")
    models: Any = ModuleType("vllm.model_executor.models")
    vllm.ModelRegistry = SimpleNamespace(register_model=registered.__setitem__)
    models.whisper = SimpleNamespace(WhisperForConditionalGeneration=encoders.Stock)
    for module in (vllm, ModuleType("vllm.model_executor"), models):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delenv("WHISPERCTL_ENCODER_GRAPHS", raising=False)
    return SimpleNamespace(registered=registered, vllm=vllm, whisper=models.whisper)


def test_the_entry_point_registers_a_whisper_of_the_same_name(
    torch: Any, plugin: Any, encoders: Any, release: SimpleNamespace
) -> None:
    plugin.register()
    [(architecture, model)] = release.registered.items()
    assert architecture == model.__name__ == "WhisperForConditionalGeneration"
    whisper = model(vllm_config=encoders.configuration(eager=True))
    graphs_at_first = whisper.encoder_graphs
    assert graphs_at_first is None  # weights are loaded after this
    assert whisper.forward("tokens") == "tokens"
    assert whisper.encoder_graphs.by_count == []
    assert len(whisper.embed_multimodal(input_features=[*encoders.features(2)])) == 2
    whisper.encoder_graphs = encoders.by_hand(whisper.model.encoder, 3)
    features = encoders.features(2)
    with torch.inference_mode():
        outputs = whisper.embed_multimodal(input_features=features)
        assert torch.equal(torch.stack(outputs), whisper.model.encoder(list(features)))


def test_switched_off_vllm_keeps_its_own_whisper(
    plugin: Any, release: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHISPERCTL_ENCODER_GRAPHS", "0")
    plugin.register()
    assert release.registered == {}


@pytest.mark.parametrize("lacks", ["registry", "method"])
def test_a_release_without_the_interface_keeps_its_own_whisper(
    plugin: Any, release: SimpleNamespace, lacks: str, caplog: pytest.LogCaptureFixture
) -> None:
    if lacks == "registry":
        del release.vllm.ModelRegistry
    else:
        release.whisper.WhisperForConditionalGeneration = SimpleNamespace(forward=None)
    plugin.register()
    assert release.registered == {}
    assert "whisperctl: the encoder runs without CUDA graphs: " in caplog.text


def test_python_finds_the_entry_points_in_the_package(stack_of: StackOf, tmp_path: Path) -> None:
    stack = stack_of(
        model="{name: openai/whisper-large-v3-turbo}",
        vllm="{version: 0.26.0}",
        instance_type_group="{name: g, gpu: H200}",
    )
    for name, content in build_package(stack).files.items():
        assert isinstance(content, bytes)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    [distribution] = importlib.metadata.distributions(path=[str(tmp_path)])
    assert [(entry.group, entry.value) for entry in distribution.entry_points] == [
        ("vllm.general_plugins", "whisperctl_encoder:register"),
        ("vllm.general_plugins", "whisperctl_front_ends:register"),
    ]
    for entry in distribution.entry_points:
        assert "\ndef register() -> None:\n" in (tmp_path / f"{entry.module}.py").read_text()
