"""Whom TLS trusts, for both planes: the operating system's authorities, or the file that the environment names."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping

from whisperctl.errors import WhisperctlError

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
    try:
        folder = os.path.isdir(path)  # noqa: PTH112 - as OpenSSL takes it
        return ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
    except ssl.SSLError:
        raise WhisperctlError(f"{name} names {path}, which holds no certificate.\n  It must be a PEM file.") from None
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise WhisperctlError(f"{name} names the CA file {path}: {why}.\n  Correct it, or unset {name}.") from None
