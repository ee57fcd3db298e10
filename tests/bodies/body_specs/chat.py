"""openai-chat: healthy bodies, and the oddities of its many servers."""

from __future__ import annotations

from typing import Any

from body_specs.parts import CREATED, END, SLACK_CRLF, Body, Json, js, sse

NAME = "openai-chat"
DONE = sse("[DONE]")

# 1 letter + combining accent, CJK, an emoji of several code points, U+2028: split on purpose.
PIECES = ("Cafe", "\u0301 ", "東京", " 👩", "\u200d🚀", " line\u2028two", " fin.")
TEXT = "".join(PIECES)


def payload(delta: Json | None, finish: str | None = None, index: int = 0, **top: Any) -> Json:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {
        "id": "chatcmpl-inv0001",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": "invented-1",
        "choices": [] if delta is None else [choice],
        **top,
    }


def c(delta: Json | None, finish: str | None = None, index: int = 0, **top: Any) -> bytes:
    return sse(payload(delta, finish, index, **top))


def texts(*pieces: str, index: int = 0) -> list[bytes]:
    return [c({"content": piece}, index=index) for piece in pieces]


def usage(given: int, made: int) -> Json:
    return {
        "prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made,
    }  # fmt: skip


def call(index: int, arguments: str, name: str | None = None, **more: Any) -> Json:
    function: Json = {"arguments": arguments}
    entry: Json = {"index": index}
    if name is not None:
        function = {"name": name, "arguments": arguments}
        entry |= {"id": f"call_inv{index}", "type": "function"}
    return {"tool_calls": [{**entry, "function": function, **more}]}


ROLE = c({"role": "assistant", "content": "", "refusal": None})
STOP = c({}, "stop")
WEATHER = '{"city": "Zürich", "note": "☔"}'

HEALTHY = [
    Body(
        name="text", dialect=NAME, shows="Text only; graphemes cut over deltas, raw U+2028.",
        parts=[ROLE, *texts(*PIECES), STOP, END, DONE],
        text=TEXT, finish_reasons=("stop",),
    ),
    Body(
        name="text-escaped", dialect=NAME,
        shows="The same text as \\u escapes (surrogate pairs, \\u2028), usage frame last.",
        parts=[
            ROLE, *[sse(payload({"content": piece}), escaped=True) for piece in PIECES],
            STOP, END, c(None, usage=usage(9, 11)), DONE,
        ],
        text=TEXT, finish_reasons=("stop",), usage=(9, 11),
    ),
    Body(
        name="surrogates-in-two-deltas", dialect=NAME,
        shows="A surrogate pair cut over two deltas, as JavaScript relays do; strict parsers fail.",
        parts=[
            ROLE, *texts("Go "),
            sse('{"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}'),
            sse('{"choices":[{"index":0,"delta":{"content":"\\ude80"}}]}'),
            *texts("!"), STOP, END, DONE,
        ],
        text="Go 🚀!", finish_reasons=("stop",),
    ),
    Body(
        name="reasoning-content", dialect=NAME, host="api.deepseek.com",
        shows="DeepSeek style: reasoning_content with content null, usage on the finish frame.",
        parts=[
            c({"role": "assistant", "content": None, "reasoning_content": ""}),
            c({"content": None, "reasoning_content": "Add "}),
            c({"content": None, "reasoning_content": "them ➕."}),
            c({"content": "42", "reasoning_content": None}),
            c({"content": "", "reasoning_content": None}, "stop", usage=usage(7, 5)), END, DONE,
        ],
        text="42", reasoning="Add them ➕.", finish_reasons=("stop",), usage=(7, 5),
    ),
    Body(
        name="reasoning", dialect=NAME, host="api.groq.com",
        shows="Groq and vLLM style: `reasoning`, x_groq first and last, usage on several events.",
        parts=[
            c({"role": "assistant", "content": ""}, x_groq={"id": "req_inv1", "seed": 7}),
            c({"reasoning": "Hm", "channel": "analysis"}),
            c({"reasoning": "m.", "channel": "analysis"}),
            *texts("Yes", "."),
            c({}, "stop", x_groq={"id": "req_inv1", "usage": usage(5, 4)}, usage=usage(5, 4)),
            END, c(None, usage=usage(5, 6)), DONE,
        ],
        text="Yes.", reasoning="Hmm.", finish_reasons=("stop",), usage=(5, 6),
    ),
    Body(
        name="tool-call", dialect=NAME, shows="One call in fragments, one of them empty.",
        parts=[
            c({"role": "assistant", "content": None, **call(0, "", "weather")}),
            c(call(0, '{"city": "Zü')), c(call(0, "")), c(call(0, 'rich", "note": ')),
            c(call(0, '"☔"}')), c({}, "tool_calls"), END, DONE,
        ],
        tool_calls=(("weather", WEATHER),), finish_reasons=("tool_calls",),
    ),
    Body(
        name="tool-calls-parallel", dialect=NAME,
        shows="Text, then two calls whose fragments interleave; identical events in a row.",
        parts=[
            ROLE, *texts("Looking."), c(call(0, "", "add")), c(call(1, "", "add")),
            c(call(0, '{"a": 1')), c(call(1, '{"a": 1')), c(call(0, "0")), c(call(0, "0")),
            c(call(0, "}")), c(call(1, "}")), c({}, "tool_calls"), END,
            c(None, usage=usage(20, 18)), DONE,
        ],
        text="Looking.", tool_calls=(("add", '{"a": 100}'), ("add", '{"a": 1}')),
        finish_reasons=("tool_calls",), usage=(20, 18),
    ),
    Body(
        name="refusal", dialect=NAME, shows="A refusal in its own field; a proven, normal end.",
        parts=[
            ROLE, c({"refusal": "I can't "}), c({"refusal": "help with that."}), STOP, END, DONE,
        ],
        refusal="I can't help with that.", finish_reasons=("stop",),
    ),
    Body(
        name="two-choices", dialect=NAME,
        shows="n=2: choices interleave event by event and end apart; one usage frame each.",
        parts=[
            ROLE, c({"role": "assistant", "content": ""}, index=1), *texts("Nord"),
            *texts("Süd", index=1), *texts("see"), STOP, *texts("see 🌊", index=1),
            c({}, "length", index=1), END,
            c(None, usage=usage(4, 2)), c(None, usage=usage(4, 5)), DONE,
        ],
        status="limited", faults=("length-limit",),
        text="Nordsee", texts=("Nordsee", "Südsee 🌊"), finish_reasons=("stop", "length"),
        usage=(4, 5),
    ),
    Body(
        name="length-limit", dialect=NAME, shows="Cut by the token limit: a proven end.",
        parts=[ROLE, *texts("Once upon", " a ti"), c({}, "length"), END, DONE],
        status="limited", faults=("length-limit",), text="Once upon a ti",
        finish_reasons=("length",),
    ),
    Body(
        name="content-filter", dialect=NAME, host="x.openai.azure.com",
        shows="Azure: first frame without choices and with empty id, a filter frame with no delta, "
        "then content_filter after text was shown.",
        parts=[
            sse({
                "choices": [], "created": 0, "id": "", "model": "", "object": "",
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}],
            }),
            ROLE, *texts("The recipe", " begins"),
            sse({
                "id": "", "object": "", "created": 0, "model": "",
                "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets":
                             {"check_offset": 10}, "content_filter_results": {}}],
            }),
            c({}, "content_filter"), END, DONE,
        ],
        status="filtered", faults=("content-filtered",), text="The recipe begins",
        finish_reasons=("content_filter",),
    ),
]  # fmt: skip

