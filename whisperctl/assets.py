"""Where the templates and the schema lie: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def shipped(folder: Literal["templates", "schemas"]) -> Path:
    """The folder of templates or of schemas.

    A wheel maps them to `whisperctl/_templates` and `whisperctl/_schemas`; that one wins, so that an installed
    whisperctl never reads a folder that merely happens to lie beside it.
    """
    package = Path(__file__).parent
    inside = package / f"_{folder}"
    return inside if inside.is_dir() else package.parent / folder
