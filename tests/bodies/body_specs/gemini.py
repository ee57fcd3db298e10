"""gemini: streamGenerateContent with alt=sse, CRLF throughout."""

from __future__ import annotations

from typing import Any

from body_specs.parts import CLAIM, END, SLACK_CRLF, Body, Json, Part, js, sse

NAME = "gemini"


def g(parts: list[Json] | None, finish: str | None = None, usage: tuple[int, int] | None = None,
      *, line: str = "\r\n", **more: Any) -> bytes:  # fmt: skip
    content: Json = {"role": "model"} if parts is None else {"parts": parts, "role": "model"}
    candidate: Json = {"content": content, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    payload: Json = {"candidates": [candidate | more]}
    if usage:
        payload["usageMetadata"] = {
            "promptTokenCount": usage[0], "candidatesTokenCount": usage[1],
            "totalTokenCount": sum(usage),
        }  # fmt: skip
    return sse(payload | {"modelVersion": "invented-1", "responseId": "inv1"}, end=line)


def t(*pieces: str) -> list[bytes]:
    return [g([{"text": piece}]) for piece in pieces]


def body(name: str, shows: str, parts: list[Part], **rest: Any) -> Body:
    return Body(name=name, dialect=NAME, shows=shows, parts=parts, **({"slack": SLACK_CRLF} | rest))


def failed(name: str, shows: str, parts: list[Part], fault: str, *more: str, **rest: Any) -> Body:
    return body(name, shows, parts, status="failed", faults=(fault, *more), **rest)


PIECES = ("Der Mond 🌖 ist ", "nicht aus\u2028", "Käse（チーズ）.")
TEXT = "".join(PIECES)
CALL = {"functionCall": {"name": "find", "args": {"q": "Käse", "n": [1, 2.5]}}}
CALLED = ("find", '{"q": "Käse", "n": [1, 2.5]}')
ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
PRETTY = (
    '{\r\n  "error": {\r\n    "code": 499,\r\n    "message": "The operation was cancelled.",\r\n'
    '    "status": "CANCELLED"\r\n  }\r\n}\r\n'
)
RUN = {"executableCode": {"language": "PYTHON", "code": "print(6*7)"}}
RAN = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "42\n"}}

