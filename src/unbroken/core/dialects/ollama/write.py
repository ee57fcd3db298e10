"""Write the lines of an Ollama chat."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from unbroken.core.dialects.payloads import dump
from unbroken.core.dialects.writing import Writer, WrittenCall, arguments_object
from unbroken.core.events import Meaning
from unbroken.core.wire.ndjson import encode_ndjson

__all__ = ["OllamaWriter"]


class OllamaWriter(Writer):
    """See `unbroken.core.dialects.writing.Writer`.

    Calls are written whole; the finish, the counts and the last marker are one line.
    """

    # Ollama says "stop" where tools are called. It has no word for a filter, and a text that
    # another provider's filter cut must not pass for whole: `done_reason` takes any word.
    reasons: ClassVar[Mapping[Meaning, str]] = {
        "stop": "stop", "tool-calls": "stop", "limit": "length", "filter": "content_filter",
    }  # fmt: skip
    keeps_arguments = True
    call_id = re.compile(r".{1,256}")

    def _line(self, message: dict[str, Any], *, done: bool = False, **more: Any) -> None:
        at = datetime.fromtimestamp(self.created, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        line = {
            "model": self.model,
            "created_at": at,
            "message": {"role": "assistant", "content": "", **message},
            "done": done,
            **more,
        }
        self._emit(encode_ndjson(dump(line)))

    def _start(self) -> None:
        pass

    def _text(self, text: str) -> None:
        self._line({"content": text})

    def _reasoning(self, text: str) -> None:
        self._line({"thinking": text})

    def _open_call(self, call: WrittenCall) -> None:
        pass

    def _arguments(self, call: WrittenCall, piece: str) -> None:
        pass

    def _close_call(self, call: WrittenCall) -> None:
        arguments = arguments_object(call)
        if arguments is None:
            self.problem = "it called a tool with arguments that are not an object"
            return
        function = {"index": call.number, "name": call.name, "arguments": arguments}
        self._line({"tool_calls": [{"id": call.id, "function": function}]})

    def _end(self, reason: str, *, marked: bool) -> None:
        counts = {"prompt_eval_count": self.usage.input, "eval_count": self.usage.output}
        known = {name: count for name, count in counts.items() if count is not None}
        self._line({}, done=True, done_reason=reason, total_duration=1_000, **known)
