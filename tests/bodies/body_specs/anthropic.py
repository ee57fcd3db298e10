"""anthropic-messages."""

from __future__ import annotations

from typing import Any

from body_specs.parts import CLAIM, END, Body, Json, Part, sse

NAME = "anthropic-messages"


def ev(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, **fields}, kind)


START = ev(
    "message_start",
    message={
        "id": "msg_inv1", "type": "message", "role": "assistant", "model": "invented-1",
        "content": [], "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1},
    },
)  # fmt: skip
# Real services pad the JSON with blanks before a closing brace.
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"      }\n\n'


def opened(at: int, block: Json) -> bytes:
    return ev("content_block_start", index=at, content_block=block)


def delta(at: int, kind: str, key: str, value: Any) -> bytes:
    return ev("content_block_delta", index=at, delta={"type": kind, key: value})


def closed(at: int) -> bytes:
    return ev("content_block_stop", index=at)


def text(at: int, *pieces: str) -> list[bytes]:
    return [
        opened(at, {"type": "text", "text": ""}), PING,
        *[delta(at, "text_delta", "text", piece) for piece in pieces], closed(at),
    ]  # fmt: skip


def thinking(at: int, *pieces: str) -> list[bytes]:
    return [
        opened(at, {"type": "thinking", "thinking": "", "signature": ""}),
        *[delta(at, "thinking_delta", "thinking", piece) for piece in pieces],
        delta(at, "signature_delta", "signature", "c2ln"), closed(at),
    ]  # fmt: skip


def tool(at: int, name: str, *pieces: str, kind: str = "tool_use") -> list[bytes]:
    return [
        opened(at, {"type": kind, "id": f"toolu_{at}", "name": name, "input": {}}),
        *[delta(at, "input_json_delta", "partial_json", piece) for piece in pieces], closed(at),
    ]  # fmt: skip


def end(reason: str | None, output: int, **details: Any) -> bytes:
    return ev(
        "message_delta", delta={"stop_reason": reason, "stop_sequence": None, **details},
        usage={"output_tokens": output},
    )  # fmt: skip


def error(kind: str) -> bytes:
    return ev("error", error={"type": kind, "message": "Overloaded"})


def body(name: str, shows: str, parts: list[Part], **rest: Any) -> Body:
    return Body(name=name, dialect=NAME, shows=shows, parts=parts, **rest)


def failed(name: str, shows: str, parts: list[Part], fault: str, **rest: Any) -> Body:
    return body(name, shows, parts, status="failed", faults=(fault,), **rest)


PIECES = ("Grüße aus ", "京都", " 🏯", "!")
TEXT = "Grüße aus 京都 🏯!"
OPEN = [
    START, opened(0, {"type": "text", "text": ""}), PING,
    delta(0, "text_delta", "text", "Grüße "), delta(0, "text_delta", "text", "aus"),
]  # fmt: skip
SO_FAR: dict[str, Any] = {"text": "Grüße aus", "usage": (12, 1)}
TRIP = '{"city": "京都", "days": 3}'

HEALTHY = [
    body("text", "Text only, ping after the block's start, blanks before a closing brace.",
         [START, *text(0, *PIECES), end("end_turn", 9), END, STOP],
         text=TEXT, finish_reasons=("end_turn",), usage=(12, 9)),
    body("thinking", "Thinking with its signature, then text.",
         [START, *thinking(0, "", "Carry ", "the 1."), *text(1, "42"), end("end_turn", 20), END,
          STOP],
         text="42", reasoning="Carry the 1.", finish_reasons=("end_turn",), usage=(12, 20)),
    body("thinking-sealed", "A redacted block and a thinking block with only a signature.",
         [START, opened(0, {"type": "redacted_thinking", "data": "aW52"}), PING, closed(0),
          *thinking(1), *text(2, "Da."), end("end_turn", 20), END, STOP],
         text="Da.", finish_reasons=("end_turn",), usage=(12, 20)),
    body("tool-call", "Text, then one tool call; the first fragment is empty.",
         [START, *text(0, "Ich buche."),
          *tool(1, "trip", "", '{"city": "京', '都", "da', 'ys": 3}'), end("tool_use", 30), END,
          STOP],
         text="Ich buche.", tool_calls=(("trip", TRIP),), finish_reasons=("tool_use",),
         usage=(12, 30)),
    body("tool-calls-parallel", "Two calls, one without parameters: its arguments stay empty.",
         [START, *tool(0, "trip", TRIP), *tool(1, "now", ""), end("tool_use", 30), END, STOP],
         tool_calls=(("trip", TRIP), ("now", "")), finish_reasons=("tool_use",), usage=(12, 30)),
    body("server-tools", "Hosted search with its result, citations, an unknown event and block.",
         [START, *tool(0, "web_search", '{"query": "x"}', kind="server_tool_use"),
          opened(1, {"type": "web_search_tool_result", "tool_use_id": "toolu_0", "content": []}),
          closed(1), ev("invented_event", a=1), opened(2, {"type": "invented_block"}), closed(2),
          opened(3, {"type": "text", "text": "", "citations": []}),
          delta(3, "citations_delta", "citation", {"type": "x", "cited_text": "Y"}),
          delta(3, "text_delta", "text", "Laut Y."), closed(3), end("end_turn", 30), END, STOP],
         text="Laut Y.", finish_reasons=("end_turn",), usage=(12, 30)),
    body("two-message-deltas", "Usage is cumulative and comes twice; the first has no stop_reason.",
         [START, *text(0, "ok"), end(None, 2), end("stop_sequence", 3), END, STOP],
         text="ok", finish_reasons=("stop_sequence",), usage=(12, 3)),
    body("length-limit", "max_tokens: a proven end.",
         [START, *text(0, "Es war ein"), end("max_tokens", 5), END, STOP],
         status="limited", faults=("length-limit",), text="Es war ein",
         finish_reasons=("max_tokens",), usage=(12, 5)),
    body("context-limit", "model_context_window_exceeded is a limit too.",
         [START, *text(0, "Es"), end("model_context_window_exceeded", 5), END, STOP],
         status="limited", faults=("length-limit",), text="Es",
         finish_reasons=("model_context_window_exceeded",), usage=(12, 5)),
    body("refusal", "stop_reason refusal: a safety stop, never healed around.",
         [START, *text(0, "Nun"), end("refusal", 2, stop_details={"type": "refusal"}), END, STOP],
         status="filtered", faults=("content-filtered",), text="Nun", finish_reasons=("refusal",),
         usage=(12, 2)),
    body("pause", "pause_turn: the application is to send the content back.",
         [START, *text(0, "Ich suche."), end("pause_turn", 4), END, STOP],
         status="paused", text="Ich suche.", finish_reasons=("pause_turn",), usage=(12, 4)),
    body("done-after-stop", "OpenRouter: [DONE] after message_stop.",
         [START, *text(0, "ok"), end("end_turn", 2), END, STOP, sse("[DONE]", "data")],
         text="ok", finish_reasons=("end_turn",), usage=(12, 2), host="openrouter.ai"),
]  # fmt: skip

