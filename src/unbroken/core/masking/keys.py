"""Keys: out of headers and addresses altogether, out of bodies at equal length.

Three things are looked for in bodies: what stands under a key's name (`fields.py`), the exact
values that are known to be keys, and what has the looks of a well-known kind of key. Looks must be
beyond doubt here, since what is taken for a key is lost from a recording: a random value behind a
known beginning, of a good length, and no words.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterable
from urllib.parse import unquote, unquote_plus

from unbroken.core.masking.fields import FieldMask
from unbroken.core.masking.forms import forms_of, looks_secret
from unbroken.core.masking.names import (
    is_harmless_header,
    is_harmless_pair,
    is_key_field,
    is_key_name,
)

__all__ = ["REMOVED", "KeyMask", "Secrets"]

REMOVED = "[removed]"
_NO_SECRETS = frozenset(
    {"ollama", "lm-studio", "lmstudio", "not-needed", "no-key", "no-key-required", "anything"}
    | {"bearer", "dummy-key", "sk-no-key-required"}
)  # what local servers are sent for want of a key

_MOST_VALUES = 512
_PAIR = re.compile(r"([?&#;])([^=&#;]*)=([^&#]*)")
_USER = re.compile(r"(?<=://)[^/?#@]*@")

# A name's beginning, the characters of the rest, how many of them there are at least, and whether
# words could look like it: then what follows has a digit or a capital, soon.
_WORD, _PLAIN = rb"[A-Za-z0-9_-]", rb"[A-Za-z0-9]"
_SOON = 48
_LOOKS: tuple[tuple[bytes, bytes, int, bool], ...] = (
    *((s, _WORD, 16, True) for s in (b"sk-", b"sk_", b"pk-", b"pk_", b"rk_", b"gsk_", b"csk-")),
    *((s, _WORD, 16, True) for s in (b"hf_", b"r8_", b"fw_", b"xai-", b"nvapi-", b"pplx-")),
    *((s, _WORD, 16, True) for s in (b"tgp_", b"lsv2_", b"glpat-", b"npm_", b"github_pat_")),
    *((s, _PLAIN, 20, False) for s in (b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_")),
    *((s, rb"[A-Za-z0-9-]", 16, False) for s in (b"xoxb-", b"xoxp-", b"xoxa-", b"xoxs-")),
    (b"AIza", _WORD, 30, False),
    (b"ya29.", _WORD, 20, False),
    *((s, rb"[A-Z0-9]", 12, False) for s in (b"AKIA", b"ASIA", b"ABIA", b"ACCA")),
    (b"ABSK", rb"[A-Za-z0-9+/=]", 24, False),
    (b"bedrock-api-key-", rb"[A-Za-z0-9+/=_-]", 16, False),
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
    + rb"|".join(
        rb"(%b%b%b{%d,})"
        % (re.escape(s), rb"(?=[a-z_-]{0,%d}[A-Z0-9])" % (_SOON - 1) if mixed else b"", c, n)
        for s, c, n, mixed in _LOOKS
    )
    + rb"|(%b))" % _JWT
)
_GOES_ON = tuple(re.compile(_class_of(index) + rb"*") for index in range(len(_LOOKS) + 1))


def _begun(start: bytes, more: bytes, least: int, mixed: bool = False) -> bytes:
    """Return a pattern for what could become a key: less of it than there must be."""
    pattern = rb"%b{0,%d}" % (more, least - 1)
    if mixed:
        pattern = rb"(?:[a-z_-]{%d,%d}|%b)" % (least, _SOON - 1, pattern)
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
_STARTS = (*(look[0] for look in _LOOKS), b"eyJ")
_WITH_MARKS = tuple(start for start in _STARTS if not start.isalnum())
_WITHOUT_MARKS = tuple(start for start in _STARTS if start.isalnum())
_LOOK_BACK = 2 + 2 * _JWT_MOST
_OF_KEYS = re.compile(rb"[A-Za-z0-9_.+/=-]+\Z")


class Secrets:
    """The keys that a stream's requests carried, learnt as they are sent.

    `headers` and `url` return what may be written down of a request, and learn its keys.
    """

    def __init__(self) -> None:
        self.values: tuple[bytes, ...] = ()

    def learn(self, value: str, *, named: bool = False) -> None:
        """Take a value for a key, if it looks like one; a word does not.

        Args:
            value: It.
            named: It stood under a name that only keys have.
        """
        value = value.strip()
        if value.lower() in _NO_SECRETS or not looks_secret(value, named=named):
            return
        known = set(self.values)
        if len(known) > _MOST_VALUES or value.encode("utf-8", "surrogateescape") in known:
            return
        self.values = tuple(sorted(known | forms_of(value), key=len, reverse=True))

    def learn_field(self, value: str, name: str) -> None:
        """Take what stood in a body under a key's name; see `FieldMask`."""
        named = name.lower() not in ("key", "token", "value", "code")
        self.learn(value, named=named)
        scheme, _, rest = value.strip().partition(" ")
        if rest and scheme.lower() in ("bearer", "basic", "token", "apikey"):
            self.learn(rest, named=named)

    def learn_body(self, body: bytes) -> None:
        """Learn the keys in a request's body before any of it is written down."""
        mask = FieldMask(self.learn_field, sent=True)
        mask.feed(body)
        mask.end()

    def headers(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return headers without keys, and learn those; only what is harmless is left."""
        told = list(headers)
        for name, value in told:
            if is_key_name(name):
                self._learn_header(name, value)
        return [(name, self._header(name, value)) for name, value in told]

    def _header(self, name: str, value: str) -> str:
        if not is_harmless_header(name):
            return REMOVED
        if "://" in value or "?" in value or name.lower() == "location":
            return self.url(value)
        return self.text(value)

    def url(self, url: str) -> str:
        """Return an address without keys, and learn those; only what is harmless is left."""
        found = _USER.search(url)
        if found is not None:
            for part in unquote(found[0][:-1]).split(":", 1):
                self.learn(part)
        for _, name, value in _PAIR.findall(url):
            if is_key_name(name):
                self.learn(value)
                self.learn(unquote_plus(value))
        url = _USER.sub(REMOVED + "@", url)
        url = _PAIR.sub(
            lambda p: p[0] if is_harmless_pair(p[2], p[3]) else f"{p[1]}{p[2]}={REMOVED}", url
        )
        return self._through(KeyMask(self), url)

    def text(self, text: str) -> str:
        """Return a text without keys, x's in their places."""
        text = self._through(FieldMask(self.learn_field, sent=False), text)
        return self._through(KeyMask(self), text)

    def _through(self, mask: FieldMask | KeyMask, text: str) -> str:
        raw = text.encode("utf-8", "surrogatepass")
        return (mask.feed(raw) + mask.end()).decode("utf-8", "replace")

    def _learn_header(self, name: str, value: str) -> None:
        lower = name.lower()
        if "cookie" in lower:
            # Behind a cookie that is set stand its attributes, which are nobody's secret.
            for part in value.split(";")[: 1 if lower.startswith("set-") else None]:
                self.learn(part.partition("=")[2])
            return
        if not is_key_field(name) and "auth" not in lower:
            return  # a session, a ticket: left out, but it may be any word
        self.learn(value)
        scheme, _, rest = value.strip().partition(" ")
        self.learn(rest)
        if scheme.lower() == "basic":
            with contextlib.suppress(binascii.Error, ValueError):
                for part in base64.b64decode(rest).decode().split(":", 1):
                    self.learn(part)


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
            marked = _may_begin(whole)
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


def _may_begin(whole: bytes) -> bool:
    """Whether a key's beginning is in bytes: a quick look, a single byte first."""
    marked = any(mark in whole for mark in (b"-", b"_", b"."))
    return any(start in whole for start in _WITHOUT_MARKS) or (
        marked and any(start in whole for start in _WITH_MARKS)
    )


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
