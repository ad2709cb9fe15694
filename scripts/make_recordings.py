"""Makes the recordings that `whisperctl init` puts beside a stack file: templates/init/recordings/LANGUAGE.flac.

    apt install flite espeak-ng ffmpeg
    python scripts/make_recordings.py [LANGUAGE]...

Each is the sentence of sentences.json, said by a free synthetic voice: 16 kHz, mono, FLAC, with a third of a second of
silence around it. English is said by flite's `slt`, which was made from a person's speech and which a recogniser
that knows no synthetic voices gets right word for word (pocketsphinx 5.1); the others by espeak-ng, slowly. flite's
voices may be used for anything (Carnegie Mellon University, licence in its COPYING); espeak-ng's GPL is about the
program, not about what it says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

RECORDINGS = Path(__file__).parents[1] / "templates" / "init" / "recordings"
SILENCE = "adelay=300:all=1,apad=pad_dur=0.3"
"""Milliseconds before, seconds after: Whisper loses a word that begins with the first sample."""
WORDS_PER_MINUTE = "130"


def main(languages: Sequence[str]) -> None:
    """Make the recordings of `languages`, or of every sentence."""
    sentences: dict[str, str] = json.loads((RECORDINGS / "sentences.json").read_text(encoding="utf-8"))
    for language in languages or sentences:
        with tempfile.TemporaryDirectory() as folder:
            spoken = Path(folder) / "spoken.wav"
            subprocess.run(voice(language, sentences[language], spoken), check=True)
            convert(spoken, RECORDINGS / f"{language}.flac")


def voice(language: str, sentence: str, spoken: Path) -> list[str]:
    """The command that says `sentence` into the WAV file `spoken`."""
    if language == "en":
        return ["flite", "-voice", "slt", "-t", sentence, "-o", str(spoken)]
    return ["espeak-ng", "-v", language, "-s", WORDS_PER_MINUTE, "-w", str(spoken), sentence]


def convert(spoken: Path, recording: Path) -> None:
    """Make a 16 kHz mono FLAC file without a date in it, so that the same voice gives the same bytes."""
    plain = ["-fflags", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1", "-sample_fmt", "s16"]
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(spoken), "-af", SILENCE, "-ar", "16000", "-ac", "1", *plain]
    subprocess.run([*command, str(recording)], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
