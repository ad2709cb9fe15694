"""Recordings at a URL, and transcripts in a bucket, through fsspec: the only module here that knows it.

A recording is read once, into a file of the spool folder, because decoders need to seek. What is asked for first is its
size and its ETag or time alone, so that one that is done already is not read at all.
"""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from whisperctl.clock import Backoff, Clock
from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.ledger import Source

SCHEMES = ("http", "https", "s3", "gs")
_BLOCK = 8 << 20
"""Bytes of one range that is read."""
_TRIES = 3
"""Of one range."""
_PAUSES = Backoff(first=0.5, jitter=0.5)
_STATES = ("ETag", "etag", "md5Hash", "LastModified", "updated", "mtime")
"""What file systems call the state of an object, the surest first."""


WRITABLE = ("s3", "gs")
"""Schemes of buckets that transcripts may go to."""


def problem(url: str) -> str | None:
    """Why `url` is not read; None where it is."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        return f"{parts.scheme}:// is not read, only {', '.join(SCHEMES)} and file"
    if parts.username is not None or parts.password is not None:
        return "a URL may hold no user or password: let the environment have the credentials"
    if not parts.hostname or not parts.path.strip("/"):
        return "a URL names a host or bucket and an object"
    return None


def is_url(where: object) -> bool:
    """Whether an output is no path."""
    return "://" in str(where)


def shown(url: str) -> str:
    """`url` without its query: a signature may stand there."""
    return url.partition("?")[0]


def state(url: str) -> Source:
    """The state of the recording at `url` now.

    Raises:
        WhisperctlError: it is not there, or not ours to read; the message follows its name.
    """
    with _own_errors(url):
        files, path = _opened(url)
        info: dict[str, Any] = files.info(path)
    mark = next((str(info[name]) for name in _STATES if info.get(name)), "")
    return Source(int(info.get("size") or 0), zlib.crc32(mark.encode()))


@contextmanager
def spooled(url: str, spool: Path, clock: Clock) -> Iterator[Path]:
    """The recording at `url` as a file in `spool`, which is gone afterwards.

    Raises:
        WhisperctlError: it cannot be read or kept; the message follows its name.
    """
    with tempfile.NamedTemporaryFile(dir=spool, suffix=Path(urlsplit(url).path).suffix) as copy:
        with _own_errors(url):
            files, path = _opened(url)
            try:
                _copy(files.open(path, "rb", block_size=_BLOCK), copy, clock)
            except ValueError:  # what fsspec says of a web server that gives no ranges: as a stream, then
                if not url.startswith("http"):
                    raise
                copy.seek(0)
                copy.truncate()
                _copy(files.open(path, "rb", block_size=0), copy, clock)
        copy.flush()
        yield Path(copy.name)


def _copy(source: Any, target: IO[bytes], clock: Clock) -> None:
    """Copy `source`, which is closed; a range that breaks off is read again, and no other."""
    with source:
        while block := _block(source, target.tell(), clock):
            target.write(block)


def _block(source: Any, at: int, clock: Clock) -> bytes:
    for attempt, pause in enumerate(_PAUSES.pauses(), 1):
        try:
            return bytes(source.read(_BLOCK))
        except ValueError:
            raise
        except Exception:  # each file system has errors of its own for a connection that broke
            if attempt == _TRIES:
                raise
            clock.sleep(pause)
            source.seek(at)
    raise AssertionError("pauses do not end")


def _opened(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    files, path = url_to_fs(url)
    return files, str(path)


class ObjectStore:
    """What lies below a URL; safe to share between threads."""

    def __init__(self, url: str) -> None:
        """Raise WhisperctlError if a package that reads such URLs is missing."""
        self._url = url
        with self._own_errors_with_address():
            self._files, root = _opened(url)
        self._root = root.rstrip("/")

    def names(self) -> set[str]:
        """The objects there, by their names below the URL."""
        with self._own_errors_with_address():
            self._files.invalidate_cache()
            return {str(path).removeprefix(self._root).lstrip("/") for path in self._files.find(self._root)}

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """The content of each object.

        Raises:
            WhisperctlError: one cannot be read; the message has the address.
        """
        if not names:
            return {}
        with self._own_errors_with_address():
            # Not `cat`: that takes a name with [, * or ? for a pattern.
            contents = self._files.cat_ranges([f"{self._root}/{name}" for name in names], None, None)
            if broken := next((content for content in contents if isinstance(content, Exception)), None):
                raise broken
        return dict(zip(names, contents, strict=True))

    def write(self, name: str, content: bytes) -> None:
        """Make an object, or replace it, in one step."""
        with self._own_errors_with_address():
            self._files.pipe_file(f"{self._root}/{name}", content)

    @contextmanager
    def _own_errors_with_address(self) -> Iterator[None]:
        try:
            with _own_errors(self._url, "cannot be read or written"):
                yield
        except WhisperctlError as error:
            raise WhisperctlError(f"{shown(self._url)} {error}") from error


@contextmanager
def _own_errors(url: str, what: str = "cannot be read") -> Iterator[None]:
    scheme = urlsplit(url).scheme
    try:
        yield
    except ImportError as error:
        extra = scheme if scheme in ("s3", "gs") else "archive"
        install = f"`pip install 'whisperctl-ubiops[{extra}]'`"
        raise WhisperctlError(f"cannot be read: {scheme}:// needs a package more.\n  {install}.") from error
    except FileNotFoundError as error:
        raise WhisperctlError("is not there.") from error
    except Exception as error:  # each file system has errors of its own, and their words may hold the URL's query
        text = str(error).replace(url, shown(url))
        raise WhisperctlError(f"{what}: {type(error).__name__}: {text.partition('?')[0]:.200}.") from error
