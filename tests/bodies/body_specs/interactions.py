"""gemini-interactions."""

from __future__ import annotations

from typing import Any

from body_specs.parts import END, Body, Json, Part, sse

NAME = "gemini-interactions"
DONE = b"event: done\ndata: [DONE]\n\n"


def ev(kind: str, **fields: Any) -> bytes:
    return sse({**fields, "event_type": kind}, kind)


def whole(status: str, **fields: Any) -> Json:
    return {"id": "v1_inv", "status": status, "object": "interaction", "model": "inv", **fields}


START = [
    ev("interaction.created", interaction=whole("in_progress")),
    ev("interaction.status_update", interaction_id="v1_inv", status="in_progress"),
]


def step(at: int, opening: Json, *deltas: Json) -> list[bytes]:
    return [
        ev("step.start", index=at, step=opening),
        *[ev("step.delta", index=at, delta=delta) for delta in deltas],
        ev("step.stop", index=at),
    ]


def text(at: int, *pieces: str) -> list[bytes]:
    deltas = [{"text": piece, "type": "text"} for piece in pieces]
    return step(at, {"type": "model_output"}, *deltas)


def call(at: int, name: str, *pieces: str, given: Json | None = None) -> list[bytes]:
    opening = {"type": "function_call", "id": f"fc_{at}", "name": name, "arguments": given or {}}
    return step(at, opening, *[{"type": "arguments_delta", "arguments": p} for p in pieces])


def end(status: str, usage: tuple[int, int] | None = (12, 9)) -> bytes:
    more: Json = {}
    if usage is not None:
        more["usage"] = {
            "total_input_tokens": usage[0], "total_output_tokens": usage[1],
            "total_thought_tokens": 5, "total_tokens": sum(usage) + 5,
        }  # fmt: skip
    return ev("interaction.completed", interaction=whole(status, **more))


def body(name: str, shows: str, parts: list[Part], **rest: Any) -> Body:
    rest = {"usage": (12, 9)} | rest
    return Body(name=name, dialect=NAME, shows=shows, parts=parts, **rest)


def failed(name: str, shows: str, parts: list[Part], fault: str, **rest: Any) -> Body:
    rest = {"usage": None} | rest
    return body(name, shows, parts, status="failed", faults=(fault,), **rest)


def numbered(frames: list[bytes]) -> list[bytes]:
    """Give every frame an event id, as an interaction has that can be read again."""
    return [
        frame.replace(b'"event_type"', f'"event_id":"e{at}","event_type"'.encode())
        for at, frame in enumerate(frames)
    ]


PIECES = ("Ein Fuchs 🦊 ", "schläft in ", "Kyōto.")
TEXT = "".join(PIECES)
SEAL = {"signature": "c2ln", "type": "thought_signature"}
THOUGHT = {"content": {"type": "text", "text": "Überlegen"}, "type": "thought_summary"}
SEARCH = {"type": "google_search_call", "id": "s1", "arguments": {"queries": ["x"]}}

BODIES = [
    body("text", "A sealed thought, then text.",
         [*START, *step(0, {"type": "thought"}, SEAL), *text(1, *PIECES), end("completed"), END,
          DONE],
         text=TEXT, finish_reasons=("completed",)),
    body("event-ids", "Every frame has an event id; the thought has a summary.",
         [*numbered([*START, *step(0, {"type": "thought"}, THOUGHT, SEAL), *text(1, *PIECES),
                     end("completed")]), END, DONE],
         text=TEXT, reasoning="Überlegen", finish_reasons=("completed",)),
    body("tool-calls", "Two calls of one function, and one whose arguments come whole.",
         [*START, *call(0, "add", '{"x":2,', '"y":3}'), *call(1, "add", '{"x":10}'),
          *call(2, "now", given={"zone": "CET"}), end("requires_action"), END, DONE],
         tool_calls=(("add", '{"x":2,"y":3}'), ("add", '{"x":10}'), ("now", '{"zone":"CET"}')),
         finish_reasons=("requires_action",)),
    body("hosted-tool", "A search that Google carries out, annotations, an unknown step.",
         [*START, *step(0, SEARCH),
          *step(1, {"type": "google_search_result", "call_id": "s1", "result": []}),
          *step(2, {"type": "invented_step"}, {"type": "invented_delta"}),
          *text(3, *PIECES)[:-1],
          ev("step.delta", index=3, delta={"type": "text_annotation_delta", "annotations": [{}]}),
          ev("step.stop", index=3), end("completed"), END, DONE],
         text=TEXT, finish_reasons=("completed",)),
    body("incomplete", "Cut by the token limit.",
         [*START, *text(0, "Es war"), end("incomplete"), END, DONE],
         status="limited", faults=("length-limit",), text="Es war",
         finish_reasons=("incomplete",)),
    body("requires-continuation", "Paused: the application sends the token back to go on.",
         [*START, *text(0, "Es war"),
          ev("interaction.status_update", interaction_id="v1_inv", status="in_progress",
             continuation_token="dG9r"), end("requires_continuation"), END, DONE],
         status="paused", text="Es war", finish_reasons=("requires_continuation",)),
    body("old-names", "interaction.start and .complete, no status, no [DONE].",
         [ev("interaction.start", interaction=whole("in_progress")), *text(0, *PIECES),
          ev("interaction.complete", interaction={"id": "v1_inv"}), END],
         text=TEXT, finish_reasons=("completed",), usage=None),
    body("resumed", "Read again from an event on: it begins inside a step.",
         [*numbered([*text(1, *PIECES)[2:], end("completed")]), END, DONE],
         text="".join(PIECES[1:]), finish_reasons=("completed",)),
    failed("error", "An error event, its code a URI.",
           [*START, *text(0, *PIECES)[:-1],
            ev("error", error={"code": "https://errors.example/unavailable", "message": "m"})],
           "provider-error", text=TEXT, error=("", "unavailable", True)),
    failed("error-final", "An error that would come again.",
           [*START, ev("error", error={"code": "invalid_argument", "message": "m"}), DONE],
           "provider-error", error=("", "invalid_argument", False)),
    failed("failed", "The interaction ends as failed.",
           [*START, *text(0, *PIECES), end("failed"), DONE], "provider-error", text=TEXT,
           finish_reasons=("failed",), usage=(12, 9), error=("", "failed", True)),
    failed("opening-lost", "A delta for a step that was never opened.",
           [*START, *text(0, *PIECES)[1:], end("completed"), END, DONE], "protocol-violation",
           text=TEXT, finish_reasons=("completed",), usage=(12, 9)),
    failed("end-in-progress", "Completed by its name, under way by its status.",
           [*START, *text(0, *PIECES), end("in_progress", None)], "missing-finish",
           text=TEXT),
    failed("cut-between-events", "A clean end between two steps.", [*START, *text(0, *PIECES)],
           "truncated-between-events", text=TEXT),
    failed("cut-in-line", "Ends inside a line.",
           [*START, *text(0, *PIECES)[:2], text(0, *PIECES)[2][:60]], "truncated-mid-event",
           text=PIECES[0]),
    failed("status-only", "Nothing but lifecycle.", START, "empty-stream"),
]  # fmt: skip
