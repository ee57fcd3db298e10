"""ollama: NDJSON, /api/chat and /api/generate."""

from __future__ import annotations

from typing import Any

from body_specs.parts import END, SLACK_NDJSON, Body, Json, Part, js

NAME = "ollama"


def line(payload: Json, *, escaped: bool = False) -> bytes:
    head = {"model": "invented:1b", "created_at": "2026-01-02T03:04:05.678901Z"}
    return js(head | payload, escaped=escaped).encode() + b"\n"


def m(content: str = "", *, escaped: bool = False, **more: Any) -> bytes:
    message = {"role": "assistant", "content": content, **more}
    return line({"message": message, "done": False}, escaped=escaped)


def done(reason: str | None, usage: tuple[int, int] | None = (6, 4), **more: Any) -> bytes:
    payload: Json = {"message": {"role": "assistant", "content": ""}, "done": True}
    if reason is not None:
        payload["done_reason"] = reason
    if usage:
        payload |= {"total_duration": 9, "prompt_eval_count": usage[0], "eval_count": usage[1]}
    return line(payload | more)


def body(name: str, shows: str, parts: list[Part], **rest: Any) -> Body:
    return Body(
        name=name, dialect=NAME, shows=shows, parts=parts,
        **({"extension": "ndjson", "content_type": "application/x-ndjson", "slack": SLACK_NDJSON}
           | rest),
    )  # fmt: skip


def failed(name: str, shows: str, parts: list[Part], fault: str, **rest: Any) -> Body:
    return body(name, shows, parts, status="failed", faults=(fault,), **rest)


CALL = {"function": {"name": "add", "arguments": {"x": 2, "y": "drei"}}}
CALLED = ("add", '{"x": 2, "y": "drei"}')
# U+0085 and U+2028 end no line: several clients split there and lose the event.
PIECES = ("Guten\u0085", "Tag\u2028", " 世界", " 🌍")
TEXT = "".join(PIECES)
HALF = [m("Guten "), m("Tag 🌍")]

BODIES = [
    body("text", "Text only; U+0085 and U+2028 inside strings.",
         [*[m(piece) for piece in PIECES], done("stop"), END],
         text=TEXT, finish_reasons=("stop",), usage=(6, 4)),
    body("text-escaped", "The same with \\u escapes; CRLF, a blank line, no LF at the end.",
         [*[m(piece, escaped=True)[:-1] + b"\r\n" for piece in PIECES], b"\n", done("stop")[:-1],
          END],
         text=TEXT, finish_reasons=("stop",), usage=(6, 4), slack=0),
    body("thinking", "Thinking before the text.",
         [m(thinking="Hm "), m(thinking="🤔"), m("Ja"), done("stop"), END],
         text="Ja", reasoning="Hm 🤔", finish_reasons=("stop",), usage=(6, 4)),
    body("tool-calls", "Whole calls with object arguments, one a line, numbered by the server.",
         [m(tool_calls=[{"id": "c1", "function": {"index": 0} | CALL["function"]}]),
          m(tool_calls=[{"id": "c2", "function": {"index": 1} | CALL["function"]}]),
          done("stop"), END],
         tool_calls=(CALLED, CALLED), finish_reasons=("stop",), usage=(6, 4)),
    body("tool-call-plain", "A call without id or index, after text.",
         [m("Gut."), m(tool_calls=[CALL]), done("stop"), END],
         text="Gut.", tool_calls=(CALLED,), finish_reasons=("stop",), usage=(6, 4)),
    body("length-limit", "done_reason length.", [m("Es war"), done("length"), END],
         status="limited", faults=("length-limit",), text="Es war", finish_reasons=("length",),
         usage=(6, 4)),
    body("generate", "/api/generate: `response` in place of `message`, context ids at the end.",
         [line({"response": "Eins, ", "done": False}), line({"response": "zwei.", "done": False}),
          line({"response": "", "done": True, "done_reason": "stop", "context": [1, 2],
                "prompt_eval_count": 6, "eval_count": 4}), END],
         text="Eins, zwei.", finish_reasons=("stop",), usage=(6, 4)),
    body("load", "An empty prompt only loads the model: a whole answer without content.",
         [done("load", None), END], finish_reasons=("load",)),
    failed("error-line", "A line with an error in the 200 body.",
           [*HALF, b'{"error":"llama runner process has terminated: exit status 2"}\n'],
           "provider-error", text="Guten Tag 🌍", error=("", "", True)),
    failed("error-first", "The error is the first line.", [b'{"error":"out of memory"}\n'],
           "provider-error", error=("", "", True)),
    failed("done-without-reason", "done, but no done_reason: the runner went away.",
           [*HALF, done(None)], "missing-finish", text="Guten Tag 🌍", usage=(6, 4)),
    failed("done-with-empty-reason", "The same with an empty done_reason.",
           [*HALF, done("")], "missing-finish", text="Guten Tag 🌍", usage=(6, 4)),
    failed("cut-between-lines", "A clean end after a whole line.", [*HALF],
           "truncated-between-events", text="Guten Tag 🌍"),
    failed("cut-in-line", "Ends inside the last line.", [*HALF, done("stop")[:-30]],
           "truncated-mid-event", text="Guten Tag 🌍"),
    failed("cut-in-utf8", "Ends inside a character.",
           [*HALF, (cut := m("世"))[: cut.index("世".encode()) + 2]],
           "truncated-mid-event", text="Guten Tag 🌍"),
    failed("malformed-json", "One line is not JSON.", [m("a"), b'{"message":\n', m("c"),
                                                      done("stop"), END],
           "malformed-json", text="ac", finish_reasons=("stop",), usage=(6, 4)),
    failed("html", "A proxy's error page with status 200.",
           [b"<html><body><h1>504 Gateway Time-out</h1></body></html>\n"], "not-a-stream",
           content_type="text/html", extension="html"),
]  # fmt: skip
