"""The encoder alone on the GPU: time, energy, kernels and words of vLLM's forward and of other ways, in CUDA graphs.

vLLM's own modules in one process, without a server. Words: one decoder, transformers', turns each way's output into
token ids, with the same batches. `encoder.py MODEL_FOLDER OUT.jsonl [SAMPLES]`; with samples, those are the recordings.
"""

from __future__ import annotations

import json
import os
import sys
import time
import wave
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pynvml
import torch
from encoder_ways import Encoder, Way, ways
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile

SIZES, PROFILED = (2, 8, 22), 16
RECORDINGS, TOKENS, RATE, SECONDS = 256, 120, 16000, 30

Call = Callable[[], object]
Sound = NDArray[np.float32]
"""Samples at 16 kHz, from -1 to 1."""


@contextmanager
def loaded(folder: str) -> Iterator[Encoder]:
    """The encoder of vLLM's model, with its weights; vLLM's own modules look at the current configuration meanwhile."""
    from vllm.config import set_current_vllm_config
    from vllm.distributed import init_distributed_environment, initialize_model_parallel
    from vllm.engine.arg_utils import EngineArgs
    from vllm.model_executor.model_loader import get_model

    config = EngineArgs(model=folder, max_model_len=448, dtype="float16").create_engine_config()
    with set_current_vllm_config(config):
        init_distributed_environment(1, 0, f"tcp://127.0.0.1:{20000 + os.getpid() % 20000}", 0)
        initialize_model_parallel(1, 1)
        yield get_model(vllm_config=config).model.encoder


def captured(way: Way, mel: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, torch.Tensor]:
    """A graph of one call, and where its output lies. Whoever replays it must keep the way's own tensors."""
    way(mel)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        output = way(mel)
    return graph, output