BODIES = [
    body("text", "Text only; the last frame carries text and finishReason, usage is cumulative.",
         [g([{"text": PIECES[0]}], usage=(5, 2)), g([{"text": PIECES[1]}], usage=(5, 4)),
          g([{"text": PIECES[2]}], "STOP", (5, 9)), END],
         text=TEXT, finish_reasons=("STOP",), usage=(5, 9)),
    body("thought", "Thought text, then text; the last part holds only a signature.",
         [g([{"text": "Schätzen", "thought": True}]), g([{"text": " …", "thought": True}]),
          *t("Etwa 7."), g([{"text": "", "thoughtSignature": "c2ln"}], "STOP", (5, 3)), END],
         text="Etwa 7.", reasoning="Schätzen …", finish_reasons=("STOP",), usage=(5, 3)),
    body("tool-call", "One whole call, then a finish frame without parts.",
         [g([CALL | {"thoughtSignature": "c2ln"}]), g(None, "STOP", (5, 3)), END],
         tool_calls=(CALLED,), finish_reasons=("STOP",), usage=(5, 3)),
    body("tool-calls-parallel", "Two calls in one frame, the same one twice.",
         [*t("Moment."), g([CALL, CALL], "STOP", (5, 3)), END],
         text="Moment.", tool_calls=(CALLED, CALLED), finish_reasons=("STOP",), usage=(5, 3)),
    body("length-limit", "MAX_TOKENS in a frame without content.",
         [*t("Es war"), sse({"candidates": [{"finishReason": "MAX_TOKENS", "index": 0}]},
                            end="\r\n"), END],
         status="limited", faults=("length-limit",), text="Es war",
         finish_reasons=("MAX_TOKENS",)),
    body("safety", "SAFETY after text was shown.",
         [*t("Man nehme"), g(None, "SAFETY", safetyRatings=[{"category": "X", "blocked": True}]),
          END],
         status="filtered", faults=("content-filtered",), text="Man nehme",
         finish_reasons=("SAFETY",)),
    body("prompt-blocked", "A blocked prompt: promptFeedback and no candidate; nothing is missing.",
         [sse({"promptFeedback": {"blockReason": "SAFETY", "safetyRatings": []},
               "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5}}, end="\r\n"), END],
         status="filtered", faults=("content-filtered",), finish_reasons=("prompt:SAFETY",),
         notes={"usage": {"input": 5, "output": None}}),
    body("feedback-without-block", "promptFeedback beside a candidate, without a block reason.",
         [sse({"promptFeedback": {"safetyRatings": []},
               "candidates": [{"content": {"parts": [{"text": "ja"}]}}]}, end="\r\n"),
          g([{"text": "."}], "STOP"), END],
         text="ja.", finish_reasons=("STOP",)),
    body("code-execution", "Content after a first finishReason, since a built-in tool ran.",
         [g([RUN | {"thoughtSignature": "c2ln"}, {"text": ""}]), g([RAN]), g([RUN], "STOP"), CLAIM,
          g([RAN]), g([{"text": "Résultat ✅ 42."}], "STOP", (5, 9)), END],
         text="Résultat ✅ 42.", finish_reasons=("STOP",), usage=(5, 9)),
    body("stop-on-every-frame", "Early API versions stamped STOP on every frame, translators do.",
         [g([], "STOP"), CLAIM, g([{"text": "eins "}], "STOP"), g([{"text": "zwei"}], "STOP"), END],
         text="eins zwei", finish_reasons=("STOP",)),
    body("fields-missing", "No role, index, modelVersion; empty parts; an unknown part; LF only.",
         [sse({"candidates": [{"content": {"parts": [{"text": "a"}]}}]}),
          sse({"usageMetadata": {"trafficType": "ON_DEMAND"}, "candidates": [{"content": {}}]}),
          sse({"candidates": [{"content": {"parts": [{"inventedPart": {"x": 1}}]}}]}),
          sse({"candidates": [{"content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}]}),
          END],
         text="ab", finish_reasons=("STOP",), slack=2),
    body("unclosed-finish", "The last frame lacks its blank line, but its JSON is whole.",
         [*t("fast "), g([{"text": "da"}], "STOP", (5, 2))[:-2], END],
         text="fast da", finish_reasons=("STOP",), usage=(5, 2), slack=2),
    failed("error-in-data", "An error object in an ordinary frame.",
           [*t("Der "), sse(ERROR, end="\r\n")], "provider-error", text="Der ",
           error=("UNAVAILABLE", "503", True)),
    failed("error-bare", "Vertex: pretty-printed JSON without `data:`, after a first STOP.",
           [g([{"text": "Der "}], "STOP"), CLAIM, g([{"text": "Mond "}], "STOP"), PRETTY.encode()],
           "provider-error", text="Der Mond ", finish_reasons=("STOP",),
           error=("CANCELLED", "499", True)),
    failed("malformed-call", "The model wrote a call that the API could not parse: a model fault.",
           [*t("Ich "), g(None, "MALFORMED_FUNCTION_CALL")], "provider-error", text="Ich ",
           finish_reasons=("MALFORMED_FUNCTION_CALL",),
           error=("", "MALFORMED_FUNCTION_CALL", True)),
    failed("cut-between-events", "A clean end without any finishReason.", t("Der ", "Mond"),
           "truncated-between-events", text="Der Mond"),
    failed("cut-in-line", "Ends inside a line.", [*t("Der "), t("Mond")[0][:60]],
           "truncated-mid-event", text="Der "),
    failed("empty", "No byte at all.", [], "empty-stream"),
    failed("json-error", "The HTTP error body in its array, with status 200.",
           [js([ERROR]).encode()], "not-a-stream", content_type="application/json",
           extension="json"),
]  # fmt: skip
