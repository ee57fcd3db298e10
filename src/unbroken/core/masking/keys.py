"""Keys: out of headers and addresses altogether, out of bodies at equal length.

Two things are looked for in bodies: the exact values that a request carried as its keys, and what
has the looks of a well-known kind of key. Looks must be beyond doubt here, since what is taken for
a key is lost from a recording: a random value behind a known beginning, of a good length.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

__all__ = ["REMOVED", "KeyMask", "Secrets"]

REMOVED = "[removed]"
_LEAST_BYTES = 6  # a shorter value is no key, and would be found everywhere
_NO_SECRETS = frozenset(
    {"ollama", "lm-studio", "lmstudio", "not-needed", "no-key", "no-key-required", "anything"}
    | {"bearer", "dummy-key", "sk-no-key-required"}
)  # what local servers are sent for want of a key

# The words of a name, by which it is told: `x-goog-api-key`, `X-Auth-Token`, `access_token`.
_WORDS = re.compile(r"[a-z0-9]+")
_KEY_WORDS = frozenset(
    {"authorization", "auth", "apikey", "key", "secret", "token", "cookie", "cookie2", "password"}
    | {"passwd", "passphrase", "credential", "credentials", "session", "jwt", "bearer", "sig"}
    | {"signature"}
)
_NO_KEYS = frozenset({"idempotency-key", "x-idempotency-key", "sec-websocket-key"})
_PAIR = re.compile(r"([?&#])([^=&#]*)=([^&#]*)")
_USER = re.compile(r"(?<=://)[^/?#@]*@")

# A name's beginning, the characters of the rest, and how many of them there are at least.
_WORD, _PLAIN = rb"[A-Za-z0-9_-]", rb"[A-Za-z0-9]"
_LOOKS: tuple[tuple[bytes, bytes, int], ...] = (
    *((start, _WORD, 16) for start in (b"sk-", b"sk_", b"pk-", b"pk_", b"rk_", b"gsk_", b"csk-")),
    *((start, _WORD, 16) for start in (b"hf_", b"r8_", b"fw_", b"xai-", b"nvapi-", b"pplx-")),
    *((start, _WORD, 16) for start in (b"tgp_", b"lsv2_", b"glpat-", b"npm_", b"github_pat_")),
    *((start, _PLAIN, 20) for start in (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_")),
    *((start, rb"[A-Za-z0-9-]", 16) for start in (b"xoxb-", b"xoxp-", b"xoxa-", b"xoxs-")),
    (b"AIza", _WORD, 30),
    (b"ya29.", _WORD, 20),
    *((start, rb"[A-Z0-9]", 12) for start in (b"AKIA", b"ASIA", b"ABIA", b"ACCA")),
    (b"ABSK", rb"[A-Za-z0-9+/=]", 24),
    (b"bedrock-api-key-", rb"[A-Za-z0-9+/=_-]", 16),
)
# Not in the middle of a word; a line feed that JSON escaped ends in a letter, though.
_EDGE = rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrtbf]))"
_JWT_HEAD, _JWT_MOST = 10, 300  # of a token's first part, which ends in a dot
_JWT = rb"eyJ[A-Za-z0-9_-]{%d,%d}\.eyJ[A-Za-z0-9_.-]{8,}" % (_JWT_HEAD, _JWT_MOST)


def _class_of(index: int) -> bytes:
    return rb"[A-Za-z0-9_.-]" if index == len(_LOOKS) else _LOOKS[index][1]


_WHOLE = re.compile(
    _EDGE
    + rb"(?:"
    + rb"|".join(rb"(%b%b{%d,})" % (re.escape(s), c, n) for s, c, n in _LOOKS)
    + rb"|(%b))" % _JWT
)
_GOES_ON = tuple(re.compile(_class_of(index) + rb"*") for index in range(len(_LOOKS) + 1))


def _begun(start: bytes, more: bytes, least: int) -> bytes:
    """Return a pattern for what could become a key: less of it than there must be."""
    pattern = rb"%b{0,%d}" % (more, least - 1)
    for at in range(len(start) - 1, 0, -1):
        pattern = rb"(?:%b%b)?" % (re.escape(start[at : at + 1]), pattern)
    return re.escape(start[:1]) + pattern


_PARTIAL = re.compile(
    _EDGE
    + rb"(?:"
    + rb"|".join(_begun(*look) for look in _LOOKS)
    + rb"|"
    + _begun(b"eyJ", rb"[A-Za-z0-9_-]", _JWT_MOST + 1)
    + rb"(?:\.(?:e(?:y(?:J[A-Za-z0-9_.-]{0,7})?)?)?)?"
    + rb")\Z"
)
_STARTS = (*(start for start, _, _ in _LOOKS), b"eyJ")
_LOOK_BACK = 2 + 2 * _JWT_MOST
_OF_KEYS = re.compile(rb"[A-Za-z0-9_.+/=-]+\Z")


class Secrets:
    """The keys that a stream's requests carried, learnt as they are sent.

    `headers` and `url` return what may be written down of a request, and learn its keys.
    """

    def __init__(self) -> None:
        self.values: tuple[bytes, ...] = ()

    def learn(self, value: str) -> None:
        """Take a value for a key."""
        value = value.strip()
        known = set(self.values)
        for form in (value, json.dumps(value)[1:-1]):
            raw = form.encode("utf-8", "surrogateescape")
            if len(raw) >= _LEAST_BYTES and value.lower() not in _NO_SECRETS:
                known.add(raw)
        self.values = tuple(sorted(known, key=len, reverse=True))

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return headers without keys, and learn those."""
        told = list(headers)
        for name, value in told:
            if _is_key(name):
                self._learn_header(name, value)
        return [(name, REMOVED if _is_key(name) else self.text(value)) for name, value in told]

    def url(self, url: str) -> str:
        """Return an address without keys, and learn those."""
        found = _USER.search(url)
        if found is not None:
            self.learn(found[0][:-1].partition(":")[2])
        for _, name, value in _PAIR.findall(url):
            if _is_key(name):
                self.learn(value)
                self.learn(unquote_plus(value))
        url = _USER.sub(REMOVED + "@", url)
        url = _PAIR.sub(lambda p: f"{p[1]}{p[2]}={REMOVED}" if _is_key(p[2]) else p[0], url)
        return self.text(url)

    def text(self, text: str) -> str:
        """Return a text without keys, x's in their places."""
        mask = KeyMask(self)
        raw = text.encode("utf-8", "surrogatepass")
        return (mask.feed(raw) + mask.end()).decode("utf-8", "surrogatepass")

    def _learn_header(self, name: str, value: str) -> None:
        self.learn(value)
        scheme, _, rest = value.strip().partition(" ")
        self.learn(rest)
        if "cookie" in name.lower():
            for part in value.split(";"):
                self.learn(part.partition("=")[2])
        if scheme.lower() == "basic":
            with contextlib.suppress(binascii.Error, ValueError):
                self.learn(base64.b64decode(rest).decode().partition(":")[2])


