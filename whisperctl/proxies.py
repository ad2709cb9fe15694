"""The proxy that the environment names for a URL, as both clients read it, and what its faults are called."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

LOGIN = "the proxy wants a login (407): write http://USER:PASSWORD@HOST:PORT into HTTPS_PROXY or HTTP_PROXY"
SILENT = "the proxy named by HTTPS_PROXY, HTTP_PROXY or ALL_PROXY does not answer"
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


def refused(status: object) -> str:
    """What a proxy's answer in the host's place means."""
    return LOGIN if str(status) == "407" else f"the proxy refuses the connection ({status})"
