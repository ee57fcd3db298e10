"""Ollama's own API: ``/api/chat`` and ``/api/generate``, one JSON object a line.

Sequence: lines with ``done: false`` and a piece of the answer (``message.content``, or
``response`` from generate), and one with ``done: true``, the reason and the counts. Tool calls
come whole, each entry one call: their ``index`` is no key (a model may number all of them 0).

A last line without a reason. Ollama leaves an empty ``done_reason`` out of its JSON, and
empty is how its runner says "the connection closed"; servers from before May 2024 gave none
on good answers either. The two cannot be told apart, and an answer that its runner dropped must
not pass for whole: the reader yields no `Finish` for it, which is `missing-finish`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from unbroken.core.dialects.ask import Ask, said
from unbroken.core.dialects.base import (
    Dialect,
    RequestFacts,
    error_from,
    parse_payload,
)
from unbroken.core.dialects.ollama.ask import read_ollama, write_ollama
from unbroken.core.dialects.ollama.write import OllamaWriter
from unbroken.core.dialects.payloads import (
    as_object,
    bare_error,
    dump,
    number,
    positive,
    record,
    records,
    string,
    strings,
    under,
)
from unbroken.core.events import (
    Block,
    End,
    Event,
    Finish,
    Meaning,
    Open,
    Other,
    ProviderError,
    Reasoning,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request
from unbroken.core.wire.ndjson import encode_ndjson

__all__ = ["Ollama"]

_MEANINGS: dict[str, Meaning] = {
    "stop": "stop",
    "load": "stop",  # an empty prompt loads the model, and
    "unload": "stop",  # with keep_alive 0 unloads it
    "length": "limit",
    "error": "fault",
    "content_filter": "filter",  # not Ollama's own word: see OllamaWriter
}


# The fast path: a line that brings a piece of text and nothing else. A field typed None may
# be absent or null; anything else in it fails to parse, and the line goes the long way.


class _FastMessage(msgspec.Struct, gc=False):
    content: str = ""
    thinking: str | None = None
    tool_calls: None = None
    images: None = None


class _FastLine(msgspec.Struct, gc=False):
    done: bool
    message: _FastMessage | None = None
    response: str = ""
    thinking: str | None = None
    image: None = None
    error: None = None


_decode_fast = msgspec.json.Decoder(_FastLine).decode


class _Reader:
    """See `unbroken.core.dialects.base.Reader`."""

    def __init__(self) -> None:
        self._started = False
        self._calls = 0

    def fork(self) -> _Reader:
        copy = _Reader()
        copy._started, copy._calls = self._started, self._calls
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        return None

    def read(self, frame: Frame) -> list[Event]:
        if self._started:
            try:
                line = _decode_fast(frame.payload)
            except (ValueError, RecursionError):
                return self._read_any(frame)
            message = line.message
            if not line.done and not line.thinking:
                if message is None:
                    if line.response:
                        return [Text(line.response)]
                elif message.content and not message.thinking and not line.response:
                    return [Text(message.content)]
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            error = bare_error(frame)
            return [] if error is None else [error]
        if not frame.payload.strip():
            return []
        value = parse_payload(frame.payload)
        error = error_from(value)
        if error is not None:
            return [error]
        value = as_object(value)
        events: list[Event] = []
        if not self._started:
            self._started = True
            events += [Start(None, string(value.get("model")) or None), Open("other")]
        message = record(value.get("message"))
        thought = string(message.get("thinking")) or string(value.get("thinking"))
        if thought:
            events.append(Reasoning(thought))
        text = string(message.get("content")) or string(value.get("response"))
        if text:
            events.append(Text(text))
        events += [self._call(call) for call in _calls_in(value)]
        if message.get("images") or value.get("image"):
            events.append(Other("image", content=True))
        if value.get("done") is True:
            self._done(value, events)
        return events

    def _call(self, call: dict[str, Any]) -> ToolCall:
        function = record(call.get("function"))
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = json.dumps({} if arguments is None else arguments, ensure_ascii=False)
        index = self._calls
        self._calls += 1
        return ToolCall(
            index,
            arguments,
            id=string(call.get("id")) or None,
            name=string(function.get("name")) or None,
            whole=True,
        )

    def _done(self, value: dict[str, Any], events: list[Event]) -> None:
        given, made = number(value, "prompt_eval_count"), number(value, "eval_count")
        if given is not None or made is not None:
            events.append(UsageReport(given, made))
        reason = string(value.get("done_reason"))
        if reason:
            meaning = _MEANINGS.get(reason, "stop")
            if meaning == "stop" and self._calls:
                meaning = "tool-calls"  # Ollama says "stop" there too
            events.append(Finish(reason, meaning))
        events.append(End("done"))


def _calls_in(value: dict[str, Any]) -> list[dict[str, Any]]:
    return records(record(value.get("message")).get("tool_calls")) or records(
        value.get("tool_calls")
    )


class _Splicer:
    """See `unbroken.core.dialects.base.Splicer`. Lines are alike; they only lose what repeats."""

    def __init__(self, delivered: Received, *, rung: str) -> None:
        self._input = delivered.usage.input
        self._continues = rung == "prefill"

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        if not frame.dispatched or not frame.payload.strip():
            return []
        kinds = {type(event) for event in events}
        if ProviderError in kinds:
            return [frame.raw]
        if not text and not kinds & {ToolCall, Finish, End, UsageReport, Other}:
            return []
        value: dict[str, Any] = dict(record(parse_payload(frame.payload)))
        kept = sum(type(event) is ToolCall for event in events)
        value.pop("thinking", None)
        if "response" in value:
            value["response"] = text
        holder = value
        if "message" in value or "response" not in value:
            message = {"role": "assistant", **record(value.get("message"))}
            message.pop("thinking", None)
            holder = value["message"] = {**message, "content": text}
        calls = records(holder.pop("tool_calls", None))
        if calls and kept:
            holder["tool_calls"] = calls[-kept:]  # repeated ones come first
        self._count(value)
        return [encode_ndjson(dump(value))]

    def _count(self, value: dict[str, Any]) -> None:
        """Count the prompt once, where the first attempt said how long it was."""
        given, made = number(value, "prompt_eval_count"), number(value, "eval_count")
        if self._continues and self._input is not None and given is not None and made is not None:
            again = max(0, given - self._input)
            value["prompt_eval_count"], value["eval_count"] = given - again, made + again


class Ollama(Dialect):
    """``POST /api/chat`` and ``POST /api/generate`` of an Ollama server."""

    name = "ollama"
    wire = "ndjson"
    content_types = ("application/x-ndjson",)
    last_marker = "done"
    silent_finishes = frozenset({"load", "unload"})
    heartbeat = b" "  # a blank line makes ollama's SDK raise; a space before an object does not

    def recognises_path(self, path: str) -> bool:
        return re.search(r"/api/(chat|generate)/?$", path) is not None

    def recognises_frame(self, frame: Frame) -> bool:
        head = frame.payload[:4096]
        return b'"done"' in head and (b'"message"' in head or b'"response"' in head)

    def wants_stream(self, request: Request) -> bool:
        return request.stream_flag is not False  # on unless turned off

    def reader(self) -> _Reader:
        return _Reader()

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> _Splicer:
        return _Splicer(delivered, rung=rung)

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        options = record(body.get("options"))
        seed = number(options, "seed")
        return RequestFacts(
            model=string(body.get("model")),
            deterministic=options.get("temperature") == 0 or (seed is not None and seed >= 0),
            structured=bool(body.get("format")),
            thinking=bool(body.get("think")),
            max_tokens=positive(options, "num_predict"),
            stop=strings(options.get("stop")),
        )

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        body = request.json
        options = {**record(body.get("options")), "num_predict": limit}
        return request.with_json({**body, "options": options})

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        body = request.json
        prompt = body.get("prompt")
        if body.get("raw") is True and isinstance(prompt, str) and not body.get("suffix"):
            return request.with_json({**body, "prompt": prompt + text, **extra.get("body", {})})
        messages = _with_partial(body.get("messages"), text, extra.get("message", {}))
        if messages is None:
            return None  # generate's template would put the text into the user's turn
        return request.with_json({**body, "messages": messages, **extra.get("body", {})})

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        messages = _with_partial(request.json.get("messages"), text, {})
        if messages is None:
            return None
        turn = {"role": "user", "content": instruction}
        return request.with_json({**request.json, "messages": [*messages, turn]})

    def url_for(self, base_url: str, model: str) -> str:
        return under(base_url, "/api/chat")

    def read_ask(self, request: Request) -> Ask | str:
        return said(read_ollama, request)

    def write_ask(self, ask: Ask, model: str) -> dict[str, Any] | str:
        return said(write_ollama, ask, model)

    def writer(
        self, *, id: str, model: str, created: int, asked: Request | None = None
    ) -> OllamaWriter:
        return OllamaWriter(id=id, model=model, created=created, asked=asked)


def _with_partial(given: Any, text: str, more: Mapping[str, Any]) -> list[Any] | None:
    """Return the messages with the partial answer as the last turn, or None if there are none.

    Where the application ended with an assistant's turn of its own, the answer goes on in it.
    """
    if not isinstance(given, list) or not given:
        return None
    last = record(given[-1])
    if last.get("role") == "assistant" and not last.get("tool_calls"):
        return [*given[:-1], {**last, "content": string(last.get("content")) + text, **more}]
    return [*given, {"role": "assistant", "content": text, **more}]
