"""Tokens: a browser's permission to read and stop one stream, for a while."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

__all__ = ["Tokens"]

_TOKEN = re.compile(r"1\.([1-9][0-9]{0,11})\.([A-Za-z0-9_-]{43})")


class Tokens:
    """Makes and checks tokens ``1.EXPIRES.MAC``.

    Args:
        secrets: The first one signs, all of them are accepted, so that it can be changed.

    Raises:
        ValueError: If there is none, or one has fewer than 32 bytes.
    """

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets or any(len(secret) < 32 for secret in secrets):
            msg = "a secret that signs tokens has at least 32 bytes"
            raise ValueError(msg)
        # A key of its own for this use: the same secret serves for other things too.
        self._keys = [
            hmac.digest(secret, b"unbroken resume token 1", "sha256") for secret in secrets
        ]

    def make(self, stream_id: str, *, expires_at: float) -> str:
        """Return a token for one stream, good until a Unix time."""
        expires = str(int(expires_at))
        return f"1.{expires}.{_mac(self._keys[0], stream_id, expires)}"

    def good(self, token: str, stream_id: str, *, now: float) -> bool:
        """Whether a token is one of ours, for this stream, and not expired at a Unix time."""
        match = _TOKEN.fullmatch(token.strip(" \t"))
        if match is None:
            return False
        expires, given = match[1], match[2]
        # All keys are tried, and the time is looked at last: how long it took tells nothing.
        results = [hmac.compare_digest(_mac(key, stream_id, expires), given) for key in self._keys]
        return any(results) and now < int(expires)


def _mac(key: bytes, stream_id: str, expires: str) -> str:
    said = f"1.{stream_id}.{expires}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, said, hashlib.sha256)).rstrip(b"=").decode()