ODD = [
    Body(
        name="identical-events", dialect=NAME,
        shows="Byte-identical consecutive events with real content: dropping doubles loses tokens.",
        parts=[ROLE, ROLE, *texts("Ho", " ho", " ho", " ho", "\n", "\n", "!"), STOP, END, DONE],
        text="Ho ho ho ho\n\n!", finish_reasons=("stop",),
    ),
    Body(
        name="openrouter", dialect=NAME, host="openrouter.ai",
        shows="Comments between events, role on every event, finish_reason twice, cost in usage.",
        parts=[
            b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n",
            c({"role": "assistant", "content": "", "reasoning": "Sim",
               "reasoning_details": [{"type": "reasoning.text", "text": "Sim", "index": 0}]}),
            c({"role": "assistant", "content": "", "reasoning": "ple."}),
            c({"role": "assistant", "content": "Ja"}), b": OPENROUTER PROCESSING\n\n",
            c({"role": "assistant", "content": "wohl"}),
            c({"role": "assistant", "content": ""}, "stop", native_finish_reason="stop"), END,
            c({"role": "assistant", "content": ""}, "stop",
              usage=usage(8, 3) | {"cost": 0.000012, "is_byok": False}), DONE,
        ],
        text="Jawohl", reasoning="Simple.", finish_reasons=("stop",), usage=(8, 3),
    ),
    Body(
        name="ids-change", dialect=NAME, shows="A new id on every event, created changes too.",
        parts=[
            *[c({"content": piece}, id=f"chatcmpl-{n}", created=CREATED + n)
              for n, piece in enumerate(("one ", "two ", "three"))],
            c({}, "stop", id=""), END, DONE,
        ],
        text="one two three", finish_reasons=("stop",),
    ),
    Body(
        name="fields-missing", dialect=NAME, host="api.x.ai",
        shows="No finish_reason key until the end, a frame without choices, one without delta, "
        "nulls everywhere.",
        parts=[
            sse({"choices": [{"index": 0, "delta": {"role": "assistant"}}]}),
            sse({"id": "x", "service_tier": "default"}),
            sse({"choices": [{"index": 0, "delta": {"content": "Mi", "tool_calls": None}}]}),
            sse({"choices": [{"index": 0}], "usage": None}),
            sse({"choices": [{"delta": {"content": "au"}}]}),
            sse({"choices": [{"index": 0, "delta": {"content": None}, "logprobs": None}]}),
            sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}), END, DONE,
        ],
        text="Miau", finish_reasons=("stop",),
    ),
    Body(
        name="mistral-parts", dialect=NAME, host="api.mistral.ai",
        shows="Content as a list of parts (thinking and text in one), padding `p`, content on the "
        "finish event.",
        parts=[
            c({"role": "assistant", "content": ""}),
            c({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "12²"}]}]},
              p="abcdef"),
            c({"content": [{"type": "thinking", "thinking": [], "closed": True}]}, p="ab"),
            c({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "!"}],
                            "closed": True}, {"type": "text", "text": "1"}]}, p="abcd"),
            c({"content": "44"}, "stop", usage=usage(6, 9), p="abc"), END, DONE,
        ],
        text="144", reasoning="12²!", finish_reasons=("stop",), usage=(6, 9),
    ),
    Body(
        name="mistral-tool-without-index", dialect=NAME, host="api.mistral.ai",
        shows="Whole tool calls in one delta, without index and type, on the finish event.",
        parts=[
            c({"role": "assistant", "content": ""}),
            c({"content": None, "tool_calls": [
                {"id": "Ab1", "function": {"name": "add", "arguments": '{"a": 1}'}},
                {"id": "Ab2", "function": {"name": "sub", "arguments": '{"b": 2}'}},
            ]}, "tool_calls"), END, DONE,
        ],
        tool_calls=(("add", '{"a": 1}'), ("sub", '{"b": 2}')), finish_reasons=("tool_calls",),
    ),
    Body(
        name="tool-nulls", dialect=NAME, host="api.writer.com",
        shows="Writer: arguments null first, id, type and name null after, a second `message` "
        "beside `delta`, no [DONE] (legal there).",
        parts=[
            sse({"choices": [{"index": 0, "finish_reason": None, "delta": call(0, "", "f") | {},
                              "message": {"content": None}}]}).replace(b'"arguments":""',
                                                                       b'"arguments":null'),
            sse({"choices": [{"index": 0, "delta": {"tool_calls": [
                {"index": 0, "id": None, "type": None,
                 "function": {"name": None, "arguments": '{"x": "Łódź"}'}}]}}]}),
            c({"tool_calls": None}, "tool_calls"), END, c(None, usage=usage(3, 8)),
        ],
        tool_calls=(("f", '{"x": "Łódź"}'),), finish_reasons=("tool_calls",), usage=(3, 8),
    ),
    Body(
        name="tool-name-repeated", dialect=NAME, shows="Id and name come again on every fragment.",
        parts=[
            ROLE, c(call(0, "", "version")), c(call(0, "{", "version")), c(call(0, "}", "version")),
            c({}, "tool_calls"), END, DONE,
        ],
        tool_calls=(("version", "{}"),), finish_reasons=("tool_calls",),
    ),
    Body(
        name="sse-corners", dialect=NAME, slack=SLACK_CRLF,
        shows="BOM, CRLF, no space after the colon, data over two lines, id, retry, unknown field.",
        parts=[
            b"\xef\xbb\xbf" + b"retry: 3000\r\nid: 1\r\n",
            ROLE.replace(b"\n", b"\r\n"),
            b'data:{"choices":[{"index":0,\r\ndata:"delta":{"content":"\xe4\xbd\xa0"}}]}\r\n\r\n',
            b": keep-alive\r\n\r\n: keep-alive\r\nx-note: 1\r\n",
            texts("好")[0].replace(b"\n", b"\r\n"), STOP.replace(b"\n", b"\r\n"), END,
            b"data: [DONE]\r\n\r\n",
        ],
        text="你好", finish_reasons=("stop",),
    ),
    Body(
        name="perplexity-no-done", dialect=NAME, host="api.perplexity.ai",
        shows="A good stream of a service that never sends [DONE]; usage on every event.",
        parts=[
            c({"role": "assistant", "content": "Sonne"}, usage=usage(2, 1)),
            c({"content": " 🌞"}, usage=usage(2, 2)), c({"content": ""}, "stop", usage=usage(2, 3)),
            END,
        ],
        text="Sonne 🌞", finish_reasons=("stop",), usage=(2, 3),
    ),
    Body(
        name="snowflake-no-finish", dialect=NAME, host="acme.snowflakecomputing.com",
        shows="Success without any finish_reason, which this service is known for.",
        parts=[
            sse({"id": "s1", "choices": [{"delta": {"type": "text", "content": "Schnee",
                 "content_list": [{"type": "text", "text": "Schnee"}]}}], "usage": usage(3, 1)}),
            sse({"id": "s1", "choices": [{"delta": {"type": "text", "content": " ❄",
                 "content_list": [{"type": "text", "text": " ❄"}]}}], "usage": usage(3, 2)}),
            DONE,
        ],
        status="unconfirmed", faults=("missing-finish",), text="Schnee ❄", usage=(3, 2),
    ),
    Body(
        name="done-with-space", dialect=NAME, shows="A blank behind [DONE].",
        parts=[ROLE, *texts("ok"), STOP, END, b"data: [DONE] \n\n"],
        text="ok", finish_reasons=("stop",),
    ),
]  # fmt: skip

BODIES = HEALTHY + ODD
assert js(TEXT)  # the text must be encodable; surrogates live in raw payloads only
