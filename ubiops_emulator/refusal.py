"""The one way a rule says no. Must not know HTTP frameworks; the status is part of UbiOps' contract."""

from __future__ import annotations


class Refusal(Exception):
    """An answer other than success.

    Args:
        status: the HTTP status code UbiOps would answer.
        text: the `error` of the JSON body.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def not_found(what: str) -> Refusal:
    """404 with UbiOps' wording, e.g. `Deployment was not found`."""
    return Refusal(404, f"{what} was not found")


def invalid(text: str) -> Refusal:
    """400: the request contradicts the documentation."""
    return Refusal(400, text)
