"""Text of the endpoint on its way to a browser, without the token in it: headers, and bodies as they stream.

What is taken out is replaced by as many asterisks, so that a counted body keeps its length. The token is known as it
is, as a part of a URL, and base64-encoded at any offset.
"""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote


class Blanking:
    """What must not pass."""

    def __init__(self, secret: str | None) -> None:
        forms = sorted(set(_forms(secret)), key=len, reverse=True) if secret else []
        self._longest = max(map(len, forms), default=0)
        self._beginnings = {form[:length] for form in forms for length in range(1, len(form))}
        self._pattern = re.compile(b"|".join(map(re.escape, forms))) if forms else None

    def text(self, text: str) -> str:
        """`text`, of a header: bytes as latin-1."""
        return self.whole(text.encode("latin-1")).decode("latin-1")

    def whole(self, data: bytes) -> bytes:
        """`data`, of the same length."""
        return self._pattern.sub(lambda match: b"*" * len(match[0]), data) if self._pattern else data

    def chunks(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The bytes of `chunks`, each as soon as it is known that it is not the beginning of the token."""
        kept = b""
        for chunk in chunks:
            data = self.whole(kept + chunk)
            kept = self._beginning_at_the_end(data)
            if passing := data[: len(data) - len(kept)]:
                yield passing
        if kept:
            yield kept

    def _beginning_at_the_end(self, data: bytes) -> bytes:
        """The longest end of `data` that the rest of the token may follow."""
        for length in range(min(self._longest - 1, len(data)), 0, -1):
            if data[-length:] in self._beginnings:
                return data[-length:]
        return b""


def _forms(secret: str) -> Iterator[bytes]:
    raw = secret.encode()
    yield raw
    yield quote(secret, safe="").encode()
    for offset in range(3):
        # What of it is the same whatever stands around it.
        first, beyond = -(-offset * 8 // 6), (offset + len(raw)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(b"\0" * offset + raw)[first:beyond]
