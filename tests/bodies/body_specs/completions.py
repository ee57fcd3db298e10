"""openai-completions."""

from __future__ import annotations

from typing import Any

from body_specs.parts import CREATED, END, Body, Json, Part, sse

NAME = "openai-completions"
DONE = b"data: [DONE]\n\n"


def f(*choices: Json, **more: Any) -> bytes:
    head = {"id": "cmpl-inv1", "object": "text_completion", "created": CREATED}
    return sse({**head, "choices": list(choices), "model": "invented-1", **more})


def c(text: str, finish: str | None = None, index: int = 0) -> Json:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}


def t(*pieces: str) -> list[bytes]:
    return [f(c(piece)) for piece in pieces]


def used(given: int, made: int) -> Json:
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def body(name: str, shows: str, parts: list[Part], **rest: Any) -> Body:
    return Body(name=name, dialect=NAME, shows=shows, parts=parts, **rest)


def failed(name: str, shows: str, parts: list[Part], fault: str, **rest: Any) -> Body:
    return body(name, shows, parts, status="failed", faults=(fault,), **rest)


PIECES = (" für\n", "alle 🎈", " Fälle")
TEXT = "".join(PIECES)
ERROR = {"error": {"message": "EngineDeadError", "type": "InternalServerError", "code": 500}}

BODIES = [
    body("text", "Text, a finish frame without text, usage without choices.",
         [*t(*PIECES), f(c("", "stop")), END, f(usage=used(3, 4)), DONE],
         text=TEXT, finish_reasons=("stop",), usage=(3, 4)),
    body("finish-with-text", "The last piece of text brings the finish (OpenAI, 2023).",
         [*t(*PIECES[:2]), f(c(PIECES[2], "length")), END, DONE],
         status="limited", faults=("length-limit",), text=TEXT, finish_reasons=("length",)),
    body("content-filter", "Cut by the filter after text was shown.",
         [*t("Man nehme"), f(c("", "content_filter")), END, DONE],
         status="filtered", faults=("content-filtered",), text="Man nehme",
         finish_reasons=("content_filter",)),
    body("two-choices", "n=2, interleaved, each with a finish of its own.",
         [f(c("eins")), f(c("one", index=1)), f(c("", "stop", 1)), f(c(" zwei")),
          f(c("", "stop")), END, DONE],
         text="eins zwei", texts=("eins zwei", "one"), finish_reasons=("stop", "stop")),
    body("usage-on-every-frame", "vLLM's continuous usage, and a stop_reason of its own.",
         [f({**c("a"), "stop_reason": None}, usage=used(3, 1)),
          f({**c("b", "stop"), "stop_reason": 128009}, usage=used(3, 2)), END,
          f(usage=used(3, 2)), DONE],
         text="ab", finish_reasons=("stop",), usage=(3, 2)),
    body("fields-missing", "No id, index, logprobs or finish_reason; the last line end is missing.",
         [sse({"choices": [{"text": "a"}]}), sse({"choices": [{"text": "b"}]}),
          sse({"choices": [{"text": "", "finish_reason": "stop"}]}), END, DONE[:-2]],
         text="ab", finish_reasons=("stop",)),
    body("without-done", "A finish and no [DONE]: whole, usage may be missing.",
         [*t(*PIECES), f(c("", "stop")), END],
         faults=("missing-terminator",), text=TEXT, finish_reasons=("stop",)),
    failed("done-without-finish", "[DONE] alone proves nothing.", [*t(*PIECES), DONE],
           "missing-finish", text=TEXT),
    failed("error-then-done", "vLLM: an error object, then [DONE] all the same.",
           [*t(PIECES[0]), sse(ERROR), DONE], "provider-error", text=PIECES[0],
           error=("InternalServerError", "500", True)),
    failed("cut-between-events", "A clean end without a finish.", t(*PIECES),
           "truncated-between-events", text=TEXT),
    failed("cut-in-line", "Ends inside a line.", [*t(PIECES[0]), t(PIECES[1])[0][:70]],
           "truncated-mid-event", text=PIECES[0]),
    failed("writer", "Writer's own shape: nothing ever says that it ends.",
           [sse({"value": piece}) for piece in PIECES], "truncated-between-events", text=TEXT,
           host="api.writer.com"),
]  # fmt: skip
