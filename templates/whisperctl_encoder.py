"""Whisper's encoder, replayed from CUDA graphs: a plug-in of vLLM's. Rendered by whisperctl.

On unless WHISPERCTL_ENCODER_GRAPHS is 0 in the version's environment variables.

vLLM launches the encoder's kernels one by one from Python, which takes its thread longer than the GPU for one or two
recordings. Captured, they are launched by one call. A graph runs vLLM's own forward on all recordings of a step, and is
taken only if its output equals, bit for bit, that of vLLM's way: one by one through the convolutions.

The entry point (`vllm.general_plugins`, in the `.dist-info` folder beside this file) registers a subclass of vLLM's
Whisper. Where a release lacks something that is used here, or memory is short, vLLM's own way stays, and a line in the
log says so.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Any

import torch

ARCHITECTURE = "WhisperForConditionalGeneration"
SWITCH = "WHISPERCTL_ENCODER_GRAPHS"
MOST = 22
"""Recordings in one graph; what is rendered for engines that share a GPU takes no more into a step."""

Graph = tuple[Callable[[], None], torch.Tensor]
"""What launches it, and where its output lies."""

log = logging.getLogger("vllm.whisperctl_encoder")


def register() -> None:
    """For the entry point: from now on vLLM loads Whisper with graphs. Raises nothing: vLLM would not start."""
    if os.environ.get(SWITCH) == "0":
        return
    try:
        from vllm import ModelRegistry
        from vllm.model_executor.models import whisper

        ModelRegistry.register_model(ARCHITECTURE, graphed(whisper.WhisperForConditionalGeneration))
    except Exception as problem:
        log.warning("whisperctl: the encoder runs without CUDA graphs: %r", problem)


def graphed(stock: Any) -> type:
    """vLLM's class for Whisper, with its encoder in graphs.

    Raises:
        AttributeError: this release has no such method.
    """
    embed, forward = stock.embed_multimodal, stock.forward

    class WhisperForConditionalGeneration(stock):  # vLLM goes by the class's name
        """Captures at the first forward, while vLLM measures its memory: the weights are loaded by then."""

        def __init__(self, *, vllm_config: Any, prefix: str = "") -> None:
            super().__init__(vllm_config=vllm_config, prefix=prefix)
            self.encoder_graphs: EncoderGraphs | None = None
            self.encoder_config = vllm_config

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            if self.encoder_graphs is None:
                self.encoder_graphs = captured(self.model.encoder, self.encoder_config)
            return forward(self, *args, **kwargs)

        def embed_multimodal(self, **kwargs: Any) -> Any:
            features = kwargs.get("input_features")
            if self.encoder_graphs is not None and (output := self.encoder_graphs.replay(features)) is not None:
                return output.unbind(dim=0)
            return embed(self, **kwargs)

    return WhisperForConditionalGeneration


def captured(encoder: Any, config: Any) -> EncoderGraphs:
    """Graphs of `encoder`; none where vLLM's configuration forbids them or capturing fails."""
    try:
        if config.model_config.enforce_eager or config.lora_config or config.parallel_config.tensor_parallel_size > 1:
            return EncoderGraphs([], None)
        scheduler = config.scheduler_config
        most = min(MOST, scheduler.max_num_batched_tokens // encoder.max_source_positions, scheduler.max_num_seqs)
        frames = encoder.max_source_positions * encoder.total_stride
        weights = next(encoder.parameters())
        clips = torch.zeros(most, encoder.num_mel_bins, frames, device=weights.device, dtype=weights.dtype)
        begin = time.monotonic()
        graphs = EncoderGraphs(capture(encoder, clips), clips)
    except Exception as problem:
        log.warning("whisperctl: the encoder runs without CUDA graphs: %r", problem)
        return EncoderGraphs([], None)
    equal = sum(graph is not None for graph in graphs.by_count)
    log.info("whisperctl: %d of %d encoder graphs, %.1f s", equal, most, time.monotonic() - begin)
    return graphs


class EncoderGraphs:
    """One graph for each number of recordings, 1 first; None where its output differed."""

    def __init__(self, by_count: list[Graph | None], clips: torch.Tensor | None) -> None:
        self.by_count, self.clips = by_count, clips

    @torch.inference_mode()
    def replay(self, features: Any) -> torch.Tensor | None:
        """The encoder's output for a step's recordings; None where there is no graph for them."""
        count = len(features) if features is not None else 0
        if not 0 < count <= len(self.by_count) or self.clips is None or (graph := self.by_count[count - 1]) is None:
            return None
        shape = self.clips.shape[1:]
        if any(one.shape != shape for one in features):
            return None
        if isinstance(features, torch.Tensor):
            self.clips[:count].copy_(features)
        else:
            for clip, one in zip(self.clips, features, strict=False):
                clip.copy_(one)
        launch, output = graph
        launch()
        return output.clone()  # the next replay, of any number, writes to the same memory


@torch.inference_mode()
def capture(encoder: Any, clips: torch.Tensor) -> list[Graph | None]:
    """A graph for each number of recordings up to `clips`, the largest captured first: the others fit its memory."""
    pool, graphs = torch.cuda.graph_pool_handle(), []
    noise = torch.rand_like(clips)
    for count in range(len(clips), 0, -1):
        some = clips[:count]
        some.copy_(noise[:count])
        one_by_one = list(some.unbind())
        expected = encoder(one_by_one)
        together = recorded(encoder, [some], pool, expected)
        graphs.append(together or recorded(encoder, one_by_one, pool, expected))
    return graphs[::-1]


def recorded(encoder: Any, features: list[torch.Tensor], pool: Any, expected: torch.Tensor) -> Graph | None:
    """A graph of one call; None where its output is not `expected`, bit for bit."""
    encoder(features)  # what is set up at a first call of this size is not to be captured
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        output = encoder(features)
    graph.replay()
    return (graph.replay, output) if torch.equal(output, expected) else None
