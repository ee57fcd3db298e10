"""Write a Chat Completions stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from unbroken.core.dialects.payloads import record, sse
from unbroken.core.dialects.writing import Writer, WrittenCall
from unbroken.core.events import Meaning
from unbroken.core.wire.sse import encode_sse

__all__ = ["ChatWriter"]


class ChatWriter(Writer):
    """See `unbroken.core.dialects.writing.Writer`.

    Reasoning goes where DeepSeek and vLLM put it, ``reasoning_content``: who does not know the
    field does not see it, and nobody sends it back.
    """

    reasons: ClassVar[Mapping[Meaning, str]] = {
        "stop": "stop", "tool-calls": "tool_calls", "limit": "length", "filter": "content_filter",
    }  # fmt: skip
    one_at_a_time = False

    def _frame(self, delta: dict[str, Any] | None, reason: str | None = None, **more: Any) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        payload = {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [] if delta is None else [choice],
            **more,
        }
        self._emit(sse(payload))

    def _start(self) -> None:
        self._frame({"role": "assistant", "content": ""})

    def _text(self, text: str) -> None:
        self._frame({"content": text})

    def _refusal(self, text: str) -> None:
        self._frame({"refusal": text})

    def _reasoning(self, text: str) -> None:
        self._frame({"reasoning_content": text})

    def _open_call(self, call: WrittenCall) -> None:
        head = {"id": call.id, "type": "function", "index": call.number}
        self._frame({"tool_calls": [{**head, "function": {"name": call.name, "arguments": ""}}]})

    def _arguments(self, call: WrittenCall, piece: str) -> None:
        self._frame({"tool_calls": [{"index": call.number, "function": {"arguments": piece}}]})

    def _close_call(self, call: WrittenCall) -> None:
        pass

    def _end(self, reason: str, *, marked: bool) -> None:
        usage = self._usage()
        # A frame without a choice breaks loops that have not asked for one; many services
        # put the figures onto the frame that finishes.
        wants_frame = self.asked is None or (
            record(self.asked.json.get("stream_options")).get("include_usage") is True
        )
        if usage and not wants_frame:
            self._frame({}, reason, usage=usage)
        else:
            self._frame({}, reason)
        if usage and wants_frame:
            self._frame(None, usage=usage)
        if marked:
            self._emit(encode_sse(b"[DONE]"))

    def _usage(self) -> dict[str, Any]:
        given, made = self.usage.input, self.usage.output
        usage: dict[str, Any] = {}
        if given is not None:
            usage["prompt_tokens"] = given
        if made is not None:
            usage["completion_tokens"] = made
        if given is not None and made is not None:
            usage["total_tokens"] = given + made
        if self.usage.cached_input is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": self.usage.cached_input}
        if self.usage.reasoning is not None:
            usage["completion_tokens_details"] = {"reasoning_tokens": self.usage.reasoning}
        return usage
