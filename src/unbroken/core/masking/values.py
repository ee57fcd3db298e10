"""The JSON of a body: what of it stays, and what is overwritten.

JSON is read by a scanner of our own, since it is to be masked also where it is cut or broken, and
must be as broken behind it.
"""

from __future__ import annotations

import re
from typing import Literal

from unbroken.core.masking.arguments import Arguments
from unbroken.core.masking.letters import Chain, Letters, whole_units
from unbroken.core.masking.shown import ERRORS, KNOWN, REASONS, TOLD, stays

__all__ = ["MOST_HELD", "JsonMask"]

MOST_HELD = 64 * 1024
"""Of one string, or line; a longer one is masked in pieces of this length."""

_MOST_BARE = 64
_MOST_SHORT = 32 * 1024
_MOST_CALLS = 256
_DEEP = 64

_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_-]{0,39}\Z")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\Z")
_LITERALS = (b"true", b"false", b"null", b"NaN", b"Infinity", b"-Infinity")
_IN_STRING = re.compile(rb'[^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+')
# A member of an object with what ends it in sight, and the beginning of one.
_MEMBER = rb"""[ \t]*+"([A-Za-z_][A-Za-z0-9_-]{0,39}+)"[ \t]*+:[ \t]*+
    (?:"([^"\\\r\n]*+(?:\\[^\r\n][^"\\\r\n]*+)*+)"
    |(-?[0-9]{1,20}+(?:\.[0-9]{1,20}+)?+|true|false|null)(?=[ \t,}\]])
    |(\{|\[(?:[ \t]*+\{)?+))""".replace(b"\n    ", b"")
_FIRST_MEMBER = re.compile(_MEMBER)
_NEXT_MEMBER = re.compile(rb"," + _MEMBER)
_NEXT_ITEM = re.compile(rb",[ \t]*+\{")
_BARE = re.compile(rb'[^\s,:"{}\[\]]*')
_BLANK = re.compile(rb"[ \t]*")
_ONES = bytes.maketrans(b"23456789", b"11111111")

_PLACES = frozenset({b"index", b"output_index", b"content_index", b"summary_index"})
_TYPES = frozenset({b"type", b"event_type"})
_ARGUMENTS = frozenset({b"arguments", b"partial_json"})
_STREAMED = frozenset(
    b"""delta text content thinking reasoning reasoning_content refusal completion response
    transcript value input code""".split()
)
_SPECIAL = TOLD | _ARGUMENTS | {b"delta"}  # whose values are not just masked

_Expect = Literal["value", "name", "colon", "next"]


class _Level:
    """An object or an array that is open."""

    __slots__ = ("hidden", "is_object", "of_error", "of_reason", "place", "type")

    def __init__(self, *, is_object: bool, hidden: bool) -> None:
        self.is_object = is_object
        self.hidden = hidden
        self.of_error = self.of_reason = False
        self.place: tuple[bytes, ...] = ()
        self.type = b""


