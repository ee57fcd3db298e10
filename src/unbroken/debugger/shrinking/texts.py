r"""Texts inside of frames, made shorter without breaking the JSON around them.

The frame's bytes are edited, not written anew, so that all else stays as the provider wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from unbroken.core.wire import Wire
from unbroken.debugger.shrinking.sketch import Frame

__all__ = ["EDITABLE", "Spot", "length_of", "shortened", "spots_of"]

EDITABLE: frozenset[Wire] = frozenset({"sse", "ndjson", "json-array"})
"""Wires whose frames carry no length or checksum of their own."""

# Names too, or the quotes between two strings would be taken for one.
_STRING = re.compile(rb'"((?:[^"\\\x00-\x1f]|\\.)*)"(?P<name>\s*:)?')
_UNIT = re.compile(rb"\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL)


class Spot(msgspec.Struct, frozen=True):
    """A string's inside in a frame's bytes."""

    start: int
    end: int


def spots_of(frame: Frame) -> list[Spot]:
    """Return the strings of a frame that are values and not empty."""
    found = _STRING.finditer(frame.raw)
    return [Spot(*match.span(1)) for match in found if match[1] and not match["name"]]


def shortened(frame: Frame, keep: Iterable[tuple[Spot, int]]) -> Frame:
    """Return a frame with shorter strings.

    Args:
        frame: It.
        keep: Strings in order, and how many characters (or escapes) of each stay.
    """
    raw, pieces, at = frame.raw, [], 0
    for spot, count in keep:
        pieces.append(raw[at : spot.start])
        pieces.append(_first(raw[spot.start : spot.end], count))
        at = spot.end
    pieces.append(raw[at:])
    return frame.with_raw(b"".join(pieces))


def length_of(frame: Frame, spot: Spot) -> int:
    """Return how many characters (or escapes) a string has."""
    return len(_units(frame.raw[spot.start : spot.end]))


def _first(inside: bytes, count: int) -> bytes:
    if count <= 0:
        return b""
    return b"".join(_units(inside)[:count])


def _units(inside: bytes) -> list[bytes]:
    """Return characters and escapes; the two halves of an escaped pair stay together."""
    units: list[bytes] = []
    for match in _UNIT.finditer(inside):
        unit = match[0]
        follows = unit[:1] >= b"\x80" and unit[0] & 0xC0 == 0x80  # of a UTF-8 character
        low = unit[:4].lower() in (b"\\udc", b"\\udd", b"\\ude", b"\\udf")
        if units and (follows or low):
            units[-1] += unit
        else:
            units.append(unit)
    return units
