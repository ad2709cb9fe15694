"""Slow salted fingerprints: how a changed secret is noticed although UbiOps never tells its value.

A fingerprint is written on a label, where others can read it, so guessing must be slow: scrypt at about 30 ms a try.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from functools import lru_cache

_COST = 1 << 13
"""scrypt's n; with r=8 each try takes 8 MiB and about 30 ms of one core."""


def fingerprint(value: str, *scope: str) -> str:
    """A fingerprint of `value`, `SALT.HASH`.

    Of one `scope` (project, stack, variable) it is always the same, so that a version can be named by it before
    anything exists; without one it is different on each call.
    """
    salt = hashlib.sha256("\0".join(scope).encode()).digest()[:8] if scope else os.urandom(8)
    return f"{salt.hex()}.{_hash(value, salt)}"


def matches(value: str, written: str) -> bool:
    """Whether `written` is a fingerprint of `value`; False for anything malformed."""
    salt, _, digest = written.partition(".")
    try:
        salted = bytes.fromhex(salt)
    except ValueError:
        return False
    return bool(digest) and hmac.compare_digest(_hash(value, salted), digest)


@lru_cache(maxsize=64)  # an apply plans twice, and asks of each secret more than once
def _hash(value: str, salt: bytes) -> str:
    return hashlib.scrypt(value.encode(), salt=salt, n=_COST, r=8, p=1, dklen=16).hex()
