"""Start the rendered package of a small real model through its Deployment class, transcribe known recordings."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import httpx
from server import Server
from variants import Variant


def main() -> None:
    """Print and write what was said and what was heard; exit 1 when more than one word in twenty differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--name", required=True, help="the package's served name")
    parser.add_argument("--samples", type=Path, required=True, help="folder with samples.json and its WAV files")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    server = Server(Variant(package=options.package.name), options.package.parent, options.out / "prove.log")
    try:
        if not server.wait(400):
            raise SystemExit(server.problem())
        report: dict[str, Any] = {
            "startup_s": round(time.monotonic() - begin, 1),
            "heard": transcripts(server.url, options),
        }
    finally:
        server.stop()
    (options.out / "prove.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1), flush=True)
    raise SystemExit(any(row["word_errors"] > 0.05 for row in report["heard"]))


def word_errors(said: list[str], got: list[str]) -> float:
    """Word error rate: edits over words said."""
    row = list(range(len(got) + 1))
    for at, word in enumerate(said, 1):
        before, row[0] = row[0], at
        for other, transcribed in enumerate(got, 1):
            before, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, before + (word != transcribed))
    return row[-1] / len(said)


def transcripts(url: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each sample's words, said and heard."""
    rows: list[dict[str, Any]] = []
    for name, sample in json.loads((options.samples / "samples.json").read_text()).items():
        files = {"file": (name, (options.samples / name).read_bytes(), "audio/wav")}
        form = {"model": options.name, "language": sample["language"]}
        begin = time.monotonic()
        answer = httpx.post(url + "/v1/audio/transcriptions", data=form, files=files, timeout=120)
        text = answer.json().get("text", "").strip() if answer.status_code == 200 else answer.text
        took = round(time.monotonic() - begin, 3)
        row = {"file": name, "seconds": took, "said": sample["text"], "heard": text}
        rows.append({**row, "word_errors": round(word_errors(sample["text"].split(), text.split()), 4)})
    return rows


if __name__ == "__main__":
    main()
