r"""Keys in bodies, told by the name that they stand under: ``"api_key": "..."``, ``api_key=...``.

A name is looked for behind: at each colon, and at each equals sign, what stands before it. So
nothing is held back while bytes come, whatever they are cut into, and JSON that is broken, that
stands in a string of other JSON, or in the lines of SSE is looked through like any other. Only
a text is overwritten, never a number: ``max_tokens`` is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Literal
from urllib.parse import unquote_plus

from unbroken.core.masking.names import is_key_field, may_hold_keys

__all__ = ["FieldMask"]

_LOOK_BACK = 320
_MOST_NAME = 128
_MOST_LEARNT = 4096
_LEAST_TOKEN, _SURE_TOKEN = 8, 16

_DATA = b"data:"
_TRIGGER = re.compile(rb"[:=}\n]")
_BLANKS = b" \t\r\n"
_UNICODE = re.compile(r"\\+u00([0-7][0-9a-fA-F])")
_PAIR_NAME = re.compile(
    rb"(?:[?&;#]|\\+u0026|\\+u003[fF]|%3[fF]|%26|\A)(?P<name>[A-Za-z0-9_.\[\]+-]{1,96})\Z"
)
_PART = re.compile(rb'(?i)content-disposition:[^\r\n]*;[ ]*name="?([^"\r\n;]{1,96})"?[^\n]*\n')
_FORM = re.compile(rb"[A-Za-z0-9_.\[\]+%-]{1,96}(?P<whole>=)?")
_TO_QUOTE = re.compile(rb'[^"\\\r\n]*')
_IN_URL = re.compile(rb"""[^&;#"'\s\\<>)`]*""")
_IN_FORM = re.compile(rb"[^&\r\n]*")
_IN_PART = re.compile(rb"[^\r\n]*")
_TOKEN = re.compile(rb"[A-Za-z0-9_.~+/=:-]*")
_NAMES = frozenset({"name", "key", "header", "field", "variable"})
_SAID_BY = frozenset({"value", "values", "val", "access", "refresh"})

_State = Literal["scan", "await", "string", "pair", "spare"]


class FieldMask:
    """Overwrite with x's what stands under a key's name in one body.

    Args:
        learn: Called with each value that was overwritten, and its name.
        sent: The body is a request's.
        after_gap: The body's beginning is not there.
    """

    def __init__(
        self, learn: Callable[[str, str], None], *, sent: bool, after_gap: bool = False
    ) -> None:
        self._learn = learn
        self._sent = sent
        self._before = b""  # the last bytes, as they were
        self._trimmed = after_gap  # more bytes were before those
        self._form: bool | None = False if after_gap else None  # a form; None: not known yet
        self._state: _State = "scan"
        self._stop = _IN_URL
        self._name = ""
        self._value = bytearray()
        self._held = b""  # backslashes, or the beginning of what may be a token
        self._slashes = 0  # before the string's opening quote
        self._awaited = 0  # the same, so far
        self._lead = len(_DATA)  # how much of SSE's `data:` was seen at a line's beginning
        self._array = 0  # open brackets under a key's name
        self._pair_of_key = False  # this object says a key's name: its `value` is one
        self._naming = False  # the string that comes is such a name
        self._judge = False  # mask the string only if it looks like a key

    def feed(self, data: bytes) -> bytes:
        """Return what is decided after more bytes came."""
        data = self._held + data
        self._held = b""
        whole = self._before + data
        base = len(self._before)
        if self._form is None:
            self._form = _is_form(whole)
        if self._state == "scan" and not (
            _TRIGGER.search(data) is not None and may_hold_keys(whole)
        ):
            if b"}" in data:
                self._pair_of_key = False
            out = data
        else:
            out = self._run(whole, base)
        used = len(whole) - len(self._held)
        self._trimmed = self._trimmed or used > _LOOK_BACK
        self._before = whole[max(0, used - _LOOK_BACK) : used]
        return out

    def end(self) -> bytes:
        """Return what was held back, at the body's end."""
        held, self._held = self._held, b""
        if self._state in ("string", "pair") and not self._judge:
            self._value += held
            held = b"x" * len(held)
        self._over()
        return held

    def _run(self, whole: bytes, at: int) -> bytes:
        out: list[bytes] = []
        end = len(whole)
        while at < end:
            start = at
            match self._state:
                case "scan":
                    at = self._scan(whole, at)
                    out.append(whole[start:at])
                case "await":
                    at = self._await(whole, at)
                    out.append(whole[start:at])
                case "pair":
                    found = self._stop.match(whole, at)
                    assert found is not None
                    at = found.end()
                    self._take(whole[start:at])
                    out.append(b"x" * (at - start))
                    if at < end:
                        self._over()
                case "spare":
                    at = self._spare(whole, at)
                    out.append(whole[start:at])
                case _:
                    shown, at = self._string(whole, at)
                    out.append(shown)
                    if self._held:
                        break
        return b"".join(out)

    # Finding names ------------------------------------------------------------------------

    def _scan(self, whole: bytes, at: int) -> int:
        """Go on behind the next name of a key, or to the end."""
        while True:
            found = _TRIGGER.search(whole, at)
            if found is None:
                return len(whole)
            at = found.end()
            match found[0]:
                case b"}":
                    self._pair_of_key = False
                case b":":
                    if self._colon(whole, at - 1):
                        return at
                case b"=":
                    if self._equals(whole, at - 1):
                        return at
                case _:
                    if self._blank_line(whole, at - 1):
                        return at

    def _colon(self, whole: bytes, at: int) -> bool:
        quote = at - 1
        least = max(0, at - _LOOK_BACK)
        while quote >= least and whole[quote] in _BLANKS:
            quote -= 1
        if quote < least or whole[quote] != 0x22:
            return False
        stop = quote
        while stop > least and whole[stop - 1] == 0x5C:
            stop -= 1
        start = whole.rfind(b'"', max(least, stop - _MOST_NAME), stop) + 1
        if not start:
            return False
        name = whole[start:stop].decode("utf-8", "replace")
        if "\\" in name:
            name = _UNICODE.sub(lambda found: chr(int(found[1], 16)), name).replace("\\", "")
        lower = name.lower()
        said = self._pair_of_key and lower in _SAID_BY
        if said or is_key_field(name):
            self._judge = not self._sent and lower == "token"
        elif lower in _NAMES:
            self._naming = True
        else:
            return False
        if lower in _NAMES:  # of a pair of name and value, or a key itself
            self._naming = True
        self._name, self._state = name, "await"
        self._awaited = self._array = 0
        self._lead = len(_DATA)
        return True

    def _equals(self, whole: bytes, at: int) -> bool:
        found = _PAIR_NAME.search(whole, max(0, at - _MOST_NAME), at)
        if found is None:
            return False
        if (
            not found.start()
            and found.start() == found.start("name")
            and (self._trimmed or not self._form)
        ):
            return False  # not the body's beginning, or not a form's
        name = unquote_plus(found["name"].decode("ascii"))
        if not (is_key_field(name) or name.lower() in ("code", "sig", "signature")):
            return False
        self._name, self._state = name, "pair"
        self._stop = _IN_FORM if self._form else _IN_URL
        return True

    def _blank_line(self, whole: bytes, at: int) -> bool:
        """Of a body in parts: the head of one is over."""
        head = whole[max(0, at - _LOOK_BACK) : at + 1]
        if not head.endswith((b"\r\n\r\n", b"\n\n")):
            return False
        found = list(_PART.finditer(head))
        if not found or b"\n\n" in head[found[-1].end() : -2].replace(b"\r", b""):
            return False
        name = found[-1][1].decode("utf-8", "replace")
        if not is_key_field(name):
            return False
        self._name, self._state, self._stop = name, "pair", _IN_PART
        return True

    # Values ---------------------------------------------------------------------------------

    def _await(self, whole: bytes, at: int) -> int:
        """Go on to the value's beginning, which decides what becomes of it."""
        char = whole[at]
        if char == 0x5C:
            self._awaited += 1
            return at + 1
        if char == 0x22:
            self._slashes, self._awaited = self._awaited, 0
            self._state = "string"
            return at + 1
        if char in _BLANKS or (self._awaited and char in b"nrt"):  # also escaped ones
            self._awaited = 0
            if char in b"\r\n":
                self._lead = 0
            return at + 1
        if self._lead < len(_DATA) and char == _DATA[self._lead]:
            self._lead += 1  # SSE goes on with the next line
            return at + 1
        if char == 0x5B and not self._naming:
            self._array += 1
            return at + 1
        if char == 0x2C and self._array:
            return at + 1
        if char == 0x5D and self._array > 1:
            self._array -= 1
            return at + 1
        self._pair_of_key = self._pair_of_key or (
            char == 0x7B and not self._naming and self._name.lower() != "token"
        )
        self._array = 0
        self._over()
        return at if char in b"}" else at + 1

    def _string(self, whole: bytes, at: int) -> tuple[bytes, int]:
        """Take of a string what is there; return what stands for it."""
        if self._judge or (self._naming and not self._is_masked()):
            return self._judged(whole, at)
        out: list[bytes] = []
        end = len(whole)
        while at < end:
            found = _TO_QUOTE.match(whole, at)
            assert found is not None
            self._take(found[0])
            out.append(b"x" * len(found[0]))
            at = found.end()
            if at == end:
                break
            char = whole[at]
            if char in b"\r\n":
                self._over()
                break
            stop = at
            while stop < end and whole[stop] == 0x5C:
                stop += 1
            if stop == end:  # what comes behind them decides
                self._held = whole[at:]
                at = end
                break
            if whole[stop] != 0x22:
                stop += whole[stop] not in b"\r\n"
                self._take(whole[at:stop])
                out.append(b"x" * (stop - at))
                at = stop
                continue
            own = _closing(stop - at, self._slashes)
            if own is None:
                self._take(whole[at : stop + 1])
                out.append(b"x" * (stop + 1 - at))
                at = stop + 1
                continue
            self._take(whole[at : stop - own])
            out.append(b"x" * (stop - own - at) + whole[stop - own : stop + 1])
            at = stop + 1
            self._over()
            break
        return b"".join(out), at

    def _is_masked(self) -> bool:
        return is_key_field(self._name)

    def _judged(self, whole: bytes, at: int) -> tuple[bytes, int]:
        """Look at a string's beginning: a word of a text, or a key, or a name."""
        most = 64 if self._naming else _SURE_TOKEN
        found = _TOKEN.match(whole, at, at + most)
        assert found is not None
        raw = found[0]
        if found.end() == len(whole) and len(raw) < most:
            self._held = whole[at:]
            return b"", len(whole)
        if self._naming and not self._judge:
            self._pair_of_key = is_key_field(raw.decode("ascii"))
            self._state, self._naming = "spare", False
            return b"", at
        self._naming = False
        self._judge = False
        mixed = any(48 <= c < 58 for c in raw) and any(c > 64 for c in raw)
        if len(raw) < (_LEAST_TOKEN if mixed else _SURE_TOKEN):
            self._state = "spare"
        return b"", at

    def _spare(self, whole: bytes, at: int) -> int:
        """Go on behind a word that stays: where it ends does not matter here."""
        self._state = "scan"
        return at

    def _take(self, raw: bytes) -> None:
        if len(self._value) < _MOST_LEARNT:
            self._value += raw

    def _over(self) -> None:
        """The value is over: from now on it is known."""
        raw, self._value = bytes(self._value), bytearray()
        was_pair = self._state == "pair"
        naming, self._naming, self._judge = self._naming, False, False
        self._state = "await" if self._array and self._state == "string" else "scan"
        if not raw:
            return
        value = raw.decode("utf-8", "replace")
        plain = unquote_plus(value) if was_pair else _plain(value)
        if naming and is_key_field(plain):
            self._pair_of_key = True
        for form in {value, plain}:
            self._learn(form, self._name)


def _is_form(begun: bytes) -> bool | None:
    found = _FORM.match(begun)
    if found is None:
        return None if not begun else False
    return True if found["whole"] else None if found.end() == len(begun) else False


def _closing(run: int, slashes: int) -> int | None:
    """Return how many of the backslashes before a quote are its own; None if it closes nothing.

    A quote of JSON in a string of JSON has one of its own, of JSON in that three, and so on.
    """
    own = 0
    while True:
        if run % 2 == 0:
            return own
        if own >= slashes:
            return None
        own = 2 * own + 1
        run = (run - 1) // 2


def _plain(value: str) -> str:
    for _ in range(3):
        if "\\" not in value:
            break
        try:
            value = json.loads(f'"{value}"')
        except ValueError:
            break
        if not isinstance(value, str):
            return ""
    return value
