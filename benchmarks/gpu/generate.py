"""Transformers' batched `generate` on the same GPU: what somebody without a server would run.

`generate.py MODEL_FOLDER OUT.jsonl [BATCH,BATCH] [ROUNDS]`. Float16 and scaled-dot-product attention, 120 tokens for
each 30-second recording. Spectrograms are made by transformers' feature extractor: on the GPU, and once on the CPU.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from load import SECONDS, TOKENS
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

RATE = 16000


def main(folder: str, out: Path, batches: list[int], rounds: int) -> None:
    """Measure each batch size in each round, after one round to warm up."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float16 if device == "cuda" else torch.float32
    model: Any = WhisperForConditionalGeneration.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    model = model.to(device).eval()
    extract = WhisperFeatureExtractor.from_pretrained(folder)
    random = np.random.default_rng(7)
    sounds = [0.1 * random.standard_normal(SECONDS * RATE).astype(np.float32) for _ in range(max(batches))]
    for turn in range(rounds + 1):
        for batch in batches:
            keep(turn, batch, device, measured(model, extract, sounds[:batch], device), out)
    for batch in batches if device != "cpu" else ():
        keep(1, batch, "cpu", measured(model, extract, sounds[:batch], "cpu"), out)


def keep(turn: int, batch: int, where: str, row: dict[str, Any], out: Path) -> None:
    """Print and append one result; that of round 0 warms up."""
    if turn:
        row = {"variant": "generate", "batch": batch, "features_on": where, "round": turn, **row}
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


@torch.inference_mode()
def measured(model: Any, extract: Any, sounds: list[np.ndarray], where: str) -> dict[str, Any]:
    """Seconds of one batch, spectrograms and tokens apart, and audio seconds a second of both."""
    begin = time.monotonic()
    features = extract(sounds, sampling_rate=RATE, return_tensors="pt", device=where).input_features
    features = features.to(model.device, model.dtype)
    extracted = time.monotonic()
    ids = model.generate(features, language="en", task="transcribe", max_new_tokens=TOKENS, do_sample=False)
    tokens = ids.cpu().shape[1]
    end = time.monotonic()
    rate = len(sounds) * SECONDS / (end - begin)
    times = {"features_s": round(extracted - begin, 2), "generate_s": round(end - extracted, 2)}
    return {"audio_s_per_s": round(rate, 2), **times, "tokens": tokens}


if __name__ == "__main__":
    sizes = [int(size) for size in (sys.argv[3] if len(sys.argv) > 3 else "24,256").split(",")]
    main(sys.argv[1], Path(sys.argv[2]), sizes, int(sys.argv[4]) if len(sys.argv) > 4 else 3)
