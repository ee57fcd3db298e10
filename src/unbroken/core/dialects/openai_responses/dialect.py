"""OpenAI Responses, and the services that speak it.

Sequence: ``response.created``, an item opened, its parts opened, deltas, each part and item
closed with its whole value repeated, ``response.completed`` with everything once more. Every
frame names itself twice (SSE ``event``, JSON ``type``: the JSON is believed) and most carry a
``sequence_number``. Item ids are never a key: GitHub Copilot changes them from frame to frame.

Blocks. An output item is the block ``(output_index, -1)``; a content part of it is the block
``(output_index, content_index)``, open from ``content_part.added`` (or from the item's
opening, where that lists parts already) to ``content_part.done``, at the latest to the
item's. Deltas name their part, or the item where it has no parts: calls, summaries.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from unbroken.core.checksum import Checksum
from unbroken.core.dialects._read_again import asks_for_stream, read_again
from unbroken.core.dialects.ask import Ask, said
from unbroken.core.dialects.base import (
    Cursor,
    Dialect,
    Place,
    Reader,
    RequestFacts,
    Variant,
)
from unbroken.core.dialects.openai_responses.ask import read_responses, write_responses
from unbroken.core.dialects.openai_responses.mend import ResponsesMender
from unbroken.core.dialects.openai_responses.read import (
    FINAL_ERRORS,
    ResponsesReader,
    number_of,
)
from unbroken.core.dialects.openai_responses.splice import ResponsesSplicer
from unbroken.core.dialects.openai_responses.write import ResponsesWriter
from unbroken.core.dialects.payloads import positive, record, records, string, under
from unbroken.core.events import Block
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request

__all__ = ["OpenAIResponses"]


class OpenAIResponses(Dialect):
    """``POST /v1/responses``, and ``GET`` of a background response as a stream."""

    name = "openai-responses"
    wire = "sse"
    last_marker = "response.completed"
    numbered = True
    explicit_blocks = True
    repeats_text = True
    reissue_after_reasoning = False  # a reasoning item's id belongs to its own response
    variants = (
        Variant(name="azure", hosts=re.compile(r"\.azure\.com$")),
        Variant(name="openai", hosts=re.compile(r"(^|\.)openai\.com$")),
        Variant(name="openrouter", hosts=re.compile(r"openrouter\.ai$"),
                marks=(b": OPENROUTER PROCESSING",)),
        Variant(name="xai", hosts=re.compile(r"(^|\.)x\.ai$")),
        Variant(name="copilot", hosts=re.compile(r"githubcopilot\.com$")),
    )  # fmt: skip
    final_errors = FINAL_ERRORS
    of_the_account = frozenset({"conversation", "previous_response_id", "prompt"})

    def recognises_path(self, path: str) -> bool:
        return re.search(r"/responses(/[^/]+)?$", path) is not None

    def recognises_frame(self, frame: Frame) -> bool:
        head = frame.payload[:4096]
        named = frame.event.startswith("response.") and b'"type"' in head
        return named or re.search(rb'"type"\s*:\s*"response\.', head) is not None

    def number(self, frame: Frame) -> int | None:
        return number_of(frame)

    def begins_numbering(self, frame: Frame) -> bool:
        return b"response.created" in frame.payload[:4096]

    def from_start(self, request: Request) -> bool:
        return request.method.upper() == "POST"  # one that is read again may begin anywhere

    def wants_stream(self, request: Request) -> bool:
        if request.method.upper() == "GET":  # an answer made in the background, read again
            return asks_for_stream(request)
        return request.path.endswith("/responses") and request.stream_flag is True

    def reader(self) -> ResponsesReader:
        return ResponsesReader()

    def mender(
        self, reader: Reader, said: Callable[[str, int, Block], Checksum]
    ) -> ResponsesMender:
        assert isinstance(reader, ResponsesReader)
        return ResponsesMender(reader.course, said)

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> ResponsesSplicer:
        return ResponsesSplicer(delivered, rung=rung, facts=facts)

    def facts(self, request: Request) -> RequestFacts:
        body = request.json
        tools = records(body.get("tools"))
        form = record(record(body.get("text")).get("format")).get("type")
        state = body.get("previous_response_id") or body.get("conversation")
        return RequestFacts(
            model=string(body.get("model")),
            deterministic=body.get("temperature") == 0,
            server_state=body.get("store") is not False or bool(state),
            server_work=bool(body.get("background") or body.get("conversation"))
            or any(tool.get("type") not in ("function", "custom") for tool in tools),
            structured=form not in (None, "text"),
            thinking=bool(body.get("reasoning")),
            max_tokens=positive(body, "max_output_tokens"),
        )

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        return request.with_json({**request.json, "max_output_tokens": limit})

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        turns = _with_partial(request.json.get("input"), text, extra.get("message", {}))
        if turns is None:
            return None
        return request.with_json({**request.json, "input": turns, **extra.get("body", {})})

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        turns = _with_partial(request.json.get("input"), text, {})
        if turns is None:
            return None
        turn = {"role": "user", "content": [{"type": "input_text", "text": instruction}]}
        return request.with_json({**request.json, "input": [*turns, turn]})

    def cursor(self, request: Request, place: Place) -> Cursor | str:
        # Closing the stream cancels any other answer, and its id leads to a 404 then.
        made_in_background = request.json.get("background") is True
        if not made_in_background and not asks_for_stream(request):
            return "only an answer made in the background (background: true) can be read again"
        if place.number is None:
            return "its frames carry no sequence_number"
        query = {"stream": "true", "starting_after": str(place.number)}
        again = read_again(request, collection="/responses", id=place.id, query=query)
        return "the answer's id had not arrived" if again is None else Cursor(request=again)

    def url_for(self, base_url: str, model: str) -> str:
        return under(base_url, "/responses")

    def read_ask(self, request: Request) -> Ask | str:
        return said(read_responses, request)

    def write_ask(self, ask: Ask, model: str) -> dict[str, Any] | str:
        return said(write_responses, ask, model)

    def writer(
        self, *, id: str, model: str, created: int, asked: Request | None = None
    ) -> ResponsesWriter:
        return ResponsesWriter(id=id, model=model, created=created, asked=asked)


def _with_partial(given: Any, text: str, more: Mapping[str, Any]) -> list[Any] | None:
    """Return the input with the partial answer as its last turn, or None if there is none.

    Where the application ended with an assistant's turn of its own, the answer goes on in it.
    """
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        return None
    part = {"type": "output_text", "text": text}
    last = given[-1]
    if isinstance(last, dict) and last.get("role") == "assistant":
        content = last.get("content")
        if isinstance(content, str):
            return [*given[:-1], {**last, "content": content + text, **more}]
        if isinstance(content, list) and content:
            tail = content[-1]
            if isinstance(tail, dict) and isinstance(tail.get("text"), str):
                content, part = content[:-1], {**tail, "text": tail["text"] + text}
            return [*given[:-1], {**last, "content": [*content, part], **more}]
    return [*given, {"role": "assistant", "content": [part], **more}]
