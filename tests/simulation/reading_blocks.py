"""Dialects that open and close blocks: Anthropic, both of Bedrock, Cohere, Interactions."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.simulation.seen import Seen

__all__ = ["BlockReaders"]


class BlockReaders(Seen):
    """See `tests.simulation.reading.Reading`."""

    def _opens(self, at: Any, kind: str) -> None:
        if at != len(self._open) + len(self._closed) or self._open:
            self.problems.append(
                f"block {at} opened, with {self._open} open, {self._closed} closed"
            )
        self._open[at] = kind

    def _is_open(self, at: Any) -> None:
        if at not in self._open:
            self.problems.append(f"a delta came for block {at}, which is not open")

    def _closes(self, at: Any) -> None:
        if self._open.pop(at, None) is None:
            self.problems.append(f"block {at} was closed and is not open")
        self._closed.add(at)
        self._whole(at)

    def _starts(self, what: str) -> None:
        self.starts += 1
        if self.starts > 1:
            self.problems.append(f"{what} came twice")

    def _ends_with(self, reason: str) -> None:
        if self._open:
            self.problems.append(f"it finished with block {self._open} open")
        self._finish(reason)

    # Anthropic Messages, bare or in base64 --------------------------------------------------

    def _anthropic_messages(self, value: Any, name: str) -> None:
        kind = value["type"]
        if name != kind:
            self.problems.append(f"the event is called {name!r}, its type is {kind!r}")
        self._message_event(value)

    def _bedrock_invoke(self, value: Any, name: str) -> None:
        if name != "chunk":
            self.problems.append(f"the event is called {name!r}")
        inner = json.loads(base64.b64decode(value["bytes"]))
        if inner.get("type") == "error":
            self.errors += 1
            return
        self._message_event(inner)
        metrics = inner.get("amazon-bedrock-invocationMetrics") or {}
        self._used(metrics.get("inputTokenCount"), metrics.get("outputTokenCount"))

    def _message_event(self, value: Any) -> None:
        kind = value["type"]
        if self.ends and kind != "ping":
            self.problems.append(f"{kind} came after message_stop")
        at = value.get("index")
        match kind:
            case "message_start":
                self._starts(kind)
                usage = value["message"].get("usage") or {}
                self._used(usage.get("input_tokens"), usage.get("output_tokens"))
            case "content_block_start":
                block = value["content_block"]
                self._opens(at, block["type"])
                if block["type"] == "tool_use":
                    self._call(at, block["name"], block["id"], "")
            case "content_block_delta":
                self._is_open(at)
                delta = value["delta"]
                match delta["type"]:
                    case "text_delta":
                        self._text(delta["text"])
                    case "thinking_delta":
                        self._thought(delta["thinking"])
                    case "signature_delta":
                        self.seals += 1
                    case "input_json_delta":
                        self._call(at, "", "", delta["partial_json"])
            case "content_block_stop":
                self._closes(at)
            case "message_delta":
                usage = value.get("usage") or {}
                self._used(usage.get("input_tokens"), usage.get("output_tokens"))
                if value["delta"].get("stop_reason"):
                    self._ends_with(value["delta"]["stop_reason"])
            case "message_stop":
                self.ends += 1
                if not self.finishes:
                    self.problems.append("message_stop came without a stop reason")

    # Bedrock Converse -----------------------------------------------------------------------

    def _bedrock_converse(self, value: Any, name: str) -> None:
        at = value.get("contentBlockIndex")
        match name:
            case "messageStart":
                self._starts(name)
            case "contentBlockStart":
                self._opens(at, "tool")
                tool = value["start"]["toolUse"]
                self._call(at, tool["name"], tool["toolUseId"], "")
            case "contentBlockDelta":
                delta = value["delta"]
                if at not in self._open:  # text has no opening of its own
                    self._opens(at, next(iter(delta)))
                self._text(delta.get("text") or "")
                self._thought((delta.get("reasoningContent") or {}).get("text") or "")
                self.seals += "signature" in (delta.get("reasoningContent") or {})
                if "toolUse" in delta:
                    self._call(at, "", "", delta["toolUse"]["input"])
            case "contentBlockStop":
                self._closes(at)
            case "messageStop":
                self._ends_with(value["stopReason"])
            case "metadata":
                self.ends += 1
                usage = value.get("usage") or {}
                self._used(usage.get("inputTokens"), usage.get("outputTokens"))
                if not self.finishes:
                    self.problems.append("metadata came without a stop reason")

    # Cohere ---------------------------------------------------------------------------------

    def _cohere(self, value: Any, name: str) -> None:
        kind, at = value["type"], value.get("index")
        if name != kind:
            self.problems.append(f"the event is called {name!r}, its type is {kind!r}")
        if self.ends:
            self.problems.append(f"{kind} came after message-end")
        message = (value.get("delta") or {}).get("message") or {}
        match kind:
            case "message-start":
                self._starts(kind)
            case "content-start":
                self._opens_cohere(("content", at), message["content"]["type"])
            case "content-delta":
                self._is_open(("content", at))
                content = message["content"]
                self._text(content.get("text") or "")
                self._thought(content.get("thinking") or "")
            case "content-end":
                self._closes(("content", at))
            case "tool-call-start":
                self._opens_cohere(("call", at), "call")
                call = message["tool_calls"]
                self._call(
                    ("call", at), call["function"]["name"], call["id"],
                    call["function"].get("arguments") or "",
                )  # fmt: skip
            case "tool-call-delta":
                self._is_open(("call", at))
                self._call(("call", at), "", "", message["tool_calls"]["function"]["arguments"])
            case "tool-call-end":
                self._closes(("call", at))
            case "message-end":
                usage = (value["delta"].get("usage") or {}).get("tokens") or {}
                self._used(usage.get("input_tokens"), usage.get("output_tokens"))
                self._ends_with(value["delta"]["finish_reason"])
                self.ends += 1

    def _opens_cohere(self, at: tuple[str, int], kind: str) -> None:
        known = [key for key in (*self._open, *self._closed) if key[0] == at[0]]
        if at[1] != len(known) or self._open:
            self.problems.append(f"{at} opened, with {self._open} open, {self._closed} closed")
        self._open[at] = kind

    # Gemini Interactions --------------------------------------------------------------------

    def _gemini_interactions(self, value: Any, name: str) -> None:
        kind, at = value["event_type"], value.get("index")
        if name != kind:
            self.problems.append(f"the event is called {name!r}, its type is {kind!r}")
        if self.ends:
            self.problems.append(f"{kind} came after interaction.completed")
        match kind:
            case "interaction.created":
                self._starts(kind)
            case "step.start":
                step = value["step"]
                self._opens(at, step["type"])
                if step["type"] == "function_call":
                    self._call(at, step["name"], step["id"], "")
            case "step.delta":
                self._is_open(at)
                delta = value["delta"]
                match delta["type"]:
                    case "text":
                        self._text(delta["text"])
                    case "thought_summary":
                        self._thought(delta["content"]["text"])
                    case "thought_signature":
                        self.seals += 1
                    case "arguments_delta":
                        self._call(at, "", "", delta["arguments"])
            case "step.stop":
                self._closes(at)
            case "interaction.completed":
                given = value["interaction"]
                usage = given.get("usage") or {}
                self._used(usage.get("total_input_tokens"), usage.get("total_output_tokens"))
                self._ends_with(given["status"])
                self.response_id = given["id"]
                self.ends += 1
