"""A form with one file, as the bytes that are sent (multipart/form-data, RFC 7578)."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

Upload = tuple[str, bytes | Sequence[bytes | memoryview]]
"""A file's name as the server sees it, and its content, whole or in parts."""


def form_of(fields: Mapping[str, str], upload: Upload) -> tuple[str, bytes]:
    """A boundary, and the form with one `file` as the bytes that are sent: each sample is copied once.

    The boundary is random, so that nothing in a recording can end its part early.
    """
    name, content = upload
    parts = (content,) if isinstance(content, bytes) else content
    boundary = secrets.token_hex(16)
    head = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    head.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{_quoted(name)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return boundary, b"".join(("".join(head).encode(), *parts, f"\r\n--{boundary}--\r\n".encode()))


def _quoted(name: str) -> str:
    """A file's name inside the quotes of a form, as browsers write it."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
