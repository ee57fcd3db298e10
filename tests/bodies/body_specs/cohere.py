"""cohere: /v2/chat."""

from __future__ import annotations

from typing import Any

from body_specs.parts import END, Body, Json, Part, sse

NAME = "cohere"
DONE = b"data: [DONE]\n\n"


def ev(kind: str, index: int | None = None, delta: Json | None = None, **more: Any) -> bytes:
    payload: Json = {"type": kind, **more}
    if index is not None:
        payload["index"] = index
    if delta is not None:
        payload["delta"] = delta
    return sse(payload, kind)


def msg(kind: str, index: int | None = None, **message: Any) -> bytes:
    return ev(kind, index, {"message": message})


START = ev("message-start", None, {"message": {
    "role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": [],
}}, id="inv-1")  # fmt: skip


def content(at: int, kind: str, *pieces: str) -> list[bytes]:
    return [
        msg("content-start", at, content={"type": kind, kind: ""}),
        *[msg("content-delta", at, content={kind: piece}) for piece in pieces],
        ev("content-end", at),
    ]


def call(at: int, name: str, *pieces: str) -> list[bytes]:
    function = {"name": name, "arguments": ""}
    return [
        msg("tool-call-start", at,
            tool_calls={"id": f"{name}_{at}", "type": "function", "function": function}),
        *[msg("tool-call-delta", at, tool_calls={"function": {"arguments": p}}) for p in pieces],
        ev("tool-call-end", at),
    ]  # fmt: skip


def plan(*pieces: str) -> list[bytes]:
    return [msg("tool-plan-delta", None, tool_plan=piece) for piece in pieces]


BILLED: Json = {"billed_units": {"input_tokens": 3, "output_tokens": 2}}


def end(reason: str | None, usage: tuple[int, int] | Json | None = (12, 9), **more: Any) -> bytes:
    delta: Json = {} if reason is None else {"finish_reason": reason}
    if isinstance(usage, dict):
        delta["usage"] = usage
    elif usage is not None:
        tokens = {"input_tokens": usage[0], "output_tokens": usage[1]}
        delta["usage"] = {"billed_units": {"input_tokens": 5}, "tokens": tokens}
    return ev("message-end", None, delta | more)


def body(name: str, shows: str, parts: list[Part], **rest: Any) -> Body:
    rest = {"usage": (12, 9)} | rest
    return Body(name=name, dialect=NAME, shows=shows, parts=parts, **rest)


def failed(name: str, shows: str, parts: list[Part], fault: str, **rest: Any) -> Body:
    rest = {"usage": None} | rest
    return body(name, shows, parts, status="failed", faults=(fault,), **rest)


PIECES = ("Die Kö", "nigin 👑", " schläft.")
TEXT = "".join(PIECES)
TRIP = ('{"city": "京', '都"}')
CITED = {"start": 4, "end": 11, "text": "Königin", "sources": [], "content_index": 0}
SAID = "your request resulted in an invalid tool generation"

BODIES = [
    body("text", "One content of text.",
         [START, *content(0, "text", *PIECES), end("COMPLETE"), END, DONE],
         text=TEXT, finish_reasons=("COMPLETE",)),
    body("thinking", "Thinking, then text, each a content of its own.",
         [START, *content(0, "thinking", "Hm", "…"), *content(1, "text", "42"), end("COMPLETE"),
          END, DONE],
         text="42", reasoning="Hm…", finish_reasons=("COMPLETE",)),
    body("tool-calls", "A plan for tools, then two calls, one without parameters.",
         [START, *plan("Ich ", "buche."), *call(0, "trip", *TRIP), *call(1, "now"),
          end("TOOL_CALL"), END, DONE],
         reasoning="Ich buche.", tool_calls=(("trip", "".join(TRIP)), ("now", "")),
         finish_reasons=("TOOL_CALL",)),
    body("citations", "A citation between the deltas of the text.",
         [START, *content(0, "text", *PIECES)[:-2],
          msg("citation-start", 0, citations=CITED), ev("citation-end", 0),
          *content(0, "text", *PIECES)[-2:], end("COMPLETE"), END, DONE],
         text=TEXT, finish_reasons=("COMPLETE",)),
    body("max-tokens", "Cut by the token limit; billed units alone.",
         [START, *content(0, "text", "Es war"), end("MAX_TOKENS", BILLED), END, DONE],
         status="limited", faults=("length-limit",), text="Es war",
         finish_reasons=("MAX_TOKENS",), usage=(3, 2)),
    body("fields-missing", "No event names, no index, no id, an unknown event, no [DONE].",
         [sse({"type": "message-start"}),
          sse({"type": "content-start", "delta": {"message": {"content": {"type": "text"}}}}),
          sse({"type": "invented-event", "x": 1}),
          sse({"type": "content-delta", "delta": {"message": {"content": {"text": "a"}}}}),
          sse({"type": "content-end"}),
          sse({"type": "message-end", "delta": {"finish_reason": "STOP_SEQUENCE"}}), END],
         text="a", finish_reasons=("STOP_SEQUENCE",), usage=None),
    failed("error-finish", "The failure is an ordinary message-end, and no SDK raises on it.",
           [START, *plan("Ich ", "frage."),
            end("ERROR", None, error=SAID, error_type="INVALID_TOOL_GENERATION"), DONE],
           "provider-error", reasoning="Ich frage.", finish_reasons=("ERROR",),
           error=("INVALID_TOOL_GENERATION", "ERROR", True)),
    failed("timeout-finish", "TIMEOUT after text was shown.",
           [START, *content(0, "text", *PIECES), end("TIMEOUT", None), DONE],
           "provider-error", text=TEXT, finish_reasons=("TIMEOUT",),
           error=("", "TIMEOUT", True)),
    failed("toxic-finish", "Stopped by the safety mode: the same request would be again.",
           [START, *content(0, "text", "Man nehme"), end("ERROR_TOXIC", None), DONE],
           "provider-error", text="Man nehme", finish_reasons=("ERROR_TOXIC",),
           error=("", "ERROR_TOXIC", False)),
    failed("bare-message", "The body of an HTTP error as a frame.",
           [START, sse({"message": "internal server error"})], "provider-error",
           error=("", "", True)),
    failed("end-without-reason", "message-end without a reason proves nothing.",
           [START, *content(0, "text", *PIECES), end(None, None)], "missing-finish",
           text=TEXT),
    failed("opening-lost", "A delta for a content that was never opened.",
           [START, *content(0, "text", *PIECES)[1:], end("COMPLETE"), END, DONE],
           "protocol-violation", text=TEXT, finish_reasons=("COMPLETE",), usage=(12, 9)),
    failed("cut-between-events", "A clean end inside a content.",
           [START, *content(0, "text", *PIECES)[:-1]], "truncated-between-events", text=TEXT),
    failed("cut-in-call", "A clean end inside a call's arguments.",
           [START, *call(0, "trip", *TRIP)[:2]], "truncated-between-events",
           tool_calls=(("trip", TRIP[0]),)),
    failed("cut-in-line", "Ends inside a line.",
           [START, *content(0, "text", *PIECES)[:2], content(0, "text", *PIECES)[2][:50]],
           "truncated-mid-event", text=PIECES[0]),
]  # fmt: skip
