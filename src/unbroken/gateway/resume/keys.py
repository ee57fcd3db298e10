"""Idempotency keys: which requests are one and the same."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

__all__ = ["InvalidKeyError", "body_hash", "lease_of", "parse_key"]

# Visible ASCII, as every HTTP library sends unchanged. The draft has a quoted string of
# Structured Fields; most senders leave the quotes out, and with or without them it is one key.
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


class InvalidKeyError(ValueError):
    """An `Idempotency-Key` that cannot be one."""


def parse_key(text: str) -> str:
    """Return the key that a header says.

    Raises:
        InvalidKeyError: If it is empty, longer than 255 characters or not visible ASCII.
    """
    key = text.strip(" \t")
    if len(key) > 1 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if _KEY.fullmatch(key) is None:
        msg = "an Idempotency-Key has 1 to 255 visible ASCII characters"
        raise InvalidKeyError(msg)
    return key


def lease_of(secret: bytes, scope: str, key: str) -> str:
    """Return what a caller's key is known by: nobody can tell the key from it, or guess it."""
    return _digest(hmac.digest(secret, _joined(b"lease 1", scope.encode(), key.encode()), "sha256"))


def body_hash(method: str, target: str, body: bytes) -> str:
    """Return the hash by which two requests are the same.

    Args:
        method: The HTTP method.
        target: Path and query as they came.
        body: As it came.
    """
    return _digest(hashlib.sha256(_joined(method.encode(), target.encode(), body)).digest())


def _joined(*parts: bytes) -> bytes:
    # With their lengths, so that no two lists of parts are the same bytes.
    return b"".join(b"%d:%b," % (len(part), part) for part in parts)


def _digest(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
