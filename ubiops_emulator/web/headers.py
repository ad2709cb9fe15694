"""Headers as they come in, and on their way through the proxy."""

from __future__ import annotations

from ubiops_emulator.refusal import invalid

Raw = list[tuple[bytes, bytes]]

# RFC 9110, section 7.6.1: these concern one connection, not the message.
HOP_BY_HOP = {
    name.encode()
    for name in (
        "connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer"
        " transfer-encoding upgrade"
    ).split()
}


# Those that decide who asks for what: with two of them, two programs on the way could each believe another one.
SINGLE = (b"host", b"authorization", b"content-type", b"content-length")


def undoubled(raw: Raw) -> None:
    """Let a request through that has one `Host`, and not two of any header that decides something.

    Raises:
        Refusal: 400 (RFC 9112, section 3.2, of `Host`).
    """
    names = [name.lower() for name, _ in raw]
    if b"host" not in names:
        raise invalid("A request needs a Host header")
    doubled = [name.decode() for name in SINGLE if names.count(name) > 1]
    if doubled:
        raise invalid(f"More than one header {', '.join(doubled)}")


def end_to_end(raw: Raw) -> Raw:
    """Headers without those of the connection, and without those that `Connection` names."""
    named = {part.strip().lower() for name, value in raw if name.lower() == b"connection" for part in value.split(b",")}
    drop = HOP_BY_HOP | named
    return [(name, value) for name, value in raw if name.lower() not in drop]


def without(raw: Raw, *names: bytes) -> Raw:
    """Headers without those of these names (lower case)."""
    return [(name, value) for name, value in raw if name.lower() not in names]


def onward(raw: Raw, client: str, *, pass_authorization: bool) -> Raw:
    """What an instance sees of a request's headers."""
    headers = end_to_end(raw) if pass_authorization else without(end_to_end(raw), b"authorization")
    if any(name.lower() == b"transfer-encoding" for name, _ in raw):
        headers = [*without(headers, b"content-length"), (b"transfer-encoding", b"chunked")]
    return [*headers, (b"x-forwarded-for", client.encode()), (b"x-forwarded-proto", b"http")]
