"""gemini-array: streamGenerateContent without alt=sse, one JSON array."""

from __future__ import annotations

import json
from typing import Any

from body_specs.parts import CLAIM, END, Body, Json, Part

NAME = "gemini-array"


def value(parts: list[Json] | None, finish: str | int | None = None,
          usage: tuple[int, int] | None = None) -> Json:  # fmt: skip
    candidate: Json = {"content": {"role": "model"} | ({} if parts is None else {"parts": parts})}
    if finish is not None:
        candidate["finishReason"] = finish
    payload: Json = {"candidates": [candidate | {"index": 0}]}
    if usage:
        payload["usageMetadata"] = {
            "promptTokenCount": usage[0], "candidatesTokenCount": usage[1],
            "totalTokenCount": sum(usage),
        }  # fmt: skip
    return payload | {"modelVersion": "invented-1", "responseId": "inv1"}


def array(*values: Any, closed: bool = True, indent: int | None = 2) -> list[Part]:
    """Return the elements of an array with Google's white space; END stands behind a last one."""
    parts: list[Part] = []
    begun = False
    for each in values:
        if not isinstance(each, dict):
            parts.append(each)
            continue
        written = json.dumps(each, ensure_ascii=False, indent=indent).encode()
        parts.append((b"\n,\r\n" if begun else b"[") + written)
        begun = True
    return [*parts, b"\n]"] if closed else parts


def body(name: str, shows: str, parts: list[Part], **rest: Any) -> Body:
    known = {"slack": 0, "extension": "json", "content_type": "application/json; charset=UTF-8"}
    return Body(name=name, dialect=NAME, shows=shows, parts=parts, **(known | rest))


def failed(name: str, shows: str, parts: list[Part], fault: str, **rest: Any) -> Body:
    return body(name, shows, parts, status="failed", faults=(fault,), **rest)


def t(text: str, *finish: Any) -> Json:
    return value([{"text": text}], *finish)


CALL = {"functionCall": {"name": "find", "args": {"q": ']}[{" Käse', "n": [1, {"a": []}]}}}
CALLED = ("find", '{"q": "]}[{\\" Käse", "n": [1, {"a": []}]}')
BRACKETS = 'if (a[0] == "}]") { b = "\\"; } 🌖'
ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}

BODIES = [
    body("text", "Elements over many lines, as Google writes them.",
         array(t("Der Mond 🌖 "), t("ist\u2028da."), value([{"text": ""}], "STOP", (5, 9)), END),
         text="Der Mond 🌖 ist\u2028da.", finish_reasons=("STOP",), usage=(5, 9)),
    body("text-compact", "On one line; text that holds brackets, quotes and backslashes.",
         array(t(BRACKETS), value(None, "STOP", (5, 9)), END, indent=None),
         text=BRACKETS, finish_reasons=("STOP",), usage=(5, 9)),
    body("thought-and-call", "A thought, then a whole call whose arguments hold brackets.",
         array(value([{"text": "Hm", "thought": True}]), value([CALL]),
               value(None, "STOP", (5, 3)), END),
         reasoning="Hm", tool_calls=(CALLED,), finish_reasons=("STOP",), usage=(5, 3)),
    body("numbered-reason", "The reason as a number, as with enum-encoding=int.",
         array(t("ja", 1, (5, 2)), END), text="ja", finish_reasons=("1",), usage=(5, 2)),
    body("length-limit", "MAX_TOKENS.", array(t("Es war", "MAX_TOKENS", (5, 2)), END),
         status="limited", faults=("length-limit",), text="Es war",
         finish_reasons=("MAX_TOKENS",), usage=(5, 2)),
    body("safety", "SAFETY, as a number.", array(t("Man"), value(None, 3, (5, 2)), END),
         status="filtered", faults=("content-filtered",), text="Man", finish_reasons=("3",),
         usage=(5, 2)),
    body("no-bracket", "A finish, but the array was never closed: whole all the same.",
         array(t("ja"), value(None, "STOP", (5, 2)), END, closed=False),
         faults=("missing-terminator",), text="ja", finish_reasons=("STOP",), usage=(5, 2)),
    body("code-execution", "Content after a first finishReason, since a built-in tool ran.",
         array(value([{"executableCode": {"code": "6*7"}}], "STOP"), CLAIM,
               value([{"codeExecutionResult": {"output": "42"}}]), t("42.", "STOP", (5, 9)), END),
         text="42.", finish_reasons=("STOP",), usage=(5, 9)),
    failed("error-element", "An error as an element.", array(t("Der "), ERROR), "provider-error",
           text="Der ", error=("UNAVAILABLE", "503", True)),
    failed("closed-without-finish", "The array was closed, but no finish came.",
           array(t("Der ")), "missing-finish", text="Der "),
    failed("cut-between-elements", "A clean end behind an element.",
           array(t("Der "), t("Mond"), closed=False), "truncated-between-events", text="Der Mond"),
    failed("cut-in-element", "Ends inside an element, though all its strings are whole.",
           [*array(t("Der "), closed=False), b'\n,\r\n{"candidates": [{"content": {"parts": [{}]}'],
           "truncated-mid-event", text="Der "),
    failed("malformed-json", "An element that is no JSON, though its brackets match.",
           [*array(t("a"), closed=False), b'\n,\r\n{"candidates": [{"text" "]"}]}',
            b"\n,\r\n" + json.dumps(t("c", "STOP", (5, 2))).encode(), END, b"\n]"],
           "malformed-json", text="ac", finish_reasons=("STOP",), usage=(5, 2)),
    failed("empty-array", "Nothing in the array.", [b"[]"], "missing-finish"),
    failed("only-begun", "Nothing but the opening bracket.", [b"[\n"], "empty-stream"),
    failed("json-error", "The body of an HTTP error, not in an array.",
           [json.dumps(ERROR).encode()], "not-a-stream", content_type="application/json"),
]  # fmt: skip
