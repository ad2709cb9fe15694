"""The one place where text leaves the process: streams, JSON, Markdown, plan files, tracebacks, CI annotations.

Known secrets and the token are taken out, on values before they are serialised (`cleaned`, `json_text`) and once more
in the streams (`guarded`): as they are, each of their lines, as in URLs, JSON, Python and HTML, and base64-encoded at
any offset; of every URL the `user:password@`. What is shorter than 8 characters only counts as a whole value. Control
characters and a CI runner's workflow commands do nothing in what others wrote. Transcripts, packages and the
emulator's own token pass by (`verbatim`), our own workflow commands (`workflow_command`) and drawings of a terminal
(`drawing`) with their control characters.

Secrets are known for as long as the process lives, or until `forget`: a traceback asks nobody.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

from whisperctl.spellings import lines_of, pattern
from whisperctl.untrusted import harmless

SECRET, TOKEN = "(secret)", "(token)"
COMMON = frozenset(
    [
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "none",
        "null",
        "0",
        "1",
        "transcription",
        "translation",
        "password",
        "changeme",
        "undefined",
    ]
)
"""Values that no output could do without; `validate` warns of a secret that has one."""
DUMB = ("", "dumb", "unknown")
"""Values of TERM of terminals without colours, which cannot move their cursor either."""
TOKEN_VARIABLE = "UBIOPS_API_TOKEN"  # noqa: S105 - the variable's name
_SECRET_NAMES = (
    "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "API_KEY", "APIKEY",
    "ACCESS_KEY", "PRIVATE_KEY", "SECRET_KEY",
)  # fmt: skip
_USER = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)(?!(?-i:USER:PASSWORD@HOST))[^\s/?#@\"'<>]*@")
"""A URL's user, with or without a password."""
_STEERING = re.compile(
    "(\x1b\\[[0-9;]*m)|\r+(?=\n)|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Colours, which stay; line ends of Windows; what moves a cursor, turns text around, or cannot be encoded."""


def looks_secret(name: str) -> bool:
    """Whether an environment variable of this name usually holds a secret."""
    return name.upper().endswith(_SECRET_NAMES) or name.startswith(f"{TOKEN_VARIABLE}_")


class _Known:
    """The secrets of this process, and one expression for every form of those that are shown the same way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._words: dict[str, str] = {}
        self._spelled: dict[str, dict[str, str]] = {}
        """What is shown instead -> word -> the expression for it."""
        self._patterns: dict[str, re.Pattern[str]] | None = None
        """Compiled when a text leaves: many secrets may be learned before one does."""

    def learn(self, value: str, instead: str) -> None:
        value = value.strip()
        if not value or value in self._words or value.lower() in COMMON:
            return
        with self._lock:
            self._words = {**self._words, value: instead}
            spelled = {word: pattern(word) for word in lines_of(value)}
            self._spelled = {**self._spelled, instead: {**self._spelled.get(instead, {}), **spelled}}
            self._patterns = None

    def forget(self) -> None:
        with self._lock:
            self._words, self._spelled, self._patterns = {}, {}, None

    def _compiled(self) -> dict[str, re.Pattern[str]]:
        with self._lock:
            if self._patterns is None:
                ordered = {
                    instead: sorted(words, key=len, reverse=True) for instead, words in self._spelled.items() if words
                }
                self._patterns = {
                    instead: re.compile("|".join(self._spelled[instead][word] for word in words))
                    for instead, words in ordered.items()
                }
            return self._patterns

    def taken_out(self, text: str) -> str:
        for instead, known in (self._patterns or self._compiled()).items():
            text = known.sub(instead, text)
        return text

    def instead_of(self, text: str) -> str | None:
        """What stands for a text that is a secret as a whole; None where it is none."""
        return self._words.get(text.strip())


_known = _Known()


def learn(*secrets: str) -> None:
    """Remember values that no text may hold."""
    for value in secrets:
        _known.learn(value, SECRET)


def learn_token(token: str) -> None:
    """Remember an API token, with or without `Token ` before it."""
    bare = token.split()[-1:]
    for word in bare:
        _known.learn(word, TOKEN)


def tokens_in(environ: Mapping[str, str]) -> dict[str, str]:
    """The API tokens of an environment, without their prefix, by the names of their variables."""
    return {
        name: text.split()[-1]
        for name, text in environ.items()
        if (name == TOKEN_VARIABLE or name.startswith(f"{TOKEN_VARIABLE}_")) and text.split()
    }


def forget() -> None:
    """Forget every secret: another run begins in this process."""
    _known.forget()


def blank(text: str) -> str:
    """`text` without any known secret, the token, and the users of its URLs."""
    text = _known.taken_out(text)
    return _USER.sub(rf"\1{SECRET}@", text) if "@" in text else text


def steerless(text: str) -> str:
    """`text` that moves no cursor and turns no text around; colours stay."""
    return _STEERING.sub(lambda match: match[1] or ("" if match[0][0] == "\r" else "\ufffd"), text)


def clean(text: str) -> str:
    """Words of others, to be put into a message of ours: without secrets, escape sequences, workflow commands."""
    return harmless(steerless(blank(text)).replace("\x1b", "\ufffd"))


def cleaned(value: Any) -> Any:
    """A value made of dicts, lists and scalars, without secrets in its keys and texts; to be serialised."""
    match value:
        case str():
            return _known.instead_of(value) or steerless(blank(value))
        case dict():
            return {cleaned(key): cleaned(each) for key, each in value.items()}
        case list() | tuple():
            return [cleaned(each) for each in value]
    return value


def json_text(value: Any, indent: int | None = 2) -> str:
    """`value` as JSON, cleaned first: an encoded secret would be harder to see."""
    import json

    return json.dumps(cleaned(value), indent=indent, ensure_ascii=False)


class Outgoing:
    """A text stream through which no secret leaves; everything else is the stream's own."""

    def __init__(self, stream: IO[str], *, draws: bool = False) -> None:
        self.stream, self._draws = stream, draws

    def write(self, text: str) -> int:
        """Write `text`, cleaned; of a drawing only the secrets are taken out."""
        self.stream.write(blank(text) if self._draws else harmless(steerless(blank(text))))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def guarded() -> Iterator[None]:
    """Send everything that is written to sys.stdout and sys.stderr through here, and know the environment's tokens."""
    out, err = sys.stdout, sys.stderr
    forget()
    for token in tokens_in(os.environ).values():
        learn_token(token)
    sys.stdout, sys.stderr = Outgoing(out), Outgoing(err)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err


def verbatim(stream: IO[str]) -> IO[str]:
    """The stream itself: for transcripts, and for the emulator's own token."""
    return stream.stream if isinstance(stream, Outgoing) else stream


def drawing(stream: IO[str]) -> IO[str]:
    """The stream for what moves the cursor on purpose."""
    return cast(IO[str], Outgoing(stream.stream, draws=True)) if isinstance(stream, Outgoing) else stream


def workflow_command(text: str, stream: IO[str]) -> None:
    """Print what a CI runner is to obey; what others wrote in it is the caller's to escape."""
    drawing(stream).write(text + "\n")
    stream.flush()
