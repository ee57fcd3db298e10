"""Who calls: keys of the gateway's own, of which only hashes are kept.

A key is looked up by its SHA-256. That is enough for keys that were drawn by `new_key`, of 256
random bits, which nobody can guess; and how long a look-up takes tells nothing of a key, since
what is compared are hashes that a caller cannot steer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from unbroken.gateway.config import CallerConfig, CallerLimits, GatewayConfig, OwnLimits

__all__ = ["KEY_HEADERS", "Caller", "Callers", "NewKey", "new_key"]

Header = tuple[bytes, bytes]

KEY_HEADERS: tuple[bytes, ...] = (
    b"x-unbroken-key",
    b"authorization",
    b"x-api-key",
    b"x-goog-api-key",
)
"""The headers that a caller's key may stand in, the first of which that does counts."""
_MAX_KEY_BYTES = 8192  # providers' tokens are long, but hashing a megabyte is work for nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request.

    Attributes:
        team: Its name; empty where the gateway has no callers' keys.
        scope: A hash that stands for its key: whose idempotency keys and streams these are.
            None where it showed no key at all.
        limits: What it may do.
    """

    team: str
    scope: str | None = field(repr=False)
    limits: CallerLimits


class Callers:
    """All callers of a configuration."""

    def __init__(self, config: GatewayConfig) -> None:
        self._default = config.limits.per_caller
        self._teams: dict[bytes, Caller] = {}
        for each in config.callers:
            for digest in _digests(each):
                self._teams[digest] = Caller(
                    team=each.team,
                    scope=_scope(b"caller", digest),
                    limits=_limits(each.limits, self._default),
                )
        self.are_known = bool(config.callers)

    def who(self, headers: Iterable[Header]) -> Caller | None:
        """Return who sent a request, or None for 401.

        Where no callers are configured everybody is served, and whoever shows the same key
        has the same scope.

        Args:
            headers: As ASGI has them: names in lower case.
        """
        shown = _keys(headers)
        if self.are_known:
            for _, key in shown:
                if (caller := self._find(key)) is not None:
                    return caller
            return None
        scope = next((_scope(b"header", _sha256(key)) for _, key in shown), None)
        return Caller(team="", scope=scope, limits=self._default)

    def _find(self, key: bytes) -> Caller | None:
        return self._teams.get(_sha256(key))

    def forwarded(self, headers: Iterable[Header]) -> list[Header]:
        """Return the headers without any key of the gateway's.

        ``x-unbroken-key`` never goes on; another key header stays if what it holds is none of
        our keys: it is the provider's.
        """
        return [
            (name, value)
            for name, value in headers
            if name not in KEY_HEADERS
            or (name != KEY_HEADERS[0] and self._find(_bare(name, value)) is None)
        ]


def _keys(headers: Iterable[Header]) -> list[Header]:
    """Return what may be keys, by the order of `KEY_HEADERS`."""
    found = [(name, _bare(name, value)) for name, value in headers if name in KEY_HEADERS]
    found = [(name, key) for name, key in found if key and len(key) <= _MAX_KEY_BYTES]
    return sorted(found, key=lambda each: KEY_HEADERS.index(each[0]))


def _bare(name: bytes, value: bytes) -> bytes:
    """Return a key without the word before it."""
    value = value.strip()
    if name == b"authorization" and value[:7].lower() == b"bearer ":
        return value[7:].strip()
    return value


def _sha256(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _scope(kind: bytes, digest: bytes) -> str:
    """Return a hash of its own: neither the stored hash nor a header's can be told from it."""
    return hmac.new(digest, b"unbroken scope 1 " + kind, hashlib.sha256).hexdigest()


def _digests(caller: CallerConfig) -> list[bytes]:
    own = [] if caller.key is None else [_sha256(caller.key.reveal().encode())]
    return [*own, *(bytes.fromhex(each) for each in caller.hashes)]


def _limits(own: OwnLimits, default: CallerLimits) -> CallerLimits:
    names = CallerLimits.__struct_fields__
    values = {name: getattr(own, name) for name in names}
    return CallerLimits(
        **{
            name: value if value is None or isinstance(value, int) else getattr(default, name)
            for name, value in values.items()
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made; it is shown once, and kept nowhere.

    Attributes:
        key: What the caller sends.
        key_sha256: What the gateway keeps.
        toml: What to add to the configuration file.
    """

    key: str = field(repr=False)
    key_sha256: str
    toml: str


def new_key(team: str) -> NewKey:
    """Make a key for a team: 256 random bits.

    It begins with ``sk-``, which SDKs expect and scanners for secrets find.
    """
    key = f"sk-unbroken-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    # JSON's strings are TOML's, but for the code point DEL.
    name = json.dumps(team).replace("\x7f", "\\u007f")
    toml = (
        "# If the team stands in the file already, add the hash to its entry instead:\n"
        '# key_sha256 = ["old", "new"]\n'
        f'[[callers]]\nteam = {name}\nkey_sha256 = "{digest}"\n'
    )
    return NewKey(key=key, key_sha256=digest, toml=toml)
