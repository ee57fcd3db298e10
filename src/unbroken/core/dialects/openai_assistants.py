"""OpenAI's Assistants: runs of a thread, read and judged.

Sequence: the run created and under way, its steps (tools, then a message), the message's deltas,
``thread.run.completed``, ``done``. The SSE event alone names what a payload is.

A run writes into its thread, and a second one would write again: nothing is continued here, and a
run is tried again only while nothing but a status arrived. OpenAI switches this API off in
favour of Responses (2026), so there is no more to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from unbroken.core.dialects.base import (
    Answer,
    Dialect,
    PlainReader,
    RequestFacts,
    Variant,
    error_from,
    parse_payload,
)
from unbroken.core.dialects.payloads import (
    as_object,
    bare_error,
    number,
    positive,
    record,
    records,
    sse,
    string,
    under,
)
from unbroken.core.events import (
    Close,
    End,
    Event,
    Finish,
    Meaning,
    Open,
    Other,
    ProviderError,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.request import Request
from unbroken.core.wire.sse import encode_sse

__all__ = ["OpenAIAssistants"]

_MEANINGS: dict[str, Meaning] = {
    "completed": "stop",
    "requires_action": "tool-calls",
    "incomplete": "limit",
    "failed": "fault", "cancelled": "fault", "expired": "fault",
}  # fmt: skip
_PATH = re.compile(r"/threads/([^/]+/)?runs(/[^/]+/submit_tool_outputs)?/?$")


class _Reader(PlainReader):
    """See `unbroken.core.dialects.base.Reader`. Each message of the run is a block."""

    def __init__(self) -> None:
        self._started = False
        self._messages: dict[str, int] = {}
        self._calls: dict[tuple[str, int], int] = {}  # (step, index in it) -> ours

    def read(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            found = bare_error(frame)
            return [] if found is None else [found]
        payload = frame.payload.strip()
        if not payload:
            return []
        if payload == b"[DONE]":
            return [End("[DONE]")]
        value = parse_payload(payload)
        kind = frame.event
        if kind == "error" or kind == "message":  # a plain error object, or an error body
            error = error_from(value) or error_from({"error": value})
            if error is not None and (kind == "error" or "error" in record(value)):
                return [error]
        value = as_object(value)
        if kind.startswith("thread.run.step."):
            return self._step(kind, value)
        if kind.startswith("thread.run."):
            return self._run(kind, value)
        if kind.startswith("thread.message."):
            return self._message(kind, value)
        return [Other(kind)]

    def _run(self, kind: str, run: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Start(string(run.get("id")) or None, string(run.get("model"))))
        reason = kind.removeprefix("thread.run.")
        meaning = _MEANINGS.get(reason)
        if meaning is None:
            return events or [Other(kind)]
        events += _usage(run.get("usage"))
        if meaning == "fault":
            error = error_from({"error": record(run.get("last_error")) or {"code": reason}})
            events.append(error or ProviderError(code=reason))
        if string(record(run.get("incomplete_details")).get("reason")) == "content_filter":
            meaning = "filter"
        return [*events, Finish(reason, meaning)]

    def _message(self, kind: str, message: dict[str, Any]) -> list[Event]:
        block = self._messages.setdefault(string(message.get("id")), len(self._messages))
        if kind == "thread.message.created":
            return [Open("text", 0, block)]
        if kind in ("thread.message.completed", "thread.message.incomplete"):
            return [Close(0, block)]
        events: list[Event] = []
        for part in records(record(message.get("delta")).get("content")):
            if part.get("type") != "text":
                events.append(Other(string(part.get("type")), content=True))
                continue
            written = record(part.get("text"))
            if text := string(written.get("value")):
                events.append(Text(text, 0, block))
            if written.get("annotations"):
                events.append(Other("annotations", content=True))
        return events or [Other(kind)]

    def _step(self, kind: str, step: dict[str, Any]) -> list[Event]:
        if kind != "thread.run.step.delta":
            return [Other(kind)]
        details = record(record(step.get("delta")).get("step_details"))
        events: list[Event] = []
        for position, call in enumerate(records(details.get("tool_calls"))):
            if call.get("type") != "function":  # code, file search: run at OpenAI
                events.append(Other(string(call.get("type")), content=True))
                continue
            at = number(call, "index")
            key = (string(step.get("id")), position if at is None else at)
            function = record(call.get("function"))
            events.append(
                ToolCall(
                    self._calls.setdefault(key, len(self._calls)),
                    string(function.get("arguments")),
                    id=string(call.get("id")) or None,
                    name=string(function.get("name")) or None,
                )
            )
        return events or [Other(kind)]


def _usage(usage: Any) -> list[Event]:
    if not isinstance(usage, dict):
        return []
    return [
        UsageReport(
            number(usage, "prompt_tokens"),
            number(usage, "completion_tokens"),
            number(usage.get("prompt_token_details"), "cached_tokens"),
            number(usage.get("completion_tokens_details"), "reasoning_tokens"),
        )
    ]


class OpenAIAssistants(Dialect):
    """``POST /v1/threads/{id}/runs`` and what goes on with a run."""

    name = "openai-assistants"
    wire = "sse"
    last_marker = "[DONE]"
    headers: ClassVar[Mapping[str, str]] = {"openai-beta": "assistants=v2"}
    explicit_blocks = True
    of_the_account = frozenset({"assistant_id", "thread", "tool_resources"})
    reissue_after_reasoning = False
    final_errors = frozenset({"invalid_prompt"})
    variants = (
        Variant(name="azure", hosts=re.compile(r"\.azure\.com$")),
        Variant(name="openai", hosts=re.compile(r"(^|\.)openai\.com$")),
    )

    def recognises_path(self, path: str) -> bool:
        return _PATH.search(path) is not None

    def recognises_frame(self, frame: Frame) -> bool:
        return frame.event.startswith("thread.")

    def reader(self) -> _Reader:
        return _Reader()

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        return RequestFacts(
            model=string(body.get("model")),
            server_state=True,
            server_work=True,
            structured=record(body.get("response_format")).get("type") not in (None, "text"),
            max_tokens=positive(body, "max_completion_tokens"),
        )

    def url_for(self, base_url: str, model: str) -> str:
        return under(base_url, "/threads/runs")

    def encode(self, answer: Answer) -> list[bytes]:
        run: dict[str, Any] = {"id": answer.id, "object": "thread.run", "model": answer.model}
        frames = [
            sse({**run, "status": status}, event=f"thread.run.{kind}")
            for kind, status in (("created", "queued"), ("in_progress", "in_progress"))
        ]
        if answer.text or not answer.calls:
            head = {"id": f"msg_{answer.id}", "object": "thread.message"}
            frames.append(sse({**head, "content": []}, event="thread.message.created"))
            for piece in answer.text:
                part = {"index": 0, "type": "text", "text": {"value": piece, "annotations": []}}
                delta = {**head, "object": "thread.message.delta", "delta": {"content": [part]}}
                frames.append(sse(delta, event="thread.message.delta"))
            text = {"type": "text", "text": {"value": "".join(answer.text), "annotations": []}}
            frames.append(sse({**head, "content": [text]}, event="thread.message.completed"))
        for index, call in enumerate(answer.calls):
            for at, piece in enumerate(("", *call.arguments)):
                named = {"id": call.id} if not at else {}
                function = {"arguments": piece} | ({"name": call.name} if not at else {})
                each = {"index": index, "type": "function", **named, "function": function}
                details = {"type": "tool_calls", "tool_calls": [each]}
                step = {"id": f"step_{answer.id}", "delta": {"step_details": details}}
                frames.append(sse(step, event="thread.run.step.delta"))
        end = {"stop": "completed", "tool-calls": "requires_action"}.get(
            answer.finish, "incomplete"
        )
        why = {"limit": "max_completion_tokens", "filter": "content_filter"}.get(answer.finish)
        if answer.usage is not None:
            given, made = answer.usage
            run["usage"] = {"prompt_tokens": given, "completion_tokens": made}
        whole = {**run, "status": end, "incomplete_details": {"reason": why} if why else None}
        return [*frames, sse(whole, event=f"thread.run.{end}"), encode_sse(b"[DONE]", event="done")]
