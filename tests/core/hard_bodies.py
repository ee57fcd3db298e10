"""Whole answers with hard content in them, written part by part, for every dialect.

    sent = body("anthropic-messages", [("text", LEAD), ("cited", "so"), ("text", TAIL)])
    [part for part, _ in sent]  # which part each frame belongs to

A part is its kind and what it says. The frames know nothing of the library: they are plain
JSON, put together by hand.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["MARK", "Part", "Placed", "body"]

Part = tuple[str, str]
Placed = tuple[int, bytes]
"""A frame, and the part that it belongs to; -1 before the first, 1,000 after the last."""

MARK = "salt-of-the-earth"
"""Stands in every part that is hard, so that a test can see whether it was delivered twice."""
_SIZE = 6
_END = 1000


def body(dialect: str, parts: list[Part], *, id: str = "answer-1") -> list[Placed]:
    """Return the frames of a whole answer."""
    return _BODIES[dialect](parts, id)


def _cut(text: str) -> list[str]:
    return [text[at : at + _SIZE] for at in range(0, len(text), _SIZE)]


def _sse(value: dict[str, Any], event: str = "") -> bytes:
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


def _chat(parts: list[Part], id: str) -> list[Placed]:
    sent: list[Placed] = []

    def say(part: int, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        sent.append((part, _sse({"id": id, "object": "chat.completion.chunk", "created": 1,
                                 "model": "m", "choices": [choice]})))  # fmt: skip

    say(-1, {"role": "assistant", "content": ""})
    finish = "stop"
    for at, (kind, said) in enumerate(parts):
        call = {"index": 0, "id": f"call-{id}"}
        match kind:
            case "text":
                for piece in _cut(said):
                    say(at, {"content": piece})
            case "thinking":
                for piece in _cut(said):
                    say(at, {"reasoning_content": piece})
            case "refusal":
                for piece in _cut(said):
                    say(at, {"refusal": piece})
            case "call":
                finish = "tool_calls"
                function = {"name": "look", "arguments": ""}
                say(at, {"tool_calls": [{**call, "type": "function", "function": function}]})
                for piece in _cut(json.dumps({"for": said})):
                    say(at, {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
            case "custom tool":
                finish = "tool_calls"
                custom = {"name": "run", "input": ""}
                say(at, {"tool_calls": [{**call, "type": "custom", "custom": custom}]})
                for piece in _cut(said):
                    say(at, {"tool_calls": [{"index": 0, "custom": {"input": piece}}]})
            case "audio":
                for piece in (said, "AAAA", "BBBB"):
                    say(at, {"audio": {"id": "a", "data": piece}})
            case _:
                raise AssertionError(kind)
    say(_END, {}, finish)
    return [*sent, (_END, b"data: [DONE]\n\n")]


def _anthropic(parts: list[Part], id: str) -> list[Placed]:
    sent: list[Placed] = []
    blocks = 0

    def say(part: int, kind: str, **fields: Any) -> None:
        sent.append((part, _sse({"type": kind, **fields}, kind)))

    def block(part: int, content: dict[str, Any], deltas: list[dict[str, Any]]) -> None:
        nonlocal blocks
        say(part, "content_block_start", index=blocks, content_block=content)
        for delta in deltas:
            say(part, "content_block_delta", index=blocks, delta=delta)
        say(part, "content_block_stop", index=blocks)
        blocks += 1

    usage = {"input_tokens": 5, "output_tokens": 1}
    say(-1, "message_start", message={"id": id, "type": "message", "role": "assistant",
        "model": "m", "content": [], "stop_reason": None, "usage": usage})  # fmt: skip
    reason = "end_turn"
    for at, (kind, said) in enumerate(parts):
        texts = [{"type": "text_delta", "text": piece} for piece in _cut(said)]
        match kind:
            case "text":
                block(at, {"type": "text", "text": ""}, texts)
            case "thinking":
                deltas: list[dict[str, Any]] = [
                    {"type": "thinking_delta", "thinking": piece} for piece in _cut(said)
                ]
                deltas.append({"type": "signature_delta", "signature": "c2ln"})
                block(at, {"type": "thinking", "thinking": "", "signature": ""}, deltas)
            case "hidden thinking":
                seal = {"type": "signature_delta", "signature": "c2ln" + said}
                block(at, {"type": "thinking", "thinking": "", "signature": ""}, [seal])
            case "refusal":
                block(at, {"type": "text", "text": ""}, texts)
                reason = "refusal"
            case "citation":
                cited = {"type": "char_location", "cited_text": said, "document_index": 0,
                         "start_char_index": 0, "end_char_index": 9}  # fmt: skip
                deltas = [{"type": "citations_delta", "citation": cited}]
                deltas.append({"type": "text_delta", "text": " (see there) "})
                block(at, {"type": "text", "text": "", "citations": []}, deltas)
            case "call":
                reason = "tool_use"
                pieces = [{"type": "input_json_delta", "partial_json": piece}
                          for piece in _cut(json.dumps({"for": said}))]  # fmt: skip
                tool = {"type": "tool_use", "id": f"tool-{id}", "name": "look", "input": {}}
                block(at, tool, pieces)
            case "server tool":
                tool = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
                pieces = [{"type": "input_json_delta", "partial_json": piece}
                          for piece in _cut(json.dumps({"query": said}))]  # fmt: skip
                block(at, tool, pieces)
                found = [{"type": "web_search_result", "url": "u", "title": "t"}]
                result = {"type": "web_search_tool_result", "tool_use_id": "s", "content": found}
                block(at, result, [])
            case _:
                raise AssertionError(kind)
    delta = {"stop_reason": reason, "stop_sequence": None}
    say(_END, "message_delta", delta=delta, usage={"output_tokens": 40})
    say(_END, "message_stop")
    return sent


class _Responses:
    """Numbers the frames, and keeps the finished items for the last one."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.sent: list[Placed] = []
        self.output: list[dict[str, Any]] = []
        self.part = -1

    def say(self, kind: str, **fields: Any) -> None:
        number = {"sequence_number": len(self.sent)}
        self.sent.append((self.part, _sse({"type": kind, **number, **fields}, kind)))

    def response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": "response", "created_at": 1, "model": "m",
                "status": status, "error": None, "incomplete_details": None,
                "output": output}  # fmt: skip

    def item(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"id": f"{kind}-{self.id}-{len(self.output)}", "type": kind, **fields}

    def open(self, item: dict[str, Any], **empty: Any) -> dict[str, Any]:
        at = len(self.output)
        opened = {**item, "status": "in_progress", **empty}
        self.say("response.output_item.added", output_index=at, item=opened)
        return {"item_id": item["id"], "output_index": at}

    def close(self, item: dict[str, Any], **whole: Any) -> None:
        done = {**item, "status": "completed", **whole}
        self.say("response.output_item.done", output_index=len(self.output), item=done)
        self.output.append(done)

    def message(self, said: str, key: str = "text", *, cited: str = "") -> None:
        kind = {"text": "output_text", "refusal": "refusal"}[key]
        item = self.item("message", role="assistant")
        at = {**self.open(item, content=[]), "content_index": 0}
        notes: list[dict[str, Any]] = []
        more: dict[str, Any] = {"annotations": [], "logprobs": []} if key == "text" else {}
        self.say("response.content_part.added", **at, part={"type": kind, key: "", **more})
        extra: dict[str, Any] = {"logprobs": []} if key == "text" else {}
        for piece in _cut(said):
            self.say(f"response.{kind}.delta", **at, delta=piece, **extra)
        if cited:
            notes.append({"type": "url_citation", "url": cited, "title": "t",
                          "start_index": 0, "end_index": 5})  # fmt: skip
            self.say("response.output_text.annotation.added", **at, annotation_index=0,
                     annotation=notes[0])  # fmt: skip
            said += " (see there)"
            self.say("response.output_text.delta", **at, delta=" (see there)", **extra)
        self.say(f"response.{kind}.done", **at, **{key: said}, **extra)
        part = {"type": kind, key: said, **more, **({"annotations": notes} if notes else {})}
        self.say("response.content_part.done", **at, part=part)
        self.close(item, content=[part])

    def thinking(self, said: str) -> None:
        item = self.item("reasoning")
        at = {**self.open(item, summary=[]), "summary_index": 0}
        stem, part = "response.reasoning_summary", {"type": "summary_text", "text": said}
        self.say(f"{stem}_part.added", **at, part={**part, "text": ""})
        for piece in _cut(said):
            self.say(f"{stem}_text.delta", **at, delta=piece)
        self.say(f"{stem}_text.done", **at, text=said)
        self.say(f"{stem}_part.done", **at, part=part)
        self.close(item, summary=[part])

    def call(self, kind: str, key: str, stem: str, said: str, **fields: Any) -> None:
        item = self.item(kind, **fields)
        at = self.open(item, **{key: ""})
        for piece in _cut(said):
            self.say(f"response.{stem}.delta", **at, delta=piece)
        self.say(f"response.{stem}.done", **at, **{key: said})
        self.close(item, **{key: said})


