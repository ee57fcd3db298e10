"""OpenAI's text completions: OpenAI itself, vLLM, llama.cpp, SGLang, DeepSeek (beta).

Sequence: frames with ``choices[].text``, a ``finish_reason`` for each choice on its last one,
perhaps a usage frame without choices, ``[DONE]``. An answer goes on naturally: the prompt with
the text so far behind it is the same request, a little later.

Writer's service of this path sends ``{"value": "..."}`` and nothing that ends it: its good
answers cannot be told from cut ones. They are read, and its requests are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from unbroken.core.dialects._llama_stream import llama_cursor
from unbroken.core.dialects.base import (
    Answer,
    Cursor,
    Dialect,
    Place,
    RequestFacts,
    Variant,
    error_from,
    parse_payload,
)
from unbroken.core.dialects.payloads import (
    as_object,
    bare_error,
    number,
    parsed,
    positive,
    record,
    records,
    sse,
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
    ProviderError,
    Start,
    Text,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request
from unbroken.core.wire.sse import encode_sse

__all__ = ["OpenAICompletions"]

_MEANINGS: dict[str, Meaning] = {
    "stop": "stop", "eos_token": "stop", "stop_sequence": "stop",
    "length": "limit", "max_tokens": "limit",
    "content_filter": "filter",
    "error": "fault", "abort": "fault", "insufficient_system_resource": "fault",
}  # fmt: skip
_UNENDED = re.compile(r"(^|\.)writer\.com$")
# Ways to ask for a form that the text must keep: vLLM's, SGLang's and llama.cpp's.
_FORMS = (
    "ebnf", "grammar", "guided_choice", "guided_grammar", "guided_json", "guided_regex",
    "json_schema", "regex", "response_format", "structured_outputs",
)  # fmt: skip


# The fast path: one choice with a piece of text. A field typed None may be absent or null;
# anything else goes the long way, which alone decides what frames mean.


class _Choice(msgspec.Struct, gc=False):
    text: str
    index: int = 0
    finish_reason: None = None


class _Payload(msgspec.Struct, gc=False):
    choices: tuple[_Choice]
    usage: None = None
    error: None = None


_decode_fast = msgspec.json.Decoder(_Payload).decode


class _Reader:
    """See `unbroken.core.dialects.base.Reader`."""

    def __init__(self) -> None:
        self._started = False
        self._choices: set[int] = set()

    def fork(self) -> _Reader:
        copy = _Reader()
        copy._started, copy._choices = self._started, set(self._choices)
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        found: list[str] = []
        try:
            for payload in payloads:
                (only,) = _decode_fast(payload).choices
                if not only.text or only.index != choice:
                    return None
                found.append(only.text)
        except (ValueError, RecursionError):
            return None
        return found

    def read(self, frame: Frame) -> list[Event]:
        if self._started and frame.dispatched:
            try:
                (choice,) = _decode_fast(frame.payload).choices
            except (ValueError, RecursionError):
                return self._read_any(frame)
            if choice.text and choice.index in self._choices:
                return [Text(choice.text, choice.index)]
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            found = bare_error(frame)
            return [] if found is None else [found]
        payload = frame.payload.strip()
        if payload == b"[DONE]":
            return [End("[DONE]")]
        if not payload:
            return []
        value = parse_payload(payload)
        error = error_from(value)
        if error is not None:
            return [error]
        value = as_object(value)
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Start(string(value.get("id")) or None, string(value.get("model"))))
        for choice in records(value.get("choices")):
            self._read_choice(choice, events)
        if _is_writers(value):
            self._read_choice({"text": value["value"]}, events)
        if isinstance(usage := value.get("usage"), dict):
            events.append(_usage(usage))
        return events

    def _read_choice(self, choice: dict[str, Any], events: list[Event]) -> None:
        index = number(choice, "index") or 0
        if index not in self._choices:
            self._choices.add(index)
            events.append(Open("other", index))
        if text := string(choice.get("text")):
            events.append(Text(text, index))
        if reason := string(choice.get("finish_reason")):
            events.append(Finish(reason, _MEANINGS.get(reason.lower(), "stop"), index))


def _is_writers(value: dict[str, Any]) -> bool:
    return value.keys() == {"value"} and isinstance(value["value"], str)


def _usage(usage: dict[str, Any]) -> UsageReport:
    return UsageReport(
        number(usage, "prompt_tokens"),
        number(usage, "completion_tokens"),
        number(usage.get("prompt_tokens_details"), "cached_tokens"),
        number(usage.get("completion_tokens_details"), "reasoning_tokens"),
    )


class _Splicer:
    """See `unbroken.core.dialects.base.Splicer`. Frames are alike; they lose what repeats."""

    def __init__(self, delivered: Received, *, rung: str) -> None:
        self._first = record(parsed(delivered.skeleton[0][1])) if delivered.skeleton else {}
        self._input = delivered.usage.input
        self._continues = rung == "prefill"

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        kept = {type(event) for event in events}
        value = parsed(frame.payload) if frame.dispatched else None
        if kept & {End, ProviderError} or not isinstance(value, dict):
            return [frame.raw]
        if not text and not kept & {Finish, UsageReport}:
            return []
        again = {key: self._first[key] for key in ("id", "created") if key in value.keys()
                 & self._first.keys()}  # fmt: skip
        payload = {**value, **again}
        if choices := records(value.get("choices")):
            payload["choices"] = [self._choice(choice, text) for choice in choices]
        elif text:
            payload["value"] = text
        if isinstance(usage := value.get("usage"), dict):
            payload["usage"] = self._usage(usage)
        return [sse(payload)]

    def _choice(self, choice: dict[str, Any], text: str) -> dict[str, Any]:
        if choice.get("text") == text:
            return choice
        # Its token probabilities are those of the text as the later attempt wrote it.
        return {**choice, "text": text, **({"logprobs": None} if "logprobs" in choice else {})}

    def _usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Count the prompt once: what it holds beyond the first one was delivered as output."""
        given, made = number(usage, "prompt_tokens"), number(usage, "completion_tokens")
        if not self._continues or self._input is None or given is None or made is None:
            return usage
        again = max(0, given - self._input)
        return {**usage, "prompt_tokens": given - again, "completion_tokens": made + again}


