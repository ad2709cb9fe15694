"""One run of an archive as a process of its own, to be killed: URL, folder of recordings, output, scheduler or `local`.

Prints a line when its cluster is up. Workers take the token from the environment, which whoever starts this sets.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.endpoint.fake_vllm import MODEL
from tests.transcribe.bench import Notes
from whisperctl.endpoint.transcription import Ask
from whisperctl.transcribe import archive, archive_tasks, outputs
from whisperctl.transcribe.options import TranscriptOptions
from whisperctl.transcribe.recordings import find
from whisperctl.transcribe.results import Failed

LEASES = 8


def place(url: str) -> archive_tasks.Place:
    return archive_tasks.Place(
        url=url, model=MODEL, home="http://127.0.0.1", timeout=30, wake_timeout=60, variables=("UBIOPS_API_TOKEN",)
    )


def main(url: str, recordings: str, out: str, address: str) -> None:
    options = TranscriptOptions(ask=Ask(model=MODEL, timed=True, language="es"))
    named = find([recordings], Path(out))
    with outputs.opened(out) as output, archive.cluster(address, LEASES) as client:
        print("up", flush=True)
        for result in archive.Archive(options, [place(url)], LEASES, client, Notes(), output).run(named):
            if isinstance(result, Failed):
                print(result.name, result.reason, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
