"""The proxy that the environment names for a URL, as both clients read it, and what its faults are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

LOGIN = "the proxy wants a login (407): write http://USER:PASSWORD@HOST:PORT into HTTPS_PROXY or HTTP_PROXY"
SILENT = "the proxy named by HTTPS_PROXY, HTTP_PROXY or ALL_PROXY does not answer"
_SIGNS = re.compile("(?i)via$|proxy-|x-squid-")
"""Headers that proxies add to answers (RFC 9110, 7.6.3 and 11.7), and UbiOps does not."""
NO_URL = "the address of the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY is no URL"


def proxy_for(url: str) -> str | None:
    """The address of the proxy that requests for `url` go through; None where they go directly."""
    parts, proxies = urlsplit(url), getproxies()
    if parts.hostname and proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


def is_broken(proxy: str) -> bool:
    """Whether the address of a proxy cannot be used."""
    try:
        return not urlsplit(proxy if "://" in proxy else f"http://{proxy}").hostname or urlsplit(proxy).port == 0
    except ValueError:
        return True


def may_have_answered(url: str, headers: Mapping[str, str]) -> str:
    """Who, beside the host, an answer to a request for `url` may be of; empty where no proxy is in sight.

    A proxy reads and answers plain http only: https goes through it unread.
    """
    proxy = proxy_for(url) if urlsplit(url).scheme == "http" else None
    if proxy and not is_broken(proxy):
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}").netloc.rpartition("@")[2]
        return f"The proxy at {address}"
    signs = [f"{name}: {value}" for name, value in headers.items() if _SIGNS.match(name)]
    return f"A proxy on the way ({signs[0]})" if signs else ""


def refused(status: object) -> str:
    """What a proxy's answer in the host's place means."""
    return LOGIN if str(status) == "407" else f"the proxy refuses the connection ({status})"
