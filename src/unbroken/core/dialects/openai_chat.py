"""OpenAI Chat Completions, and the many services that speak it.

Sequence: a role delta, content deltas, a delta with ``finish_reason`` for each choice,
perhaps a usage frame without choices, ``[DONE]``. Every field is optional in real streams.
``[DONE]`` says "the server wrote its last line", not "success": vLLM, SGLang and TGI send it
after an error too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from unbroken.core.dialects._llama_stream import llama_cursor
from unbroken.core.dialects._payload import (
    number,
    parsed,
    positive,
    record,
    records,
    sse,
    strings,
    under,
)
from unbroken.core.dialects.ask import Ask, said
from unbroken.core.dialects.base import (
    Cursor,
    Dialect,
    MalformedPayloadError,
    Place,
    RequestFacts,
    Variant,
    error_from,
    parse_payload,
)
from unbroken.core.dialects.openai_chat_ask import read_chat, write_chat
from unbroken.core.dialects.openai_chat_write import ChatWriter
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
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request

__all__ = ["OpenAIChat"]

_MEANINGS: dict[str, Meaning] = {
    "stop": "stop", "eos_token": "stop", "stop_sequence": "stop", "end_turn": "stop",
    "tool_calls": "tool-calls", "function_call": "tool-calls",
    "length": "limit", "max_tokens": "limit", "model_length": "limit",
    "content_filter": "filter",
    "error": "fault",  # Mistral, OpenRouter
    "abort": "fault",  # SGLang
    "insufficient_system_resource": "fault",  # DeepSeek: interrupted
}  # fmt: skip
_LIMITS = ("max_completion_tokens", "max_tokens")
# A form for the answer beside `response_format`: vLLM's, SGLang's and llama.cpp's own fields.
_GRAMMARS = (
    "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs",
    "json_schema", "grammar", "regex", "ebnf",
)  # fmt: skip


# The fast path ----------------------------------------------------------------------------
# Nearly every frame of a healthy stream is one choice with a piece of text. A field typed
# None may be absent or null; anything else in it fails to parse, and the frame goes the
# long way, which alone decides what frames mean.


class _Delta(msgspec.Struct, gc=False):
    content: str
    refusal: None = None
    reasoning_content: None = None
    reasoning: None = None
    tool_calls: None = None
    function_call: None = None
    audio: None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta
    index: int = 0
    finish_reason: None = None


class _Payload(msgspec.Struct, gc=False):
    choices: tuple[_Choice]
    usage: None = None
    error: None = None
    x_groq: None = None


_decode_fast = msgspec.json.Decoder(_Payload).decode


class _Reader:
    """See `unbroken.core.dialects.base.Reader`."""

    def __init__(self) -> None:
        self._started = False
        self._choices: set[int] = set()
        # (choice, index on the wire) -> our index and the id it began with
        self._calls: dict[tuple[int, int], tuple[int, str]] = {}

    def fork(self) -> _Reader:
        copy = _Reader()
        copy._started = self._started
        copy._choices = set(self._choices)
        copy._calls = dict(self._calls)
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        found: list[str] = []
        try:
            for payload in payloads:
                (only,) = _decode_fast(payload).choices
                text = only.delta.content
                if not text or only.index != choice:
                    return None
                found.append(text)
        except (ValueError, RecursionError):
            return None
        return found

    def read(self, frame: Frame) -> list[Event]:
        if self._started:
            try:
                (choice,) = _decode_fast(frame.payload).choices
            except (ValueError, RecursionError):
                return self._read_any(frame)
            if choice.delta.content and choice.index in self._choices:
                return [Text(choice.delta.content, choice.index)]
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            return _evidence(frame)
        if frame.payload.strip() == b"[DONE]":
            return [End("[DONE]")]
        if not frame.payload.strip():
            return []
        value = parse_payload(frame.payload)
        error = error_from(value) or _groq_error(value)
        if error is not None:
            return [error]
        if not isinstance(value, dict):
            msg = f"a JSON {type(value).__name__}, not an object"
            raise MalformedPayloadError(msg)
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Start(_string(value.get("id")) or None, _string(value.get("model"))))
        choices = value.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._read_choice(choice, events)
        usage = value.get("usage")
        if not isinstance(usage, dict) and isinstance(value.get("x_groq"), dict):
            usage = value["x_groq"].get("usage")
        if isinstance(usage, dict):
            events.append(_usage(usage))
        return events

    def _read_choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        if index not in self._choices:
            self._choices.add(index)
            events.append(Open("other", index))
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        for key in ("reasoning_content", "reasoning"):
            if isinstance(thought := delta.get(key), str) and thought:
                events.append(Reasoning(thought, index))
                break
        _read_content(delta.get("content"), index, events)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            events.append(Refusal(refusal, index))
        if isinstance(calls := delta.get("tool_calls"), list):
            for position, call in enumerate(calls):
                if isinstance(call, dict):
                    events.append(self._read_call(call, index, position))
        if isinstance(call := delta.get("function_call"), dict):
            events.append(self._read_call({"index": 0, "function": call}, index, 0))
        if delta.get("audio"):
            events.append(Other("audio", content=True))
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            events.append(Finish(reason, _MEANINGS.get(reason.lower(), "stop"), index))

    def _read_call(self, call: dict[str, Any], choice: int, position: int) -> ToolCall:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        custom = call.get("custom")  # custom tools take free text
        kind = "function"
        arguments = function.get("arguments")
        if isinstance(custom, dict):
            function, arguments, kind = custom, custom.get("input"), "custom"
        id_ = _string(call.get("id"))
        name = _string(function.get("name"))
        at = call.get("index")
        if not isinstance(at, int):
            # Mistral may leave the index out: then an id opens a call, and none goes on.
            known = [wire for (c, wire), (_, first) in self._calls.items() if c == choice
                     and first == id_]  # fmt: skip
            at = known[0] if id_ and known else len(self._calls) if id_ else position
        ours, first_id = self._calls.get((choice, at), (-1, ""))
        if ours < 0 or (id_ and name and first_id and id_ != first_id):
            # A new call; also where a service numbers all of its calls 0 (Mistral).
            ours = sum(1 for c, _ in self._calls if c == choice)
            while (choice, at) in self._calls:
                at += 1000
            self._calls[choice, at] = (ours, id_)
            wire = call.get("index")
            if isinstance(wire, int) and at != wire:
                self._calls[choice, wire] = (ours, id_)
        if isinstance(arguments, dict | list):  # whole arguments, not yet a string
            arguments = msgspec.json.encode(arguments).decode()
        return ToolCall(
            ours,
            _string(arguments),
            choice,
            id=id_ or None,
            name=name or None,
            kind="custom" if kind == "custom" else "function",
        )


def _read_content(content: Any, choice: int, events: list[Event]) -> None:
    """Read a delta's content: a string, or Mistral's list of parts."""
    if isinstance(content, str):
        if content:
            events.append(Text(content, choice))
        return
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            continue
        kind = part.get("type")
        if kind == "text" and isinstance(part.get("text"), str):
            events.append(Text(part["text"], choice))
        elif kind == "thinking":
            inner = part.get("thinking")
            events.extend(
                Reasoning(piece["text"], choice)
                for piece in (inner if isinstance(inner, list) else ())
                if isinstance(piece, dict) and isinstance(piece.get("text"), str)
            )
        else:
            events.append(Other(f"content part {kind}", content=True))


def _evidence(frame: Frame) -> list[Event]:
    """Read a block that the wire does not dispatch: llama.cpp wrote errors as ``error: {...}``."""
    for line in frame.unknown:
        name, _, rest = line.partition(":")
        if name.strip() == "error":
            try:
                value = parse_payload(rest.strip().encode())
            except MalformedPayloadError:
                value = rest.strip()
            found = error_from({"error": value})
            return [found or ProviderError(message=rest.strip())]
    return []


def _groq_error(value: Any) -> ProviderError | None:
    groq = value.get("x_groq") if isinstance(value, dict) else None
    return error_from(groq) if isinstance(groq, dict) else None


def _usage(usage: dict[str, Any]) -> UsageReport:
    def number(source: Any, key: str) -> int | None:
        value = source.get(key) if isinstance(source, dict) else None
        return value if isinstance(value, int) else None

    return UsageReport(
        number(usage, "prompt_tokens"),
        number(usage, "completion_tokens"),
        number(usage.get("prompt_tokens_details"), "cached_tokens"),
        number(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""


class _Splicer:
    """See `unbroken.core.dialects.base.Splicer`."""

    def __init__(self, delivered: Received, *, rung: str, several: bool) -> None:
        self._first: dict[str, Any] = {}
        if delivered.skeleton:
            value = parse_payload(delivered.skeleton[0][1])
            self._first = value if isinstance(value, dict) else {}
        self._call_offset = 0 if rung == "replay" else len(delivered.calls)
        self._input = delivered.usage.input
        self._continues = rung == "prefill"
        self._several = several
        # Choices that the consumer saw begin: they have said their role.
        self._begun = {
            number(choice, "index") or 0
            for _, payload in delivered.skeleton
            for choice in records(record(parsed(payload)).get("choices"))
        }

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        if any(type(event) in (End, ProviderError) for event in events):
            return [frame.raw]
        kept = {type(event) for event in events}
        if not text and not kept & {ToolCall, Finish, UsageReport, Refusal, Other}:
            return []
        value = parsed(frame.payload)
        if not isinstance(value, dict):
            return [frame.raw]
        payload: dict[str, Any] = dict(value)
        for key in ("id", "created"):
            if key in payload and key in self._first:
                payload[key] = self._first[key]
        given = records(payload.get("choices"))
        if self._several:
            payload["choices"] = self._of_several(given, events)
            if given and not payload["choices"]:
                return []  # never a choice-less frame where there was none: SDKs stumble
        else:
            calls = sum(type(event) is ToolCall for event in events)
            payload["choices"] = [self._choice(choice, calls, text) for choice in given]
        if isinstance(usage := payload.get("usage"), dict):
            payload["usage"] = self._usage(usage)
        return [sse(payload)]

    def _of_several(self, given: list[dict[str, Any]], events: list[Event]) -> list[dict[str, Any]]:
        """Return the choices of a frame of which something is new, with no more than that."""
        written = []
        others = any(type(event) is Other for event in events)
        for choice in given:
            index = number(choice, "index") or 0
            own = [event for event in events if getattr(event, "choice", None) == index]
            kinds = [type(event) for event in own]
            if not others and not set(kinds) & {Text, ToolCall, Finish, Refusal}:
                continue
            text = "".join(event.text for event in own if type(event) is Text)
            changed = self._choice(choice, kinds.count(ToolCall), text)
            if index not in self._begun:
                self._begun.add(index)
                changed["delta"] = {"role": "assistant", **changed["delta"]}
            written.append(changed)
        return written

    def _choice(self, choice: dict[str, Any], calls: int, text: str) -> dict[str, Any]:
        delta = dict(record(choice.get("delta")))
        for key in ("role", "reasoning", "reasoning_content", "reasoning_details", "content"):
            delta.pop(key, None)
        if text:
            delta["content"] = text
        if "tool_calls" in delta:
            pieces = records(delta.pop("tool_calls"))
            if calls:  # those that only repeat what was delivered come first
                delta["tool_calls"] = [self._moved(piece) for piece in pieces[-calls:]]
        elif not calls:
            delta.pop("function_call", None)
        return {**choice, "delta": delta}

    def _moved(self, call: dict[str, Any]) -> dict[str, Any]:
        offset = self._call_offset
        return {**call, "index": call.get("index", 0) + offset} if offset else call

    def _usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Count the prompt once, and as output what was delivered, where both are known.

        A continuation's prompt holds the partial answer, so what it counts beyond the first
        prompt is output that was delivered before.
        """
        prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if (
            not self._continues
            or self._input is None
            or not isinstance(prompt, int)
            or not isinstance(output, int)
            or prompt < self._input
        ):
            return usage
        return {
            **usage,
            "prompt_tokens": self._input,
            "completion_tokens": output + prompt - self._input,
        }


