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

from unbroken.core.dialects.ask import Ask, said
from unbroken.core.dialects.base import (
    Dialect,
    Reader,
    RequestFacts,
    Variant,
)
from unbroken.core.dialects.gemini.ask import read_gemini, write_gemini
from unbroken.core.dialects.gemini.read import FINAL_ERRORS, GeminiReader
from unbroken.core.dialects.gemini.splice import GeminiSplicer
from unbroken.core.dialects.gemini.write import GeminiWriter
from unbroken.core.dialects.partial import with_answer
from unbroken.core.dialects.payloads import (
    parsed,
    positive,
    record,
    records,
    strings,
    under,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request
from unbroken.core.wire import Wire

__all__ = ["Gemini", "wire_asked"]


_LIMITS = ("maxOutputTokens", "max_output_tokens")
_STREAM_PATH = re.compile(r"/([^/:]+):streamGenerateContent/?$")
_ERROR_ARRAY = re.compile(rb'\[\s*\{\s*"error"')
_MODEL_PATH = re.compile(r"([^/]+/)?([^/:]+)(?=:[A-Za-z]+/?$)")
_CLIENT_TOOLS = {
    "functionDeclarations", "function_declarations", "computerUse", "computer_use",
}  # fmt: skip

# Of what a model's full name may begin with; Google's SDK puts `models/` before all others.
_COLLECTIONS = ("models/", "tunedModels/", "projects/", "publishers/")


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
    final_errors = FINAL_ERRORS
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
        from unbroken.core.dialects.gemini.array import GeminiArray  # it is a kind of this one

        found = wire_asked(urlsplit(request.url).query)
        return {"sse": Gemini, "json": GeminiArray}[found]() if found else None

    def framed_as(self, head: bytes) -> Dialect:
        from unbroken.core.dialects.gemini.array import GeminiArray

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
        return GeminiReader()

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
        name = quote(model if model.startswith(_COLLECTIONS) else f"models/{model}", safe="/")
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
    if not text:
        return None
    return with_answer(body.get("contents"), text, fields, role="model", parts="parts")
