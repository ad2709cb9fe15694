"""Word error rate: how far what was heard is from what was expected. Pure."""

from __future__ import annotations

import re
import unicodedata

_SPACELESS = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
"""Kana, Han and Thai: scripts written without spaces, where each character counts as a word."""

WORD = re.compile(rf"[{_SPACELESS}]|[^\s{_SPACELESS}]+")

_PLAIN = re.compile("[a-z0-9]+")
"""The same of ASCII, whose other characters are all punctuation, symbols and spaces."""


def words(text: str) -> list[str]:
    """The words of `text`: compatibility forms folded, lower case, without punctuation and symbols."""
    if text.isascii():
        return _PLAIN.findall(text.replace("'", "").lower())
    folded = unicodedata.normalize("NFKC", text).casefold()
    return WORD.findall("".join(_normalised_character(character) for character in folded))


def word_error_rate(expected: str, transcribed: str) -> float:
    """Insertions, deletions and substitutions over the number of expected words; 0 is perfect, it may pass 1.

    With nothing expected it is 0 when nothing was heard and 1 otherwise.
    """
    errors, expected_words = word_error_count(expected, transcribed), len(words(expected))
    return errors / expected_words if expected_words else float(errors > 0)


def word_error_count(expected: str, transcribed: str) -> int:
    """Insertions, deletions and substitutions that make `transcribed` of `expected`."""
    return _distance(words(expected), words(transcribed))


def _normalised_character(character: str) -> str:
    if character in "'’":  # "don't" and "dont" are one word
        return ""
    return " " if unicodedata.category(character)[0] in "PSZC" else character


def _distance(left: list[str], right: list[str]) -> int:
    """Levenshtein distance on words, one row at a time."""
    row = list(range(len(right) + 1))
    for index, word in enumerate(left, start=1):
        diagonal, row[0] = row[0], index
        for column, other in enumerate(right, start=1):
            cheapest = min(row[column] + 1, row[column - 1] + 1, diagonal + (word != other))
            diagonal, row[column] = row[column], cheapest
    return row[-1]
