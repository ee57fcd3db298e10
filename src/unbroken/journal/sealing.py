"""What a shared store may see: ciphertext, and names that say nothing.

A journal's key never encrypts anything itself. From it come a key for names (HMAC-SHA256), and
for each stream a key of its own (AES-256-GCM), so that random nonces of 96 bits are few enough
under each, however many streams there are. A sealed value is

    version (1 byte) · key id (4 bytes) · nonce (12 bytes) · ciphertext and tag

and is bound to its stream, epoch, kind and offset: moved to another place, it does not open.

To change the key: add the new one behind the old one everywhere; then put it first everywhere;
when nothing is kept any more that the old one sealed, take that away. The first key seals, all
of them open.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence

from unbroken.journal.base import JournalError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError as error:  # pragma: no cover - depends on what is installed
    msg = 'a journal that is shared needs cryptography: pip install "unbroken[gateway]"'
    raise ImportError(msg) from error

__all__ = ["KEY_BYTES", "OVERHEAD_BYTES", "Box", "Sealer", "UnsealError", "key_from_text"]

KEY_BYTES = 32
_VERSION = b"\x01"
_ID_BYTES = 4
_NONCE_BYTES = 12
_HEAD_BYTES = 1 + _ID_BYTES + _NONCE_BYTES
OVERHEAD_BYTES = _HEAD_BYTES + 16
"""By how much a sealed value is longer than what is in it."""


class UnsealError(JournalError):
    """A stored value does not open: another key, another place, or it was changed."""


def key_from_text(text: str) -> bytes:
    """Return a key that is written in base64, with either alphabet.

    Raises:
        ValueError: If it is not 32 bytes in base64.
    """
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/") + "==")
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        msg = f"a journal's key is {KEY_BYTES} bytes in base64 (`openssl rand -base64 32`)"
        raise ValueError(msg)
    return key


class _Key:
    """One key, and what is derived from it."""

    __slots__ = ("id", "names", "streams")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            msg = f"a journal's key has {KEY_BYTES} bytes, not {len(key)}"
            raise ValueError(msg)
        self.id = hmac.digest(key, b"unbroken journal 1 key id", "sha256")[:_ID_BYTES]
        self.names = hmac.digest(key, b"unbroken journal 1 names", "sha256")
        self.streams = hmac.digest(key, b"unbroken journal 1 streams", "sha256")

    def cipher(self, label: bytes) -> AESGCM:
        return AESGCM(hmac.digest(self.streams, label, "sha256"))


class Sealer:
    """Makes names and boxes from the journal's keys.

    Args:
        keys: 32 bytes each. The first one seals and names, all of them open and find.

    Raises:
        ValueError: If there is none, or one has another length.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            msg = "a shared journal needs a key (journal.key)"
            raise ValueError(msg)
        self._keys = [_Key(key) for key in keys]

    def names(self, kind: str, value: str) -> list[str]:
        """Return the names of a thing in the store, by each key; the first is the one to use."""
        label = f"{kind}:{value}".encode()
        return [f"unbroken1:{kind}:{_short(key.names, label)}" for key in self._keys]

    def name(self, kind: str, value: str) -> str:
        """Return the name of a thing in the store, by the first key."""
        return f"unbroken1:{kind}:{_short(self._keys[0].names, f'{kind}:{value}'.encode())}"

    def box(self, label: str) -> Box:
        """Return what seals and opens the values of one stream, or whatever the label names."""
        return Box(self._keys, label)


class Box:
    """Seals and opens what belongs to one label."""

    __slots__ = ("_ciphers", "_keys", "_label")

    def __init__(self, keys: list[_Key], label: str) -> None:
        self._keys = keys
        self._label = hashlib.sha256(label.encode()).digest()
        self._ciphers: dict[bytes, AESGCM] = {}

    def seal(self, place: str, value: bytes) -> bytes:
        """Return a value sealed for one place.

        Args:
            place: Kind, epoch and offset, in any form that is the same when it is opened.
            value: What is sealed.
        """
        key = self._keys[0]
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher(key).encrypt(nonce, value, self._bound(place, key))
        return b"%b%b%b%b" % (_VERSION, key.id, nonce, sealed)

    def open(self, place: str, blob: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            UnsealError: If it was not sealed by one of the keys, for this label and place.
        """
        if blob[:1] != _VERSION or len(blob) < OVERHEAD_BYTES:
            msg = "a stored value is of another version, or damaged"
            raise UnsealError(msg)
        key_id = blob[1 : 1 + _ID_BYTES]
        for key in self._keys:
            if key.id == key_id:
                break
        else:
            msg = "a stored value was sealed with a key that is not known here (journal.old_keys)"
            raise UnsealError(msg)
        nonce, sealed = blob[1 + _ID_BYTES : _HEAD_BYTES], blob[_HEAD_BYTES:]
        try:
            return self._cipher(key).decrypt(nonce, sealed, self._bound(place, key))
        except InvalidTag:
            msg = "a stored value was changed, or moved to another place"
            raise UnsealError(msg) from None

    def _cipher(self, key: _Key) -> AESGCM:
        cipher = self._ciphers.get(key.id)
        if cipher is None:
            cipher = self._ciphers[key.id] = key.cipher(self._label)
        return cipher

    def _bound(self, place: str, key: _Key) -> bytes:
        return b"%b%b%b%b" % (_VERSION, key.id, self._label, place.encode())


def _short(key: bytes, label: bytes) -> str:
    digest = hmac.digest(key, label, "sha256")[:18]
    return base64.urlsafe_b64encode(digest).decode()
