"""openai-chat: errors inside a 200, and bodies that stop where they must not."""

from __future__ import annotations

from typing import Any

from body_specs.chat import DONE, NAME, ROLE, STOP, c, call, texts, usage
from body_specs.parts import CLAIM, END, Body, Part, js, sse

TWO = texts("Half ", "way 🛤")
TWO_TEXT = "Half way 🛤"
HTML = (
    "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n"
    "<body><center><h1>502 Bad Gateway</h1></center><hr><center>edge</center></body></html>\n"
)


def failed(name: str, shows: str, parts: list[Part], fault: str, *more: str, **rest: Any) -> Body:
    return Body(
        name=name, dialect=NAME, shows=shows, parts=parts, status="failed",
        faults=(fault, *more), **rest,
    )  # fmt: skip


ERRORS = [
    failed(
        "error-object", "An OpenAI error object, then the body ends.",
        [ROLE, *TWO, sse({"error": {"message": "The server had an error", "type": "server_error",
                                    "param": None, "code": None}})],
        "provider-error", text=TWO_TEXT, error=("server_error", "", True),
    ),
    failed(
        "error-then-done", "vLLM and SGLang: an error with an integer code, and then [DONE].",
        [ROLE, *TWO, sse({"error": {"message": "engine died", "type": "InternalServerError",
                                    "param": None, "code": 500}}), DONE],
        "provider-error", text=TWO_TEXT, error=("InternalServerError", "500", True),
    ),
    failed(
        "error-before-content", "An error as the very first event; the same key would fail again.",
        [sse({"error": {"message": "quota", "type": "insufficient_quota",
                        "param": None, "code": "insufficient_quota"}}), DONE],
        "provider-error", error=("insufficient_quota", "insufficient_quota", False),
    ),
    failed(
        "error-field", "llama.cpp: the error in an unknown SSE field, which WHATWG ignores.",
        [ROLE, *TWO, b'error: {"code":500,"message":"shift failed","type":"server_error"}\n\n'],
        "provider-error", text=TWO_TEXT, error=("server_error", "500", True),
    ),
    failed(
        "error-string", "TGI: the error is a string with a type beside it, then [DONE].",
        [ROLE, *TWO, sse({"error": "Model is overloaded", "error_type": "overloaded"}), DONE],
        "provider-error", text=TWO_TEXT, error=("overloaded", "", True),
    ),
    failed(
        "openrouter-error", "A normal event with a top-level error and finish_reason error.",
        [b": OPENROUTER PROCESSING\n\n", ROLE, *TWO,
         c({"role": "assistant", "content": ""}, "error",
           error={"code": 502, "message": "Provider disconnected",
                  "metadata": {"error_type": "provider_unavailable"}}), DONE],
        "provider-error", text=TWO_TEXT, finish_reasons=("error",), host="openrouter.ai",
        error=("provider_unavailable", "502", True),
        notes={"also_accepted": {"finish_reasons": []}},
    ),
    failed(
        "openrouter-error-after-finish", "finish_reason length twice, then an error, then [DONE].",
        [b": OPENROUTER PROCESSING\n\n", ROLE, *TWO, c({"content": ""}, "length"), CLAIM,
         c({"content": ""}, "length", usage=usage(4, 2)),
         sse({"error": {"code": 502, "message": "upstream closed",
                        "metadata": {"error_type": "provider_unavailable"}}}), DONE],
        "provider-error", "length-limit", text=TWO_TEXT, finish_reasons=("length",),
        usage=(4, 2), host="openrouter.ai", error=("provider_unavailable", "502", True),
    ),
    failed(
        "groq-event-error", "Groq: a named event `error` among unnamed ones; not retryable.",
        [ROLE, c({"reasoning": "Call it."}),
         sse({"error": {"message": "Tool call validation failed", "type": "invalid_request_error",
                        "code": "tool_use_failed", "failed_generation": '{"name": "f"}',
                        "status_code": 400}}, "error")],
        "provider-error", reasoning="Call it.", host="api.groq.com",
        error=("invalid_request_error", "tool_use_failed", False),
    ),
    failed(
        "groq-x-groq-error", "Groq: the error inside x_groq, on an event that looks normal.",
        [ROLE, *TWO, c({}, x_groq={"id": "req_inv1", "error": "over_capacity"})],
        "provider-error", text=TWO_TEXT, host="api.groq.com", error=("", "", True),
    ),
    failed(
        "finish-error", "Mistral: finish_reason `error` is a failed generation; [DONE] comes.",
        [ROLE, *TWO, c({"content": ""}, "error"), DONE],
        "provider-error", text=TWO_TEXT, finish_reasons=("error",), host="api.mistral.ai",
        error=("", "error", True),
    ),
    failed(
        "finish-insufficient-resource", "DeepSeek: interrupted for want of resources.",
        [ROLE, *TWO, c({"content": ""}, "insufficient_system_resource", usage=usage(4, 2)), DONE],
        "provider-error", text=TWO_TEXT, finish_reasons=("insufficient_system_resource",),
        usage=(4, 2), host="api.deepseek.com", error=("", "insufficient_system_resource", True),
    ),
]  # fmt: skip

