"""Text that comes in pieces: kept so that small ones cost little, and mended when joined."""

from __future__ import annotations

__all__ = ["add_piece", "ends_in_half", "join_pieces", "mended"]


def add_piece(pieces: list[str], text: str) -> None:
    """Append a piece, joined with the last ones where they are no longer than it.

    Small strings that live on cost more than the text they hold: of any number of them a few
    dozen are left, each longer than the next, and no character is copied more often than that.
    """
    while pieces and len(pieces[-1]) <= len(text):
        text = pieces.pop() + text
    pieces.append(text)


def join_pieces(pieces: list[str]) -> str:
    """Join deltas, folding the list in place, and mend surrogate pairs cut over two of them.

    Half a pair at the very end is left out: its other half has not arrived.
    """
    if len(pieces) > 1:
        pieces[:] = ["".join(pieces)]
    return mended(pieces[0]) if pieces else ""


def mended(text: str) -> str:
    """Put halves of surrogate pairs together; a lone one becomes U+FFFD, at the end nothing."""
    try:
        text.encode()
    except UnicodeEncodeError:
        if ends_in_half(text):
            text = text[:-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def ends_in_half(text: str) -> bool:
    """Whether the text ends in the first half of a surrogate pair."""
    return "\ud800" <= text[-1:] <= "\udbff"
