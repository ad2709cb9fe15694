"""Posts a text to a webhook, in the form that Slack and those who follow it take: `{"text": "…"}`.

The URL is a secret itself (whoever knows it may post), so that no message repeats it. It is not followed elsewhere.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from whisperctl.errors import Unreachable, WhisperctlError
from whisperctl.hosts import host_of, refuse_plain
from whisperctl.output import clean, learn
from whisperctl.tls import client_context

SECONDS = 10.0
"""How long a post may take."""
LONGEST = 3000
"""Characters of one text: what Slack shows of a message without cutting it."""


class Webhook:
    """One URL that takes notices."""

    def __init__(self, url: str) -> None:
        """Check the URL.

        Raises:
            WhisperctlError: it is no http or https URL, or what is told would travel in clear text.
        """
        try:
            parts = urlsplit(url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            good = False
        if not good:
            raise WhisperctlError("--notify wants an https:// URL.\n  Nothing was watched.")
        refuse_plain(url, what="What is told")
        learn(url, parts.path.strip("/"), parts.query)
        self._url = url
        self._client = httpx.Client(timeout=SECONDS, verify=client_context(), follow_redirects=False)

    def post(self, text: str) -> None:
        """Post a text, without the secrets that this process knows.

        Raises:
            Unreachable: it was not taken; the message names the host alone.
        """
        shown = clean(text)
        cut = shown if len(shown) <= LONGEST else shown[: LONGEST - 2] + "\n…"
        host = host_of(self._url)
        try:
            status = self._client.post(self._url, json={"text": cut}).status_code
        except httpx.HTTPError as error:
            raise Unreachable(
                "POST", "", 0, f"The webhook at {host} cannot be reached: {type(error).__name__}"
            ) from None
        if not 200 <= status < 300:
            raise Unreachable("POST", "", status, f"The webhook at {host} answers {status}")

    def close(self) -> None:
        """Close its connection."""
        self._client.close()
