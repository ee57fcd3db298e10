"""Gemini's Interactions API, whose answers Google keeps and can send again from an event on.

Sequence: ``interaction.created``, status updates, each step opened, written in deltas and
closed, ``interaction.completed`` with status and usage, ``[DONE]``. Every frame names itself
twice (SSE ``event``, JSON ``event_type``: the JSON is believed). Early versions said
``interaction.start`` and ``interaction.complete``.

A frame may carry an ``event_id``, from which the stream can be asked for again; those of
foreground streams recorded in 2026 have none. The other way on, a ``continuation_token``, is no
cursor: it asks for a new interaction with an id of its own, and google-genai does that by itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from unbroken.core.dialects._payload import (
    bare_error,
    dump,
    number,
    parsed,
    positive,
    record,
    records,
    string,
    strings,
)
from unbroken.core.dialects._read_again import asks_for_stream, read_again
from unbroken.core.dialects.base import (
    Answer,
    Cursor,
    Dialect,
    MalformedPayloadError,
    Place,
    RequestFacts,
    Variant,
    error_from,
    parse_payload,
)
from unbroken.core.dialects.gemini_interactions_splice import InteractionsSplicer, write
from unbroken.core.events import (
    Block,
    BlockKind,
    Close,
    End,
    Event,
    Finish,
    Mark,
    Meaning,
    Open,
    Other,
    Ping,
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
from unbroken.core.wire.sse import encode_sse

__all__ = ["GeminiInteractions"]

_MEANINGS: dict[str, Meaning] = {
    "completed": "stop",
    "requires_action": "tool-calls",
    "incomplete": "limit", "budget_exceeded": "limit",
    "requires_continuation": "pause",  # send its token back to go on
    "failed": "fault", "cancelled": "fault",
}  # fmt: skip
_GOING_ON = frozenset({"queued", "in_progress"})
_STEPS: dict[str, BlockKind] = {
    "model_output": "text",
    "thought": "reasoning",
    "function_call": "tool",
}
_NO_CONTENT = frozenset({"user_input"})
_BLOCKED = frozenset({"blocklist", "prohibited_content", "safety", "spii"})


class _TextDelta(msgspec.Struct, gc=False):
    type: Literal["text"]
    text: str
    annotations: None = None


class _FastDelta(msgspec.Struct, gc=False):
    """The fast path: a piece of text. Anything else goes the long way."""

    event_type: Literal["step.delta"]
    index: int
    delta: _TextDelta
    event_id: str | None = None
    metadata: None = None


_decode_fast = msgspec.json.Decoder(_FastDelta).decode


class _Call(msgspec.Struct):
    """A call that the application must run.

    Attributes:
        given: Arguments that came whole with the opening; real streams bring ``{}``.
        pieces: Whether a delta brought arguments.
    """

    index: int
    given: Any = None
    pieces: bool = False


class _Reader:
    """See `unbroken.core.dialects.base.Reader`."""

    def __init__(self) -> None:
        self._started = False
        self._opened: set[int] = set()
        self._calls: dict[int, _Call] = {}  # by step

    def fork(self) -> _Reader:
        copy = _Reader()
        copy._started, copy._opened = self._started, set(self._opened)
        copy._calls = {step: msgspec.structs.replace(c) for step, c in self._calls.items()}
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        found: list[str] = []
        try:
            for payload in payloads:
                fast = _decode_fast(payload)
                if not fast.delta.text or fast.index != block or fast.event_id:
                    return None
                found.append(fast.delta.text)
        except (ValueError, RecursionError):
            return None
        return found

    def read(self, frame: Frame) -> list[Event]:
        try:
            fast = _decode_fast(frame.payload)
        except (ValueError, RecursionError):
            return self._read_any(frame)
        if fast.delta.text and frame.dispatched and fast.index in self._opened:
            text = Text(fast.delta.text, 0, fast.index)
            return [text, Mark(fast.event_id)] if fast.event_id else [text]
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            found = bare_error(frame)
            return [] if found is None else [found]
        payload = frame.payload.strip()
        if not payload:
            return []
        if payload == b"[DONE]":  # says nothing that interaction.completed has not said
            return [Other("[DONE]")]
        value = parse_payload(payload)
        if not isinstance(value, dict):
            error = error_from(value)
            if error is not None:
                return [error]
            msg = f"a JSON {type(value).__name__}, not an object"
            raise MalformedPayloadError(msg)
        events = self._meaning(string(value.get("event_type")) or frame.event, value)
        if mark := string(value.get("event_id")):
            events.append(Mark(mark))
        return events

    def _meaning(self, kind: str, value: dict[str, Any]) -> list[Event]:
        step = number(value, "index") or 0
        match kind:
            case "step.delta":
                return self._opening_of_resumed(step) + self._delta(
                    record(value.get("delta")), step
                )
            case "step.start":
                return self._open(record(value.get("step")), step)
            case "step.stop":
                return self._close(step)
            case "interaction.created" | "interaction.start":
                self._started = True
                given = record(value.get("interaction"))
                model = string(given.get("model")) or string(given.get("agent"))
                return [Start(string(given.get("id")) or None, model)]
            case "interaction.status_update":
                going_on = value.get("status") in _GOING_ON and "continuation_token" not in value
                return [Ping() if going_on else Other(kind), *_usage(value.get("usage"))]
            case "interaction.completed" | "interaction.complete":
                return _completed(record(value.get("interaction")))
            case _:
                error = _error(value, kind)
                return [Other(kind)] if error is None else [error]

    def _opening_of_resumed(self, step: int) -> list[Event]:
        """A stream that was asked for from an event on begins inside a step."""
        if self._started or step in self._opened:
            return []
        self._opened.add(step)
        return [Open("other", 0, step)]

    def _open(self, given: dict[str, Any], step: int) -> list[Event]:
        kind = string(given.get("type"))
        self._opened.add(step)
        events: list[Event] = [Open(_STEPS.get(kind, "other"), 0, step)]
        if kind == "model_output":
            if isinstance(given.get("error"), dict):
                events.append(error_from(given) or ProviderError())
            for part in records(given.get("content")):
                events += _content(part, step)
        elif kind == "thought":
            events += [_thought(part, step) for part in records(given.get("summary"))]
            if given.get("signature"):
                events.append(Reasoning("", 0, step, sealed=True))
        elif kind == "function_call":
            call = self._calls[step] = _Call(len(self._calls), given.get("arguments"))
            id_, name = string(given.get("id")), string(given.get("name"))
            events.append(ToolCall(call.index, block=step, id=id_ or None, name=name or None))
        else:  # hosted tools and their results: nothing that another attempt could go on with
            events.append(Other(kind or "step", content=kind not in _NO_CONTENT))
        return events

    def _delta(self, delta: dict[str, Any], step: int) -> list[Event]:
        match delta.get("type"):
            case "text":
                return _content(delta, step)
            case "thought_summary":
                return [_thought(record(delta.get("content")), step)]
            case "thought_signature":
                return [Reasoning("", 0, step, sealed=True)]
            case "arguments_delta":
                piece = string(delta.get("arguments"))
                if not piece:
                    return []
                call = self._calls.setdefault(step, _Call(len(self._calls)))
                call.pieces = True
                return [ToolCall(call.index, piece, block=step)]
            case kind:
                return [Other(string(kind) or "step.delta", content=True)]

    def _close(self, step: int) -> list[Event]:
        call = self._calls.get(step)
        if call is None:
            return [Close(0, step)]
        arguments = ""
        if call.given and not call.pieces:
            arguments = dump(call.given).decode()
        return [ToolCall(call.index, arguments, block=step, whole=True), Close(0, step)]


def _content(part: dict[str, Any], step: int) -> list[Event]:
    if part.get("type") not in ("text", None):
        return [Other(string(part.get("type")), content=True)]
    events: list[Event] = []
    if text := string(part.get("text")):
        events.append(Text(text, 0, step))
    if part.get("annotations"):
        events.append(Other("annotations", content=True))
    return events


def _thought(part: dict[str, Any], step: int) -> Reasoning:
    return Reasoning(string(part.get("text")), 0, step)


def _completed(given: dict[str, Any]) -> list[Event]:
    events = _usage(given.get("usage"))
    status = string(given.get("status")) or "completed"  # the event's own name says so
    if status not in _GOING_ON:
        events.append(Finish(status, _MEANINGS.get(status, "stop")))
    return [*events, End("interaction.completed")]


def _usage(usage: Any) -> list[Event]:
    if not isinstance(usage, dict) or not usage:
        return []
    return [
        UsageReport(
            number(usage, "total_input_tokens"),
            number(usage, "total_output_tokens"),
            number(usage, "total_cached_tokens"),
            number(usage, "total_thought_tokens"),
        )
    ]


def _error(value: dict[str, Any], kind: str) -> ProviderError | None:
    given = record(value.get("error"))
    code = given.get("code")
    if isinstance(code, str) and "/" in code:  # a URI that names the error
        value = {**value, "error": {**given, "code": code.rstrip("/").rpartition("/")[2]}}
    error = error_from(value, final=GeminiInteractions.final_errors)
    if error is not None and error.code.lower() in _BLOCKED:
        return msgspec.structs.replace(error, retryable=False, refused=True)
    return error or (ProviderError() if kind == "error" else None)


class GeminiInteractions(Dialect):
    """``POST /v1beta/interactions``, and ``GET`` of an interaction as a stream."""

    name = "gemini-interactions"
    wire = "sse"
    last_marker = "interaction.completed"
    explicit_blocks = True
    # A thought without its signature may be refused when it is sent back.
    reissue_after_reasoning = False
    counts_thinking_apart = True
    output_has_reasoning = False
    of_the_account = frozenset(
        {"cached_content", "continuation_token", "environment", "previous_interaction_id"}
    )
    final_errors = frozenset({"continuation_token_expired", "interaction_not_found"})
    variants = (
        Variant(name="google", hosts=re.compile(r"generativelanguage\.googleapis\.com$")),
        Variant(name="vertex", hosts=re.compile(r"aiplatform\.googleapis\.com$")),
    )

    def recognises_path(self, path: str) -> bool:
        return re.search(r"/interactions(/[^/:]+)?/?$", path) is not None

    def recognises_frame(self, frame: Frame) -> bool:
        if b'"event_type"' not in frame.payload[:4096] and not frame.event.startswith(
            ("interaction.", "step.")
        ):
            return False
        kind = string(record(parsed(frame.payload)).get("event_type"))
        return kind.startswith(("interaction.", "step."))

    def wants_stream(self, request: Request) -> bool:
        if request.method.upper() == "GET":  # an interaction that Google keeps, read again
            return asks_for_stream(request)
        return request.stream_flag is True

    def reader(self) -> _Reader:
        return _Reader()

    def splicer(
        self, delivered: Received, *, rung: str, facts: RequestFacts
    ) -> InteractionsSplicer:
        return InteractionsSplicer(delivered, rung=rung, facts=facts)

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        config = record(body.get("generation_config"))
        form = body.get("response_format")
        hosted = [tool for tool in records(body.get("tools")) if tool.get("type") != "function"]
        return RequestFacts(
            model=string(body.get("model")) or string(body.get("agent")),
            deterministic=config.get("temperature") == 0 or number(config, "seed") is not None,
            server_state=body.get("store") is not False
            or bool(body.get("previous_interaction_id")),
            server_work=bool(
                body.get("background") or body.get("agent") or body.get("environment") or hosted
            ),
            structured=any(_is_form(each) for each in (form if isinstance(form, list) else [form]))
            or "json" in string(body.get("response_mime_type")),
            thinking=bool(config.get("thinking_level") or config.get("thinking_summaries")),
            max_tokens=positive(config, "max_output_tokens"),
            stop=strings(config.get("stop_sequences")),
        )

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        config = {**record(request.json.get("generation_config")), "max_output_tokens": limit}
        return request.with_json({**request.json, "generation_config": config})

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        steps = _with_partial(request.json.get("input"), text, extra.get("message", {}))
        if steps is None:
            return None
        return request.with_json({**request.json, "input": steps, **extra.get("body", {})})

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        steps = _with_partial(request.json.get("input"), text, {})
        if steps is None:
            return None
        turn = {"type": "user_input", "content": [{"type": "text", "text": instruction}]}
        return request.with_json({**request.json, "input": [*steps, turn]})

    def cursor(self, request: Request, place: Place) -> Cursor | str:
        if request.host.endswith("aiplatform.googleapis.com"):
            return "how Vertex AI resumes an interaction is not known for sure"
        if request.method.upper() != "GET" and request.json.get("store") is False:
            return "the request turned off that Google keeps the interaction (store)"
        if not place.mark:
            return "its frames carry no event_id"
        if place.content_since_mark:
            return "content came after the last event_id"
        query = {"stream": "true", "last_event_id": place.mark}
        again = read_again(request, collection="/interactions", id=place.id, query=query)
        return "the interaction's id had not arrived" if again is None else Cursor(request=again)

    def url_for(self, base_url: str, model: str) -> str:
        base = base_url.rstrip("/")
        versioned = base.rsplit("/", 1)[-1].startswith("v1")
        return base + ("" if versioned else "/v1beta") + "/interactions"

    def key_headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def encode(self, answer: Answer) -> list[bytes]:
        head = {"id": answer.id, "object": "interaction", "model": answer.model}
        going_on = {"status": "in_progress"}
        frames = [
            write({"event_type": "interaction.created", "interaction": {**head, **going_on}}),
            write({"event_type": "interaction.status_update", "interaction_id": answer.id}
                  | going_on),
        ]  # fmt: skip
        steps = 0

        def step(opening: dict[str, Any], deltas: list[dict[str, Any]]) -> None:
            nonlocal steps
            at = {"index": steps}
            frames.append(write({"event_type": "step.start", **at, "step": opening}))
            frames.extend(write({"event_type": "step.delta", **at, "delta": d}) for d in deltas)
            frames.append(write({"event_type": "step.stop", **at}))
            steps += 1

        if answer.reasoning:
            thoughts: list[dict[str, Any]] = [
                {"type": "thought_summary", "content": {"type": "text", "text": piece}}
                for piece in answer.reasoning
            ]
            seal = {"type": "thought_signature", "signature": "c2k"}
            step({"type": "thought"}, [*thoughts, seal])
        if answer.text or not answer.calls:
            step({"type": "model_output"}, [{"type": "text", "text": t} for t in answer.text])
        for call in answer.calls:
            step(
                {"type": "function_call", "id": call.id, "name": call.name, "arguments": {}},
                [{"type": "arguments_delta", "arguments": piece} for piece in call.arguments],
            )
        status = {"stop": "completed", "tool-calls": "requires_action",
                  "limit": "incomplete"}.get(answer.finish, "completed")  # fmt: skip
        whole: dict[str, Any] = {**head, "status": status}
        if answer.usage is not None:
            given, made = answer.usage
            whole["usage"] = {
                "total_input_tokens": given,
                "total_output_tokens": made,
                "total_tokens": given + made,
            }
        frames.append(write({"event_type": "interaction.completed", "interaction": whole}))
        return [*frames, encode_sse(b"[DONE]", event="done")]


def _is_form(form: Any) -> bool:
    """Whether a response format binds the text to a form."""
    kind = string(record(form).get("type"))
    return bool(record(form)) and (kind not in ("text", "image", "audio", "video")
                                   or "json" in string(record(form).get("mime_type")))  # fmt: skip


def _with_partial(given: Any, text: str, more: Mapping[str, Any]) -> list[Any] | None:
    """Return the input as steps with the partial answer as the last, or None if there is none.

    An input may be a text, one content, or a list of contents or of steps.
    """
    if isinstance(given, str):
        given = [{"type": "text", "text": given}]
    elif isinstance(given, dict):
        given = [given]
    if not isinstance(given, list) or not given:
        return None
    steps = given
    if not all(_is_step(item) for item in given):
        steps = [{"type": "user_input", "content": given}]
    part = {"type": "text", "text": text}
    return [*steps, {"type": "model_output", "content": [part], **more}]


def _is_step(item: Any) -> bool:
    kind = string(record(item).get("type"))
    return kind in _STEPS or kind in _NO_CONTENT or kind.endswith(("_call", "_result"))
