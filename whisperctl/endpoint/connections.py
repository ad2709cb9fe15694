"""The connections to one endpoint, kept for the next request."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy

import httpx

from whisperctl.endpoint.answers import end_answers
from whisperctl.endpoint.posts import Posts
from whisperctl.errors import Unhealthy
from whisperctl.output import clean
from whisperctl.tls import client_context

NETWORK = "docs/network.md tells how to set proxies and certificate authorities."


class Connections:
    """HTTP clients of one connection each, kept for the next request.

    httpx has a pool of its own; at 256 requests in flight its one lock took most of a core (measured).
    """

    def __init__(self, url: str) -> None:
        """Make the first client.

        Args:
            url: of the endpoint.

        Raises:
            Unhealthy: the environment's proxies or certificates cannot be used.
        """
        self._idle: deque[httpx.Client] = deque()
        self._all: list[httpx.Client] = []
        self._closed = False
        try:
            # httpx would read the certificates of all authorities, which takes longer than a request.
            self._trust = (
                client_context() if url.lower().startswith("https://") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            )
            self._idle.append(self._made())
            self.posts = Posts(self._idle[0], url)
            """Connections for what is sent often."""
        except (OSError, ImportError, ValueError, httpx.InvalidURL) as error:  # proxies, certificates
            raise Unhealthy(
                f"No HTTP client can be made of this environment: {clean(str(error)) or type(error).__name__}.\n"
                f"  Look at SSL_CERT_FILE, ALL_PROXY, HTTPS_PROXY, HTTP_PROXY and NO_PROXY. {NETWORK}"
            ) from error

    @contextmanager
    def taken(self) -> Iterator[httpx.Client]:
        """A client that nobody else uses meanwhile: the one used last, whose connection is the likeliest to live."""
        try:
            client = self._idle.pop()
        except IndexError:
            client = self._made()
        try:
            yield client
        finally:
            self._idle.append(client)
            if self._closed:
                self.close()

    def close(self) -> None:
        """Drop all connections, also those in use."""
        self._closed = True
        self.posts.close()
        for client in list(self._all):
            client.close()

    def _made(self) -> httpx.Client:
        client = httpx.Client(follow_redirects=False, verify=self._trust, headers={"Accept-Encoding": "gzip, deflate"})
        end_answers(client)
        # Of all who use this client, nobody is to get the cookies of another one's session.
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._all.append(client)
        return client
