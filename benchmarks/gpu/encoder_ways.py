"""Ways to run Whisper's encoder beside vLLM's own: convolutions and residual sums, with fewer and larger kernels.

`graph` is vLLM's forward itself, `graph-together` the same with all recordings in one tensor. Of the others `clamp` is
the same arithmetic, rounding for rounding; `products` sums a convolution in another order, `norms` a layer norm.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch.nn.functional import linear


@triton.jit
def _columns(mel, out, FRAMES: tl.constexpr, MELS: tl.constexpr, PAD: tl.constexpr, TILE: tl.constexpr):
    """Three neighbouring frames of a spectrogram to a row: the first convolution is a product with these."""
    block, clip, tap = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    row = block * TILE + tl.arange(0, TILE)
    band = tl.arange(0, PAD)
    frame = row - 1 + tap
    inside = (band[:, None] < MELS) & (frame[None, :] >= 0) & (frame[None, :] < FRAMES)
    values = tl.load(mel + clip * MELS * FRAMES + band[:, None] * FRAMES + frame[None, :], mask=inside, other=0.0)
    target = out + (clip * FRAMES + row[:, None]).to(tl.int64) * (3 * MELS) + tap * MELS + band[None, :]
    tl.store(target, tl.trans(values), mask=(band[None, :] < MELS) & (row[:, None] < FRAMES))


@triton.jit
def _gelu(x):
    return x * 0.5 * (1.0 + tl.math.erf(x * 0.70710678118654752440))


@triton.jit
def _biased(y, bias, place, column, mask):
    """A product's output with its bias, rounded as cuDNN and PyTorch do it: once each."""
    value = tl.load(y + place, mask=mask, other=0.0).to(tl.float32)
    offset = tl.load(bias + column, mask=mask, other=0.0).to(tl.float32)
    return (value + offset).to(y.dtype.element_ty).to(tl.float32)


@triton.jit
def _gelu_columns(y, bias, out, ROWS: tl.constexpr, FRAMES: tl.constexpr, D: tl.constexpr, PAD: tl.constexpr):
    """Bias and GELU of the first convolution, and three rows of it to one: the second is a product with these."""
    row, tap = tl.program_id(0), tl.program_id(1)
    clip, frame = row // ROWS, 2 * (row % ROWS) - 1 + tap
    column = tl.arange(0, PAD)
    inside = (column < D) & (frame >= 0) & (frame < FRAMES)
    value = _gelu(_biased(y, bias, (clip * FRAMES + frame).to(tl.int64) * D + column, column, inside))
    target = out + row.to(tl.int64) * (3 * D) + tap * D + column
    tl.store(target, tl.where(inside, value, 0.0).to(out.dtype.element_ty), mask=column < D)


@triton.jit
def _gelu_positions(y, bias, positions, out, ROWS: tl.constexpr, D: tl.constexpr, PAD: tl.constexpr):
    """Bias and GELU of the second convolution, and the positions."""
    row = tl.program_id(0)
    column = tl.arange(0, PAD)
    mask = column < D
    value = _gelu(_biased(y, bias, row.to(tl.int64) * D + column, column, mask)).to(y.dtype.element_ty).to(tl.float32)
    position = tl.load(positions + (row % ROWS) * D + column, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + row.to(tl.int64) * D + column, (value + position).to(out.dtype.element_ty), mask=mask)


@triton.jit
def _clamped(x, LIMIT: tl.constexpr):
    return tl.where(x > LIMIT, LIMIT, tl.where(x < -LIMIT, -LIMIT, x))


@triton.jit
def _sum(r, x, place, mask):
    """A residual sum, rounded."""
    whole = tl.load(r + place, mask=mask, other=0.0).to(tl.float32) + tl.load(x + place, mask=mask, other=0.0).to(
        tl.float32
    )
    return whole.to(r.dtype.element_ty).to(tl.float32)


