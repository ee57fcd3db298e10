"""Numbers as people read them, the same in the terminal and on the page."""

from __future__ import annotations

import re

__all__ = [
    "amount", "clip", "harmless", "labelled", "millis", "percent", "seconds", "size",
    "unbroken_units",
]  # fmt: skip

_MINUTE_S = 120.0
# What a terminal acts upon: C0, C1, and what turns the direction of text around.
_ACTING = (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_HARMLESS = {code: "\ufffd" for code in _ACTING if code not in (9, 10)}


def harmless(text: str) -> str:
    """Return a text of equal length without what would move a cursor or turn text around."""
    return text.translate(_HARMLESS)


def seconds(value: float) -> str:
    """Return a time: ``3 ms``, ``0.48 s``, ``12.5 s``, ``3 min 20 s``."""
    if value < 0.0995:
        return millis(value)
    if value < 9.995:
        return f"{value:.2f} s"
    if value < _MINUTE_S:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def millis(value: float) -> str:
    """Return a short time in milliseconds."""
    ms = value * 1000
    if ms <= 0:
        return "0 ms"
    return f"{ms:.0f} ms" if ms >= 9.5 else f"{ms:.1f} ms" if ms >= 0.095 else "<0.1 ms"


def size(count: int) -> str:
    """Return a size: ``512 B``, ``18.2 kB``, ``3.40 MB``."""
    if count < 1000:
        return f"{count} B"
    for unit, factor in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if count < factor * 999.5 or unit == "GB":
            value = count / factor
            return f"{value:.2f} {unit}" if value < 9.995 else f"{value:.1f} {unit}"
    raise AssertionError


def amount(count: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 read``, ``2,000 reads``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Return a share of 1 in percent."""
    return f"{share * 100:.0f} %"


def labelled(label: str, detail: str) -> str:
    """Return ``label: detail``; where contents were removed there may be no detail."""
    detail = detail.strip().rstrip(":").rstrip()
    return f"{label}: {detail}" if detail else label


_BEFORE_UNIT = re.compile(r"(?<=\d) (?=(?:ms|s|min|h|B|kB|MB|GB)\b|%)")


def unbroken_units(text: str) -> str:
    """Return a text in which no line ends between a number and its unit."""
    return _BEFORE_UNIT.sub("\xa0", text)


def clip(text: str, most: int = 100) -> str:
    """Return the first characters of a text, on one line, without what moves a cursor."""
    cut = text[: most + 1]
    clean = "".join(_visible(character) for character in cut[:most])
    return clean + "…" if len(cut) > most else clean


def _visible(character: str) -> str:
    if character in "\r\n\t":
        return {"\n": "⏎", "\r": "", "\t": " "}[character]
    code = ord(character)
    hidden = code < 32 or 127 <= code < 160 or 0xD800 <= code < 0xE000 or character in _BIDI
    return "\ufffd" if hidden else character


_BIDI = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c")
