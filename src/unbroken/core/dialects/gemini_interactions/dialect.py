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
from typing import Any

from unbroken.core.dialects._read_again import asks_for_stream, read_again
from unbroken.core.dialects.base import (
    Answer,
    Cursor,
    Dialect,
    Place,
    RequestFacts,
    Variant,
)
from unbroken.core.dialects.gemini_interactions.read import (
    FINAL_ERRORS,
    NO_CONTENT,
    STEPS,
    InteractionsReader,
)
from unbroken.core.dialects.gemini_interactions.splice import InteractionsSplicer, write
from unbroken.core.dialects.payloads import (
    number,
    parsed,
    positive,
    record,
    records,
    string,
    strings,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request
from unbroken.core.wire.sse import encode_sse

__all__ = ["GeminiInteractions"]


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
    final_errors = FINAL_ERRORS
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

    def reader(self) -> InteractionsReader:
        return InteractionsReader()

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
    return kind in STEPS or kind in NO_CONTENT or kind.endswith(("_call", "_result"))