def timed(call: Call, count: int, gpu: pynvml.c_nvmlDevice_t, seconds: float = 1.0) -> dict[str, float]:
    """Milliseconds and joules of a recording, over about a second; each call is of `count` recordings."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    begin = time.monotonic()
    call()
    torch.cuda.synchronize()
    times = max(5, int(seconds / (time.monotonic() - begin)))
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    spent = pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu)
    begin = time.monotonic()
    first.record()
    for _ in range(times):
        call()
    last.record()
    launched = time.monotonic() - begin
    torch.cuda.synchronize()
    spent = pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu) - spent
    each = times * count
    result = {"ms_per_clip": first.elapsed_time(last) / each, "J_per_clip": spent / 1000 / each}
    result["launch_ms_per_clip"] = launched * 1000 / each
    return {name: round(value, 3) for name, value in result.items()}


def kernels(name: str, call: Call) -> str:
    """The kernels of one call, longest first."""
    call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as traced:
        call()
        torch.cuda.synchronize()
    rows = [(row.self_device_time_total / PROFILED, row.count, row.key[:130]) for row in traced.key_averages()]
    lines = [f"{name}, {PROFILED} clips: {sum(row[0] for row in rows) / 1000:.3f} ms a clip"]
    lines += [f"{took:11.1f} us/clip {count:5d} x {key}" for took, count, key in sorted(rows, reverse=True) if took]
    return "\n".join(lines)


def recordings(samples: Path | None) -> Iterator[Sound]:
    """Noise and tones, or the samples (a folder of WAV files) at other loudness and times, with noise."""
    random = np.random.default_rng(7)
    known = [samples_of(path) for path in sorted(samples.glob("*.wav"))] if samples else []
    at = np.arange(SECONDS * RATE) / RATE
    for number in range(RECORDINGS):
        if known:
            words = known[number % len(known)][: (SECONDS - 1) * RATE] * random.uniform(0.3, 1.5)
            sound = np.concatenate([np.zeros(random.integers(0, RATE)), words])
            sound += random.uniform(0, 0.01) * random.standard_normal(len(sound))
        else:
            sound = 0.1 * random.standard_normal(SECONDS * RATE)
            for frequency in random.uniform(100, 4000, 4):
                sound += 0.1 * np.sin(2 * np.pi * frequency * at)
        yield np.clip(sound, -1, 1).astype(np.float32)


def samples_of(path: Path) -> Sound:
    """A 16-bit WAV at 16 kHz, mono."""
    with wave.open(str(path)) as file:
        frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768
        mono = frames.reshape(-1, file.getnchannels()).mean(1)
        places = np.arange(0, len(mono), file.getframerate() / RATE)
    resampled: Sound = np.interp(places, np.arange(len(mono)), mono).astype(np.float32)
    return resampled


def words(
    encoder: Encoder, folder: str, samples: Path | None, all_ways: Mapping[str, Way]
) -> Iterator[dict[str, object]]:
    """Token ids after each way, compared with those after vLLM's own."""
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

    extract = WhisperFeatureExtractor.from_pretrained(folder)
    made = [extract(sound, sampling_rate=RATE, return_tensors="pt").input_features for sound in recordings(samples)]
    features = torch.cat(made).half()
    decoder = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float16).cuda().eval()
    known = decoder.generation_config.to_dict()
    start = [decoder.config.decoder_start_token_id, known["lang_to_id"]["<|en|>"]]
    start += [known["task_to_id"]["transcribe"], known["no_timestamps_token_id"]]

    def decoded(hidden: torch.Tensor) -> torch.Tensor:
        tokens, past, steps = torch.tensor([start] * len(hidden), device="cuda"), None, []
        for _ in range(TOKENS):
            step = decoder.model.decoder(
                input_ids=tokens, encoder_hidden_states=hidden, past_key_values=past, use_cache=True
            )
            past, tokens = step.past_key_values, decoder.proj_out(step.last_hidden_state[:, -1]).argmax(-1, True)
            steps.append(tokens)
        return torch.cat(steps, 1)

    expected: tuple[torch.Tensor, torch.Tensor] | None = None
    every: dict[str, Way] = {"eager": encoder, "eager again": encoder, **all_ways}
    for name, way in every.items():
        hidden = torch.cat([way(features[at : at + 16].cuda()) for at in range(0, RECORDINGS, 16)])
        ids = torch.cat([decoded(hidden[at : at + 64]) for at in range(0, RECORDINGS, 64)])
        if expected is None:
            expected = hidden, ids
        equal = ids == expected[1]
        yield {
            "words": name,
            "inputs": RECORDINGS,
            "bitwise": torch.equal(hidden, expected[0]),
            "token_ids_equal": float(equal.float().mean()),
            "recordings_equal": int(equal.all(1).sum()),
            "distinct": len({tuple(row) for row in ids.tolist()}),
        }


@torch.inference_mode()
def measure(encoder: Encoder, folder: str, out: Path, samples: Path | None) -> None:
    """Measure each way, then compare words."""
    every = ways(encoder)
    pynvml.nvmlInit()
    gpu = pynvml.nvmlDeviceGetHandleByIndex(0)

    def keep(**row: object) -> None:
        print(json.dumps(row), flush=True)
        with out.open("a") as file:
            file.write(json.dumps(row) + "\n")

    for count in SIZES:
        mel = torch.rand(count, encoder.num_mel_bins, SECONDS * 100, device="cuda").half() * 2 - 1
        expected = encoder(list(mel.unbind()))
        keep(n=count, mode="eager", **timed(partial(every["graph"], mel), count, gpu))
        for name, way in every.items():
            graph, output = captured(way, mel)
            graph.replay()
            torch.cuda.synchronize()
            equal = torch.equal(output, expected)
            keep(n=count, mode=name, equal=equal, **timed(graph.replay, count, gpu))
    mel = torch.rand(PROFILED, encoder.num_mel_bins, SECONDS * 100, device="cuda").half()
    for name, way in every.items():
        print(kernels(name, captured(way, mel)[0].replay))
    for row in words(encoder, folder, samples, every):
        keep(**row)


if __name__ == "__main__":
    with loaded(sys.argv[1]) as loaded_encoder:
        measure(loaded_encoder, sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