class OpenAICompletions(Dialect):
    """``POST /v1/completions`` and its kin."""

    name = "openai-completions"
    wire = "sse"
    last_marker = "[DONE]"
    variants = (
        Variant(name="azure", hosts=re.compile(r"\.azure\.com$")),
        Variant(name="openai", hosts=re.compile(r"(^|\.)openai\.com$")),
        Variant(name="openrouter", hosts=re.compile(r"openrouter\.ai$"),
                marks=(b": OPENROUTER PROCESSING",)),
        Variant(name="deepseek", hosts=re.compile(r"deepseek\.com$")),
        Variant(name="writer", hosts=_UNENDED),
    )  # fmt: skip

    def recognises_path(self, path: str) -> bool:
        # Chat has a dialect of its own; Mistral's agents and fill-in-the-middle answer as it does.
        return re.search(r"(?<!/chat)(?<!/fim)(?<!/agents)/completions/?$", path) is not None

    def recognises_frame(self, frame: Frame) -> bool:
        head = frame.payload[:4096]
        if b'"text_completion"' in head:
            return True
        value = record(parsed(frame.payload))
        first = next(iter(records(value.get("choices"))), {})
        return _is_writers(value) or ("text" in first and "delta" not in first)

    def wants_stream(self, request: Request) -> bool:
        return request.stream_flag is True and _UNENDED.search(request.host) is None

    def reader(self) -> _Reader:
        return _Reader()

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> _Splicer:
        return _Splicer(delivered, rung=rung)

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        prompt = body.get("prompt")
        prompts = len(prompt) if isinstance(prompt, list) and _is_many(prompt) else 1
        return RequestFacts(
            model=string(body.get("model")),
            choices=prompts * max(1, number(body, "n") or 1),
            deterministic=body.get("temperature") == 0 or number(body, "seed") is not None,
            structured=any(body.get(form) for form in _FORMS),
            max_tokens=positive(body, "max_tokens"),
            stop=strings(body.get("stop")),
        )

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        return request.with_json({**request.json, "max_tokens": limit})

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        body = request.json
        prompt = body.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        # Token ids cannot be gone on with in letters; a suffix asks for what stands between;
        # echo would say the prompt, and so what was delivered, again.
        if not isinstance(prompt, str) or body.get("suffix") or body.get("echo"):
            return None
        return request.with_json({**body, "prompt": prompt + text, **extra.get("body", {})})

    def cursor(self, request: Request, place: Place) -> Cursor | str:
        return llama_cursor(request, place, endpoint="/completions")

    def url_for(self, base_url: str, model: str) -> str:
        return under(base_url, "/completions")

    def encode(self, answer: Answer) -> list[bytes]:
        """See `Dialect.encode`; there is no place for reasoning here.

        Raises:
            ValueError: If the answer has tool calls.
        """
        if answer.calls:
            msg = "a text completion has no tool calls"
            raise ValueError(msg)
        finish = {"limit": "length", "filter": "content_filter"}.get(answer.finish, "stop")

        def frame(choices: list[dict[str, Any]], **more: Any) -> bytes:
            head = {"id": answer.id, "object": "text_completion", "created": answer.created}
            return sse({**head, "choices": choices, "model": answer.model, **more})

        def choice(text: str, reason: str | None = None) -> list[dict[str, Any]]:
            return [{"text": text, "index": 0, "logprobs": None, "finish_reason": reason}]

        frames = [frame(choice(piece)) for piece in answer.text]
        frames.append(frame(choice("", finish)))
        if answer.usage is not None:
            given, made = answer.usage
            usage = {
                "prompt_tokens": given,
                "completion_tokens": made,
                "total_tokens": given + made,
            }
            frames.append(frame([], usage=usage))
        return [*frames, encode_sse(b"[DONE]")]


def _is_many(prompt: list[Any]) -> bool:
    """Whether a list is of several prompts; a list of numbers is one, as token ids."""
    return bool(prompt) and not isinstance(prompt[0], int)
