"""A model folder of whisper-large-v3-turbo's shape with random float16 weights, made without any download.

The tokenizer has Whisper's ids; its base vocabulary is the 256 byte symbols padded with dummy words. The row of the
end-of-text token in the tied embedding is zero, so that greedy decoding never ends by itself: every request makes
exactly as many tokens as it asks for. Such a model tells the speed of the shape, never anything about transcripts.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

BASE_WORDS, VOCABULARY, MELS = 50257, 51866, 128


def tokenizer() -> WhisperTokenizer:
    """Whisper's special tokens at their own ids, above a vocabulary of dummies."""
    from tokenizers import AddedToken, pre_tokenizers
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"\u0120w{number}" for number in range(BASE_WORDS))]
    made = WhisperTokenizer(vocab={word: at for at, word in enumerate(words[:BASE_WORDS])}, merges=[])
    marks = ["endoftext", "startoftranscript", *LANGUAGES, "translate", "transcribe", "startoflm", "startofprev"]
    special = [f"<|{mark}|>" for mark in [*marks, "nospeech", "notimestamps"]]
    made.add_special_tokens({"additional_special_tokens": special})
    times = [f"<|{step * 0.02:.2f}|>" for step in range(1501)]
    made.add_tokens([AddedToken(text, special=False, normalized=False) for text in times])
    assert len(made) == VOCABULARY, len(made)
    return made


def write_configs(folder: Path, made: WhisperTokenizer) -> WhisperConfig:
    """Everything but the weights."""
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    def number(mark: str) -> int:
        identifier: int = made.convert_tokens_to_ids(f"<|{mark}|>")
        return identifier

    end = number("endoftext")
    ends = {
        "pad_token_id": end,
        "bos_token_id": end,
        "eos_token_id": end,
        "decoder_start_token_id": number("startoftranscript"),
    }
    extractor = WhisperFeatureExtractor(feature_size=MELS)
    extractor.save_pretrained(folder)
    WhisperProcessor(extractor, made).save_pretrained(folder)
    config = WhisperConfig(
        **{f"{part}_{what}": size for part in ("encoder", "decoder") for what, size in SIZES.items()},
        **ends,
        vocab_size=VOCABULARY,
        num_mel_bins=MELS,
        d_model=1280,
        encoder_layers=32,
        decoder_layers=4,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        dtype="float16",
        architectures=["WhisperForConditionalGeneration"],
    )
    config.save_pretrained(folder)
    GenerationConfig(
        **ends,
        max_length=448,
        is_multilingual=True,
        no_timestamps_token_id=number("notimestamps"),
        task_to_id={task: number(task) for task in ("translate", "transcribe")},
        lang_to_id={f"<|{code}|>": number(code) for code in LANGUAGES},
    ).save_pretrained(folder)
    return config


SIZES = {"attention_heads": 20, "ffn_dim": 5120}


def write_weights(folder: Path, config: WhisperConfig) -> None:
    """Random weights, on the GPU where there is one."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        model.model.decoder.embed_tokens.weight[config.eos_token_id].zero_()
        # The position then outweighs the last token: outputs differ along the sequence.
        model.model.decoder.embed_positions.weight.mul_(10)
    model.tie_weights()
    weights = {name: value.half().cpu().contiguous() for name, value in model.state_dict().items()}
    weights.pop("proj_out.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    print("parameters", sum(value.numel() for value in weights.values()))


def main() -> None:
    """`make_model.py FOLDER`."""
    begin, folder = time.monotonic(), Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, write_configs(folder, tokenizer()))
    print("seconds", round(time.monotonic() - begin, 1))


if __name__ == "__main__":
    main()