@triton.jit
def _add_clamp(r, x, LIMIT: tl.constexpr, N, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = place < N
    tl.store(r + place, _clamped(_sum(r, x, place, mask), LIMIT).to(r.dtype.element_ty), mask=mask)


@triton.jit
def _add_norm(
    r, x, weight, bias, out, EPS: tl.constexpr, LIMIT: tl.constexpr, CLAMP: tl.constexpr, D: tl.constexpr,
    PAD: tl.constexpr,
):  # fmt: skip
    """A residual sum, its clamp, and the layer norm of it."""
    place = tl.program_id(0).to(tl.int64) * D
    column = tl.arange(0, PAD)
    mask = column < D
    value = _sum(r, x, place + column, mask)
    if CLAMP:
        value = _clamped(value, LIMIT).to(r.dtype.element_ty).to(tl.float32)
    tl.store(r + place + column, value.to(r.dtype.element_ty), mask=mask)
    off = tl.where(mask, value - tl.sum(value, 0) / D, 0.0)
    scale = tl.rsqrt(tl.sum(off * off, 0) / D + EPS)
    gain = tl.load(weight + column, mask=mask, other=0.0).to(tl.float32)
    shift = tl.load(bias + column, mask=mask, other=0.0).to(tl.float32)
    tl.store(out + place + column, (off * scale * gain + shift).to(out.dtype.element_ty), mask=mask)


class Products:
    """Both convolutions as one matrix product each, over all recordings. Whoever captures it must keep it."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.first, self.second = (
            conv.weight.permute(0, 2, 1).flatten(1).contiguous() for conv in (encoder.conv1, encoder.conv2)
        )

    def __call__(self, mel):
        """Embedded recordings, with their positions."""
        encoder, (count, mels, frames) = self.encoder, mel.shape
        width, rows = self.first.shape[0], frames // 2
        pad = triton.next_power_of_2(width)
        columns = mel.new_empty(count * frames, 3 * mels)
        _columns[(triton.cdiv(frames, 64), count, 3)](mel, columns, frames, mels, triton.next_power_of_2(mels), 64)
        first = linear(columns, self.first)
        columns = mel.new_empty(count * rows, 3 * width)
        _gelu_columns[(count * rows, 3)](first, encoder.conv1.bias, columns, rows, frames, width, pad)
        second = linear(columns, self.second)
        out = torch.empty_like(second)
        positions = encoder.embed_positions.weight
        _gelu_positions[(count * rows,)](second, encoder.conv2.bias, positions, out, rows, width, pad)
        return out.view(count, rows, width)


def one_by_one(encoder, mel):
    """The convolutions as vLLM runs them."""
    embedded = []
    for clip in mel:
        hidden = torch.nn.functional.gelu(encoder.conv1(clip))
        hidden = torch.nn.functional.gelu(encoder.conv2(hidden)).transpose(-1, -2)
        embedded.append(hidden + encoder.embed_positions.weight[: hidden.size(-2)])
    return torch.stack(embedded)


def plain_layers(encoder, hidden):
    """The layers as vLLM runs them."""
    for layer in encoder.layers:
        hidden = layer(hidden)
    return encoder.layer_norm(hidden)


def layers_with_clamp(encoder, hidden):
    """A layer's last sum and its clamp in one kernel."""
    limit = torch.finfo(hidden.dtype).max - 1000
    for layer in encoder.layers:
        residual = hidden + layer.self_attn(layer.self_attn_layer_norm(hidden))
        inner, size = layer.mlp(layer.final_layer_norm(residual)), residual.numel()
        _add_clamp[(triton.cdiv(size, 4096),)](residual, inner, limit, size, 4096, num_warps=8)
        hidden = residual
    return encoder.layer_norm(hidden)


def layers_with_norms(encoder, hidden):
    """Each sum, its clamp and the norm that follows in one kernel."""
    width = hidden.shape[-1]
    limit, pad = torch.finfo(hidden.dtype).max - 1000, triton.next_power_of_2(width)

    def add_norm(inner, norm, *, clamp):
        out = torch.empty_like(hidden)
        parts = (hidden, inner, norm.weight, norm.bias, out, norm.eps, limit, clamp, width, pad)
        _add_norm[(hidden.numel() // width,)](*parts, num_warps=4)
        return out

    normed = encoder.layers[0].self_attn_layer_norm(hidden)
    following = [layer.self_attn_layer_norm for layer in encoder.layers[1:]] + [encoder.layer_norm]
    for layer, after in zip(encoder.layers, following, strict=True):
        normed = add_norm(layer.self_attn(normed), layer.final_layer_norm, clamp=False)
        normed = add_norm(layer.mlp(normed), after, clamp=True)
    return normed


def ways(encoder):
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
