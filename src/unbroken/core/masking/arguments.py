r"""JSON that stands in a JSON string, cut over many frames: the arguments of a tool call.

Were they x-ed like any text, every masked tool call would be a broken one. So their strings are
overwritten, their numbers become ones (zeros stay: 01 is no number), and the rest of what makes
them JSON, or not, stays. A *unit* is what the outer string has for one inner character: the
character itself, or its escape.
"""

from __future__ import annotations

import re

from unbroken.core.masking.letters import Chain, Letters

__all__ = ["Arguments"]

_UNIT = re.compile(rb"\\u[0-9a-fA-F]{4}|\\.|[\x80-\xff]+|.", re.DOTALL)
# In an inner string, what is masked in one go: no quote, backslash or blank of that string.
_RUN = re.compile(rb'(?:[^\\\n\r\t]++|\\[^"\\nrt])++', re.DOTALL)
_BLANK = frozenset({b" ", b"\\n", b"\\r", b"\\t", b"\n", b"\r", b"\t"})
_MARKS = frozenset(b"{}[]:,.+-0"[at : at + 1] for at in range(10))
_ESCAPED = frozenset({b'\\"', b"\\\\", b"/", b"\\/"})
_LITERALS = (b"true", b"false", b"null")
_QUOTE, _BACKSLASH = b'\\"', b"\\\\"


class Arguments:
    """One call's arguments, as they come.

    Args:
        letters: What stands in the place of texts.
    """

    def __init__(self, letters: Letters) -> None:
        self._letters = letters
        self._begin()

    def _begin(self) -> None:
        self._chain: Chain = None
        self._depth = 0
        self._whole = False  # a JSON value was closed: what comes next is another
        self._inside = False  # an inner string
        self._escape = False  # behind an inner backslash
        self._word = b""  # the letters that may become a literal
        self._digit = False

    def mask(self, raw: bytes) -> bytes:
        """Return what stands for the next piece: the inside of an outer string, whole units."""
        if self._whole and raw:
            self._begin()
        out: list[bytes] = []
        text: list[bytes] = []
        at = 0
        while at < len(raw):
            run = _RUN.match(raw, at) if self._inside and not self._escape else None
            if run is not None:
                text.append(run[0])
                at = run.end()
                continue
            found = _UNIT.match(raw, at)
            assert found is not None
            unit, at = found[0], found.end()
            kept = self._in_string(unit) if self._inside else self._outside(unit)
            if kept is None:
                text.append(unit)
                continue
            if text:
                out.append(self._masked(text))
            out.append(kept)
        if text:
            out.append(self._masked(text))
        return b"".join(out)

    def _masked(self, units: list[bytes]) -> bytes:
        raw = b"".join(units)
        units.clear()
        letters, self._chain = self._letters.piece(raw, self._chain)
        return letters

    def _in_string(self, unit: bytes) -> bytes | None:
        """Return what stays of a unit; None for all of it to be masked."""
        if self._escape:
            self._escape = False
            if unit in _ESCAPED:
                return unit
            return b"n" if unit in b"bfnrtu" else b"x" * len(unit)
        if unit == _QUOTE:
            self._inside = False
            self._whole = not self._depth
            return unit
        if unit == _BACKSLASH:
            self._escape = True
            return unit
        return unit if unit in _BLANK and unit != b" " else None  # raw: it breaks the JSON

    def _outside(self, unit: bytes) -> bytes | None:
        if unit.isalpha() and len(unit) == 1:
            word = self._word + unit
            if self._digit and unit in b"eE":
                return unit
            if any(literal.startswith(word) for literal in _LITERALS):
                self._word = word
                self._whole = not self._depth and word in _LITERALS
                return unit
            self._word = b"-"  # no literal begins in the middle of a word
            return None
        self._word = b""
        self._digit = unit.isdigit()
        if unit == _QUOTE:
            self._inside = True
            return unit
        if unit in b"{[":
            self._depth += 1
        elif unit in b"}]":
            self._depth -= 1
            self._whole = self._depth <= 0
        if unit in _MARKS or unit in _BLANK:
            return unit
        return b"1" if self._digit else None
