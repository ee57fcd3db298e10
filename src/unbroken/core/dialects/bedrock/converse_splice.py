"""How a later attempt at a Converse answer goes on on the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unbroken.core.dialects._block_splice import BlockSplicer
from unbroken.core.dialects.bedrock import common
from unbroken.core.dialects.payloads import number, parsed, record
from unbroken.core.events import Event, Other, ToolCall
from unbroken.core.frames import Frame
from unbroken.core.received import Received

__all__ = ["ConverseSplicer"]


class ConverseSplicer(BlockSplicer):
    """See `unbroken.core.dialects.base.Splicer`. A text block begins with its first delta.

    Args:
        delivered: What the consumer has.
        rung: As in `unbroken.core.dialects.base.Dialect.splicer`.
        write: Makes a frame of an event's value and its name.
    """

    def __init__(
        self,
        delivered: Received,
        *,
        rung: str,
        write: Callable[[dict[str, Any], str], bytes] = common.message,
    ) -> None:
        super().__init__(delivered, next_index=delivered.blocks_opened)
        self._rung = rung
        self._write = write
        self._texts: set[int] = set()  # text blocks of the later attempt
        self._texts_delivered = _text_blocks(delivered)

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        value = parsed(frame.payload) if frame.dispatched else None
        if not isinstance(value, dict) or frame.failure:
            return [frame.raw]
        index = number(value, "contentBlockIndex") or 0
        match frame.event:
            case "messageStart":
                return []
            case "contentBlockStart":
                self.wait(index, value)
                # A call that was delivered has been left out.
                brings_news = any(type(event) in (ToolCall, Other) for event in events)
                return self.open(index) if brings_news else []
            case "contentBlockDelta":
                return self._delta(value, index, events, text)
            case "contentBlockStop":
                return self._stop(index)
            case "messageStop":
                out = self.loose_text(text)
                return [*out, *self.close_left_open(), self._write(value, "messageStop")]
            case _:
                return [frame.raw]

    def _delta(
        self, value: dict[str, Any], index: int, events: list[Event], text: str
    ) -> list[bytes]:
        delta = record(value.get("delta"))
        if "text" in delta:
            self._texts.add(index)
            return self.text(index, text)
        out: list[bytes] = []
        if any(type(event) is Other for event in events):
            out = self.enter_text(index) if "citation" in delta else self.open(index)
        at = self.wire.get(index)
        if at is None:  # thinking, or a call that was delivered
            return out
        return [*out, self._write({**value, "contentBlockIndex": at}, "contentBlockDelta")]

    def _stop(self, index: int) -> list[bytes]:
        if index in self.wire or index not in self._texts or self._rung != "replay":
            return self.stop(index)
        # Where the replay came to the end of the block in which the delivery was cut, what
        # comes next is a block of its own, as it was in the answer that is repeated.
        return self.close_left_open() if len(self._texts) == self._texts_delivered else []

    def open(self, index: int) -> list[bytes]:
        return [raw for raw in super().open(index) if raw]

    def write_open(self, at: int, opening: dict[str, Any]) -> bytes:
        if not opening:
            return b""
        return self._write({**opening, "contentBlockIndex": at}, "contentBlockStart")

    def write_text(self, at: int, text: str) -> bytes:
        value = {"contentBlockIndex": at, "delta": {"text": text}}
        return self._write(value, "contentBlockDelta")

    def write_close(self, at: int) -> bytes:
        return self._write({"contentBlockIndex": at}, "contentBlockStop")


def _text_blocks(delivered: Received) -> int:
    """Count the text blocks that were delivered, by the deltas that opened them."""
    found: set[int] = set()
    for event, payload in delivered.skeleton:
        value = record(parsed(payload)) if event == "contentBlockDelta" else {}
        if "text" in record(value.get("delta")):
            found.add(number(value, "contentBlockIndex") or 0)
    return len(found)
