"""What UbiOps answers when it agrees: JSON, a page of a list, a file. Errors are the transport's to tell.

This module must not know any UbiOps resource.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

import requests

from whisperctl.control import shapes
from whisperctl.errors import ApiError, Unreachable


def parsed(method: str, response: requests.Response, leave_out: Callable[[str], None] | None = None) -> Any:
    """The JSON of an answer to the client's `method`; None if it has no body.

    With `leave_out` a list comes without the objects that are none, and it gets a line for each.

    Raises:
        ApiError: it is something else, as from a host that is not the API.
    """
    if not response.content:
        if shapes.must_answer(method):
            raise _not_the_api(method, "is empty")
        return None
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        raise _not_the_api(method, "is not JSON") from None
    if leave_out is not None:
        answer, wrong = shapes.without_misfits(method, answer)
        for what in wrong:
            leave_out(f"The host's answer to {method} {what}: left out.")
    if (why := shapes.misfit(method, answer)) is not None:
        raise _not_the_api(method, why)
    return answer


def _not_the_api(method: str, why: str) -> ApiError:
    reason = f"The host's answer to {method} {why}."
    advice = "Check --host or UBIOPS_API_HOST: it must be the API, such as https://api.ubiops.com/v2."
    return ApiError(method, "", 0, reason, advice)


def cursor_in(link: str) -> str:
    """The cursor in a page's `next`, which may be a bare cursor or a URL that holds one."""
    from urllib.parse import parse_qs, urlsplit

    return parse_qs(urlsplit(link).query).get("cursor", [link])[0]


def write_to(stream: BinaryIO, response: requests.Response, what: str) -> None:
    """Write an answer's bytes to `stream` as they come.

    Raises:
        Unreachable: they stopped coming; it names `what` broke off.
    """
    try:
        with response:  # whoever has read enough raises: the connection goes with it
            # Not writelines: that of a BytesIO never calls the write of a subclass, such as one that only digests.
            for chunk in response.iter_content(1 << 16):  # noqa: FURB122
                stream.write(chunk)
    except requests.RequestException:
        raise Unreachable("GET", "", 0, f"{what} broke off.") from None
