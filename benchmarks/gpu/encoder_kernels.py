"""Triton's kernels for `encoder_ways.py`: convolutions as rows of a product, GELU, residual sums, their clamp and norm.

Only Triton's constants are annotated: it reads annotations itself, and takes others than `tl.constexpr` for types of
what it compiles. Arguments in small letters are pointers to tensors, and what a kernel computed.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def columns(mel, out, FRAMES: tl.constexpr, MELS: tl.constexpr, PAD: tl.constexpr, TILE: tl.constexpr):
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
def gelu_columns(y, bias, out, ROWS: tl.constexpr, FRAMES: tl.constexpr, D: tl.constexpr, PAD: tl.constexpr):
    """Bias and GELU of the first convolution, and three rows of it to one: the second is a product with these."""
    row, tap = tl.program_id(0), tl.program_id(1)
    clip, frame = row // ROWS, 2 * (row % ROWS) - 1 + tap
    column = tl.arange(0, PAD)
    inside = (column < D) & (frame >= 0) & (frame < FRAMES)
    value = _gelu(_biased(y, bias, (clip * FRAMES + frame).to(tl.int64) * D + column, column, inside))
    target = out + row.to(tl.int64) * (3 * D) + tap * D + column
    tl.store(target, tl.where(inside, value, 0.0).to(out.dtype.element_ty), mask=column < D)


@triton.jit
def gelu_positions(y, bias, positions, out, ROWS: tl.constexpr, D: tl.constexpr, PAD: tl.constexpr):
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
def add_clamp(r, x, LIMIT: tl.constexpr, N, BLOCK: tl.constexpr):
    """A residual sum and its clamp, in the place of the residual."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = place < N
    tl.store(r + place, _clamped(_sum(r, x, place, mask), LIMIT).to(r.dtype.element_ty), mask=mask)


@triton.jit
def add_norm(
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