class JsonMask:
    """Masks JSON, token by token; a base of `ContentMask`, which knows where JSON stands.

    Args:
        letters: What stands in the place of texts.
        streamed: Texts come in pieces, one in each event, and belong together.
    """

    def __init__(self, letters: Letters, *, streamed: bool) -> None:
        self._letters = letters
        self._streamed = streamed
        self._buffer = b""
        self._at = 0
        self._out: list[bytes] = []
        self._ended = False
        # Where we are in lines: at a line's beginning, in JSON, in a text, in `data:` unseen.
        self._place: Literal["line", "json", "text", "data"] = "line"
        self._sse = False
        self._event = b""
        self._call_open = False
        self._stack: list[_Level] = []
        self._expect: _Expect = "value"
        self._name: bytes | None = None
        self._special = _SPECIAL | _STREAMED if letters.hashed else _SPECIAL
        self._scanned = 0  # so much of the string that is held was looked at
        self._long: Literal["", "text", "arguments", "bare"] = ""
        self._long_chain: Chain = None
        self._calls: dict[tuple[bytes, ...], Arguments] = {}
        self._chains: dict[tuple[bytes, ...], Chain] = {}

    def _put(self, data: bytes, length: int | None = None) -> bool:
        self._out.append(data)
        self._at += len(data) if length is None else length
        return True

    def _forget_json(self) -> None:
        self._stack.clear()
        self._expect, self._name = "value", None

    def _json(self) -> bool:
        if self._long:
            return self._long_bare() if self._long == "bare" else self._string()
        if self._expect in ("name", "next") and self._stack and self._members():
            return True
        char = self._buffer[self._at : self._at + 1]
        if char in b"\r\n":
            if self._sse or not self._stack:
                self._place = "line"
                if not self._sse:
                    self._forget_json()
                return True
            self._place = "line"  # which goes on with JSON unless it begins another
            return self._put(char)
        if char in b" \t":
            blank = _BLANK.match(self._buffer, self._at)
            assert blank is not None
            return self._put(blank[0])
        match char:
            case b"{" | b"[":
                self._open(is_object=char == b"{")
            case b"}" | b"]":
                if self._stack:
                    self._stack.pop()
                self._valued()
            case b",":
                self._name = None
                self._expect = "name" if self._stack and self._stack[-1].is_object else "value"
            case b":":
                self._expect = "value"
            case b'"':
                return self._string()
            case _:
                return self._bare()
        return self._put(char)

    def _members(self) -> bool:
        """Take members that are there whole, and what closes: as the steps would, but faster."""
        buffer, at, stack, put = self._buffer, self._at, self._stack, self._out.append
        put_to = at  # what stays is put in one go
        end = len(buffer)
        while at < end and stack:
            char = buffer[at]
            if char == 0x7D or char == 0x5D:
                stack.pop()
                self._name, self._expect = None, "next"
                at += 1
                continue
            level = stack[-1]
            if self._expect == "name":
                found = _FIRST_MEMBER.match(buffer, at)
            elif char != 0x2C:
                break
            elif level.is_object:
                found = _NEXT_MEMBER.match(buffer, at)
            else:
                found = _NEXT_ITEM.match(buffer, at)
                if found is None:
                    break
                self._name = None
                self._open(is_object=True)
                at = found.end()
                continue
            if found is None or found.end(2) - found.start(2) > _MOST_SHORT:
                break
            name, text, bare, opened = found.groups()
            if level.hidden:
                start, stop = found.span(1)
                put(buffer[put_to:start])
                put(self._letters.whole(name))
                put_to = stop
            self._name, self._expect = name, "value"
            if text is not None:
                start, at = found.span(2)
                if name in self._special or not text:
                    shown = self._judged(text, closed=True)
                else:
                    shown = self._letters.whole(text)
                    self._name, self._expect = None, "next"
                if shown is not text:
                    put(buffer[put_to:start])
                    put(shown)
                    put_to = at
                at += 1
            elif bare is not None:
                if name in _PLACES and not level.hidden and bare[0] < 0x3A:
                    level.place = (*level.place, name, bare)
                elif level.hidden and bare[0] < 0x3A:
                    put(buffer[put_to : found.start(3)])
                    put(bare.translate(_ONES))
                    put_to = found.end(3)
                self._name, self._expect = None, "next"
                at = found.end(3)
            else:
                at = found.end()
                self._open(is_object=opened == b"{")
                if len(opened) > 1:
                    self._open(is_object=True)
        if at == self._at:
            return False
        put(buffer[put_to:at])
        self._at, self._scanned = at, 0
        return True

    def _open(self, *, is_object: bool) -> None:
        above = self._stack[-1] if self._stack else None
        hidden = above is not None and above.hidden
        hidden = hidden or len(self._stack) >= _DEEP
        hidden = hidden or (self._name is not None and self._name not in KNOWN)
        level = _Level(is_object=is_object, hidden=hidden)
        if above is not None:
            level.place = above.place
            level.of_error = above.of_error or self._name in ERRORS
            level.of_reason = above.of_reason or self._name in REASONS
        if len(self._stack) < 2 * _DEEP:
            self._stack.append(level)
        self._expect, self._name = ("name" if is_object else "value"), None

    def _valued(self) -> None:
        self._name, self._expect = None, "next"

    @property
    def _hidden(self) -> bool:
        return bool(self._stack) and self._stack[-1].hidden

    def _bare(self) -> bool:
        """Take a number, a literal, or what is neither."""
        found = _BARE.match(self._buffer, self._at)
        assert found is not None
        raw = found[0]
        if found.end() == len(self._buffer) and not self._ended and len(raw) <= _MOST_BARE:
            return False
        if len(raw) > _MOST_BARE:
            self._long = "bare"
            return True
        if not raw:  # a byte that is a blank to Python's eyes only
            return self._put(b"x", 1)
        in_array = not self._stack or not self._stack[-1].is_object
        name = self._name
        if _NUMBER.match(raw) or (self._ended and raw.strip(b"0123456789.-") == b""):
            if self._stack and name in _PLACES and not self._hidden:
                self._stack[-1].place = (*self._stack[-1].place, name or b"", raw)
            shown = raw.translate(_ONES) if in_array or self._hidden else raw
        elif raw in _LITERALS or (self._ended and any(w.startswith(raw) for w in _LITERALS)):
            shown = raw
        else:
            shown = b"x" * len(raw)
        self._valued()
        return self._put(shown)

    def _long_bare(self) -> bool:
        found = _BARE.match(self._buffer, self._at)
        assert found is not None
        if found[0]:
            self._put(b"x" * len(found[0]))
        if self._at < len(self._buffer):
            self._long = ""
            self._valued()
        return True

    def _string(self) -> bool:
        """Take a string with its quotes, or a piece of a long one."""
        start = self._at + (0 if self._long else 1)
        # No further than a piece goes: else each piece of a long string would look at all of it.
        look = start + MOST_HELD + 16
        found = _IN_STRING.match(self._buffer, max(start, self._at + self._scanned), look)
        assert found is not None
        stop = found.end()
        raw_bytes = stop - start
        if raw_bytes >= MOST_HELD + 8:
            return self._string_piece(start)
        if stop >= len(self._buffer) or (
            self._buffer[stop] == 0x5C and stop + 1 >= len(self._buffer)
        ):
            if not self._ended:
                self._scanned = stop - self._at
                return False
            stop = len(self._buffer)
        closed = self._buffer[stop : stop + 1] == b'"'
        if self._buffer[stop : stop + 1] == b"\\":  # before a line's end
            stop += 1
        raw = self._buffer[start:stop]
        self._scanned = 0
        quote = b"" if self._long else b'"'
        shown = self._judged(raw, closed=closed)
        self._long, self._long_chain = "", None
        self._put(quote + shown + (b'"' if closed else b""))
        if not closed and self._at < len(self._buffer):  # a line's end in a string
            self._forget_json()
            self._place = "line"
            return True
        return True

    def _string_piece(self, start: int) -> bool:
        """Take the first so many bytes of a long string, whatever else is there."""
        if not self._long:
            is_value = not self._is_name()
            self._long = "arguments" if is_value and self._is_arguments() else "text"
            self._put(b'"')
        raw = self._buffer[start : start + MOST_HELD]
        raw = raw[: whole_units(raw)]
        self._scanned = 0
        if self._long == "arguments":
            return self._put(self._call().mask(raw))
        letters, self._long_chain = self._long_letters(raw)
        return self._put(letters)

    def _long_letters(self, raw: bytes) -> tuple[bytes, Chain]:
        if self._streamed and self._name in _STREAMED:  # whose pieces may have been there before
            return self._letters.piece(raw, self._long_chain)
        return self._letters.blocks(raw, self._long_chain)

    def _is_name(self) -> bool:
        return self._expect == "name" and bool(self._stack) and self._stack[-1].is_object

    def _is_arguments(self) -> bool:
        if self._hidden or not self._stack:
            return False
        if self._name == b"delta":
            said = self._stack[-1].type or self._event
            # Some write an event's type behind all else: then an open call tells.
            return said.endswith(b"arguments.delta") if said else self._call_open
        return self._name in _ARGUMENTS

    def _call(self) -> Arguments:
        key = (self._name or b"", *self._stack[-1].place)
        call = self._calls.get(key)
        if call is None:
            if len(self._calls) >= _MOST_CALLS:
                self._calls.pop(next(iter(self._calls)))
            call = self._calls[key] = Arguments(self._letters)
        return call

    def _judged(self, raw: bytes, *, closed: bool) -> bytes:
        """Return what stands for a string, its quotes apart, and go on behind it."""
        if self._is_name():
            return self._judged_name(raw, closed=closed)
        long, name = self._long, self._name
        if name == b"arguments":
            self._call_open = not raw
        is_arguments = long == "arguments" or (not long and self._is_arguments())
        if is_arguments:
            shown = self._call().mask(raw)
            if self._fresh():  # said in full: the next is another
                self._calls.pop((name or b"", *self._stack[-1].place), None)
        elif long:
            shown, _ = self._long_letters(raw)
        elif not raw or (closed and self._stays(raw)):
            shown = raw
        else:
            shown = self._masked(raw)
        if self._stack and name in _TYPES and shown == raw and len(raw) <= _MOST_BARE:
            self._stack[-1].type = raw
        self._valued()
        return shown

    def _judged_name(self, raw: bytes, *, closed: bool) -> bytes:
        self._expect = "colon"
        if self._long:
            self._name = b"?"
            return self._letters.blocks(raw, self._long_chain)[0]
        self._name = raw
        if closed and not self._hidden and _NAME.match(raw):
            return raw
        return self._letters.whole(raw)

    def _stays(self, raw: bytes) -> bool:
        """Whether a value says only what an event is."""
        name = self._name
        if name is None or self._hidden or not self._stack:
            return False
        level = self._stack[-1]
        of_error = level.of_error or b"error" in (level.type, self._event)
        return stays(name, raw, of_error=of_error, of_reason=level.of_reason)

    def _masked(self, raw: bytes) -> bytes:
        pieces = self._streamed and self._name in _STREAMED and not self._hidden
        if not self._letters.hashed or not pieces or not self._stack:
            return self._letters.whole(raw)
        if self._fresh():
            return self._letters.piece(raw, None)[0]
        key = (self._name or b"", *self._stack[-1].place)
        shown, self._chains[key] = self._letters.piece(raw, self._chains.get(key))
        if len(self._chains) > _MOST_CALLS:
            self._chains.pop(next(iter(self._chains)))
        return shown

    def _fresh(self) -> bool:
        """Whether a text is whole where a dialect says it again, at the end of its pieces."""
        said = self._stack[0].type or self._event
        return said.startswith(b"response.") and self._name != b"delta"
