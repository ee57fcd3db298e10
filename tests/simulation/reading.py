"""A tiny reader for each dialect, of our own: what would an application see in these bytes?

Nothing here comes from `unbroken`: the oracle must not trust what it judges. It reads only
what the simulated upstream can write, and is strict about that: what it does not expect
becomes a problem. Bytes may come in any pieces.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.simulation.framing import RawFrame, framing_for
from tests.simulation.reading_blocks import BlockReaders
from tests.simulation.reading_plain import PlainReaders
from tests.simulation.reading_responses import ResponsesReaders
from tests.simulation.seen import Seen, SeenCall, mend

__all__ = ["BadFrame", "Reading", "SeenCall", "mend"]


class BadFrame(NamedTuple):
    """A whole frame that is not JSON, or holds bytes that are no UTF-8.

    Attributes:
        start: Where it begins.
        end: Where the next begins.
        finished: The answer had its finish, after which nothing of it can come.
        calling: A tool call was being written.
    """

    start: int
    end: int
    finished: bool
    calling: bool


class Reading(PlainReaders, BlockReaders, ResponsesReaders, Seen):
    """What a consumer of these bytes knows; see `Seen`."""

    def __init__(self, dialect: str, *, same_ids: bool = True, choices: int = 1) -> None:
        super().__init__(choices=choices, same_ids=same_ids)
        self.dialect = dialect
        self.bad: list[BadFrame] = []
        self._framing = framing_for(dialect)
        self._earlier = 0  # bytes of the same body, over connections that broke
        self._read: Callable[[Any, str], None] = getattr(self, "_" + dialect.replace("-", "_"))

    @property
    def consumed(self) -> int:
        """Bytes of whole frames."""
        return self._framing.consumed

    @property
    def rest(self) -> bytes:
        """What follows them and is not a whole frame."""
        return self._framing.rest

    def feed(self, data: bytes) -> None:
        for frame in self._framing.feed(data):
            self._frame(frame)
        self._framing_problems()

    def close(self) -> None:
        """The body ended. A last frame that lacks only its line ends counts."""
        for frame in self._framing.close():
            self._frame(frame)
        self._framing_problems()

    def reopen(self, *, mid_frame: bool) -> None:
        """The same body goes on over another connection."""
        if not mid_frame:
            self._framing.forget_rest()

    def _framing_problems(self) -> None:
        self.problems += self._framing.problems
        self._framing.problems.clear()

    def _frame(self, frame: RawFrame) -> None:
        self.frames += 1
        payload = frame.payload
        told_end = self.ends and self.dialect not in ("anthropic-messages", "cohere",
                                                      "gemini-interactions")  # fmt: skip
        if told_end:
            self.problems.append(f"frame {self.frames - 1} came after the end")
        if frame.failure:
            self.errors += 1
            return
        if payload == b"[DONE]":
            if self.dialect not in ("cohere", "gemini-interactions"):  # said already there
                self.ends += 1
            return
        if payload == b"]" and self.dialect == "gemini-array":
            self.ends += 1
            return
        try:
            value = json.loads(payload.decode())
        except ValueError:
            calling = any(not call.whole for call in self.calls)
            finished = bool(self.finishes) and len(self.finishes) >= self.choices
            self.bad.append(BadFrame(frame.start, frame.end, finished, calling))
            self.problems.append(f"frame {self.frames - 1} is not JSON: {payload[:60]!r}")
            return
        if isinstance(value, dict) and (
            isinstance(value.get("error"), dict | str)
            or value.get("type") == "error"
            or value.get("event_type") == "error"
        ):
            self.errors += 1
            return
        self._read(value, frame.name)