FAULTS = [
    failed("error", "event: error in a 200; the same request may work later.",
           [*OPEN, error("overloaded_error")], "provider-error",
           error=("overloaded_error", "", True), **SO_FAR),
    failed("error-first", "The error is the first event, and not retryable.",
           [error("invalid_request_error")], "provider-error",
           error=("invalid_request_error", "", False)),
    body("no-message-stop", "stop_reason came, message_stop did not: whole.",
         [START, *text(0, *PIECES), end("end_turn", 9), END], faults=("missing-terminator",),
         text=TEXT, finish_reasons=("end_turn",), usage=(12, 9)),
    body("message-stop-unclosed", "message_stop without a blank line: not dispatched.",
         [START, *text(0, *PIECES), end("end_turn", 9), END, STOP[:-2]],
         faults=("missing-terminator",), text=TEXT, finish_reasons=("end_turn",), usage=(12, 9),
         notes={"also_accepted": {"status": "complete", "faults": []}}),
    failed("stop-without-reason", "message_stop, but never a stop_reason.",
           [START, *text(0, "ok"), STOP], "missing-finish", text="ok", usage=(12, 1)),
    failed("cut-between-events", "A clean end in the middle of a text block.", OPEN,
           "truncated-between-events", **SO_FAR),
    failed("cut-between-blocks", "The text block is closed, but the message is not.",
           [START, *text(0, "Grüße ", "aus")], "truncated-between-events", **SO_FAR),
    failed("cut-in-utf8", "Ends after the first byte of a character.",
           [*OPEN, (cut := delta(0, "text_delta", "text", "京"))[: cut.index("京".encode()) + 1]],
           "truncated-mid-event", **SO_FAR),
    failed("cut-in-thinking", "A clean end inside a thinking block.",
           [START, *thinking(0, "Carry ", "the 1.")[:-2]], "truncated-between-events",
           reasoning="Carry the 1.", usage=(12, 1)),
    failed("cut-in-tool-call", "A clean end inside a call's input.",
           [START, *tool(0, "trip", '{"city": "京')[:-1]], "truncated-between-events",
           tool_calls=(("trip", '{"city": "京'),), usage=(12, 1)),
    failed("only-ping", "message_start, pings, and nothing else.", [START, PING, PING],
           "empty-stream", usage=(12, 1)),
    failed("invalid-tool-arguments", "Finished, but the input is not JSON.",
           [START, *tool(0, "trip", '{"city": '), end("tool_use", 5), END, STOP],
           "invalid-tool-arguments", tool_calls=(("trip", '{"city": '),),
           finish_reasons=("tool_use",), usage=(12, 5)),
    failed("delta-unopened", "A delta for a block that was never opened.",
           [START, *text(0, "ok"), delta(1, "text_delta", "text", "?"), end("end_turn", 5), CLAIM,
            STOP],
           "protocol-violation", text="ok?", finish_reasons=("end_turn",), usage=(12, 5)),
    failed("two-starts", "message_start twice: two answers in one body.",
           [START, *text(0, "ok"), START, *text(0, "ok"), end("end_turn", 5), CLAIM, STOP],
           "protocol-violation", text="okok", finish_reasons=("end_turn",), usage=(12, 5)),
    failed("json-error", "The error body of HTTP, with status 200.",
           [b'{"type":"error","error":{"type":"api_error","message":"x"},"request_id":"req_1"}'],
           "not-a-stream", content_type="application/json", extension="json"),
]  # fmt: skip

BODIES = HEALTHY + FAULTS
