"""Write streamed answers as the providers do, one list of wire frames per dialect.

These writers are plain Python on purpose: the tests must not trust the encoders they test.
A frame is `bytes`; it also says what it is for (`role`), so that faults can be put at a
meaning ("after the fourth text frame", "instead of the finish") and not at a byte.

    answer = Answer(tokens=("One", " two", " three"))
    frames = body("anthropic-messages", answer)
    b"".join(frames)               # the whole body
    [f for f in frames if f.role == "text"]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

__all__ = [
    "CONTENT_TYPES",
    "ALL_DIALECTS",
    "DIALECTS",
    "Answer",
    "Role",
    "ToolCall",
    "WireFrame",
    "body",
    "content_type",
    "line_frame",
    "sse_frame",
    "tokens_of",
]

# start    lifecycle before any content (role-only delta, message_start, response.created ...)
# open     opens a block or item            close   closes it, repeats it (`.done`)
# finish   says why the model stopped       usage   token counts in a frame of their own
# end      the last marker ([DONE], message_stop); none where the dialect has none or where
#          the finish is itself the last marker (Responses, Gemini, Ollama)
Role = Literal[
    "start", "open", "reasoning", "text", "tool", "close", "finish", "usage", "end", "other"
]
Finish = Literal["stop", "length", "filter", "tool"]

DIALECTS = ("openai-chat", "openai-responses", "anthropic-messages", "gemini", "ollama")
ALL_DIALECTS = (*DIALECTS, "cohere")
CONTENT_TYPES = {
    "openai-chat": "text/event-stream; charset=utf-8",
    "openai-responses": "text/event-stream; charset=utf-8",
    "anthropic-messages": "text/event-stream; charset=utf-8",
    "gemini": "text/event-stream",
    "ollama": "application/x-ndjson",
    "cohere": "text/event-stream",
}


class WireFrame(bytes):
    """The exact bytes of one SSE event or NDJSON line, and what they are for."""

    role: Role

    def __new__(cls, raw: bytes, role: Role = "other") -> Self:
        frame = super().__new__(cls, raw)
        frame.role = role
        return frame

    @property
    def payload(self) -> Any:
        """The JSON value inside it; only for frames with one `data` line or one JSON line."""
        found = re.search(rb"^(?:data: ?)?(?=[{\[])(.*?)\r?$", self, re.MULTILINE)
        assert found is not None, f"no JSON in {bytes(self)!r}"
        return json.loads(found.group(1))

    def with_payload(self, payload: Any) -> WireFrame:
        """The same frame around another JSON value."""
        value = _dumps(payload)
        raw = re.sub(
            rb"^(data: ?)?(?=[{\[]).*?(\r?)$",
            lambda m: (m[1] or b"") + value + m[2],
            self,
            count=1,
            flags=re.MULTILINE,
        )
        return WireFrame(raw, self.role)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A function call of the model; `fragments` joined are its arguments as JSON text."""

    name: str
    fragments: tuple[str, ...]
    id: str = "call_1"

    @property
    def arguments(self) -> str:
        return "".join(self.fragments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model says, before any dialect.

    Attributes:
        tokens: The visible text, one text frame each.
        reasoning: Thinking shown before the text, one frame each.
        tools: Calls made after the text.
        finish: Why it stopped; None takes ``tool`` if there are calls, else ``stop``.
        usage: Whether token counts are sent where the dialect makes that a choice.
        tag: Goes into every id, so that two attempts at one answer can be told apart.
    """

    tokens: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    tools: tuple[ToolCall, ...] = ()
    finish: Finish | None = None
    usage: bool = True
    tag: str = "1"
    model: str = "test-model"
    prompt_tokens: int = 11

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def why(self) -> Finish:
        return self.finish or ("tool" if self.tools else "stop")

    @property
    def output_tokens(self) -> int:
        return len(self.tokens) + len(self.reasoning) + sum(len(t.fragments) for t in self.tools)


def tokens_of(text: str) -> tuple[str, ...]:
    """Cut text into words with their leading space; joined they are the text again."""
    return tuple(re.findall(r"\s*\S+|\s+$", text))


def body(dialect: str, answer: Answer) -> list[WireFrame]:
    """Return the wire frames of `answer`, first to last, as that provider would send them."""
    return _WRITERS[dialect](answer)


def content_type(dialect: str) -> str:
    return CONTENT_TYPES[dialect]


def sse_frame(
    payload: Any, role: Role = "other", *, event: str | None = None, eol: str = "\n"
) -> WireFrame:
    """One SSE event around a JSON value (or a ready string such as ``[DONE]``)."""
    data = payload if isinstance(payload, str) else _dumps(payload).decode()
    head = f"event: {event}{eol}" if event is not None else ""
    return WireFrame(f"{head}data: {data}{eol}{eol}".encode(), role)


def line_frame(payload: Any, role: Role = "other") -> WireFrame:
    """One NDJSON line."""
    return WireFrame(_dumps(payload) + b"\n", role)


def _dumps(payload: Any) -> bytes:
    # Providers send UTF-8 as it is, not \u escapes: only so can a cut fall inside a character.
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def _openai_chat(answer: Answer) -> list[WireFrame]:
    def frame(role: Role, delta: dict[str, Any], finish: str | None = None) -> WireFrame:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse_frame(chunk | {"choices": [choice]}, role)

    chunk: dict[str, Any] = {
        "id": f"chatcmpl-{answer.tag}",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": answer.model,
        "system_fingerprint": "fp_test",
    }
    if answer.usage:
        chunk["usage"] = None
    out = [frame("start", {"role": "assistant", "content": "", "refusal": None})]
    out += [frame("reasoning", {"reasoning_content": t}) for t in answer.reasoning]
    out += [frame("text", {"content": t}) for t in answer.tokens]
    for index, call in enumerate(answer.tools):
        function = {"name": call.name, "arguments": ""}
        head = {"index": index, "id": call.id, "type": "function", "function": function}
        out.append(frame("open", {"tool_calls": [head]}))
        out += [
            frame("tool", {"tool_calls": [{"index": index, "function": {"arguments": part}}]})
            for part in call.fragments
        ]
    reasons = {"stop": "stop", "length": "length", "filter": "content_filter", "tool": "tool_calls"}
    out.append(frame("finish", {}, reasons[answer.why]))
    if answer.usage:
        usage = {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.prompt_tokens + answer.output_tokens,
        }
        out.append(sse_frame(chunk | {"choices": [], "usage": usage}, "usage"))
    out.append(sse_frame("[DONE]", "end"))
    return out


class _ResponsesWriter:
    """Numbers the events; keeps the finished items for the terminal event."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.frames: list[WireFrame] = []
        self.output: list[dict[str, Any]] = []

    def emit(self, role: Role, kind: str, **fields: Any) -> None:
        payload = {"type": kind, "sequence_number": len(self.frames), **fields}
        self.frames.append(sse_frame(payload, role, event=kind))

    def response(self, status: str, **fields: Any) -> dict[str, Any]:
        return {
            "id": f"resp_{self.answer.tag}",
            "object": "response",
            "created_at": 1_790_000_000,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": self.answer.model,
            "output": [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "store": False,
            "usage": None,
        } | fields

    def item(self, opened: dict[str, Any], done: dict[str, Any], write: Callable[[], None]) -> None:
        index = len(self.output)
        added = "response.output_item.added"
        self.emit("open", added, output_index=index, item=opened | {"status": "in_progress"})
        write()
        done = done | {"status": "completed"}
        self.emit("close", "response.output_item.done", output_index=index, item=done)
        self.output.append(done)

    def reasoning(self) -> None:
        item_id, text = f"rs_{self.answer.tag}", "".join(self.answer.reasoning)
        base = {"id": item_id, "type": "reasoning"}
        at = {"item_id": item_id, "output_index": len(self.output), "summary_index": 0}
        kind = "response.reasoning_summary"
        done_part = {"type": "summary_text", "text": text}

        def write() -> None:
            self.emit("open", f"{kind}_part.added", **at, part=done_part | {"text": ""})
            for token in self.answer.reasoning:
                self.emit("reasoning", f"{kind}_text.delta", **at, delta=token)
            self.emit("close", f"{kind}_text.done", **at, text=text)
            self.emit("close", f"{kind}_part.done", **at, part=done_part)

        self.item(base | {"summary": []}, base | {"summary": [done_part]}, write)

    def message(self) -> None:
        item_id, text = f"msg_{self.answer.tag}", self.answer.text
        base = {"id": item_id, "type": "message", "role": "assistant"}
        at = {"item_id": item_id, "output_index": len(self.output), "content_index": 0}
        done_part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

        def write() -> None:
            self.emit("open", "response.content_part.added", **at, part=done_part | {"text": ""})
            for token in self.answer.tokens:
                self.emit("text", "response.output_text.delta", **at, delta=token, logprobs=[])
            self.emit("close", "response.output_text.done", **at, text=text, logprobs=[])
            self.emit("close", "response.content_part.done", **at, part=done_part)

        self.item(base | {"content": []}, base | {"content": [done_part]}, write)

    def call(self, number: int, call: ToolCall) -> None:
        item_id = f"fc_{self.answer.tag}_{number}"
        base = {"id": item_id, "type": "function_call", "call_id": call.id, "name": call.name}
        at = {"item_id": item_id, "output_index": len(self.output)}
        kind = "response.function_call_arguments"

        def write() -> None:
            for part in call.fragments:
                self.emit("tool", f"{kind}.delta", **at, delta=part)
            self.emit("close", f"{kind}.done", **at, name=call.name, arguments=call.arguments)

        self.item(base | {"arguments": ""}, base | {"arguments": call.arguments}, write)


def _openai_responses(answer: Answer) -> list[WireFrame]:
    out = _ResponsesWriter(answer)
    out.emit("start", "response.created", response=out.response("in_progress"))
    out.emit("start", "response.in_progress", response=out.response("in_progress"))
    if answer.reasoning:
        out.reasoning()
    if answer.tokens or not answer.tools:
        out.message()
    for number, call in enumerate(answer.tools):
        out.call(number, call)
    usage = {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": len(answer.reasoning)},
        "total_tokens": answer.prompt_tokens + answer.output_tokens,
    }
    cut_by = {"length": "max_output_tokens", "filter": "content_filter"}.get(answer.why)
    status = "incomplete" if cut_by else "completed"
    details = {"reason": cut_by} if cut_by else None
    whole = out.response(status, output=out.output, usage=usage, incomplete_details=details)
    out.emit("finish", f"response.{status}", response=whole)
    return out.frames


def _anthropic_messages(answer: Answer) -> list[WireFrame]:
    out: list[WireFrame] = []
    blocks = 0

    def emit(role: Role, kind: str, **fields: Any) -> None:
        out.append(sse_frame({"type": kind, **fields}, role, event=kind))

    def block(opened: dict[str, Any], role: Role, deltas: Iterable[dict[str, Any]]) -> None:
        nonlocal blocks
        emit("open", "content_block_start", index=blocks, content_block=opened)
        if blocks == 0:
            emit("other", "ping")
        for delta in deltas:
            # the signature closes a thinking block; it is nothing that a user sees
            is_signature = delta["type"] == "signature_delta"
            kind: Role = "close" if is_signature else role
            emit(kind, "content_block_delta", index=blocks, delta=delta)
        emit("close", "content_block_stop", index=blocks)
        blocks += 1

    message: dict[str, Any] = {
        "id": f"msg_{answer.tag}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": answer.prompt_tokens, "output_tokens": 1},
    }
    emit("start", "message_start", message=message)
    if answer.reasoning:
        deltas = [{"type": "thinking_delta", "thinking": t} for t in answer.reasoning]
        deltas.append({"type": "signature_delta", "signature": "c2lnbmF0dXJl"})
        block({"type": "thinking", "thinking": "", "signature": ""}, "reasoning", deltas)
    if answer.tokens:
        deltas = [{"type": "text_delta", "text": t} for t in answer.tokens]
        block({"type": "text", "text": ""}, "text", deltas)
    for call in answer.tools:
        # a first empty fragment is what the provider sends
        parts = ("", *call.fragments)
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        block({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, "tool", deltas)
    reasons = {"stop": "end_turn", "length": "max_tokens", "filter": "refusal", "tool": "tool_use"}
    delta = {"stop_reason": reasons[answer.why], "stop_sequence": None}
    emit("finish", "message_delta", delta=delta, usage={"output_tokens": answer.output_tokens})
    emit("end", "message_stop")
    return out


def _gemini(answer: Answer) -> list[WireFrame]:
    sent = 0

    def frame(role: Role, parts: Sequence[dict[str, Any]], finish: str | None = None) -> WireFrame:
        nonlocal sent
        sent += 1
        candidate: dict[str, Any] = {
            "content": {"parts": list(parts), "role": "model"},
            "index": 0,
        }
        if finish is not None:
            candidate["finishReason"] = finish
        payload = {
            "candidates": [candidate],
            "usageMetadata": {
                "promptTokenCount": answer.prompt_tokens,
                "candidatesTokenCount": sent,
                "totalTokenCount": answer.prompt_tokens + sent,
            },
            "modelVersion": answer.model,
            "responseId": f"gem-{answer.tag}",
        }
        return sse_frame(payload, role, eol="\r\n")

    reasons = {"stop": "STOP", "length": "MAX_TOKENS", "filter": "SAFETY", "tool": "STOP"}
    out = [frame("reasoning", [{"text": t, "thought": True}]) for t in answer.reasoning]
    out += [frame("text", [{"text": t}]) for t in answer.tokens]
    for call in answer.tools:  # whole calls only: this dialect has no fragments
        arguments = json.loads(call.arguments)
        out.append(frame("tool", [{"functionCall": {"name": call.name, "args": arguments}}]))
    # The finish rides on a part without text, as the newer models send it.
    out.append(frame("finish", [{"text": ""}], reasons[answer.why]))
    return out


def _ollama(answer: Answer) -> list[WireFrame]:
    def frame(role: Role, message: dict[str, Any], **fields: Any) -> WireFrame:
        payload = {
            "model": answer.model,
            "created_at": "2026-11-20T10:00:00.000000Z",
            "message": {"role": "assistant", "content": ""} | message,
            "done": False,
        }
        return line_frame(payload | fields, role)

    out = [frame("reasoning", {"thinking": t}) for t in answer.reasoning]
    out += [frame("text", {"content": t}) for t in answer.tokens]
    for call in answer.tools:  # whole calls only
        function = {"name": call.name, "arguments": json.loads(call.arguments)}
        out.append(frame("tool", {"tool_calls": [{"function": function}]}))
    counts = {
        "total_duration": 5_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": answer.prompt_tokens,
        "prompt_eval_duration": 1_000_000,
        "eval_count": answer.output_tokens,
        "eval_duration": 3_000_000,
    }
    reason = "length" if answer.why == "length" else "stop"
    out.append(frame("finish", {}, done=True, done_reason=reason, **counts))
    return out


def _cohere(answer: Answer) -> list[WireFrame]:
    out: list[WireFrame] = []
    blocks = 0

    def emit(role: Role, kind: str, **fields: Any) -> None:
        out.append(sse_frame({"type": kind, **fields}, role, event=kind))

    def block(kind: str, role: Role, tokens: Iterable[str]) -> None:
        nonlocal blocks
        opened = {"message": {"content": {"type": kind, kind: ""}}}
        emit("open", "content-start", index=blocks, delta=opened)
        for token in tokens:
            said = {"message": {"content": {kind: token}}}
            emit(role, "content-delta", index=blocks, delta=said)
        emit("close", "content-end", index=blocks)
        blocks += 1

    message: dict[str, Any] = {"role": "assistant", "content": [], "tool_plan": ""}
    message |= {"tool_calls": [], "citations": []}
    emit("start", "message-start", id=f"co-{answer.tag}", delta={"message": message})
    if answer.reasoning:
        block("thinking", "reasoning", answer.reasoning)
    if answer.tokens:
        block("text", "text", answer.tokens)
    for index, call in enumerate(answer.tools):
        head: dict[str, Any] = {"id": call.id, "type": "function"}
        head["function"] = {"name": call.name, "arguments": ""}
        emit("open", "tool-call-start", index=index, delta={"message": {"tool_calls": head}})
        for part in call.fragments:
            more = {"message": {"tool_calls": {"function": {"arguments": part}}}}
            emit("tool", "tool-call-delta", index=index, delta=more)
        emit("close", "tool-call-end", index=index)
    reasons = {"stop": "COMPLETE", "length": "MAX_TOKENS", "filter": "ERROR", "tool": "TOOL_CALL"}
    counts = {"input_tokens": answer.prompt_tokens, "output_tokens": answer.output_tokens}
    usage = {"billed_units": counts, "tokens": counts}
    emit("finish", "message-end", delta={"finish_reason": reasons[answer.why], "usage": usage})
    return out


_WRITERS: dict[str, Callable[[Answer], list[WireFrame]]] = {
    "openai-chat": _openai_chat,
    "openai-responses": _openai_responses,
    "anthropic-messages": _anthropic_messages,
    "gemini": _gemini,
    "ollama": _ollama,
    "cohere": _cohere,
}
