"""One deployed endpoint over HTTP.

The token goes to the endpoint's own origin and nowhere else: a redirect to another origin is an error, an
absolute URL is refused, and whatever the server sends back has the token blanked out before anyone can print
it. An HTTP status is an answer, not an exception: callers decide what a 503 means. No retries, no waiting.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import httpcore
import httpx

from whisperctl.endpoint.answers import decoded, ending, read_whole
from whisperctl.endpoint.blanking import Blanking
from whisperctl.endpoint.connections import NETWORK, Connections
from whisperctl.endpoint.form import Upload, form_of
from whisperctl.endpoint.link import delivery_rate
from whisperctl.endpoint.posts import headers_of, text_of
from whisperctl.errors import Unhealthy, Unreachable
from whisperctl.hosts import refuse_other_domain, refuse_plain
from whisperctl.output import TOKEN, clean, learn_token
from whisperctl.proxies import SILENT, proxy_for, refused
from whisperctl.tls import failure_in_words


class TooSlow(Unreachable):
    """The endpoint was reached, or may have been, and did not answer in time."""


_REDIRECTS = 5
_REDIRECTIONS = (301, 302, 303, 307, 308)
_BROKEN = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)
_CONNECT_SECONDS = 10.0
_TELLING = 256 << 10
"""Bytes of a body from which on the time that it took tells about the link, and not about the two machines."""
_PATIENT_SECONDS = 600.0
"""How long a relayed answer may keep silent: a stream does, between two events."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the endpoint answered; `text` has the token blanked out."""

    status: int
    text: str
    headers: Mapping[str, str]
    """Names in lower case."""

    def json(self) -> Any:
        """The body as JSON, or None when it is not JSON."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    @property
    def reason(self) -> str:
        """The server's own words in one short line: an error message, or the start of the body."""
        message = _message(self.json()) or (_page(self.text) if "<html" in self.text[:500].lower() else self.text)
        line = clean(" ".join(message.split()))
        return line if len(line) <= 300 else line[:299] + "…"

    def __str__(self) -> str:
        return f"{self.status}" + (f" ({self.reason})" if self.reason else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Relayed:
    """An answer on its way through, decoded (gzip and the like)."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    """Bytes as latin-1."""
    chunks: Iterator[bytes]
    blanking: Blanking
    """Takes the token out of them."""


class Endpoint:
    """A service endpoint and the token it asks for; safe to share between threads."""

    def __init__(
        self,
        url: str,
        token: str | None,
        timeout: float,
        *,
        transcription_timeout: float | None = None,
        home: str | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        """Open nothing yet.

        Args:
            url: the service's `endpoint`, with or without a trailing slash.
            token: the bare UbiOps token; None for a public service.
            timeout: seconds for one whole request, answer included, unless the call says otherwise.
            transcription_timeout: seconds for a POST, upload included; `timeout` where it is not given.
            home: address of the API that named the endpoint; the token goes to its domain only.
            say: gets a line for every request.

        Raises:
            Unhealthy: `url` is not an http or https URL, or the environment names a proxy that cannot be used.
            WhisperctlError: the token would travel in clear text, or to somebody else, or the environment names
                certificates that cannot be used.
        """
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.transcription_timeout = transcription_timeout or timeout
        self._origin = _origin(self.url)
        self._auth = _TokenFor(self._origin, token) if token else None
        self._token_header = [(b"Authorization", f"Token {token}".encode())] if token else []
        self._token, self._say = token, say
        self.link_rate: float | None = None
        """Bytes a second that one request gets through, by TCP's own measure; None until it is known."""
        self.blanking = Blanking(token)
        """Takes the token out of what is shown to others."""
        if token:
            learn_token(token)
            refuse_plain(self.url)
            if home is not None:
                refuse_other_domain(self.url, home)
        self._clients = Connections(self.url)

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connections."""
        self._clients.close()

    def get(self, path: str, timeout: float | None = None) -> Answer:
        """GET `path`, following redirects inside this origin.

        Raises:
            Unreachable: no answer came in time.
            Unhealthy: it redirects to another origin, or in circles.
        """
        url = httpx.URL(self._absolute(path))
        for _ in range(_REDIRECTS):
            response = self._get(url, timeout)
            if not response.has_redirect_location:
                return self._answer(response)
            target = url.join(response.headers["location"])
            if _origin(str(target)) != self._origin:
                raise self._strays("GET", path, response.status_code, target)
            url = target
        raise Unhealthy(f"GET {self.url}{path} was redirected more than {_REDIRECTS} times.")

    def post(
        self,
        path: str,
        fields: Mapping[str, str],
        upload: Upload,
        timeout: float | None = None,
    ) -> Answer:
        """POST a form with one `file`. A redirect is never followed: the form would be lost or leaked.

        Raises:
            Unreachable: no answer came in time; the server may have done the work.
            Unhealthy: it redirects.
        """
        boundary, form = form_of(fields, upload)
        headers = [(b"Content-Type", b"multipart/form-data; boundary=" + boundary.encode()), *self._token_header]
        url = self._absolute(path)
        limit = self.transcription_timeout if timeout is None else timeout
        began = time.monotonic()
        with (
            self._own_errors("POST", url, limit),
            ending(limit),
            self._clients.posts.answered(url, headers, form, min(limit, _CONNECT_SECONDS), limit) as response,
        ):
            if len(form) >= _TELLING:
                self._learn_rate(response.extensions)
            answer_headers = headers_of(response)
            text = text_of(response, answer_headers)
        self._say_answered("POST", url, response.status, time.monotonic() - began)
        if response.status in _REDIRECTIONS and (location := answer_headers.get("location")):
            with self._own_errors("POST", url, limit):  # what follows `Location:` may be no address
                target = httpx.URL(url).join(location)
            raise self._strays("POST", path, response.status, target)
        return Answer(status=response.status, text=self._blank(text), headers=answer_headers)

    @contextmanager
    def relayed(
        self, verb: str, target: str, headers: Mapping[str, str], body: Iterator[bytes] | None
    ) -> Iterator[Relayed]:
        """Pass somebody else's request on as it is, and its answer back as it comes; no redirect is followed.

        Args:
            verb: the request's method.
            target: path and query, still encoded.
            headers: to send; the token is added and replaces any `Authorization`.
            body: chunks, or None for no body.

        Raises:
            Unreachable: no answer came.
        """
        url = httpx.URL(self._absolute(target))
        limit = httpx.Timeout(max(self.timeout, _PATIENT_SECONDS), connect=_CONNECT_SECONDS)
        with self._clients.taken() as client, self._own_errors(verb, str(url), max(self.timeout, _PATIENT_SECONDS)):
            request = client.build_request(verb, url, headers=dict(headers), content=body, timeout=limit)
            response = client.send(request, auth=self._auth, stream=True)
            try:
                encoded = response.headers.get("content-encoding", "identity").lower() != "identity"
                left_out = (b"content-encoding", b"content-length") if encoded else ()
                yield Relayed(
                    status=response.status_code,
                    reason=response.reason_phrase,
                    headers=tuple(
                        (name.decode("latin-1"), value.decode("latin-1"))
                        for name, value in response.headers.raw
                        if name.lower() not in left_out
                    ),
                    chunks=response.iter_bytes() if encoded else response.iter_raw(),
                    blanking=self.blanking,
                )
            finally:
                response.close()

    def is_home(self, location: str, target: str) -> str | None:
        """Path and query of a redirect from `target` to `location`, or None when it leaves this origin."""
        try:
            url = httpx.URL(self._absolute(target)).join(location)
            if _origin(str(url)) != self._origin:
                return None
        except (httpx.InvalidURL, Unhealthy):  # no URL, or one with a login in it
            return None
        return url.raw_path.decode().removeprefix(httpx.URL(self.url).path.rstrip("/")) or "/"

    def _get(self, url: httpx.URL, timeout: float | None) -> httpx.Response:
        seconds = self.timeout if timeout is None else timeout
        limit = httpx.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))
        with self._clients.taken() as client, self._own_errors("GET", str(url), seconds), ending(seconds):
            request = client.build_request("GET", url, timeout=limit)
            response = client.send(request, auth=self._auth, stream=True)
            read_whole(response)
        self._say_answered("GET", str(url), response.status_code, response.elapsed.total_seconds())
        return response

    def _say_answered(self, verb: str, url: str, status: int, seconds: float) -> None:
        """Say a line of a request that was answered.

        Raises:
            Unreachable: a proxy answered it, and wants a login.
        """
        if status == 407:
            raise Unreachable(verb, httpx.URL(url).path, 0, f"{_asked(verb, url)}: {refused(407)}.", NETWORK)
        self._say(f"{verb} {url} -> {status} ({seconds:.2f} s)")

    def _learn_rate(self, extensions: Mapping[str, Any]) -> None:
        """Of a response to a large body: how quickly its bytes were delivered."""
        if rate := delivery_rate(extensions):
            self.link_rate = rate if self.link_rate is None else 0.8 * self.link_rate + 0.2 * rate

    @contextmanager
    def _own_errors(self, verb: str, url: str, seconds: float) -> Iterator[None]:
        try:
            yield
        except (httpx.TimeoutException, httpcore.TimeoutException) as error:
            reason = f"{_asked(verb, url)}: no answer within {seconds:g} s."
            raise TooSlow(verb, httpx.URL(url).path, 0, reason, "Pass a larger --timeout.") from error
        except (httpx.ProxyError, httpcore.ProxyError) as error:
            reason = f"{_asked(verb, url)}: {_proxy_in_words(error)}."
            raise Unreachable(verb, httpx.URL(url).path, 0, reason, NETWORK) from error
        except _BROKEN as error:
            words = failure_in_words(error)
            if words is None and isinstance(error, (httpx.ConnectError, httpcore.ConnectError)) and proxy_for(url):
                words = SILENT
            reason = words or clean(self._blank(str(error))).rstrip(".") or "the connection broke"
            advice = NETWORK if words else ""
            raise Unreachable(verb, httpx.URL(url).path, 0, f"{_asked(verb, url)}: {reason}.", advice) from error
        except RuntimeError as error:  # httpx's word for a client that was closed while a request was on its way
            raise Unreachable(verb, httpx.URL(url).path, 0, f"{_asked(verb, url)}: stopped.") from error

    def _absolute(self, path: str) -> str:
        if not path.startswith("/") or path.startswith("//"):
            raise ValueError(f"not a path of the endpoint: {path!r}")
        return self.url + path

    def _strays(self, verb: str, path: str, status: int, target: httpx.URL) -> Unhealthy:
        there = f"{target.scheme}://{target.host}"
        return Unhealthy(
            f"{verb} {self.url}{path} answered {status}, a redirect to {there}; not followed.\n"
            "  The token is sent to the endpoint only. Check the service's endpoint with `whisperctl status`."
        )

    def _answer(self, response: httpx.Response) -> Answer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        text = decoded(response.content, response.charset_encoding)
        return Answer(status=response.status_code, text=self._blank(text), headers=headers)

    def _blank(self, text: str) -> str:
        """`text` without our token; a transcript is otherwise left as it is."""
        return text.replace(self._token, TOKEN) if self._token else text


def _asked(verb: str, url: str) -> str:
    """A request as messages name it."""
    return f"{verb} {httpx.URL(url).copy_with(query=None)}"


def _proxy_in_words(error: Exception) -> str:
    """A status that a proxy answered a CONNECT with, or what a SOCKS proxy made of its own."""
    text = clean(str(error))
    return refused(text[:3]) if text[:3].isdecimal() else f"the proxy refuses the connection ({text})"


class _TokenFor(httpx.Auth):
    """Adds the token to requests for one origin."""

    def __init__(self, origin: str, token: str) -> None:
        self._origin, self._token = origin, token

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        if _origin(str(request.url)) == self._origin:
            request.headers["Authorization"] = f"Token {self._token}"
        yield request


def _origin(url: str) -> str:
    """Scheme, host and port of `url`.

    Raises:
        Unhealthy: it is not an http or https URL with a host.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Unhealthy(f"The endpoint {url!r} is not a URL: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.userinfo:
        raise Unhealthy(f"The endpoint {parsed.copy_with(userinfo=b'')} is not a plain http or https URL.")
    port = parsed.port or {"http": 80, "https": 443}[parsed.scheme]
    return f"{parsed.scheme}://{parsed.host.lower()}:{port}"


def _page(text: str) -> str:
    """What a web page in place of an answer calls itself; a filter or a gateway on the way sent it."""
    title = re.search(r"<title>(.{1,200}?)</title>", text[:5000], re.IGNORECASE | re.DOTALL)
    return f"a web page: {title[1].strip()}" if title else "a web page"


def _message(body: Any) -> str:
    """The error text in a JSON body of vLLM (`error.message`), UbiOps (`error`) or FastAPI (`detail`)."""
    if not isinstance(body, dict):
        return ""
    for key in ("error", "message", "detail", "error_message"):
        match body.get(key):
            case {"message": str(text)}:
                return text
            case str(text):
                return text
            case None:
                continue
            case other:
                return json.dumps(other)
    return ""
