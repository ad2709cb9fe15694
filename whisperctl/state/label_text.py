"""How text is packed into UbiOps' labels, whatever the label.

A value is at most 255 characters of `[A-Za-z0-9._/ +;:-]`: what UbiOps accepts beyond that is not documented. Lists
are joined with `;`, any other character inside an item is written as `:XX` (hexadecimal UTF-8), and a list too long for
one label goes on in `NAME-2`, `NAME-3`, ….
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from whisperctl.errors import WhisperctlError

OWN_PREFIX: Final = "whisperctl-"
"""What all of our labels begin with."""
MAX_LENGTH: Final = 255
"""Characters of a value."""
_REFUSED: Final = re.compile(r"[^A-Za-z0-9._/ +;:-]")
_ESCAPED: Final = re.compile(r"[^A-Za-z0-9._/ +-]")
_CODES: Final = re.compile(r"(?::[0-9A-F]{2})+")


def is_one_of(name: str, labels: Sequence[str]) -> bool:
    """Whether `name` is one of our `labels`, or a continuation of a list in one."""
    return any(
        name == label or (name.startswith(f"{label}-") and name[len(label) + 1 :].isdecimal()) for label in labels
    )


def items(labels: Mapping[str, str], name: str) -> list[str]:
    """The items of a list that begins in the label `name`."""
    return [unescaped(item) for item in escaped_items(labels, name)]


def escaped_items(labels: Mapping[str, str], name: str) -> list[str]:
    """The same as they stand in the labels."""
    texts = [labels.get(name, "")]
    while (further := f"{name}-{len(texts) + 1}") in labels:
        texts.append(labels[further])
    return [item for text in texts for item in text.split(";") if item]


def in_labels(name: str, items: Iterable[str]) -> dict[str, str]:
    """A list as one label or several, by their names; an item is never cut."""
    texts: list[str] = []
    for item in dict.fromkeys(_escaped(item) for item in items if item):
        if texts and len(texts[-1]) + 1 + len(item) <= MAX_LENGTH:
            texts[-1] += ";" + item
        else:
            texts.append(item)
    return {name if number == 1 else f"{name}-{number}": text for number, text in enumerate(texts, 1)}


def fits(item: str) -> bool:
    """Whether one label holds the item of a list."""
    return len(_escaped(item)) <= MAX_LENGTH


def cut(item: str) -> str:
    """The item of a list, cut to what one label holds of it; an ellipsis tells that something is missing."""
    return item if fits(item) else beginning(item, "", "...") + "..."


def beginning(text: str, before: str, behind: str = "") -> str:
    """As much of the text's beginning as one label holds between the two others."""
    text = text[:MAX_LENGTH]
    while text and not fits(before + text + behind):
        text = text[:-1]
    return text


def _escaped(item: str) -> str:
    return _ESCAPED.sub(lambda match: "".join(f":{byte:02X}" for byte in match[0].encode()), item)


def unescaped(item: str) -> str:
    """The item that stands escaped in a label."""
    return _CODES.sub(lambda match: bytes.fromhex(match[0].replace(":", "")).decode(errors="replace"), item)


def shortened(origin: str) -> str:
    """An origin as its label holds it: cut on the left, with a hash, if it is too long."""
    text = _escaped(origin)
    if len(text) <= MAX_LENGTH:
        return text
    return f"-{hashlib.sha256(text.encode()).hexdigest()[:16]}-{text[len(text) - MAX_LENGTH + 18 :]}"


def tells_origin(text: str | None, origin: str) -> bool:
    """Whether the text of a label is that of `origin`, whole or shortened."""
    return text in (origin, shortened(origin))


def is_shortened(text: str) -> bool:
    """Whether the text of a label is an origin that was cut."""
    return text.startswith("-")


def checked(name: str, text: str | None) -> str | None:
    """`text`, if it may stand in the label `name`; labels that are not ours are their owner's affair.

    Raises:
        WhisperctlError: it is longer than UbiOps is known to take, or has other characters.
    """
    if text is None or not name.startswith(OWN_PREFIX):
        return text
    if len(text) > MAX_LENGTH or _REFUSED.search(text):
        raise WhisperctlError(
            f"The label {name} cannot hold {text[:60]!r}: UbiOps takes at most {MAX_LENGTH} characters of letters,\n"
            "  digits and ._/ +;:- there. Choose a shorter name."
        )
    return text


def merged(labels: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """`labels` with `changes` over it, as the whole map that a PATCH needs; a None removes."""
    return {name: text for name, text in {**labels, **changes}.items() if text is not None}
