"""Ways to run Whisper's encoder beside vLLM's own: convolutions and residual sums, with fewer and larger kernels.

`graph` is vLLM's forward itself, `graph-together` the same with all recordings in one tensor. Of the others `clamp` is
the same arithmetic, rounding for rounding; `products` sums a convolution in another order, `norms` a layer norm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import encoder_kernels
import torch
import triton
from torch.nn.functional import linear

Way = Callable[[torch.Tensor], torch.Tensor]
"""Spectrograms (recordings, mels, frames) to hidden states (recordings, frames / 2, width), in half precision."""


class EncoderLayer(Protocol):
    """vLLM's `WhisperEncoderLayer`, as far as it is used here."""

    self_attn_layer_norm: torch.nn.LayerNorm
    final_layer_norm: torch.nn.LayerNorm

    def self_attn(self, hidden_states: torch.Tensor, /) -> torch.Tensor: ...
    def mlp(self, hidden_states: torch.Tensor, /) -> torch.Tensor: ...
    def __call__(self, hidden_states: torch.Tensor, /) -> torch.Tensor: ...


class Encoder(Protocol):
    """vLLM's `WhisperEncoder`, as far as it is used here."""

    num_mel_bins: int
    conv1: torch.nn.Conv1d
    conv2: torch.nn.Conv1d
    embed_positions: torch.nn.Embedding
    layers: Sequence[EncoderLayer]
    layer_norm: torch.nn.LayerNorm

    def __call__(self, input_features: torch.Tensor | list[torch.Tensor], /) -> torch.Tensor: ...


class Products:
    """Both convolutions as one matrix product each, over all recordings. Whoever captures it must keep it."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.first, self.second = (
            conv.weight.permute(0, 2, 1).flatten(1).contiguous() for conv in (encoder.conv1, encoder.conv2)
        )

    def __call__(self, mel: torch.Tensor) -> torch.Tensor:
        """Embedded recordings, with their positions: (recordings, mels, frames) to (recordings, frames / 2, width)."""
        encoder, (count, mels, frames) = self.encoder, mel.shape
        width, rows = self.first.shape[0], frames // 2
        pad = triton.next_power_of_2(width)
        columns = mel.new_empty(count * frames, 3 * mels)
        blocks, bands = triton.cdiv(frames, 64), triton.next_power_of_2(mels)
        encoder_kernels.columns[(blocks, count, 3)](mel, columns, frames, mels, bands, 64)
        first = linear(columns, self.first)
        columns = mel.new_empty(count * rows, 3 * width)
        bias = encoder.conv1.bias
        encoder_kernels.gelu_columns[(count * rows, 3)](first, bias, columns, rows, frames, width, pad)
        second = linear(columns, self.second)
        out: torch.Tensor = torch.empty_like(second)
        bias, positions = encoder.conv2.bias, encoder.embed_positions.weight
        encoder_kernels.gelu_positions[(count * rows,)](second, bias, positions, out, rows, width, pad)
        return out.view(count, rows, width)


def one_by_one(encoder: Encoder, mel: torch.Tensor) -> torch.Tensor:
    """The convolutions as vLLM runs them: (recordings, mels, frames) to (recordings, frames / 2, width)."""
    embedded = []
    for clip in mel:
        hidden = torch.nn.functional.gelu(encoder.conv1(clip))
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).transpose(-1, -2)
        embedded.append(hidden + encoder.embed_positions.weight[: hidden.size(-2)])
    return torch.stack(embedded)


def plain_layers(encoder: Encoder, hidden: torch.Tensor) -> torch.Tensor:
    """The layers as vLLM runs them."""
    for layer in encoder.layers:
        hidden = layer(hidden)
    normed: torch.Tensor = encoder.layer_norm(hidden)
    return normed


def layers_with_clamp(encoder: Encoder, hidden: torch.Tensor) -> torch.Tensor:
    """A layer's last sum and its clamp in one kernel."""
    limit = torch.finfo(hidden.dtype).max - 1000
    for layer in encoder.layers:
        residual = hidden + layer.self_attn(layer.self_attn_layer_norm(hidden))
        inner, size = layer.mlp(layer.final_layer_norm(residual)), residual.numel()
        encoder_kernels.add_clamp[(triton.cdiv(size, 4096),)](residual, inner, limit, size, 4096, num_warps=8)
        hidden = residual
    normed: torch.Tensor = encoder.layer_norm(hidden)
    return normed


def layers_with_norms(encoder: Encoder, hidden: torch.Tensor) -> torch.Tensor:
    """Each sum, its clamp and the norm that follows in one kernel."""
    width = hidden.shape[-1]
    limit, pad = torch.finfo(hidden.dtype).max - 1000, triton.next_power_of_2(width)

    def add_norm(inner: torch.Tensor, norm: torch.nn.LayerNorm, *, clamp: bool) -> torch.Tensor:
        out = torch.empty_like(hidden)
        parts = (hidden, inner, norm.weight, norm.bias, out, norm.eps, limit, clamp, width, pad)
        encoder_kernels.add_norm[(hidden.numel() // width,)](*parts, num_warps=4)
        return out

    normed: torch.Tensor = encoder.layers[0].self_attn_layer_norm(hidden)
    following = [layer.self_attn_layer_norm for layer in encoder.layers[1:]] + [encoder.layer_norm]
    for layer, after in zip(encoder.layers, following, strict=True):
        normed = add_norm(layer.self_attn(normed), layer.final_layer_norm, clamp=False)
        normed = add_norm(layer.mlp(normed), after, clamp=True)
    return normed


def ways(encoder: Encoder) -> dict[str, Way]:
    """Name -> the encoder on a tensor of recordings."""
    products = Products(encoder)
    return {
        "graph": lambda mel: encoder(list(mel.unbind())),
        "graph-together": lambda mel: encoder([mel]),
        "graph-clamp": lambda mel: layers_with_clamp(encoder, one_by_one(encoder, mel)),
        "graph-products": lambda mel: plain_layers(encoder, products(mel)),
        "graph-products-clamp": lambda mel: layers_with_clamp(encoder, products(mel)),
        "graph-products-norms": lambda mel: layers_with_norms(encoder, products(mel)),
    }