def _is_key(name: str) -> bool:
    name = unquote_plus(name).lower()
    return name not in _NO_KEYS and not _KEY_WORDS.isdisjoint(_WORDS.findall(name))


class KeyMask:
    """Overwrite keys in one body with x's.

    Args:
        secrets: The keys that are known; more may be learnt while the body passes.
        after_gap: What comes first may be the rest of a key whose beginning is not there.
    """

    def __init__(self, secrets: Secrets, *, after_gap: bool = False) -> None:
        self._secrets = secrets
        self._before = b""  # the last bytes that went out, as they were
        self._held = b""
        self._masked: list[tuple[int, int]] = []  # what of it is to be masked, from and to
        self._from = 0  # no key's looks begin before this, counted from what is held
        self._inside: re.Pattern[bytes] | None = None  # a key that reached the end, and its rest
        if after_gap:
            self._inside = re.compile(_OF_KEYS.pattern[:-3] + rb"*")

    def feed(self, data: bytes) -> bytes:
        """Return what is decided after more bytes came."""
        held = len(self._held)
        base = len(self._before)
        whole = self._before + self._held + data
        end = len(whole)
        spans = [(base + start, base + stop) for start, stop in self._masked]
        start = base + self._from
        if self._inside is not None:
            found = self._inside.match(whole, base + held)
            stop = found.end() if found else base + held
            spans.append((base + held, stop))
            start = stop
            if stop < end:
                self._inside = None
        hold = end
        while self._inside is None and start < end:
            begun = _begun_at(whole, start)
            marked = any(mark in whole for mark in _STARTS)
            found = _WHOLE.search(whole, start) if marked else None
            if found is None or begun < found.start():
                hold = begun
                break
            spans.append(found.span())
            start = found.end()
            if start == end:
                self._inside = _GOES_ON[(found.lastindex or 1) - 1]
        for secret in self._secrets.values:
            at = whole.find(secret, base)
            while at >= 0:
                spans.append((at, at + len(secret)))
                at = whole.find(secret, at + 1)
        for secret in self._secrets.values:
            hold = min(hold, _begins_at(whole, secret, base))
        return self._let_go(whole, base, hold, start, spans)

    def end(self) -> bytes:
        """Return what was held back, at the body's end."""
        held, self._held = self._held, b""
        out = bytearray(held)
        for start, stop in self._masked:
            _overwrite(out, start, stop)
        for secret in self._secrets.values:  # half a known key is masked too
            at = _begins_at(held, secret, 0)
            if len(held) - at >= 4:
                _overwrite(out, at, len(held))
        self._masked.clear()
        self._from = 0
        self._before = b""
        self._inside = None
        return bytes(out)

    def _let_go(
        self, whole: bytes, base: int, hold: int, last: int, spans: list[tuple[int, int]]
    ) -> bytes:
        out = bytearray(whole[base:hold])
        for start, stop in spans:
            _overwrite(out, start - base, min(stop, hold) - base)
        self._masked = [(max(at, hold) - hold, to - hold) for at, to in spans if to > hold]
        self._held = whole[hold:]
        self._from = max(last - hold, 0)
        self._before = whole[max(hold - 2, 0) : hold]
        return bytes(out)


def _overwrite(out: bytearray, start: int, stop: int) -> None:
    if stop > start:
        out[start:stop] = b"x" * (stop - start)


def _begun_at(whole: bytes, start: int) -> int:
    """Return where something begins at the end that could become a key; else the end."""
    end = len(whole)
    if not whole[-1:].isalnum() and whole[-1:] not in (b"_", b"-", b".", b"+", b"/", b"="):
        return end
    found = _PARTIAL.search(whole, max(start, end - _LOOK_BACK))
    return found.start() if found else end


def _begins_at(whole: bytes, secret: bytes, start: int) -> int:
    """Return where the end begins that is a secret's beginning; else the end."""
    end = len(whole)
    at = max(start, end - len(secret) + 1)
    while (at := whole.find(secret[:1], at)) >= 0:
        if secret.startswith(whole[at:]):
            return at
        at += 1
    return end