_DEPLOYMENT = re.compile(r"(/openai/deployments/)[^/?]+")


class OpenAIChat(Dialect):
    """``POST /v1/chat/completions`` and its kin."""

    name = "openai-chat"
    wire = "sse"
    last_marker = "[DONE]"
    splices_choices = True
    variants = (
        Variant(name="azure", hosts=re.compile(r"\.azure\.com$"),
                marks=(b'"prompt_filter_results"',)),
        Variant(name="openai", hosts=re.compile(r"(^|\.)openai\.com$")),
        Variant(name="openrouter", hosts=re.compile(r"openrouter\.ai$"),
                marks=(b": OPENROUTER PROCESSING", b'"id":"gen-')),
        Variant(name="groq", hosts=re.compile(r"groq\.com$"), marks=(b'"x_groq"',)),
        Variant(name="deepseek", hosts=re.compile(r"deepseek\.com$")),
        Variant(name="mistral", hosts=re.compile(r"mistral\.ai$")),
        Variant(name="xai", hosts=re.compile(r"(^|\.)x\.ai$")),
        Variant(name="perplexity", hosts=re.compile(r"perplexity\.ai$"), missing_marker_legal=True),
        Variant(name="writer", hosts=re.compile(r"writer\.com$"), missing_marker_legal=True),
        # Success without a finish reason was recorded from Snowflake Cortex (corpus, 2026).
        Variant(name="snowflake", hosts=re.compile(r"snowflakecomputing\.com$"),
                marks=(b'"content_list"',), missing_finish_legal=True, missing_marker_legal=True),
        # Ollama's /v1 has sent finish_reason null on whole answers (pydantic-ai#2996).
        Variant(name="ollama-v1", marks=(b'"fp_ollama"',), missing_finish_legal=True),
        # transformers serve 5.23 ends with the finish frame and never sends [DONE].
        Variant(name="transformers", missing_marker_legal=True),
    )  # fmt: skip

    def recognises_path(self, path: str) -> bool:
        # The last two are Mistral's: agents, and fill-in-the-middle.
        return path.endswith(("/chat/completions", "/agents/completions", "/fim/completions"))

    def recognises_frame(self, frame: Frame) -> bool:
        head = frame.payload[:4096]
        return (
            b'"chat.completion.chunk"' in head
            or (b'"choices"' in head and b'"delta"' in head)
            or b'"prompt_filter_results"' in head
        )

    def reader(self) -> _Reader:
        return _Reader()

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> _Splicer:
        return _Splicer(delivered, rung=rung, several=facts.choices > 1)

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        form = body.get("response_format")
        form_type = form.get("type") if isinstance(form, dict) else None
        return RequestFacts(
            model=_string(body.get("model")),
            choices=body["n"] if isinstance(body.get("n"), int) else 1,
            deterministic=body.get("temperature") == 0 or isinstance(body.get("seed"), int),
            structured=form_type not in (None, "text") or any(body.get(key) for key in _GRAMMARS),
            max_tokens=positive(body, *_LIMITS),
            stop=strings(body.get("stop")),
        )

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        body = request.json
        return request.with_json({**body, **{key: limit for key in _LIMITS if body.get(key)}})

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        body = request.json
        messages = _with_answer(body, text, extra.get("message", {}))
        if messages is None:
            return None
        return request.with_json({**body, "messages": messages, **extra.get("body", {})})

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        body = request.json
        messages = _with_answer(body, text, {})
        if messages is None:
            return None
        messages.append({"role": "user", "content": instruction})
        return request.with_json({**body, "messages": messages})

    def cursor(self, request: Request, place: Place) -> Cursor | str:
        return llama_cursor(request, place, endpoint="/chat/completions")

    def with_model(self, request: Request, model: str) -> Request:
        # Azure names its deployment in the path as well.
        url = _DEPLOYMENT.sub(lambda found: found[1] + quote(model, safe=""), request.url)
        changed = msgspec.structs.replace(request, url=url)
        return changed.with_json({**request.json, "model": model})

    def url_for(self, base_url: str, model: str) -> str:
        return under(base_url, "/chat/completions")

    def read_ask(self, request: Request) -> Ask | str:
        return said(read_chat, request)

    def write_ask(self, ask: Ask, model: str) -> dict[str, Any] | str:
        return said(write_chat, ask, model)

    def writer(
        self, *, id: str, model: str, created: int, asked: Request | None = None
    ) -> ChatWriter:
        return ChatWriter(id=id, model=model, created=created, asked=asked)


def _with_answer(
    body: dict[str, Any], text: str, fields: Mapping[str, Any]
) -> list[dict[str, Any]] | None:
    """Return the messages with the partial answer as the last turn.

    A request that already ends with an assistant's turn began the answer itself: then the
    text goes on in that turn, in its last text part if its content is a list.
    """
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    content = last.get("content") if isinstance(last, dict) else None
    if content and last.get("role") == "assistant" and not last.get("tool_calls"):
        if isinstance(content, str):
            return [*messages[:-1], {**last, "content": content + text, **fields}]
        if isinstance(content, list) and isinstance(content[-1], dict):
            end = content[-1]
            if end.get("type") == "text" and isinstance(end.get("text"), str):
                joined = [*content[:-1], {**end, "text": end["text"] + text}]
            else:
                joined = [*content, {"type": "text", "text": text}]
            return [*messages[:-1], {**last, "content": joined, **fields}]
    return [*messages, {"role": "assistant", "content": text, **fields}]
