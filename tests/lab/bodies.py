"""Healthy bodies of every dialect, as the encoders write them."""

from __future__ import annotations

from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.answer import Answer, AnswerCall
from unbroken.lab.parts import Piece
from unbroken.lab.roles import pieces_of_body

__all__ = ["NAMES", "NO_CALLS", "TEXT", "call_body", "pieces", "text_body"]

NAMES = tuple(DIALECTS)
NO_CALLS = frozenset({"openai-completions"})
TEXT = (
    "ein ", "Baum ", "über ", "dem ", "Weg, ", "größer ", "als ", "die ", "🚢 ", "im ", "Hafen",
)  # fmt: skip


def text_body(dialect: str) -> bytes:
    return b"".join(DIALECTS[dialect].encode(Answer(text=TEXT, usage=(5, 7))))


def call_body(dialect: str) -> bytes:
    call = AnswerCall(name="weather", arguments=('{"city":', ' "Zür', 'ich",', ' "at": 7', "}"))
    answer = Answer(calls=(call,), finish="tool-calls", usage=(5, 7))
    return b"".join(DIALECTS[dialect].encode(answer))


def pieces(dialect: str, *, call: bool = False, pace_s: float = 0.1) -> list[Piece]:
    """Return a healthy body, whose content a model would have ready one by one."""
    found = pieces_of_body(dialect, call_body(dialect) if call else text_body(dialect))
    for piece in found:
        piece.pace_s = pace_s if piece.role == "content" else 0.0
    return found
