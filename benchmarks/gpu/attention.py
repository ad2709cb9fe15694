"""The attention kernels that vLLM may use for Whisper, alone on the GPU: how near each is to what the GPU can do.

Decoding reads the keys and values of every recording's 1500 encoder positions in each step, so bytes per second count;
the encoder multiplies, so operations per second count. 20 heads of 64, as in large-v3-turbo.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from vllm.v1.attention.ops.triton_unified_attention import unified_attention
from vllm.vllm_flash_attn import flash_attn_varlen_func

HEADS, SIZE = 20, 64
SCALE = SIZE**-0.5
POSITIONS = 1500


def seconds(work: Callable[[], object], times: int = 30) -> float:
    """Seconds of one call, the mean of many."""
    for _ in range(5):
        work()
    torch.cuda.synchronize()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(times):
        work()
    end.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(end)) / times / 1000


def random(*shape: int) -> torch.Tensor:
    """Random half-precision numbers."""
    return torch.randn(shape, device="cuda", dtype=torch.float16)


def decoding(requests: int, positions: int, block: int, layout: str) -> str:
    """One layer's attention in one step, with a paged cache in either layout."""
    pages = -(-positions // block)
    count = requests * pages + 64
    shape = (count, HEADS, block, SIZE) if layout == "HND" else (count, block, HEADS, SIZE)
    keys, values = random(*shape), random(*shape)
    if layout == "HND":
        keys, values = keys.permute(0, 2, 1, 3), values.permute(0, 2, 1, 3)
    table = torch.randperm(count, device="cuda")[: requests * pages].reshape(requests, pages).to(torch.int32)
    query, out = random(requests, HEADS, SIZE), random(requests, HEADS, SIZE)
    bounds = torch.arange(requests + 1, device="cuda", dtype=torch.int32)
    common = {
        "q": query,
        "k": keys,
        "v": values,
        "out": out,
        "cu_seqlens_q": bounds,
        "max_seqlen_q": 1,
        "seqused_k": torch.full((requests,), positions, device="cuda", dtype=torch.int32),
        "max_seqlen_k": positions,
        "softmax_scale": SCALE,
        "causal": False,
        "block_table": table,
    }
    scales = {"q_descale": None, "k_descale": None, "v_descale": None}
    read = requests * HEADS * positions * SIZE * 2 * 2
    cells = []
    for name, work in (
        ("FlashAttention 3", lambda: flash_attn_varlen_func(**common, fa_version=3)),
        ("Triton", lambda: unified_attention(**common, **scales, window_size=(-1, -1), softcap=0)),
    ):
        took = seconds(work)
        cells.append(f"{name} {took * 1e6:.0f} us {read / took / 1e12:.2f} TB/s")
    return ", ".join(cells)


def encoding(recordings: int) -> str:
    """One layer's attention of several recordings."""
    whole = random(recordings * POSITIONS, 3 * HEADS * SIZE)
    query, keys, values = (part.reshape(-1, HEADS, SIZE) for part in whole.split(HEADS * SIZE, -1))
    bounds = torch.arange(recordings + 1, device="cuda", dtype=torch.int32) * POSITIONS
    lengths = {"cu_seqlens_q": bounds, "cu_seqlens_k": bounds, "max_seqlen_q": POSITIONS, "max_seqlen_k": POSITIONS}
    work = 4 * recordings * POSITIONS**2 * HEADS * SIZE
    parts = [part.reshape(recordings, POSITIONS, HEADS, SIZE).transpose(1, 2) for part in (query, keys, values)]
    cells = []
    for name, call in (
        ("FlashAttention 3", lambda: flash_attn_varlen_func(query, keys, values, **lengths, fa_version=3)),
        ("torch", lambda: torch.nn.functional.scaled_dot_product_attention(*parts)),
    ):
        took = seconds(call)
        cells.append(f"{name} {took * 1e6:.0f} us {work / took / 1e12:.0f} TFLOP/s")
    return ", ".join(cells)


def main() -> None:
    """Print a line for each shape."""
    for (requests, positions), block, layout in product(((120, POSITIONS), (32, POSITIONS)), (16, 64), ("NHD", "HND")):
        print(
            f"decoding, {requests} requests, blocks of {block}, {layout}:", decoding(requests, positions, block, layout)
        )
    for recordings in (2, 8):
        print(f"encoding, {recordings} recordings:", encoding(recordings))


if __name__ == "__main__":
    main()
