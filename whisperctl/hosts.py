"""Where the token may go: over TLS or to this machine, to the API's host and to endpoints of the same domain."""

from __future__ import annotations

import ipaddress
import os
import re
from urllib.parse import urlsplit

from whisperctl.errors import WhisperctlError

INSECURE = "WHISPERCTL_INSECURE_HTTP"
"""Environment variable that allows plain http to other machines: `1`."""
_AMBIGUOUS = re.compile(r"[\\\s\x00-\x1f\x7f]")
"""Before a backslash one client's host ends, and behind it another's begins."""
_SECOND_LEVEL = frozenset("ac co com edu gov gob ltd me net ne nom or org plc sch".split())
"""Labels below a country's under which names are registered, as in `example.co.uk`."""


def host_of(url: str) -> str:
    """The host of a URL, in lower case; empty where there is none, or where clients would not agree on which it is."""
    if _AMBIGUOUS.search(url):
        return ""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def registrable_domain(host: str) -> str:
    """What somebody registered of a host's name: `ubiops.com` of `api.ubiops.com`; an address is one by itself."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        labels = host.rstrip(".").split(".")
    country = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3:] if country else labels[-2:])


def refuse_plain(url: str, *, allowed: bool = False, what: str = "The token") -> None:
    """Return if the token, or whatever else `what` is, may travel to `url`: over TLS, or to this machine.

    Raises:
        WhisperctlError: it would travel in clear text, and neither the caller nor the environment allows it.
    """
    if not url.lower().startswith("http://") or is_loopback(host_of(url)):
        return
    if allowed or os.environ.get(INSECURE) == "1":
        return
    raise WhisperctlError(
        f"{what} would travel to {host_of(url) or 'an unclear address'} in clear text: the address begins with http://.\n"
        f"  Write https://, or allow it with --insecure-http or {INSECURE}=1."
    )


def refuse_other_domain(url: str, home: str) -> None:
    """Return if the endpoint `url` is of the domain that the API at `home` is in, or both are this machine.

    Raises:
        WhisperctlError: it is somebody else's, and would get the token.
    """
    there, base = host_of(url), host_of(home)
    both_local = is_loopback(there) and is_loopback(base)
    if both_local or (there and registrable_domain(there) == registrable_domain(base)):
        return
    raise WhisperctlError(
        f"The endpoint is at {there or url}, which is not of {registrable_domain(base)}: the token is not sent there.\n"
        "  UbiOps' API names this address. Check --host or UBIOPS_API_HOST, and the service."
    )
