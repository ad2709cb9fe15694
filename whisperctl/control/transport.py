"""One pooled, bounded, retrying HTTP session under the official `ubiops` client.

As released, the client opens a new connection for every call, has no time-out, retries 429 for ever but not after an
upload, and never retries anything else. This replaces its `RESTClientObject` and nothing above it.

What is repeated, as `tries` says: a 429 of any verb, since it had no effect; GET, DELETE and PATCH after a 5xx, a
time-out or a broken connection; a POST only when its connection was never made. Any other lost POST raises
`Unreachable`, and whoever sent it reads by name what became of it.

A call ends: its answer, headers and body, within the time-out and `answers.LARGEST` bytes; an upload or a download may
take as long as it makes progress, at most `limit`; and all rate limits of one call together take at most `limit`.

This module must not know any UbiOps resource.
"""

from __future__ import annotations

import contextlib
import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import requests
from requests.exceptions import RequestException
from requests.utils import get_environ_proxies
from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor

from whisperctl.clock import Clock
from whisperctl.control.answers import ENCODINGS, Deadline, TimedAdapter, TooMuch, ending, read_whole
from whisperctl.control.faults import PAGE, in_words, never_sent, unreachable
from whisperctl.control.rate_limit import RateLimit
from whisperctl.control.tries import ATTEMPTS, Tries
from whisperctl.errors import ApiError, Forbidden, NotFound, Unauthorized, Unreachable
from whisperctl.output import clean
from whisperctl.proxies import may_have_answered, refused
from whisperctl.tls import client_context

FIRST_ATTEMPTS = 3
"""Tries while the host has never answered at all."""
LIMIT = 3600.0
"""Seconds that uploads, downloads, and the rate limits of one call may take where no stack says otherwise."""
SILENCE = 60.0
"""Seconds without a byte after which an upload or a download is given up."""
MORE_CONNECTIONS = 128
"""Connections beyond the slots that are kept: for deployment requests, which take none."""
KINDS = {401: Unauthorized, 403: Forbidden}
"""Errors by status, whoever answered; what a proxy or gateway cannot find (404) may well exist."""
NOT_UBIOPS = (
    "That is not UbiOps' JSON, so it tells nothing of what exists: a gateway on the way may have answered. Try again, "
    "and check --host or UBIOPS_API_HOST: it must be the API, such as https://api.ubiops.com/v2."
)
"""Of a 404 in other words than UbiOps' own (`_words_of_ubiops`): whoever took it for absence would make, or forget."""
DOCTOR = "`whisperctl doctor` tells whether the host answers."
REPEATABLE = frozenset({"GET", "HEAD", "DELETE", "PATCH"})
READING = frozenset({"GET", "HEAD"})
Fence = Callable[[], float]
"""Seconds that a write which begins now may take; raises where nothing may be written any more."""


def no_fence() -> float:
    """Anybody may write, for as long as it takes."""
    return math.inf


@dataclass(frozen=True, slots=True)
class _Call:
    """One request as the client gives it, and how it may be sent."""

    verb: str
    url: str
    headers: Mapping[str, str]
    body: Any
    post_params: Sequence[tuple[str, Any]] | None
    stream: bool
    timeout: float
    fence: Fence
    urgent: bool
    retry: bool

    def check(self) -> None:
        """Raise what the fence raises: an upload that nobody may make any more is broken off."""
        self.fence()

    def checked_until(self, deadline: Deadline) -> Callable[[Any], None]:
        """What looks after each piece that is sent whether the next one may be."""

        def check(_sent: Any) -> None:
            self.check()
            deadline.left()

        return check

    @property
    def shares_window(self) -> bool:
        """Whether UbiOps counts it with all others: file, request and user endpoints have limits of their own."""
        path = urlsplit(self.url).path
        return "/projects/" in path and not (self.stream or self.post_params or path.endswith("/requests"))


def _body(call: _Call) -> dict[str, Any]:
    """What `requests` is to send: text and bytes as they are, anything else as JSON."""
    if call.verb in READING:
        return {}
    return {"data": call.body} if isinstance(call.body, (str, bytes)) else {"json": call.body}


def _multipart(call: _Call, headers: dict[str, str], deadline: Deadline) -> MultipartEncoderMonitor:
    """A form with files, made anew for each try: a sent encoder is at its end. Sets the content type of `headers`."""
    encoder = MultipartEncoder(fields=dict(_rewound(call.post_params or [])))
    headers["Content-Type"] = encoder.content_type
    return MultipartEncoderMonitor(encoder, call.checked_until(deadline))