def _responses(parts: list[Part], id: str) -> list[Placed]:
    to = _Responses(id)
    to.say("response.created", response=to.response("in_progress", []))
    for at, (kind, said) in enumerate(parts):
        to.part = at
        named = {"call_id": f"call-{id}", "name": "look"}
        match kind:
            case "text":
                to.message(said)
            case "refusal":
                to.message(said, "refusal")
            case "citation":
                to.message("As it is written", cited=said)
            case "thinking":
                to.thinking(said)
            case "call":
                stem = "function_call_arguments"
                to.call("function_call", "arguments", stem, json.dumps({"for": said}), **named)
            case "custom tool":
                to.call("custom_tool_call", "input", "custom_tool_call_input", said, **named)
            case "server tool":
                stem = "mcp_call_arguments"
                to.call("mcp_call", "arguments", stem, json.dumps({"for": said}), name="look",
                        server_label="s")  # fmt: skip
            case "image":
                item = to.item("image_generation_call")
                at_item = to.open(item)
                to.say("response.image_generation_call.partial_image", **at_item,
                       partial_image_index=0, partial_image_b64=said)  # fmt: skip
                to.close(item, result=said)
            case _:
                raise AssertionError(kind)
    to.part = _END
    to.say("response.completed", response=to.response("completed", to.output))
    return to.sent


