"""Whole numbers that somebody wrote as text: in a query, or on the command line."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"-?[0-9]{1,19}")
_LARGEST = 2**63
"""SQLite keeps 64 bits, the sign among them."""


def whole(text: str) -> int | None:
    """The number that `text` is in ASCII digits; None if it is none, or larger than the store keeps."""
    if not _DIGITS.fullmatch(text):
        return None
    number = int(text)
    return number if -_LARGEST <= number < _LARGEST else None
