"""The official `ubiops` client over one pooled session, JSON in and JSON out: how a project is asked, not for what.

Paths, verbs and authentication are the client's. Its models are not used for data: they drop every null and every key
that they do not know, so that a nullable field could never be cleared (UbiOps reference, 2.1). All methods raise
`whisperctl.errors.ApiError` and its kin, never a foreign exception.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

import requests

from whisperctl.clock import Clock, SystemClock
from whisperctl.control.rate_limit import RateLimit
from whisperctl.control.responses import cursor_in, parsed
from whisperctl.control.transport import LIMIT, Fence, PooledRest, With, no_fence
from whisperctl.control.tries import Tries
from whisperctl.errors import ApiError, NotFound, WhisperctlError
from whisperctl.output import clean

Json = dict[str, Any]
T = TypeVar("T")
URGENT_SECONDS = 10.0
"""For a request that nothing may hold up."""
PAGE = 250
"""Items in one page of a cursor list: the largest that the official CLI allows."""
MOST_PAGES = 400
"""Of one list: a hundred thousand items."""


class Session:
    """One UbiOps project, and how it is asked. Safe to call from several threads.

    `project` is the project's name, `timeout` is in seconds for one whole call, `limit` for uploads, downloads and the
    rate limits of one call together; `rate_limit` is shared by all projects of one host.
    """

    def __init__(
        self,
        host: str,
        project: str,
        token: str,
        *,
        timeout: float = 60.0,
        parallelism: int = 10,
        clock: Clock | None = None,
        limit: float = LIMIT,
        rate_limit: RateLimit | None = None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        import ubiops

        configuration = ubiops.Configuration(host=host, api_key={"Authorization": f"Token {token}"})
        configuration.client_side_validation = False
        client = ubiops.ApiClient(configuration)
        self._pooled = PooledRest(
            timeout=timeout,
            clock=clock or SystemClock(),
            connections=parallelism,
            limit=limit,
            rate_limit=rate_limit,
            say=say,
        )
        self.rest: Any = self._pooled
        self.token = token
        client.rest_client = self.rest
        self.host: str = configuration.host
        self.project = project
        self._leave_out: Callable[[str], None] | None = None
        self._fence: Fence = no_fence
        self._core: Any = ubiops.CoreApi(client)

    def looking(self, leave_out: Callable[[str], None]) -> Self:
        """The same project for those who only look: one odd object does not end a list, nor a silent host the wait.

        `leave_out` gets a line for each object that a list holds and that is none; a host that has timed out is asked
        no more.
        """
        twin = copy.copy(self)
        twin._leave_out = leave_out
        twin.rest.skips = True
        return twin

    def fenced(self, fence: Fence) -> Self:
        """The same project over the same session, for a holder of a lease: `fence` is asked before every write."""
        twin = self.over(With(self.rest, fence=fence))
        twin._fence = fence
        return twin

    def urgent(self, seconds: float | None = URGENT_SECONDS) -> Self:
        """The same project over the same session, for what waits for no other request and is tried once.

        A request takes at most `seconds`; None: as many as any other.
        """
        return self.over(With(self.rest, urgent=True, _request_timeout=seconds))

    def once(self, seconds: float) -> Self:
        """The same project over the same session, for what is not worth a second try, nor more than `seconds`."""
        return self.over(With(self.rest, retry=False, _request_timeout=seconds))

    def retried(self, attempt: Callable[[], T]) -> T:
        """What `attempt` gives: it reads and then writes, `urgent` both, and is made as often as one request would be.

        So nothing is ever written that follows from a read before a rate limit was sat out, or before another try. Of a
        `fenced` project the fence is asked before each try: to come back to a lease may take a while, too.

        Raises:
            ApiError: the last try's.
        """
        tries: dict[str, Tries] = {}  # of its read and of its write, each as many as of a request by itself
        while True:
            for _ in ("its read", "its write"):
                self._pooled.rate_limit.wait()
            self._fence()
            try:
                with self._slot():
                    return attempt()
            except ApiError as error:
                if not tries.setdefault(error.verb, self._pooled.tries()).after(error):
                    raise

    def _slot(self) -> contextlib.AbstractContextManager[object]:
        """One of the requests in flight; none for the lease's own tries, which wait for no other request."""
        return contextlib.nullcontext() if self._fence is no_fence else self._pooled.slots

    def over(self, rest: Any) -> Self:
        """The same project through another transport: whatever takes requests as `PooledRest` does."""
        import ubiops

        twin, client = copy.copy(self), copy.copy(self._core.api_client)
        twin.rest = client.rest_client = rest
        twin._core = ubiops.CoreApi(client)
        return twin

    def _call(self, method: str, *names: str, **more: Any) -> Any:
        """Call the client's `method` for this project; the parsed JSON of its answer, None if it has no body."""
        response = self._response(method, self.project, *names, **more)
        return parsed(method, response, self._leave_out)

    def _response(self, method: str, *names: str, **more: Any) -> requests.Response:
        try:
            response: requests.Response = getattr(self._core, method)(*names, _preload_content=False, **more)
        except (ValueError, TypeError, OSError) as error:
            if isinstance(error, WhisperctlError):
                raise
            raise ApiError(
                method, "", 0, f"The ubiops client refused {method}: {type(error).__name__}: {clean(str(error))}"
            ) from error
        return response

    def _object(self, method: str, *names: str, **more: Any) -> Json:
        answer: Json = self._call(method, *names, **more)
        return answer

    def _list(self, method: str, *names: str, **more: Any) -> list[Json]:
        answer: list[Json] = self._call(method, *names, **more)
        return answer

    def _find(self, method: str, *names: str) -> Json | None:
        try:
            return self._object(method, *names)
        except NotFound:
            return None

    def _find_list(self, method: str, *names: str) -> list[Json] | None:
        try:
            return self._list(method, *names)
        except NotFound:
            return None

    def _delete(self, method: str, *names: str) -> None:
        """Delete it; one that is gone already is fine."""
        with contextlib.suppress(NotFound):
            self._call(method, *names)

    def _pages(self, method: str, *names: str, limit: int = PAGE) -> list[Json]:
        """Every item of a list that comes in pages with a cursor."""
        items: list[Json] = []
        cursor: dict[str, Any] = {}
        seen: set[str] = set()
        while True:
            page = self._call(method, *names, limit=limit, **cursor)
            items += page["results"]
            if not page.get("next"):
                return items
            following = cursor_in(page["next"])
            if following in seen or len(seen) >= MOST_PAGES:
                raise ApiError(method, "", 0, f"The pages of {method} do not end: {len(seen) + 1} were read.")
            seen.add(following)
            cursor = {"cursor": following}

    @contextlib.contextmanager
    def _project_named(self) -> Iterator[None]:
        """Around a call whose path names nothing but the project: a 404 then says that there is no such project."""
        try:
            yield
        except NotFound as error:
            advice = "Check --project, UBIOPS_PROJECT or `project:` in the stack file, and whose token it is."
            reason = f"There is no project {self.project!r} that this token can see."
            raise NotFound(error.verb, error.path, 0, reason, advice) from None
