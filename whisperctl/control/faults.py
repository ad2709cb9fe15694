"""Why no answer came, told for what it is: the name, the certificate, the proxy, the time.

This module must not know any UbiOps resource.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests
from requests.exceptions import RequestException

from whisperctl.control.answers import TooLong
from whisperctl.errors import Unreachable
from whisperctl.output import blank
from whisperctl.proxies import NO_URL, SILENT, is_broken, refused
from whisperctl.tls import failure_in_words

_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
PAGE = "docs/network.md tells how to set proxies and certificate authorities."


def never_sent(error: RequestException) -> bool:
    """Whether the connection was never made, so that the request cannot have had an effect."""
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    if isinstance(error, requests.exceptions.ConnectTimeout):
        return True
    cause = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(cause, (NewConnectionError, ConnectTimeoutError))


def in_words(error: RequestException) -> str:
    """Why there is no answer, for the end of a sentence."""
    match error:
        case requests.exceptions.SSLError():
            return failure_in_words(error) or "the TLS handshake failed"
        case requests.exceptions.ProxyError():
            answered = _TUNNEL.search(str(error))
            return refused(answered[1]) if answered else SILENT
        case requests.exceptions.ConnectTimeout():
            return "no connection could be made in time"
        case TooLong():
            return str(error)
        case requests.exceptions.ConnectionError() if "SOCKS" in str(error):
            return "the SOCKS proxy does not answer, or refuses the connection"
        case requests.exceptions.ConnectionError() if never_sent(error):
            return "its name is not known here" if "resol" in str(error) else "no connection could be made"
        case requests.exceptions.InvalidSchema() if "SOCKS" in str(error):
            return "the environment names a SOCKS proxy, and the package PySocks is missing"
        case requests.exceptions.InvalidProxyURL():
            return NO_URL
        case requests.exceptions.InvalidURL() if any(is_broken(proxy) for proxy in getproxies().values()):
            return NO_URL
        case (
            requests.exceptions.InvalidURL() | requests.exceptions.InvalidSchema() | requests.exceptions.MissingSchema()
        ):
            return "the host is not a valid URL"
        case _:
            return "the connection broke before an answer came"


def unreachable(verb: str, host: str, path: str, error: RequestException) -> Unreachable:
    """The error of a call that got no answer."""
    shown, words = blank(host), in_words(error)
    ours = isinstance(error, requests.exceptions.SSLError | requests.exceptions.ProxyError) or "proxy" in words.lower()
    advice = PAGE if ours else f"Check --host or UBIOPS_API_HOST ({urlsplit(shown).netloc or shown}), and the network."
    return Unreachable(verb, path, 0, f"UbiOps at {shown} cannot be reached ({verb} {path}): {words}.", advice)
