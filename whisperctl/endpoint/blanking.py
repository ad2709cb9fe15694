"""Text of the endpoint on its way to a browser, without the token in it: headers, and bodies as they stream.

What is taken out is replaced by as many asterisks, so that a counted body keeps its length. The token is known as it
is, and in every form that no output of ours may hold (`spellings.forms`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from whisperctl.spellings import forms


class Blanking:
    """What must not pass."""

    def __init__(self, secret: str | None) -> None:
        words = {form.encode() for form in ({secret, *forms(secret)} if secret else ())}
        self._longest = max(map(len, words), default=0)
        self._beginnings = {word[:length] for word in words for length in range(1, len(word))}
        longest_first = sorted(words, key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, longest_first))) if words else None

    def text(self, text: str) -> str:
        """`text`, of a header: bytes as latin-1."""
        return self.whole(text.encode("latin-1")).decode("latin-1")

    def whole(self, data: bytes) -> bytes:
        """`data` with the token blanked, of the same length."""
        return self._pattern.sub(lambda match: b"*" * len(match[0]), data) if self._pattern else data

    def chunks(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of `chunks`, each as soon as it is known that it is not the beginning of the token."""
        undecided = b""
        for chunk in chunks:
            data = self.whole(undecided + chunk)
            undecided = self._beginning_at_the_end(data)
            if passing := data[: len(data) - len(undecided)]:
                yield passing
        if undecided:
            yield undecided

    def _beginning_at_the_end(self, data: bytes) -> bytes:
        """The longest end of `data` that the rest of the token may follow."""
        for length in range(min(self._longest - 1, len(data)), 0, -1):
            if data[-length:] in self._beginnings:
                return data[-length:]
        return b""
