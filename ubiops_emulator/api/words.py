"""Lists of names, written as one line of words: tables of fields stay readable that way."""

from __future__ import annotations


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()
