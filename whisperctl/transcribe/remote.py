"""Recordings at a URL, through fsspec: the only module here that knows it.

A recording is read once, into a file of the spool folder, because decoders need to seek. What is asked for first is its
size and its ETag or time alone, so that one that is done already is not read at all.
"""

from __future__ import annotations

import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from whisperctl.errors import WhisperctlError
from whisperctl.transcribe.ledger import Source

SCHEMES = ("http", "https", "s3", "gs")
_BLOCK = 8 << 20
"""Bytes of one range that is read."""
_STATES = ("ETag", "etag", "md5Hash", "LastModified", "updated", "mtime")
"""What file systems call the state of an object, the surest first."""


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
        told: dict[str, Any] = files.info(path)
    mark = next((str(told[name]) for name in _STATES if told.get(name)), "")
    return Source(int(told.get("size") or 0), zlib.crc32(mark.encode()))


@contextmanager
def spooled(url: str, spool: Path) -> Iterator[Path]:
    """The recording at `url` as a file in `spool`, which is gone afterwards.

    Raises:
        WhisperctlError: it cannot be read or kept; the message follows its name.
    """
    with tempfile.NamedTemporaryFile(dir=spool, suffix=Path(urlsplit(url).path).suffix) as kept:
        with _own_errors(url):
            files, path = _opened(url)
            with files.open(path, "rb", block_size=_BLOCK) as source:
                shutil.copyfileobj(source, kept, _BLOCK)
        kept.flush()
        yield Path(kept.name)


def _opened(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    files, path = url_to_fs(url)
    return files, str(path)


@contextmanager
def _own_errors(url: str) -> Iterator[None]:
    scheme = urlsplit(url).scheme
    try:
        yield
    except ImportError as error:
        package = {"s3": "s3fs", "gs": "gcsfs"}.get(scheme, "whisperctl-ubiops[archive]")
        raise WhisperctlError(f"{scheme}:// needs a package more.\n  `pip install '{package}'`.") from error
    except FileNotFoundError as error:
        raise WhisperctlError("is not there.") from error
    except Exception as error:  # each file system has errors of its own, and their words may hold the URL's query
        text = str(error).replace(url, shown(url))
        raise WhisperctlError(f"cannot be read: {type(error).__name__}: {text.partition('?')[0]:.200}.") from error