def _gemini(parts: list[Part], id: str) -> list[Placed]:
    sent: list[Placed] = []

    def say(place: int, *pieces: dict[str, Any], **candidate: Any) -> None:
        content = {"role": "model", "parts": list(pieces)}
        candidates = [{"content": content, "index": 0, **candidate}]
        value = {"candidates": candidates, "responseId": id, "modelVersion": "m"}
        sent.append((place, f"data: {json.dumps(value)}\r\n\r\n".encode()))

    for at, (kind, said) in enumerate(parts):
        match kind:
            case "text":
                for piece in _cut(said):
                    say(at, {"text": piece})
            case "thinking":
                for piece in _cut(said):
                    say(at, {"text": piece, "thought": True})
            case "call":
                say(at, {"functionCall": {"name": "look", "args": {"for": said}}})
            case "image":
                say(at, {"inlineData": {"mimeType": "image/png", "data": said}})
            case "server tool":
                say(at, {"executableCode": {"language": "PYTHON", "code": said}})
                say(at, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}})
            case "citation":
                source = {"startIndex": 0, "endIndex": 9, "uri": said}
                say(at, {"text": " (see"}, citationMetadata={"citationSources": [source]})
                say(at, {"text": " there) "})
            case "refusal":
                say(at, {"text": said})
            case _:
                raise AssertionError(kind)
    blocked = any(kind == "refusal" for kind, _ in parts)
    say(_END, {"text": ""}, finishReason="SAFETY" if blocked else "STOP")
    return sent


def _ollama(parts: list[Part], id: str) -> list[Placed]:
    sent: list[Placed] = []

    def say(place: int, message: dict[str, Any], **more: Any) -> None:
        message = {"role": "assistant", "content": "", **message}
        value = {"model": id, "message": message, "done": False, **more}
        sent.append((place, json.dumps(value).encode() + b"\n"))

    for at, (kind, said) in enumerate(parts):
        match kind:
            case "text":
                for piece in _cut(said):
                    say(at, {"content": piece})
            case "thinking":
                for piece in _cut(said):
                    say(at, {"thinking": piece})
            case "call":
                function = {"name": "look", "arguments": {"for": said}}
                say(at, {"tool_calls": [{"function": function}]})
            case _:
                raise AssertionError(kind)
    say(_END, {}, done=True, done_reason="stop")
    return sent


_BODIES = {
    "openai-chat": _chat,
    "anthropic-messages": _anthropic,
    "openai-responses": _responses,
    "gemini": _gemini,
    "ollama": _ollama,
}
