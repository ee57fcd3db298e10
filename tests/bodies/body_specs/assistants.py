"""openai-assistants: runs of a thread."""

from __future__ import annotations

from typing import Any

from body_specs.parts import END, Body, Json, Part, sse

NAME = "openai-assistants"
DONE = b"event: done\ndata: [DONE]\n\n"


def run(kind: str, **fields: Any) -> bytes:
    head = {"id": "run_inv", "object": "thread.run", "status": kind, "model": "inv"}
    return sse(head | {"last_error": None, "usage": None} | fields, f"thread.run.{kind}")


START = [run("created"), run("queued"), run("in_progress")]


def message(*pieces: str, id: str = "msg_inv") -> list[bytes]:
    head = {"id": id, "object": "thread.message"}
    parts = [
        {"index": 0, "type": "text", "text": {"value": piece, "annotations": []}}
        for piece in pieces
    ]
    return [
        sse({**head, "content": []}, "thread.message.created"),
        sse({**head, "content": []}, "thread.message.in_progress"),
        *[sse({**head, "delta": {"content": [part]}}, "thread.message.delta") for part in parts],
        sse({**head, "content": []}, "thread.message.completed"),
    ]


def tool(**call: Any) -> bytes:
    details = {"type": "tool_calls", "tool_calls": [{"index": 0, **call}]}
    return sse({"id": "step_inv", "delta": {"step_details": details}}, "thread.run.step.delta")


def function(*pieces: str) -> list[bytes]:
    opening = {"name": "trip", "arguments": "", "output": None}
    return [
        tool(id="call_inv", type="function", function=opening),
        *[tool(type="function", function={"arguments": piece}) for piece in pieces],
    ]


def body(name: str, shows: str, parts: list[Part], **rest: Any) -> Body:
    rest = {"usage": (12, 9)} | rest
    return Body(name=name, dialect=NAME, shows=shows, parts=parts, **rest)


def failed(name: str, shows: str, parts: list[Part], fault: str, **rest: Any) -> Body:
    rest = {"usage": None} | rest
    return body(name, shows, parts, status="failed", faults=(fault,), **rest)


PIECES = ("Die Lösung ", "ist ", "x = 1 ✅.")
TEXT = "".join(PIECES)
TRIP = ('{"city":', '"京都"}')
USED: Json = {"usage": {"prompt_tokens": 12, "completion_tokens": 9, "total_tokens": 21}}

BODIES = [
    body("text", "A code interpreter's step, then a message.",
         [*START, tool(id="c1", type="code_interpreter", code_interpreter={"input": "1+1"}),
          *message(*PIECES), run("completed", **USED), END, DONE],
         text=TEXT, finish_reasons=("completed",)),
    body("two-messages", "Two messages in one run: their texts are joined.",
         [*START, *message("Gleich. "), *message("Da.", id="msg_2"), run("completed", **USED), END,
          DONE],
         text="Gleich. Da.", finish_reasons=("completed",)),
    body("requires-action", "A function call, for which the run waits.",
         [*START, *function(*TRIP), run("requires_action"), END, DONE],
         tool_calls=(("trip", "".join(TRIP)),), finish_reasons=("requires_action",), usage=None),
    body("incomplete", "Cut by the token limit.",
         [*START, *message("Es war"),
          run("incomplete", incomplete_details={"reason": "max_completion_tokens"}, **USED), END,
          DONE],
         status="limited", faults=("length-limit",), text="Es war",
         finish_reasons=("incomplete",)),
    body("content-filter", "Cut by the filter.",
         [*START, *message("Man nehme"),
          run("incomplete", incomplete_details={"reason": "content_filter"}, **USED), END, DONE],
         status="filtered", faults=("content-filtered",), text="Man nehme",
         finish_reasons=("incomplete",)),
    body("without-done", "The run completed, and no done.",
         [*START, *message(*PIECES), run("completed", **USED), END],
         faults=("missing-terminator",), text=TEXT, finish_reasons=("completed",)),
    failed("failed", "The run failed.",
           [*START, *message(*PIECES)[:-1],
            run("failed", last_error={"code": "server_error", "message": "m"}), DONE],
           "provider-error", text=TEXT, finish_reasons=("failed",),
           error=("", "server_error", True)),
    failed("expired", "The run took too long.",
           [*START, run("expired"), DONE], "provider-error", finish_reasons=("expired",),
           error=("", "expired", True)),
    failed("error", "An error event.",
           [*START, *message(*PIECES)[:3],
            sse({"message": "m", "type": "server_error", "code": None}, "error"), DONE],
           "provider-error", text=PIECES[0], error=("server_error", "", True)),
    failed("done-without-end", "done, though the run never ended.",
           [*START, *message(*PIECES), DONE], "missing-finish", text=TEXT),
    failed("cut-between-events", "A clean end inside a message.",
           [*START, *message(*PIECES)[:-2]], "truncated-between-events",
           text="".join(PIECES[:2])),
    failed("cut-in-line", "Ends inside a line.",
           [*START, *message(*PIECES)[:3], message(*PIECES)[3][:60]], "truncated-mid-event",
           text=PIECES[0]),
]  # fmt: skip
