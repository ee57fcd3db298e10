"""Write an Anthropic message as a stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from unbroken.core.dialects.anthropic_messages.splice import write
from unbroken.core.dialects.writing import Writer, WrittenCall
from unbroken.core.events import Meaning

__all__ = ["MessagesWriter"]


class MessagesWriter(Writer):
    """See `unbroken.core.dialects.writing.Writer`.

    Thinking of another provider's model is left out: Anthropic refuses a thinking block
    without its own signature when the application sends it back.
    """

    reasons: ClassVar[Mapping[Meaning, str]] = {
        "stop": "end_turn", "tool-calls": "tool_use", "limit": "max_tokens", "filter": "refusal",
    }  # fmt: skip
    call_id = re.compile(r"[A-Za-z0-9_-]{1,64}")

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self._open: Literal["text", "thinking", "call"] | None = None
        self._index = -1

    def _start(self) -> None:
        message: dict[str, Any] = {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # The dialect knows no stream without usage.
            "usage": {
                "input_tokens": self.usage.input or 0,
                "output_tokens": min(self.usage.output or 0, 1),
            },
        }
        self._prompt_said = self.usage.input or 0
        self._emit(write({"type": "message_start", "message": message}))

    def _enter(self, kind: Literal["text", "thinking", "call"], block: dict[str, Any]) -> None:
        self._leave()
        self._open = kind
        self._index += 1
        head = {"type": "content_block_start", "index": self._index}
        self._emit(write({**head, "content_block": block}))
        if not self._index:
            self._emit(write({"type": "ping"}))

    def _leave(self) -> None:
        if self._open is not None:
            self._open = None
            self._emit(write({"type": "content_block_stop", "index": self._index}))

    def _delta(self, **delta: str) -> None:
        head = {"type": "content_block_delta", "index": self._index}
        self._emit(write({**head, "delta": delta}))

    def _text(self, text: str) -> None:
        if self._open != "text":
            self._enter("text", {"type": "text", "text": ""})
        self._delta(type="text_delta", text=text)

    def _reasoning(self, text: str) -> None:
        if self.asked is not None:
            return
        if self._open != "thinking":
            self._enter("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        self._delta(type="thinking_delta", thinking=text)

    def _seal(self) -> None:
        if self._open == "thinking":
            self._delta(type="signature_delta", signature="c2lnbmVk")

    def _open_call(self, call: WrittenCall) -> None:
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        self._enter("call", block)

    def _arguments(self, call: WrittenCall, piece: str) -> None:
        self._delta(type="input_json_delta", partial_json=piece)

    def _close_call(self, call: WrittenCall) -> None:
        self._leave()

    def _end(self, reason: str, *, marked: bool) -> None:
        if self._open != "call":
            self._leave()
        delta = {"stop_reason": reason, "stop_sequence": None}
        usage: dict[str, Any] = {"output_tokens": self.usage.output or 0}
        if self.usage.input is not None and self.usage.input != self._prompt_said:
            usage["input_tokens"] = self.usage.input
        if self.usage.cached_input is not None:
            usage["cache_read_input_tokens"] = self.usage.cached_input
        self._emit(write({"type": "message_delta", "delta": delta, "usage": usage}))
        if marked:
            self._emit(write({"type": "message_stop"}))
