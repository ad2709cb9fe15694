"""The proxy's own page: one file, its script and style in it, and headers that let nothing else run.

It is served from loopback and asks only its own origin; the token is the proxy's and never in it. What the endpoint
answers is put in as text, never as markup.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

PATH = "/"
ABOUT_PATH = "/.whisperctl/about"
"""Beside the endpoint's own paths, none of which begins so."""
_FILE = Path(__file__).with_name("page.html")


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What the page shows of a stack, and how it asks; empty where it is not known."""

    stack: str = ""
    model: str = ""
    """The served name."""
    version: str = ""
    """Of vLLM, as the file pins it; the server itself is asked first."""
    url: str = ""
    route: str = "/v1/audio/transcriptions"
    language: str = ""
    curl: str = ""


@cache
def page() -> tuple[bytes, Mapping[str, str], str]:
    """The page, its headers, and its Content-Security-Policy."""
    content = _FILE.read_bytes()
    policy = [
        "default-src 'none'",
        f"script-src {_hash(content, b'script')}",
        f"style-src {_hash(content, b'style')}",
        "connect-src 'self'",
        "media-src blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
    return content, _headers("text/html; charset=utf-8"), "; ".join(policy)


def about_document(about: About) -> tuple[bytes, Mapping[str, str]]:
    """What the page asks for first, and its headers."""
    return json.dumps(asdict(about)).encode(), _headers("application/json")


def _headers(kind: str) -> dict[str, str]:
    return {
        "Content-Type": kind,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    }


def _hash(content: bytes, tag: bytes) -> str:
    """The one element of that name, as a Content-Security-Policy names what may run."""
    element = re.search(b"<" + tag + b">(.*?)</" + tag + b">", content, re.DOTALL)
    assert element is not None, tag
    return f"'sha256-{b64encode(sha256(element[1]).digest()).decode()}'"
