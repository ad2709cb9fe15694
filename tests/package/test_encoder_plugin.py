"""The plug-in that replays Whisper's encoder from CUDA graphs, as far as it goes without a GPU."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from whisperctl.package.build import build_package

from .conftest import StackOf

torch: Any = pytest.importorskip("torch", reason="torch is not installed")

from templates import whisperctl_encoder as plugin  # noqa: E402

MELS, FRAMES, POSITIONS, WIDTH = 4, 6, 3, 2


class Encoder(torch.nn.Module):  # type: ignore[misc]
    """What the plug-in asks of vLLM's WhisperEncoder."""

    num_mel_bins, max_source_positions, total_stride = MELS, POSITIONS, 2

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(MELS, WIDTH))

    def forward(self, features: Sequence[Any]) -> Any:
        clips = [clip if clip.ndim == 3 else clip[None] for clip in features]
        return torch.cat(clips)[:, :, ::2].transpose(1, 2) @ self.weight


def configuration(*, eager: bool = False, lora: object = None, parallel: int = 1) -> SimpleNamespace:
    """The parts of vLLM's configuration that decide whether there are graphs."""
    return SimpleNamespace(
        model_config=SimpleNamespace(enforce_eager=eager),
        lora_config=lora,
        parallel_config=SimpleNamespace(tensor_parallel_size=parallel),
        scheduler_config=SimpleNamespace(max_num_batched_tokens=3 * POSITIONS, max_num_seqs=8),
    )


def by_hand(encoder: Encoder, most: int) -> plugin.EncoderGraphs:
    """Graphs that compute where CUDA would replay."""
    clips = torch.zeros(most, MELS, FRAMES)

    def graph(count: int) -> tuple[Callable[[], None], Any]:
        output = torch.zeros(count, POSITIONS, WIDTH)
        return lambda: output.copy_(encoder([clips[:count]])), output

    return plugin.EncoderGraphs([graph(count) for count in range(1, most + 1)], clips)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("listed", [False, True])
def test_recordings_of_a_step_go_through_the_graph_of_their_number(count: int, listed: bool) -> None:
    encoder, features = Encoder(), torch.rand(count, MELS, FRAMES)
    graphs = by_hand(encoder, 3)
    with torch.inference_mode():
        expected = encoder(list(features))
        first = graphs.replay(list(features) if listed else features)
        graphs.replay(torch.rand(count, MELS, FRAMES))
    assert torch.equal(first, expected)  # a copy: the next replay writes to the same memory


@pytest.mark.parametrize(
    "features",
    [
        None,
        [],
        torch.rand(4, MELS, FRAMES),
        torch.rand(1, MELS, FRAMES - 1),
        [torch.rand(MELS, FRAMES), torch.rand(MELS, 2)],
    ],
    ids=["none", "empty", "more than graphs", "shorter", "one shorter"],
)
def test_what_has_no_graph_is_left_to_vllm(features: Any) -> None:
    assert by_hand(Encoder(), 3).replay(features) is None


def test_a_number_whose_graph_differed_is_left_to_vllm() -> None:
    graphs = by_hand(Encoder(), 2)
    graphs.by_count[1] = None
    assert graphs.replay(torch.rand(2, MELS, FRAMES)) is None
    assert graphs.replay(torch.rand(1, MELS, FRAMES)) is not None


@pytest.mark.parametrize("how", [{"eager": True}, {"lora": object()}, {"parallel": 2}], ids=lambda how: next(iter(how)))
def test_options_that_forbid_graphs_are_heeded_in_silence(
    how: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert plugin.captured(Encoder(), configuration(**how)).by_count == []
    assert caplog.text == ""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_where_capturing_fails_vllm_goes_on_without(caplog: pytest.LogCaptureFixture) -> None:
    graphs = plugin.captured(Encoder(), configuration())
    assert graphs.replay(torch.rand(1, MELS, FRAMES)) is None
    assert "whisperctl: the encoder runs without CUDA graphs: " in caplog.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_graphs_give_the_same_bits() -> None:
    encoder, features = Encoder().cuda().half(), torch.rand(2, MELS, FRAMES).cuda()
    graphs = plugin.captured(encoder, configuration())
    assert len(graphs.by_count) == 3
    with torch.inference_mode():
        assert torch.equal(graphs.replay(features), encoder(list(features.half())))


class Stock:
    """What the plug-in asks of vLLM's WhisperForConditionalGeneration."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:  # noqa: ARG002
        self.model = SimpleNamespace(encoder=Encoder())

    def forward(self, tokens: str) -> str:
        return tokens

    def embed_multimodal(self, **kwargs: Any) -> tuple[Any, ...]:
        return tuple(self.model.encoder(kwargs["input_features"]))


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A vLLM in whose registry the plug-in registers."""
    registered: dict[str, Any] = {}
    vllm: Any = ModuleType("vllm")
    models: Any = ModuleType("vllm.model_executor.models")
    vllm.ModelRegistry = SimpleNamespace(register_model=registered.__setitem__)
    models.whisper = SimpleNamespace(WhisperForConditionalGeneration=Stock)
    for module in (vllm, ModuleType("vllm.model_executor"), models):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delenv("WHISPERCTL_ENCODER_GRAPHS", raising=False)
    return SimpleNamespace(registered=registered, vllm=vllm, whisper=models.whisper)


def test_the_entry_point_registers_a_whisper_of_the_same_name(release: SimpleNamespace) -> None:
    plugin.register()
    [(architecture, model)] = release.registered.items()
    assert architecture == model.__name__ == "WhisperForConditionalGeneration"
    whisper = model(vllm_config=configuration(eager=True))
    graphs_at_first = whisper.encoder_graphs
    assert graphs_at_first is None  # weights are loaded after this
    assert whisper.forward("tokens") == "tokens"
    assert whisper.encoder_graphs.by_count == []
    assert len(whisper.embed_multimodal(input_features=[torch.rand(MELS, FRAMES)] * 2)) == 2
    whisper.encoder_graphs = by_hand(whisper.model.encoder, 3)
    features = torch.rand(2, MELS, FRAMES)
    with torch.inference_mode():
        outputs = whisper.embed_multimodal(input_features=features)
        assert torch.equal(torch.stack(outputs), whisper.model.encoder(list(features)))


def test_switched_off_vllm_keeps_its_own_whisper(release: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHISPERCTL_ENCODER_GRAPHS", "0")
    plugin.register()
    assert release.registered == {}


@pytest.mark.parametrize("lacks", ["registry", "method"])
def test_a_release_without_the_interface_keeps_its_own_whisper(
    release: SimpleNamespace, lacks: str, caplog: pytest.LogCaptureFixture
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
