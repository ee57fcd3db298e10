"""Write a Gemini stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from unbroken.core.dialects.gemini.ask import UNSIGNED
from unbroken.core.dialects.payloads import sse
from unbroken.core.dialects.writing import Writer, WrittenCall, arguments_object
from unbroken.core.events import Meaning

__all__ = ["GeminiWriter"]


class GeminiWriter(Writer):
    """See `unbroken.core.dialects.writing.Writer`. Calls are written whole."""

    reasons: ClassVar[Mapping[Meaning, str]] = {
        "stop": "STOP",
        "tool-calls": "STOP",
        "limit": "MAX_TOKENS",
        "filter": "SAFETY",
    }
    keeps_arguments = True
    call_id = re.compile(r".{1,256}")

    def _frame(self, part: dict[str, Any], **finish: str) -> None:
        candidate = {"content": {"parts": [part], "role": "model"}, **finish, "index": 0}
        value: dict[str, Any] = {"candidates": [candidate]}
        if usage := self._usage():
            value["usageMetadata"] = usage
        value |= {"modelVersion": self.model, "responseId": self.id}
        self._emit(sse(value, eol=b"\r\n"))

    def _start(self) -> None:
        pass

    def _text(self, text: str) -> None:
        self._frame({"text": text})

    def _reasoning(self, text: str) -> None:
        self._frame({"text": text, "thought": True})

    def _open_call(self, call: WrittenCall) -> None:
        pass

    def _arguments(self, call: WrittenCall, piece: str) -> None:
        pass

    def _close_call(self, call: WrittenCall) -> None:
        args = arguments_object(call)
        if args is None:
            self.problem = "it called a tool with arguments that are not an object"
            return
        part: dict[str, Any] = {"functionCall": {"id": call.id, "name": call.name, "args": args}}
        if self.asked is not None:
            part["thoughtSignature"] = UNSIGNED
        self._frame(part)

    def _end(self, reason: str, *, marked: bool) -> None:
        self._frame({"text": ""}, finishReason=reason)

    def _usage(self) -> dict[str, int]:
        known = self.usage
        usage = {
            "promptTokenCount": known.input,
            "candidatesTokenCount": known.output,
            "totalTokenCount": None,
            "cachedContentTokenCount": known.cached_input,
            "thoughtsTokenCount": known.reasoning,
        }
        if known.input is not None and known.output is not None:
            usage["totalTokenCount"] = known.input + known.output + (known.reasoning or 0)
        return {name: count for name, count in usage.items() if count is not None}
