"""What is uploaded: something that writes itself as a zip, laid down as a file for as long as the client reads it.

The official client uploads files only. This module knows neither what is in an archive nor where it goes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol


class Uploadable(Protocol):
    """Something that can be uploaded: it writes itself as a zip."""

    def write(self, stream: BinaryIO) -> None:
        """Write the zip's bytes to `stream`."""


@contextmanager
def zip_file(name: str, archive: Uploadable) -> Iterator[str]:
    """The path of a temporary file called `name` that holds the archive; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="whisperctl-") as folder:
        path = Path(folder) / name
        with path.open("wb") as stream:
            archive.write(stream)
        yield str(path)
