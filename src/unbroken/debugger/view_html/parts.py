"""Pieces of HTML that all parts of the page are made of. What came over a wire is always text."""

from __future__ import annotations

from html import escape
from typing import Final

from unbroken.debugger.words import unbroken_units

__all__ = ["SEVERITY_TONES", "WHERE", "items", "sentence", "tag", "text", "tone_of"]

WHERE: Final = {
    "provider": "The provider", "middlebox": "Something in between",
    "consumer": "Your own side", "network": "The network", "model": "The model",
    "none": "No fault", "unknown": "Not known",
}  # fmt: skip
SEVERITY_TONES: Final = {"fatal": "bad", "warning": "warn", "note": ""}


def text(value: object) -> str:
    """Return text that is HTML, without what no text should hold."""
    clean = "".join(c if c.isprintable() or c in "\n\t\xa0" else "\ufffd" for c in str(value))
    return escape(clean)


def items(sentences: list[str]) -> str:
    """Return sentences as a list."""
    told = (text(unbroken_units(sentence(each))) for each in sentences)
    return f"<ul>{''.join(f'<li>{each}</li>' for each in told)}</ul>"


def sentence(words: str) -> str:
    """Return words with a capital at their beginning."""
    return words[:1].upper() + words[1:]


def tag(word: str, tone: str) -> str:
    """Return a word in a frame."""
    return f'<span class="tag" data-tone="{tone}">{text(word)}</span>'


def tone_of(status: str, healed: bool) -> str:
    """Return how a status is meant."""
    if status == "failed":
        return "bad"
    proven = status in ("complete", "limited", "filtered", "paused", "plain")
    return "good" if proven and not healed else "warn"
