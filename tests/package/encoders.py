"""A Whisper encoder of a few numbers, and graphs of it without a GPU; importing this takes torch, and seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch

from templates import whisperctl_encoder as plugin

MELS, FRAMES, POSITIONS, WIDTH = 4, 6, 3, 2


class Encoder(torch.nn.Module):
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


def features(count: int) -> torch.Tensor:
    """So many recordings' spectra."""
    return torch.rand(count, MELS, FRAMES)


def by_hand(encoder: Encoder, most: int) -> plugin.EncoderGraphs:
    """Graphs that compute where CUDA would replay."""
    clips = torch.zeros(most, MELS, FRAMES)

    def graph(count: int) -> tuple[Callable[[], Any], Any]:
        output = torch.zeros(count, POSITIONS, WIDTH)
        return lambda: output.copy_(encoder([clips[:count]])), output

    return plugin.EncoderGraphs([graph(count) for count in range(1, most + 1)], clips)


class Stock:
    """What the plug-in asks of vLLM's WhisperForConditionalGeneration."""

    def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:  # noqa: ARG002
        self.model = SimpleNamespace(encoder=Encoder())

    def forward(self, tokens: str) -> str:
        return tokens

    def embed_multimodal(self, **kwargs: Any) -> tuple[Any, ...]:
        return tuple(self.model.encoder(kwargs["input_features"]))
