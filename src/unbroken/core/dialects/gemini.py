"""Gemini ``streamGenerateContent?alt=sse``, of the Gemini API and of Vertex AI.

Each frame is a whole response with the next parts of each candidate. Nothing is opened or
closed, and no marker comes last: a candidate's ``finishReason`` is the proof.

**Not every finishReason is one.** ``STOP`` has been recorded on a frame that asks for code to
be run, with the result and the answer still to come (corpus: "two-terminal"); early versions
of the API stamped it on every frame (corpus: a fixture of Vertex); translators open with an
empty one. So a stop is not final where

- the candidate ends in work of a server tool: code or a server call whose result has not come,
  or such a part in the finishing frame itself; or where
- the frame counts no tokens (``usageMetadata.totalTokenCount``, on all real last frames since),
  and rates the safety of its part, as only those early versions did, or comes before anything
  was said.

Any other reason (a limit, a filter, a fault of the model) is final at once. What remains: a
server that stamps bare stops on every frame, without counts or ratings, cannot be told from
one that has ended.

**Thought signatures** belong to the turn that made them. When text of an earlier attempt was
delivered, those on a later attempt's text are left out, since they seal thinking about a text
that begins elsewhere; they are optional there. Those on function calls stay: a call is taken
over whole, and the API refuses it without its signature.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

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
    under,
)
from unbroken.core.dialects.ask import Ask, said
from unbroken.core.dialects.base import (
    Dialect,
    MalformedPayloadError,
    Reader,
    RequestFacts,
    Variant,
    error_from,
    parse_payload,
)
from unbroken.core.dialects.gemini_ask import read_gemini, write_gemini
from unbroken.core.dialects.gemini_splice import GeminiSplicer
from unbroken.core.dialects.gemini_write import GeminiWriter
from unbroken.core.events import (
    Block,
    Event,
    Finish,
    Meaning,
    Open,
    Other,
    Reasoning,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request
from unbroken.core.wire import Wire

__all__ = ["Gemini", "wire_asked"]

_MEANINGS: dict[str, Meaning] = {
    "STOP": "stop",
    "MAX_TOKENS": "limit",
    "CONTINUATION": "pause",  # comes with a token, with which the SDK itself asks for the rest
    "SAFETY": "filter", "RECITATION": "filter", "LANGUAGE": "filter", "BLOCKLIST": "filter",
    "PROHIBITED_CONTENT": "filter", "SPII": "filter", "MODEL_ARMOR": "filter",
    "ESCALATION": "filter", "IMAGE_SAFETY": "filter", "IMAGE_PROHIBITED_CONTENT": "filter",
    "IMAGE_RECITATION": "filter", "IMAGE_OTHER": "filter",
    "MALFORMED_FUNCTION_CALL": "fault", "MALFORMED_RESPONSE": "fault",
    "UNEXPECTED_TOOL_CALL": "fault", "TOO_MANY_TOOL_CALLS": "fault",
    "MISSING_THOUGHT_SIGNATURE": "fault", "OTHER": "fault", "NO_IMAGE": "fault",
}  # fmt: skip

# Parts that ask for work of a server tool, and those that bring its result.
_ASKS = ("executableCode", "toolCall")
_ANSWERS = ("codeExecutionResult", "toolResponse")

# What a part says beside the one thing it is.
_PART_ASIDES = frozenset({"thought", "thoughtSignature", "partMetadata", "videoMetadata"})

# About stretches of the text, counted from its start: no continuation could keep them true.
_CITING = ("citationMetadata", "groundingMetadata", "urlContextMetadata")

_LIMITS = ("maxOutputTokens", "max_output_tokens")
# With ``enum-encoding=int`` the reasons come as numbers. From 5 on the two services count
# differently, but 6 to 10 are filters in both, but for one fault in either.
_NUMBERED = {
    "1": "STOP", "2": "MAX_TOKENS", "3": "SAFETY", "4": "RECITATION", "5": "OTHER",
    "6": "SAFETY", "7": "SAFETY", "8": "SAFETY", "9": "SAFETY", "10": "SAFETY",
}  # fmt: skip
_STREAM_PATH = re.compile(r"/([^/:]+):streamGenerateContent/?$")
_ERROR_ARRAY = re.compile(rb'\[\s*\{\s*"error"')
_MODEL_PATH = re.compile(r"([^/]+/)?([^/:]+)(?=:[A-Za-z]+/?$)")
_CLIENT_TOOLS = {
    "functionDeclarations", "function_declarations", "computerUse", "computer_use",
}  # fmt: skip


# The fast path: one candidate with one part of text, and the token counts. A field typed None
# may be absent or null; anything else in it fails to parse, and the frame goes the long way,
# which alone decides what frames mean.


class _Part(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    text: str
    thought: bool | None = None
    thoughtSignature: None = None  # noqa: N815


class _Content(msgspec.Struct, gc=False):
    parts: tuple[_Part]


class _Candidate(msgspec.Struct, gc=False):
    content: _Content
    index: int = 0
    finishReason: None = None  # noqa: N815
    citationMetadata: None = None  # noqa: N815
    groundingMetadata: None = None  # noqa: N815
    urlContextMetadata: None = None  # noqa: N815


class _Usage(msgspec.Struct, gc=False):
    promptTokenCount: int | None = None  # noqa: N815
    candidatesTokenCount: int | None = None  # noqa: N815
    cachedContentTokenCount: int | None = None  # noqa: N815
    thoughtsTokenCount: int | None = None  # noqa: N815


class _Payload(msgspec.Struct, gc=False):
    candidates: tuple[_Candidate]
    usageMetadata: _Usage | None = None  # noqa: N815
    promptFeedback: None = None  # noqa: N815
    error: None = None


_decode_fast = msgspec.json.Decoder(_Payload).decode


class _Said(msgspec.Struct):
    """What the reader must know of a candidate to judge its finish and number its calls."""

    calls: int = 0
    content: bool = False
    server_asks: int = 0  # for work whose result has not come
    call_open: bool = False  # a call that comes in pieces


class _Reader:
    """See `unbroken.core.dialects.base.Reader`."""

    def __init__(self) -> None:
        self._started = False
        self._said: dict[int, _Said] = {}

    def fork(self) -> _Reader:
        copy = _Reader()
        copy._started = self._started
        copy._said = {index: msgspec.structs.replace(said) for index, said in self._said.items()}
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        return None

    def read(self, frame: Frame) -> list[Event]:
        if self._started:
            try:
                fast = _decode_fast(frame.payload)
            except (ValueError, RecursionError):
                return self._read_any(frame)
            (candidate,) = fast.candidates
            (part,) = candidate.content.parts
            said = self._said.get(candidate.index)
            if part.text and not part.thought and said and said.content and not said.server_asks:
                events: list[Event] = [Text(part.text, candidate.index)]
                if (u := fast.usageMetadata) is not None:
                    events.append(
                        UsageReport(
                            u.promptTokenCount,
                            u.candidatesTokenCount,
                            u.cachedContentTokenCount,
                            u.thoughtsTokenCount,
                        )
                    )
                return events
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            found = bare_error(frame, final=Gemini.final_errors)
            return [] if found is None else [found]
        if not frame.payload.strip():
            return []
        value = parse_payload(frame.payload)
        error = error_from(value, final=Gemini.final_errors)
        if error is not None:
            return [error]
        if not isinstance(value, dict):
            msg = f"a JSON {type(value).__name__}, not an object"
            raise MalformedPayloadError(msg)
        events: list[Event] = []
        if not self._started:
            self._started = True
            id_, model = string(value.get("responseId")), string(value.get("modelVersion"))
            events.append(Start(id_ or None, model))
        usage = value.get("usageMetadata")
        counted = number(usage, "totalTokenCount") is not None
        for candidate in records(value.get("candidates")):
            self._candidate(candidate, events, counted=counted)
        if reason := string(record(value.get("promptFeedback")).get("blockReason")):
            events.append(Finish(f"prompt:{reason}", "filter"))
        if isinstance(usage, dict):
            events.append(_usage(usage))
        return events

    def _candidate(self, candidate: dict[str, Any], events: list[Event], *, counted: bool) -> None:
        index = number(candidate, "index") or 0
        said = self._said.get(index)
        if said is None:
            said = self._said[index] = _Said()
            events.append(Open("other", index))
        serving = False
        for part in records(record(candidate.get("content")).get("parts")):
            serving = _part(part, index, said, events) or serving
        events.extend(Other(key, content=True) for key in _CITING if candidate.get(key))
        given = candidate.get("finishReason")
        reason = str(given) if isinstance(given, int) else string(given)
        if reason in ("", "0", "FINISH_REASON_UNSPECIFIED"):
            return
        meaning = _MEANINGS.get(_NUMBERED.get(reason, reason), "stop")
        stamped = not counted and ("safetyRatings" in candidate or not said.content)
        final = meaning != "stop" or not (serving or said.server_asks or stamped)
        if meaning == "stop" and said.calls:
            meaning = "tool-calls"
        events.append(Finish(reason, meaning, index, final=final))


def _part(part: dict[str, Any], choice: int, said: _Said, events: list[Event]) -> bool:
    """Read one part; return whether it is work of a server tool."""
    serving = False
    if text := string(part.get("text")):
        said.content = True
        if part.get("thought"):
            events.append(Reasoning(text, choice))
        else:
            said.server_asks = 0  # the server's work is done, whether or not it was shown
            events.append(Text(text, choice))
    for kind, content in part.items():
        if kind == "functionCall" and isinstance(content, dict):
            said.content, said.server_asks = True, 0
            events.extend(_call(content, choice, said))
        elif kind == "text" or kind in _PART_ASIDES or content is None:
            continue
        else:
            said.content = True
            if kind in _ASKS:
                serving, said.server_asks = True, said.server_asks + 1
            elif kind in _ANSWERS:
                serving, said.server_asks = True, max(0, said.server_asks - 1)
            events.append(Other(kind, content=True))
    if part.get("thoughtSignature"):
        events.append(Reasoning("", choice, sealed=True))
    return serving


def _call(call: dict[str, Any], choice: int, said: _Said) -> list[Event]:
    """Read a function call: whole, or where that was asked for, in pieces.

    Pieces say how to build the arguments by path; they are told as content that cannot be
    continued, and the call is complete when a piece says that none follows.
    """
    goes_on = bool(call.get("willContinue"))
    name, id_ = string(call.get("name")), string(call.get("id"))
    in_pieces = goes_on or said.call_open
    if not said.call_open:
        said.calls += 1
    said.call_open = goes_on
    arguments = ""
    if not in_pieces:
        arguments = dump(record(call.get("args"))).decode()
    events: list[Event] = [
        ToolCall(
            said.calls - 1, arguments, choice, id=id_ or None, name=name or None, whole=not goes_on
        )
    ]
    if in_pieces:
        events.append(Other("partialArgs", content=True))
    return events


def _usage(usage: dict[str, Any]) -> UsageReport:
    """Take over the counts as they are sent: thinking is not part of the output here."""
    return UsageReport(
        number(usage, "promptTokenCount"),
        number(usage, "candidatesTokenCount"),
        number(usage, "cachedContentTokenCount"),
        number(usage, "thoughtsTokenCount"),
    )


class Gemini(Dialect):
    """``POST .../models/M:streamGenerateContent?alt=sse``."""

    name = "gemini"
    wire: ClassVar[Wire] = "sse"
    goes_on_after_finish = True
    of_the_account = frozenset({"cachedContent", "cached_content"})
    output_has_reasoning = False
    counts_thinking_apart = True
    # The SDK takes a comment for data; an empty line it skips.
    heartbeat: ClassVar[bytes | None] = b"\r\n"
    final_errors = frozenset({"already_exists", "out_of_range", "unimplemented"})
    variants = (
        Variant(name="vertex", hosts=re.compile(r"aiplatform\.googleapis\.com$"),
                marks=(b'"trafficType"',)),
        Variant(name="gemini-api", hosts=re.compile(r"generativelanguage\.googleapis\.com$")),
    )  # fmt: skip

    def recognises_path(self, path: str) -> bool:
        """Whether a request to this path streams; where a query is given, as SSE."""
        path, asked, query = path.partition("?")
        return bool(_STREAM_PATH.search(path)) and (not asked or wire_asked(query) == "sse")

    def asked_as(self, request: Request) -> Dialect | None:
        from unbroken.core.dialects.gemini_array import GeminiArray  # it is a kind of this one

        found = wire_asked(urlsplit(request.url).query)
        return {"sse": Gemini, "json": GeminiArray}[found]() if found else None

    def framed_as(self, head: bytes) -> Dialect:
        from unbroken.core.dialects.gemini_array import GeminiArray

        head = head.lstrip(b"\xef\xbb\xbf \t\r\n")
        # An error comes in an array of one too, where a stream in SSE was asked for.
        if head[:1] == b"[" and not _ERROR_ARRAY.match(head):
            return GeminiArray()
        return Gemini() if head.startswith(b"data:") else self

    def recognises_frame(self, frame: Frame) -> bool:
        head = frame.payload[:4096]
        if not head.startswith(b"{") or b'"choices"' in head:
            return False
        value = record(parsed(frame.payload))
        candidates = value.get("candidates")
        return isinstance(candidates, list) or (
            isinstance(value.get("promptFeedback") or value.get("usageMetadata"), dict)
        )

    def wants_stream(self, request: Request) -> bool:
        """Whether the request asks for a stream in SSE: the method itself does, with its query."""
        parts = urlsplit(request.url)
        return bool(_STREAM_PATH.search(parts.path)) and wire_asked(parts.query) == "sse"

    def reader(self) -> Reader:
        return _Reader()

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> GeminiSplicer:
        return GeminiSplicer(delivered, rung=rung)

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        config = record(_either(body, "generationConfig", "generation_config"))
        mime = _either(config, "responseMimeType", "response_mime_type")
        schema = _either(config, "responseSchema", "response_schema") or _either(
            config, "responseJsonSchema", "response_json_schema"
        )
        thinking = record(_either(config, "thinkingConfig", "thinking_config"))
        model = _STREAM_PATH.search(request.path)
        count = _either(config, "candidateCount", "candidate_count")
        return RequestFacts(
            model=unquote(model[1]) if model else "",
            choices=count if isinstance(count, int) and count > 0 else 1,
            deterministic=config.get("temperature") == 0 or isinstance(config.get("seed"), int),
            server_work=any(tool.keys() - _CLIENT_TOOLS for tool in records(body.get("tools"))),
            structured=bool(schema) or mime not in (None, "", "text/plain"),
            thinking=bool(thinking) and _either(thinking, "thinkingBudget", "thinking_budget") != 0,
            max_tokens=positive(config, *_LIMITS),
            stop=strings(_either(config, "stopSequences", "stop_sequences")),
        )

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        body = request.json
        key = "generationConfig" if "generationConfig" in body else "generation_config"
        config = record(body.get(key))
        changed = {**config, **{name: limit for name in _LIMITS if name in config}}
        return request.with_json({**body, key: changed})

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        body = request.json
        contents = _with_answer(body, text, extra.get("message", {}))
        if contents is None:
            return None
        return request.with_json({**body, "contents": contents, **extra.get("body", {})})

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        body = request.json
        contents = _with_answer(body, text, {})
        if contents is None:
            return None
        contents.append({"role": "user", "parts": [{"text": instruction}]})
        return request.with_json({**body, "contents": contents})

    def with_model(self, request: Request, model: str) -> Request:
        parts = urlsplit(request.url)
        return msgspec.structs.replace(
            request, url=parts._replace(path=_with_model(parts.path, model)).geturl()
        )

    def url_for(self, base_url: str, model: str) -> str:
        last = urlsplit(base_url).path.rstrip("/").rpartition("/")[2]
        versioned = "" if last.startswith("v1") else "/v1beta"
        name = quote(model if "/" in model else f"models/{model}", safe="/")
        return under(base_url, f"{versioned}/{name}:streamGenerateContent", query="alt=sse")

    def key_headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key}

    def read_ask(self, request: Request) -> Ask | str:
        return said(read_gemini, request)

    def write_ask(self, ask: Ask, model: str) -> dict[str, Any] | str:
        return said(write_gemini, ask, model)

    def writer(
        self, *, id: str, model: str, created: int, asked: Request | None = None
    ) -> GeminiWriter:
        return GeminiWriter(id=id, model=model, created=created, asked=asked)


def wire_asked(query: str) -> Literal["sse", "json"] | None:
    """Return how a query asks to be answered, or None for a form that is not read here."""
    asked = parse_qs(query)
    first = next(iter([*asked.get("alt", ()), *asked.get("$alt", ()), "json"]))
    match first.partition(";")[0]:  # as in $alt=json;enum-encoding=int
        case "sse":
            return "sse"
        case "json":
            return "json"
        case _:
            return None


def _with_model(path: str, model: str) -> str:
    """Return a path with another model; ``tunedModels/x`` replaces the collection as well."""
    found = _MODEL_PATH.search(path)
    if found is None:
        return path
    at = found.start(1) if "/" in model and found[1] else found.start(2)
    return path[:at] + quote(model, safe="/") + path[found.end(2) :]


def _either(source: dict[str, Any], camel: str, snake: str) -> Any:
    """Return a field under either of the two names that the API takes."""
    return source.get(camel, source.get(snake))


def _with_answer(
    body: dict[str, Any], text: str, fields: Mapping[str, Any]
) -> list[dict[str, Any]] | None:
    """Return the contents with the partial answer as the model's last turn.

    A request that already ends with a model's turn began the answer itself: then the text goes
    on in that turn, in its last part if that is plain text.
    """
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents or not text:
        return None
    last = contents[-1]
    if not isinstance(last, dict) or last.get("role") != "model":
        return [*contents, {"role": "model", "parts": [{"text": text}], **fields}]
    parts = last.get("parts")
    if not isinstance(parts, list):
        return None
    end = record(parts[-1]) if parts else {}
    if end.keys() == {"text"} and isinstance(end["text"], str):
        joined = [*parts[:-1], {"text": end["text"] + text}]
    else:
        joined = [*parts, {"text": text}]
    return [*contents[:-1], {**last, "parts": joined, **fields}]
