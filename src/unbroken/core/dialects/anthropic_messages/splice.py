"""How a later attempt at an Anthropic message goes on on the wire."""

from __future__ import annotations

from typing import Any

from unbroken.core.dialects.payloads import number, parsed, record, sse, string
from unbroken.core.events import Event, Other, ToolCall
from unbroken.core.frames import Frame
from unbroken.core.received import Received

__all__ = ["MessagesSplicer", "write"]
_PROMPT_FIELDS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


class MessagesSplicer:
    """See `unbroken.core.dialects.base.Splicer`.

    A block of the later attempt is opened on the wire by the first thing in it that the
    consumer does not have, and only such a block is closed again. The first text that is new
    goes on in the text block that the cut left open. Whatever else the cut left open is
    closed before a block is opened or the stop reason is written.
    """

    def __init__(self, delivered: Received, *, rung: str) -> None:
        skeleton = [record(parsed(payload)) for _, payload in delivered.skeleton]
        self._rung = rung
        self._next = delivered.blocks_opened
        # An open call is never closed by us: it would look like a whole one.
        self._left_open = {
            block: kind
            for block, kind in delivered.open_blocks.items()
            if isinstance(block, int) and kind != "tool"
        }
        self._wire: dict[int, int] = {}  # blocks of the later attempt that are on the wire
        self._waiting: dict[int, dict[str, Any]] = {}  # opened by it, with nothing new so far
        self._text_blocks_delivered = sum(
            record(payload.get("content_block")).get("type") == "text" for payload in skeleton
        )
        self._text_blocks = 0
        start = next((p for p in skeleton if p.get("type") == "message_start"), {})
        self._first_prompt = record(record(start.get("message")).get("usage"))
        self._later_prompt: dict[str, Any] = {}

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        value = parsed(frame.payload) if frame.dispatched else None
        if not isinstance(value, dict):
            return [frame.raw]
        kind = string(value.get("type")) or frame.event
        index = number(value, "index")
        match kind:
            case "message_start":
                self._later_prompt = record(record(value.get("message")).get("usage"))
                return []
            case "content_block_start":
                return self._start(value, index or 0, events, text)
            case "content_block_delta":
                return self._delta(value, index or 0, events, text)
            case "content_block_stop":
                return self._stop(value, index or 0)
            case "message_delta":
                out = self._loose_text(text) if text else []
                if record(value.get("delta")).get("stop_reason"):
                    out += self._close_left_open()
                if isinstance(usage := value.get("usage"), dict):
                    value = {**value, "usage": self._usage(usage)}
                return [*out, write(value)]
            case _ if index is not None:  # not known to us, about a block
                at = self._wire.get(index)
                return [] if at is None else [write({**value, "index": at})]
            case _:
                return [frame.raw]

    def _start(
        self, value: dict[str, Any], index: int, events: list[Event], text: str
    ) -> list[bytes]:
        self._waiting[index] = value
        if record(value.get("content_block")).get("type") == "text":
            self._text_blocks += 1
            return self._text(index, text) if text else []
        # Thinking brings neither, a call that was delivered has been left out.
        brings_news = any(type(event) in (ToolCall, Other) for event in events)
        return self._open(index) if brings_news else []

    def _open(self, index: int) -> list[bytes]:
        out = self._close_left_open()
        self._wire[index] = at = self._next
        self._next += 1
        value = self._waiting.pop(index, {"type": "content_block_start"})
        block = record(value.get("content_block")) or {"type": "text"}
        if block.get("type") == "text":
            block = {**block, "text": ""}
        return [*out, write({**value, "index": at, "content_block": block})]

    def _enter_text(self, index: int) -> list[bytes]:
        """Make sure that a text block of the later attempt is on the wire."""
        if index in self._wire:
            return []
        for block, kind in self._left_open.items():
            if kind == "text" and isinstance(block, int):
                del self._left_open[block]
                self._wire[index] = block
                self._waiting.pop(index, None)
                return self._close_left_open()
        return self._open(index)

    def _text(self, index: int, text: str) -> list[bytes]:
        out = self._enter_text(index)
        delta = {"type": "text_delta", "text": text}
        at = self._wire[index]
        return [*out, write({"type": "content_block_delta", "index": at, "delta": delta})]

    def _loose_text(self, text: str) -> list[bytes]:
        """Write text that is known to be new only now that its block was closed."""
        out = self._text(-1, text)
        return [*out, write({"type": "content_block_stop", "index": self._wire.pop(-1)})]

    def _delta(
        self, value: dict[str, Any], index: int, events: list[Event], text: str
    ) -> list[bytes]:
        kind = record(value.get("delta")).get("type")
        if kind == "text_delta":
            return self._text(index, text) if text else []
        if kind == "citations_delta" and any(type(event) is Other for event in events):
            out = self._enter_text(index)
        elif index in self._wire:
            out = []
        else:  # of a block that is not on the wire: thinking, or a call that was delivered
            return []
        return [*out, write({**value, "index": self._wire[index]})]

    def _stop(self, value: dict[str, Any], index: int) -> list[bytes]:
        at = self._wire.get(index)
        if at is not None:
            return [write({**value, "index": at})]
        opened = record(self._waiting.pop(index, {}).get("content_block"))
        if (
            self._rung == "replay"
            and opened.get("type") == "text"
            and self._text_blocks == self._text_blocks_delivered
        ):
            # The replay came to the end of the block in which the delivery was cut: what
            # comes next is a block of its own, as it was in the answer that is repeated.
            return self._close_left_open()
        return []

    def _close_left_open(self) -> list[bytes]:
        left = [write({"type": "content_block_stop", "index": at}) for at in self._left_open]
        self._left_open = {}
        return left

    def _usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Count the prompt once, and as output what was delivered, where both are known.

        A prefill's prompt holds the partial answer, so what it counts beyond the first prompt
        is output that was delivered before.
        """
        first, later = _total(self._first_prompt), _total(self._later_prompt)
        changed = dict(usage)
        for key in _PROMPT_FIELDS:
            if usage.get(key) is not None and self._first_prompt.get(key) is not None:
                changed[key] = self._first_prompt[key]
        output = number(usage, "output_tokens")
        if first is None or later is None or output is None or later < first:
            return changed
        if self._rung == "prefill":
            changed["output_tokens"] = output + later - first
        return changed


def _total(usage: dict[str, Any]) -> int | None:
    """Return the tokens of a prompt, those in the cache included."""
    if number(usage, "input_tokens") is None:
        return None
    return sum(number(usage, key) or 0 for key in _PROMPT_FIELDS)


def write(value: dict[str, Any]) -> bytes:
    """Return one event as a frame; the SDK drops a frame without a name."""
    return sse(value, event=string(value.get("type")) or None)