class PooledRest:
    """Stands in for `ubiops.rest.RESTClientObject`: one `requests` session, shared by all threads."""

    def __init__(
        self,
        *,
        timeout: float,
        clock: Clock,
        connections: int = 10,
        limit: float = LIMIT,
        rate_limit: RateLimit | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.timeout = timeout
        self.limit = limit
        self.skips = False
        """Whether a host that has timed out is asked no more; for those who only look."""
        self.silent = False
        self.clock = clock
        self.say = say
        self.slots = threading.BoundedSemaphore(connections)
        self.requests_sent = 0
        self.answered = False
        self.rate_limit = rate_limit or RateLimit(clock)
        self.session = requests.Session()
        # The session itself looks at the environment, and for a ~/.netrc, anew with each request, which takes longer
        # than to make the request.
        self.session.trust_env = False
        # A callable as `auth` keeps a login in the host's address from replacing the token.
        self.session.auth = _leave_headers_alone
        self._proxies: dict[str, dict[str, str]] = {}
        self.session.headers["Accept-Encoding"] = ENCODINGS
        self._connections = connections + MORE_CONNECTIONS
        self.session.mount("http://", TimedAdapter(connections=self._connections))
        self._trusting = threading.Lock()

    def request(
        self,
        method: str,
        host: str,
        resource_path: str,
        query_params: Sequence[tuple[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        post_params: Sequence[tuple[str, Any]] | None = None,
        stream: bool = False,
        _request_timeout: float | None = None,
        progress_bar: bool = False,  # noqa: ARG002 - the client's signature
        fence: Fence = no_fence,
        urgent: bool = False,
        retry: bool = True,
    ) -> requests.Response:
        """Send one request and return a 2xx response.

        `fence` is asked right before each try of a write, and again while an upload runs. An `urgent` request waits
        for no other one, neither for a slot nor for the rate limit, and is tried once. So is one without `retry`, and a
        file that it brings has the time-out for all of it.

        Raises:
            ApiError: UbiOps answered with an error, or (`Unreachable`) did not answer.
        """
        verb = method.upper()
        url = host + resource_path + ("?" + urlencode(query_params) if query_params else "")
        timeout = _request_timeout or self.timeout
        if url.lower().startswith("https://"):
            self._trust()
        if self.skips and self.silent:
            reason = f"{verb} {resource_path} was not tried: the host timed out before."
            raise Unreachable(verb, resource_path, 0, reason)
        with contextlib.ExitStack() as files:
            for _, value in post_params or ():
                if isinstance(value, tuple):
                    files.callback(value[1].close)  # the client opens what it uploads and never closes it
            where = (host, resource_path)
            call = _Call(verb, url, headers or {}, body, post_params, stream, timeout, fence, urgent, retry)
            return self._until_answered(call, where)

    def _until_answered(self, call: _Call, where: tuple[str, str]) -> requests.Response:
        host, resource_path = where
        verb = call.verb
        once = call.urgent or not call.retry
        tries = self.tries()
        while True:
            try:
                response = self._send(call)
            except TooMuch as error:
                reason = f"The answer to {verb} {resource_path} is not read: {error}."
                raise ApiError(verb, resource_path, 0, reason) from None
            except RequestException as error:
                why = f"{verb} {resource_path}: {in_words(error)}"
                if once or not self._may_be_sent_again(verb, error) or not tries.back_off(why, self._most):
                    self.silent = isinstance(error, requests.Timeout)
                    raise unreachable(verb, host, resource_path, error) from None
                continue
            self.answered = True
            if not once and self._goes_on(tries, verb, resource_path, response):
                continue
            if not 200 <= response.status_code <= 299:
                raise api_error(verb, resource_path, response, tries.count)
            return response

    def tries(self) -> Tries:
        """Those of one thing, a request or a few in a row, before the first."""
        return Tries(self.clock, self.limit, self.say)

    @property
    def _most(self) -> int:
        """Tries: a host that has never answered is more likely mistyped than down for a moment."""
        return ATTEMPTS if self.answered else FIRST_ATTEMPTS

    def _may_be_sent_again(self, verb: str, error: RequestException) -> bool:
        return verb in REPEATABLE or never_sent(error)

    def _goes_on(self, tries: Tries, verb: str, path: str, response: requests.Response) -> bool:
        """Wait before the next try, if this answer asks for one."""
        if response.status_code == 429:
            return tries.sit_out(_window(response))
        if response.status_code < 500 or verb not in REPEATABLE:
            return False
        return tries.back_off(f"{verb} {path}: UbiOps answered {response.status_code}")

    def _send(self, call: _Call) -> requests.Response:
        headers = {**call.headers}
        kind = headers.setdefault("Content-Type", "application/json")
        is_upload = "multipart" in kind or "urlencoded" in kind
        if is_upload:
            deadline = self._deadline_of_files(call)
            more: Mapping[str, Any] = {"data": _multipart(call, headers, deadline)}
        else:
            more = _body(call)
        # What UbiOps may answer only in minutes (a deployment request) takes no slot from the others.
        is_long = call.timeout > self.timeout
        if call.shares_window and not call.urgent:
            self.rate_limit.wait()
        with contextlib.nullcontext() if call.urgent or is_long else self.slots:
            left = call.fence() if call.verb not in READING else math.inf
            timeout = call.timeout if is_long or is_upload else min(call.timeout, left)
            self.requests_sent += 1
            self.say(f"{call.verb} {urlsplit(call.url).path}")
            if not is_upload:
                deadline = self._deadline_of_files(call) if call.stream else Deadline(timeout)
            with ending(deadline):
                response = self.session.request(
                    call.verb,
                    call.url,
                    headers=headers,
                    stream=True,
                    timeout=(min(timeout, 10.0), timeout),
                    allow_redirects=False,
                    proxies=self._proxies_for(call.url),
                    **more,
                )
                if not (call.stream and 200 <= response.status_code <= 299):
                    read_whole(response, deadline)
        if call.shares_window:
            self.rate_limit.learn(response.headers)
        return response

    def _deadline_of_files(self, call: _Call) -> Deadline:
        """What is as large as it is may take its time, if it moves."""
        return Deadline(self.limit, min(SILENCE, self.limit)) if call.retry else Deadline(call.timeout)

    def _proxies_for(self, url: str) -> dict[str, str]:
        """The proxies that the environment names for a host, read when it is first asked."""
        host = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        if host not in self._proxies:
            self._proxies[host] = get_environ_proxies(host)
        return self._proxies[host]

    def _trust(self) -> None:
        """Make what https is spoken with: only now, since reading this machine's authorities takes a while."""
        with self._trusting:
            if not isinstance(self.session.get_adapter("https://"), TimedAdapter):
                self.session.mount(
                    "https://", TimedAdapter(ssl_context=client_context(), connections=self._connections)
                )


class With:
    """The same session, each request with more options: a fence, as an urgent one, or for one try."""

    def __init__(self, rest: Any, **options: Any) -> None:
        self.rest = rest
        self.options = options

    @property
    def timeout(self) -> float:
        """Seconds for each request."""
        return float(self.rest.timeout)

    def request(self, *args: Any, **more: Any) -> requests.Response:
        """Send one request, as `PooledRest.request`."""
        response: requests.Response = self.rest.request(*args, **{**more, **self.options})
        return response


def _leave_headers_alone(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _rewound(post_params: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, value in post_params:
        if isinstance(value, tuple):
            value[1].seek(0)
        yield name, value


def _window(response: requests.Response) -> float:
    """Seconds until the rate limit's next window, as the answer tells; a guess where it tells nothing of use."""
    with contextlib.suppress(ValueError):
        seconds = float(response.headers.get("x-ratelimit-reset") or "")
        return min(max(seconds, 0.0), 300.0) if math.isfinite(seconds) else 59.0
    return 59.0


def api_error(verb: str, path: str, response: requests.Response, tries: int = 1) -> ApiError:
    """The error that `response`, the last of `tries`, tells, in UbiOps' own words where it has some."""
    error = _error_of(verb, path, response, tries)
    if error.status == 429:
        error.reset = _window(response)
    return error


def _error_of(verb: str, path: str, response: requests.Response, tries: int) -> ApiError:
    reason = _reason(response)
    if response.status_code == 407:
        return Unreachable(verb, path, 0, f"UbiOps cannot be reached ({verb} {path}): {refused(407)}.", PAGE)
    is_ours = _words_of_ubiops(response) is not None
    if not is_ours and (proxy := may_have_answered(response.url, response.headers)):
        kind = KINDS.get(response.status_code, ApiError)
        advice = f"The answer is not UbiOps' JSON, so it may be the proxy's own. {PAGE}"
        return kind(verb, path, response.status_code, reason, advice, who=f"{clean(proxy)[:200]}, or UbiOps behind it,")
    if response.status_code in (401, 403) and _is_page(response):
        advice = "It is a web page, which UbiOps does not send: a proxy or filter on the way refuses this. " + PAGE
        return KINDS[response.status_code](verb, path, response.status_code, reason, advice)
    match response.status_code:
        case 401:
            return Unauthorized(verb, path, 401, reason, "Check UBIOPS_API_TOKEN or --token-file.")
        case 403:
            return Forbidden(verb, path, 403, reason, "Give the token's service user a role that may do this.")
        case 404 if is_ours:
            return NotFound(verb, path, 404, reason)
        case 404:
            return ApiError(verb, path, 404, reason, NOT_UBIOPS, who="The host")
        case 500 | 502 | 503 as status:  # 504 may be a request of the user's that took too long
            again = f" (tried {tries} times)" if tries > 1 else ""
            advice = f"UbiOps has a problem of its own{again}: try again later. {DOCTOR}"
            return ApiError(verb, path, status, reason, advice)
        case status:
            return ApiError(verb, path, status, reason)


def _is_page(response: requests.Response) -> bool:
    return "html" in response.headers.get("Content-Type", "").lower()


def _words_of_ubiops(response: requests.Response) -> str | None:
    """What UbiOps says in its JSON; None of any other text."""
    with contextlib.suppress(ValueError, RecursionError):
        body = response.json()
        if isinstance(body, dict):
            return next((str(body[key]) for key in ("error", "detail", "error_message") if body.get(key)), None)
    return None


def _reason(response: requests.Response) -> str:
    """At most 500 characters of what the server said: its JSON `error`, `detail` or `error_message`, else its text."""
    if (words := _words_of_ubiops(response)) is not None:
        return clean(words)[:500]
    text = response.text
    if "<" in text:
        title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        text = title.group(1) if title else re.sub(r"<[^>]*>", " ", text)
    text = clean(" ".join(text.split()))[:500]
    return text or clean(response.reason or "") or "no reason given"
