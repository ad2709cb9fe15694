"""The ways in which other programs write a word down: escaped for URLs, JSON, Python or HTML, mixed, or base64-encoded.

`pattern` matches them in a whole text; `forms` lists the usual ones, for text that arrives in pieces. Knows no secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

SHORTEST = 8
"""Characters of what is looked for inside other text."""
_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "(?:apos|#0*39|#[xX]0*27)"}
_SHORT = {"\n": "n", "\r": "r", "\t": "t", "\f": "f", "\b": "b"}
_ANY_BACKSLASHES = r"(?:\\(?:u005[cC]|x5[cC])?|%(?:25)*5[cC]|&#0*92;|&#[xX]0*5[cC];)+"
_BACKSLASHES = re.compile(r"(\\+)")


def lines_of(value: str) -> set[str]:
    """The value and each of its lines, as far as they are long enough to be looked for."""
    return {word for word in (value, *(line.strip() for line in value.splitlines())) if len(word) >= SHORTEST}


def pattern(word: str) -> str:
    """An expression for the word, however each of its characters was escaped, and for its base64 at any offset."""
    parts = (
        _ANY_BACKSLASHES if part[:1] == "\\" else "".join(map(_character, part)) for part in _BACKSLASHES.split(word)
    )
    encoded = sorted(_base64(_raw(word)), key=len, reverse=True)
    return "|".join(["".join(parts), *map(re.escape, encoded)])


@lru_cache(maxsize=512)
def _character(character: str) -> str:
    if character.isascii() and character.isalnum():
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    escaped = [
        r"\\++".join(f"u{_hexadecimal(unit)}" for unit in units),
        r"\\++".join(f"x{_hexadecimal(byte)}" for byte in _raw(character).hex(" ").split()),
    ]
    escaped += [_SHORT[character]] if character in _SHORT else []
    ways = [
        re.escape(character),
        "".join(rf"%(?:25)*{_hexadecimal(byte)}" for byte in _raw(character).hex(" ").split()),
        f"&#0*{ord(character)};",
        f"&#[xX]0*{_hexadecimal(f'{ord(character):x}')};",
    ]
    ways += [r"\+|%(?:25)*2[bB]"] if character == " " else []
    ways += [f"&{_NAMED[character]};"] if character in _NAMED else []
    # No backslash is given back: what follows them is none, and a run of many would be tried in all its parts.
    return rf"(?:\\*+(?:{'|'.join(ways)})|\\++(?:{'|'.join(escaped)}))"


def _hexadecimal(digits: str) -> str:
    """These digits in either case."""
    return "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in digits)


def forms(value: str) -> Iterator[str]:
    """The usual ways in which a word of 8 or more characters stands in other text."""
    for word in lines_of(value):
        yield from _encoded(word)
        yield from _base64(_raw(word))


def _encoded(word: str) -> Iterator[str]:
    import html
    import json
    from urllib.parse import quote, quote_plus

    for plain in (word, html.escape(word), json.dumps(word)[1:-1], json.dumps(word, ensure_ascii=False)[1:-1]):
        yield plain
        yield plain.replace("/", "\\/")
        yield json.dumps(plain)[1:-1]
        yield repr(plain)[1:-1]
    for url in (quote(_raw(word)), quote(_raw(word), safe=""), quote_plus(_raw(word))):
        yield url
        yield re.sub("%..", lambda match: match[0].lower(), url)


def _base64(raw: bytes) -> Iterator[str]:
    """What of `raw` is the same in whatever it is encoded with: at each of the three offsets, without the edges."""
    from base64 import b64encode, urlsafe_b64encode

    for offset in range(3):
        first, beyond = -(-offset * 8 // 6), (offset + len(raw)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(b"\0" * offset + raw).decode()[first:beyond]


def _raw(text: str) -> bytes:
    """UTF-8; bytes of a variable that are none stay what they are."""
    return b"".join(
        one.encode("utf-8", "surrogateescape" if "\udc80" <= one <= "\udcff" else "surrogatepass") for one in text
    )
