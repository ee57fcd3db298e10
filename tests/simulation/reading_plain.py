"""Dialects that write deltas of messages, without blocks: Chat, completions, Gemini, Ollama."""

from __future__ import annotations

import json
from typing import Any

from tests.simulation.seen import Seen

__all__ = ["PlainReaders"]


class PlainReaders(Seen):
    """See `tests.simulation.reading.Reading`."""

    def _openai_chat(self, value: Any, name: str) -> None:
        for choice in value["choices"]:
            delta, at = choice.get("delta") or {}, choice["index"]
            self._thought(delta.get("reasoning_content") or "")
            self._text(delta.get("content") or "", at)
            self._refusal(delta.get("refusal") or "")
            for call in delta.get("tool_calls") or ():
                function = call.get("function") or {}
                index = call["index"]
                for earlier in self.calls:
                    earlier.whole = earlier.whole or earlier.key != index
                self._call(
                    index, function.get("name") or "", call.get("id") or "",
                    function.get("arguments") or "",
                )  # fmt: skip
            if choice.get("finish_reason"):
                self._finish(choice["finish_reason"], at)
        self._openai_usage(value)

    def _openai_completions(self, value: Any, name: str) -> None:
        for choice in value["choices"]:
            self._text(choice.get("text") or "")
            if choice.get("finish_reason"):
                self._finish(choice["finish_reason"])
        self._openai_usage(value)

    def _openai_usage(self, value: Any) -> None:
        usage = value.get("usage")
        if usage:
            self._used(usage["prompt_tokens"], usage["completion_tokens"])

    def _gemini(self, value: Any, name: str) -> None:
        for candidate in value.get("candidates") or ():
            for part in (candidate.get("content") or {}).get("parts") or ():
                if "functionCall" in part:
                    call = part["functionCall"]
                    self._call(
                        len(self.calls), call["name"], call.get("id") or "",
                        json.dumps(call.get("args") or {}), whole=True,
                    )  # fmt: skip
                elif part.get("thought"):
                    self._thought(part.get("text") or "")
                else:
                    self._text(part.get("text") or "")
            if candidate.get("finishReason"):
                self._finish(candidate["finishReason"])
        usage = value.get("usageMetadata") or {}
        self._used(usage.get("promptTokenCount"), usage.get("candidatesTokenCount"))

    _gemini_array = _gemini

    def _ollama(self, value: Any, name: str) -> None:
        message = value.get("message") or {}
        self._thought(message.get("thinking") or "")
        self._text(message.get("content") or "")
        for call in message.get("tool_calls") or ():
            function = call["function"]
            self._call(
                len(self.calls), function["name"], call.get("id") or "",
                json.dumps(function["arguments"]), whole=True,
            )  # fmt: skip
        if value.get("done"):
            self._finish(value.get("done_reason") or "")
            self.ends += 1
            self._used(value.get("prompt_eval_count"), value.get("eval_count"))
