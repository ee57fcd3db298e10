"""Stream ids, and positions in a stream's log."""

from __future__ import annotations

import re
import secrets
from typing import NamedTuple

__all__ = ["Position", "PositionError", "is_stream_id", "new_stream_id"]

# 18 digits: below 2**63, which is more than any log has, and no work for int().
_POSITION = re.compile(r"(0|[1-9][0-9]{0,8})-(0|[1-9][0-9]{0,17})")
_STREAM_ID = re.compile(r"s_[A-Za-z0-9_-]{22}")


class PositionError(ValueError):
    """Not a position of this protocol."""


class Position(NamedTuple):
    """A place in a log: after `offset` bytes of it, in one of its epochs."""

    epoch: int
    offset: int

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read ``"0-162"``.

        Raises:
            PositionError: If it is written in any other way.
        """
        match = _POSITION.fullmatch(text.strip(" \t"))
        if match is None:
            msg = "a position is written EPOCH-OFFSET, two decimal numbers"
            raise PositionError(msg)
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"


def new_stream_id() -> str:
    """Return a new id: 128 random bits, good in a URL."""
    return "s_" + secrets.token_urlsafe(16)


def is_stream_id(text: str) -> bool:
    """Whether a text can be a stream's id; asked before anything is looked up by it."""
    return _STREAM_ID.fullmatch(text) is not None
