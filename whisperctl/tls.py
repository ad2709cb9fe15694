"""Whom TLS trusts, for both planes: the operating system's authorities, or the file that the environment names."""

from __future__ import annotations

import os
import re
import ssl
import stat
from collections.abc import Mapping

from whisperctl.errors import WhisperctlError
from whisperctl.untrusted import printable_lines

VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR")
"""What names authorities of one's own; the first that is set counts."""


def authorities(environ: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """The variable that names a file or folder of authorities, and its value; None where none does."""
    return next(((name, environ[name]) for name in VARIABLES if environ.get(name)), None)


def client_context() -> ssl.SSLContext:
    """What every connection of ours is made with.

    Raises:
        WhisperctlError: the file that the environment names is not there, or holds no certificate.
    """
    named = authorities()
    if named is None:
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    name, path = named
    if _is_special(path):
        raise WhisperctlError(f"{name} names {path}, which is no file.\n  It must be a PEM file, or a folder of them.")
    try:
        folder = os.path.isdir(path)  # noqa: PTH112 - as OpenSSL takes it
        return ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
    except ssl.SSLError:
        raise WhisperctlError(f"{name} names {path}, which holds no certificate.\n  It must be a PEM file.") from None
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise WhisperctlError(f"{name} names the CA file {path}: {why}.\n  Correct it, or unset {name}.") from None


def failure_in_words(error: object) -> str | None:
    """Why TLS failed, for the end of a sentence, out of what a client library says; None where it was not TLS."""
    text = str(error)
    if re.search(r"hostname.*doesn't match|certificate is not valid for|Hostname mismatch", text, re.IGNORECASE):
        return "its certificate is another host's"
    if reason := re.search(r"certificate verify failed: ([^(\"']+)", text):
        named = authorities()
        by = f"{named[0]} ({named[1]})" if named else "this machine"
        return " ".join(printable_lines(f"its certificate is not trusted by {by}: {reason[1].strip()}"))
    if "WRONG_VERSION_NUMBER" in text or "HTTP_REQUEST" in text:
        return "it does not speak TLS (is its address http://, or a proxy's?)"
    return "the TLS handshake failed" if "SSL" in text else None


def _is_special(path: str) -> bool:
    """Whether something is there that OpenSSL would wait for, or read for ever."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as OpenSSL takes it
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
