"""Where text may be cut: grapheme clusters and words, after UAX #29.

The standard library has no segmentation tables, so the rules are applied by character
category: combining marks, joiners, variation selectors, emoji modifiers, flags and Hangul
syllable parts stay with what they modify; a word begins where a letter or digit follows
something else; each ideograph and kana is a word of its own.
"""

from __future__ import annotations

import unicodedata

__all__ = ["anchor_start", "grapheme_count", "is_grapheme_boundary", "unique_anchor_start"]

_ZWJ = "\u200d"
_LONGEST_WORD = 64
_LONGEST_ANCHOR = 512


def _extends(char: str) -> bool:
    """Whether a character belongs to the one before it."""
    if char < "\u0300":
        return False
    code = ord(char)
    return (
        char == _ZWJ
        or 0xFE00 <= code <= 0xFE0F  # variation selectors
        or 0x1F3FB <= code <= 0x1F3FF  # emoji skin tones
        or 0xE0020 <= code <= 0xE01EF  # tags and more variation selectors
        or 0xDC00 <= code <= 0xDFFF  # second half of a pair that was cut
        or 0x1160 <= code <= 0x11FF  # Hangul vowels and final consonants
        or unicodedata.category(char) in ("Mn", "Mc", "Me")
    )


def _is_flag(char: str) -> bool:
    return 0x1F1E6 <= ord(char) <= 0x1F1FF


def is_grapheme_boundary(text: str, at: int) -> bool:
    """Whether a reader would see two characters, not one, around position ``at``."""
    if at <= 0 or at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if _extends(after) or before == _ZWJ or (before == "\r" and after == "\n"):
        return False
    if _is_flag(before) and _is_flag(after):
        start = at
        while start > 0 and _is_flag(text[start - 1]):
            start -= 1
        return (at - start) % 2 == 0
    return True


def grapheme_count(text: str) -> int:
    """How many characters a reader sees."""
    return sum(1 for at in range(len(text)) if is_grapheme_boundary(text, at))


def _is_ideograph(char: str) -> bool:
    code = ord(char)
    return (
        0x3040 <= code <= 0x30FF  # kana
        or 0x3400 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x3FFFF
        or 0x0E00 <= code <= 0x0EFF  # Thai and Lao write no spaces
    )


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _starts_word(text: str, at: int) -> bool:
    if not is_grapheme_boundary(text, at):
        return False
    char = text[at]
    if _is_ideograph(char):
        return True
    if not _is_word(char):
        return False
    if at == 0:
        return True
    before = text[at - 1]
    return not (_is_word(before) or _extends(before)) or _is_ideograph(before)


def anchor_start(text: str, *, letters: int, reach: int = 0) -> int | None:
    """Return where the anchor at the end of ``text`` begins, or None if it is too short.

    Args:
        text: What was delivered.
        letters: How many letters or digits the anchor must hold; an ideograph counts two.
        reach: How many characters it must hold.

    Returns:
        A position at a word boundary, so that ``text[position:]`` is the shortest run of
        last words with enough letters. In a run without word boundaries (a long number,
        base64) a grapheme boundary does.
    """
    weight = 0
    enough_at: int | None = None
    for at in range(len(text) - 1, -1, -1):
        char = text[at]
        if is_grapheme_boundary(text, at) and _is_word(char):
            weight += 2 if _is_ideograph(char) else 1
        if weight < letters or len(text) - at < reach:
            continue
        if enough_at is None:
            enough_at = at
        if _starts_word(text, at):
            return at
        if enough_at - at > _LONGEST_WORD and is_grapheme_boundary(text, at):
            return at
    return None


def unique_anchor_start(text: str, *, letters: int, reach: int = 0) -> int | None:
    """Return where an anchor begins that tells its place, or None if there is none.

    In tables, refrains and lists the last words may have been written before: a model that
    goes on from the earlier place would write them just the same. So the anchor is made
    longer, word by word, until it stands nowhere else in ``text``.

    Args:
        text: What was delivered.
        letters: See `anchor_start`.
        reach: See `anchor_start`.

    Returns:
        A position, 0 where only the whole of a short text will do; None also where no run of
        last words of up to 512 characters is unique.
    """
    at = anchor_start(text, letters=letters, reach=reach)
    while at is not None and text.find(text[at:]) < at:
        if len(text) - at > _LONGEST_ANCHOR:
            return None
        letters += max(4, letters // 2)
        at = anchor_start(text, letters=letters, reach=reach)
        if at is None and len(text) <= _LONGEST_ANCHOR:
            return 0
    return at