# Endings: nothing is wrong but where the body stops. --------------------------------------
_LAST = texts("日本")[0]

ENDINGS = [
    Body(
        name="no-done", dialect=NAME, shows="Finish, but no [DONE]: whole all the same.",
        parts=[ROLE, *TWO, STOP, END], faults=("missing-terminator",), text=TWO_TEXT,
        finish_reasons=("stop",),
    ),
    Body(
        name="done-unclosed", dialect=NAME, shows="[DONE] without a line end: not dispatched.",
        parts=[ROLE, *TWO, STOP, END, b"data: [DONE]"], faults=("missing-terminator",),
        text=TWO_TEXT, finish_reasons=("stop",),
        notes={"also_accepted": {"status": "complete", "faults": []}},
    ),
    Body(
        name="cut-in-usage", dialect=NAME,
        shows="Ends inside the usage frame, after the finish: the content is whole.",
        parts=[ROLE, *TWO, STOP, END, c(None, usage=usage(4, 2))[:-20]],
        faults=("missing-terminator",), text=TWO_TEXT, finish_reasons=("stop",),
    ),
    failed(
        "done-without-finish", "[DONE], but no finish_reason for the choice that was opened.",
        [ROLE, *TWO, DONE], "missing-finish", text=TWO_TEXT,
    ),
    failed(
        "one-choice-unfinished", "n=2: [DONE] comes, but choice 1 never got a finish_reason.",
        [ROLE, c({"role": "assistant", "content": ""}, index=1), *texts("ja"),
         *texts("ne", index=1), STOP, DONE],
        "missing-finish", text="ja", texts=("ja", "ne"), finish_reasons=("stop",),
    ),
    failed(
        "cut-between-events", "A clean end of body after a whole event.",
        [ROLE, *TWO], "truncated-between-events", text=TWO_TEXT,
    ),
    failed(
        "ollama-swallowed-error", "Ollama's /v1: an error became an empty delta, then the end.",
        [ROLE, *TWO, c({"role": "assistant", "content": ""}, system_fingerprint="fp_ollama")],
        "truncated-between-events", text=TWO_TEXT,
    ),
    failed(
        "cut-in-line", "Ends in the middle of a line.",
        [ROLE, *TWO, _LAST[: len(_LAST) // 2]], "truncated-mid-event", text=TWO_TEXT,
    ),
    failed(
        "cut-in-utf8", "Ends after the first byte of a character.",
        [ROLE, *TWO, _LAST[: _LAST.index("本".encode()) + 1]], "truncated-mid-event",
        text=TWO_TEXT,
    ),
    failed(
        "cut-before-blank-line", "The finish frame's line is whole, but no blank line ends it.",
        [ROLE, *TWO, STOP[:-1], CLAIM], "truncated-mid-event", text=TWO_TEXT, slack=1,
        notes={"also_accepted": {"status": "complete", "faults": ["missing-terminator"],
                                 "finish_reasons": ["stop"]}},
    ),
    failed(
        "cut-in-tool-call", "Ends between two fragments of arguments that would parse if closed.",
        [ROLE, c(call(0, "", "pay")), c(call(0, '{"eur": 10'))], "truncated-between-events",
        tool_calls=(("pay", '{"eur": 10'),),
    ),
    failed("empty", "No byte at all.", [], "empty-stream"),
    failed("only-comments", "Keep-alives and nothing else.", [b": keep-alive\n\n" * 4],
           "empty-stream"),
    failed("only-role", "The role frame and nothing else: no content, no finish.", [ROLE],
           "empty-stream"),
    failed("only-done", "[DONE] and nothing else.", [DONE], "empty-stream",
           notes={"also_accepted": {"faults": ["missing-finish"]}}),
    failed(
        "html", "A proxy's error page with status 200.", [HTML.encode()], "not-a-stream",
        content_type="text/html", extension="html",
    ),
    failed(
        "json-error", "A JSON error body with status 200.",
        [js({"error": {"message": "Überlastet", "type": "server_error", "code": None}}).encode()],
        "not-a-stream", content_type="application/json", extension="json",
    ),
    failed(
        "json-error-xai", "The same in xAI's flat shape, announced as an event stream.",
        [js({"code": "unavailable", "error": "try later"}).encode() + b"\n"],
        "not-a-stream", extension="json",
    ),
]  # fmt: skip

BROKEN = [
    failed(
        "malformed-json", "One whole event is not JSON: a token is lost, though the end is proven.",
        [ROLE, *texts("a "), b'data: {"choices":[{"index":0,"delta":{"content":"b \n\n',
         *texts("c"), STOP, END, DONE],
        "malformed-json", text="a c", finish_reasons=("stop",),
    ),
    failed(
        "two-values", "Two JSON values in one event.",
        [ROLE, *texts("a"), b'data: {"choices":[]}{"choices":[]}\n\n', STOP, END, DONE],
        "malformed-json", text="a", finish_reasons=("stop",),
    ),
    Body(
        name="invalid-utf8", dialect=NAME, shows="A byte that is not UTF-8 becomes U+FFFD.",
        parts=[ROLE, texts("X")[0].replace(b"X", b"na\xefve"), STOP, END, DONE],
        faults=("invalid-utf8",), text="na\ufffdve", finish_reasons=("stop",),
    ),
    failed(
        "invalid-tool-arguments", "Finished, but the arguments are not JSON.",
        [ROLE, c(call(0, "", "pay")), c(call(0, '{"eur": ten}')), c({}, "tool_calls"), END, DONE],
        "invalid-tool-arguments", tool_calls=(("pay", '{"eur": ten}'),),
        finish_reasons=("tool_calls",),
    ),
    failed(
        "tool-call-cut-by-limit", "The token limit cut a call's arguments.",
        [ROLE, c(call(0, "", "note")), c(call(0, '{"text": "Der')), c({}, "length"), END, DONE],
        "invalid-tool-arguments", "length-limit", tool_calls=(("note", '{"text": "Der'),),
        finish_reasons=("length",),
        notes={"also_accepted": {"status": "limited", "faults": ["length-limit"]}},
    ),
    Body(
        name="tool-arguments-null", dialect=NAME, host="api.groq.com",
        shows="A call without parameters, written `null`, and one with none at all: both valid.",
        parts=[ROLE, c(call(0, "null", "ping")), c(call(1, "", "pong")), c({}, "tool_calls"), END,
               DONE],
        tool_calls=(("ping", "null"), ("pong", "")), finish_reasons=("tool_calls",),
    ),
    failed(
        "content-after-finish", "Text of a choice after its finish_reason.",
        [ROLE, *texts("The end."), STOP, CLAIM, *texts(" Or is it?"), DONE],
        "protocol-violation", text="The end. Or is it?", finish_reasons=("stop",),
        notes={"also_accepted": {"status": "complete", "faults": ["protocol-violation"]}},
    ),
]  # fmt: skip

BODIES = ERRORS + ENDINGS + BROKEN
