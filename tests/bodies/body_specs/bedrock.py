"""bedrock-converse and bedrock-invoke: AWS messages, written here without our encoder."""

from __future__ import annotations

import base64
import struct
import zlib
from functools import partial
from typing import Any

from body_specs.parts import END, Body, Part, js

CONVERSE, INVOKE = "bedrock-converse", "bedrock-invoke"


def message(payload: str, event: str, *, kind: str = "event") -> bytes:
    """Return one AWS message with the headers that Bedrock sends."""
    headers = b""
    for name, value in ((f":{kind}-type", event), (":content-type", "application/json"),
                        (":message-type", kind)):  # fmt: skip
        headers += bytes([len(name)]) + name.encode() + b"\x07"
        headers += struct.pack(">H", len(value)) + value.encode()
    data = payload.encode()
    lengths = struct.pack(">II", len(headers) + len(data) + 16, len(headers))
    raw = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + data
    return raw + struct.pack(">I", zlib.crc32(raw))


def c(event: str, padding: str = "abcde", **value: Any) -> bytes:
    return message(js(value | {"p": padding}), event)


def exception(name: str, **value: Any) -> bytes:
    return message(js(value), name, kind="exception")


def text(block: int, *pieces: str) -> list[bytes]:
    return [c("contentBlockDelta", "ab" * at, contentBlockIndex=block, delta={"text": piece})
            for at, piece in enumerate(pieces)]  # fmt: skip


def stop(block: int) -> bytes:
    return c("contentBlockStop", contentBlockIndex=block)


def think(block: int, **content: str) -> bytes:
    return c("contentBlockDelta", contentBlockIndex=block, delta={"reasoningContent": content})


def call(block: int, name: str, *pieces: str, id_: str = "tooluse_1") -> list[bytes]:
    start = {"toolUse": {"name": name, "toolUseId": id_}}
    inputs = [{"toolUse": {"input": piece}} for piece in pieces]
    return [c("contentBlockStart", contentBlockIndex=block, start=start),
            *(c("contentBlockDelta", contentBlockIndex=block, delta=delta) for delta in inputs),
            stop(block)]  # fmt: skip


START = c("messageStart", role="assistant")


def over(reason: str) -> bytes:
    return c("messageStop", stopReason=reason)


def meta(given: int = 5, made: int = 9) -> bytes:
    usage = {"inputTokens": given, "outputTokens": made, "totalTokens": given + made}
    return c("metadata", metrics={"latencyMs": 99}, usage=usage)


def body(dialect: str, name: str, shows: str, parts: list[Part], **rest: Any) -> Body:
    known = {"slack": 0, "extension": "eventstream",
             "content_type": "application/vnd.amazon.eventstream"}  # fmt: skip
    return Body(name=name, dialect=dialect, shows=shows, parts=parts, **(known | rest))


def failed(dialect: str, name: str, shows: str, parts: list[Part], fault: str, *more: str,
           **rest: Any) -> Body:  # fmt: skip
    return body(dialect, name, shows, parts, status="failed", faults=(fault, *more), **rest)


good, bad = partial(body, CONVERSE), partial(failed, CONVERSE)
HALF = [START, *text(0, "Der ", "Mond 🌖")]
FLIPPED = bytearray(text(0, "Mond 🌖")[0])
FLIPPED[-10] ^= 1

OF_CONVERSE = [
    good("text", "A text block has no start; usage comes behind the stop.",
         [*HALF, *text(0, "", "\u2028ist da."), stop(0), over("end_turn"), END, meta()],
         text="Der Mond 🌖\u2028ist da.", finish_reasons=("end_turn",), usage=(5, 9)),
    good("metadata-first", "Usage before the stop.",
         [*HALF, stop(0), meta(), over("end_turn"), END],
         text="Der Mond 🌖", finish_reasons=("end_turn",), usage=(5, 9)),
    good("no-metadata", "The stop alone: whole, but for its usage.",
         [*HALF, stop(0), over("end_turn"), END], faults=("missing-terminator",),
         text="Der Mond 🌖", finish_reasons=("end_turn",)),
    good("thinking", "Thinking with its signature, then text in another block; an empty one.",
         [START, *text(0, ""), stop(0), think(1, text="Hm "), think(1, text="🤔"),
          think(1, signature="c2ln"), stop(1), *text(2, "Ja."), stop(2), over("stop_sequence"),
          END, meta()],
         text="Ja.", reasoning="Hm 🤔", finish_reasons=("stop_sequence",), usage=(5, 9)),
    good("tool-calls", "Text, and two calls; the second has no arguments.",
         [START, *text(0, "Gut."), stop(0), *call(1, "find", '{"q":', '"Käse"}'),
          *call(2, "ping", "{}", id_="tooluse_2"), over("tool_use"), END, meta()],
         text="Gut.", tool_calls=(("find", '{"q":"Käse"}'), ("ping", "{}")),
         finish_reasons=("tool_use",), usage=(5, 9)),
    good("citations", "A citation between text.",
         [START, *text(0, "Laut "),
          c("contentBlockDelta", contentBlockIndex=0, delta={"citation": {"title": "T"}}),
          *text(0, "Buch."), stop(0), over("end_turn"), END, meta()],
         text="Laut Buch.", finish_reasons=("end_turn",), usage=(5, 9)),
    good("length-limit", "max_tokens.", [*HALF, stop(0), over("max_tokens"), END, meta()],
         status="limited", faults=("length-limit",), text="Der Mond 🌖",
         finish_reasons=("max_tokens",), usage=(5, 9)),
    good("guardrail", "A guardrail cut it.",
         [*HALF, stop(0), over("guardrail_intervened"), END, meta()],
         status="filtered", faults=("content-filtered",), text="Der Mond 🌖",
         finish_reasons=("guardrail_intervened",), usage=(5, 9)),
    bad("throttled", "An exception in the stream.",
        [*HALF, exception("throttlingException", message="Too many requests")], "provider-error",
        text="Der Mond 🌖", error=("throttlingException", "", True)),
    bad("model-error", "An error of the model, with its own status.",
        [START, exception("modelStreamErrorException", message="gone", originalStatusCode=500,
                          originalMessage="x")], "provider-error",
        error=("modelStreamErrorException", "500", True)),
    bad("invalid", "An exception that would come again.",
        [exception("validationException", message="no such parameter")], "provider-error",
        error=("validationException", "", False)),
    bad("malformed-output", "The model wrote what Bedrock could not read.",
        [*HALF, stop(0), over("malformed_model_output")], "provider-error", text="Der Mond 🌖",
        finish_reasons=("malformed_model_output",), error=("", "malformed_model_output", True)),
    bad("cut-between-events", "A clean end inside a block.", HALF, "truncated-between-events",
        text="Der Mond 🌖"),
    bad("cut-in-call", "A clean end inside a call's input.",
        [START, *call(0, "find", '{"q":')[:-1]], "truncated-between-events",
        tool_calls=(("find", '{"q":'),)),
    bad("cut-in-message", "Ends inside a message.", [*HALF, over("end_turn")[:-1]],
        "truncated-mid-event", text="Der Mond 🌖"),
    bad("checksum", "One bit of a message was changed on the way.",
        [START, *text(0, "Der "), bytes(FLIPPED), stop(0), over("end_turn"), meta()],
        "protocol-violation", text="Der "),
    bad("malformed-json", "A payload that is no JSON.",
        [START, message('{"delta":', "contentBlockDelta"), *text(0, "da"), stop(0),
         over("end_turn"), END, meta()], "malformed-json", text="da",
        finish_reasons=("end_turn",), usage=(5, 9)),
    bad("html", "A proxy's page with status 200.", [b"<html><h1>504</h1></html>\n"],
        "not-a-stream", content_type="text/html", extension="html"),
    bad("json-error", "The body of an HTTP error.", [b'{"message":"Too many requests"}'],
        "not-a-stream", content_type="application/json", extension="json"),
]  # fmt: skip


METRICS = {"inputTokenCount": 5, "outputTokenCount": 9, "invocationLatency": 9,
           "firstByteLatency": 3}  # fmt: skip
LAST = {"amazon-bedrock-invocationMetrics": METRICS}


def i(**value: Any) -> bytes:
    inside = base64.b64encode(js(value).encode()).decode()
    return message(js({"bytes": inside, "p": "abcdefgh"}), "chunk")


def m(*pieces: str) -> list[bytes]:
    """Return an Anthropic message, begun."""
    usage = {"input_tokens": 5, "output_tokens": 1}
    return [
        i(type="message_start", message={"id": "msg_bdrk_1", "type": "message", "model": "claude",
                                         "role": "assistant", "content": [], "usage": usage}),
        i(type="content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(i(type="content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
          for piece in pieces),
    ]  # fmt: skip


def m_stop(reason: str) -> list[Part]:
    return [
        i(type="content_block_stop", index=0),
        i(type="message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 9}), END,
        i(type="message_stop", **LAST),
    ]  # fmt: skip


well, ill = partial(body, INVOKE), partial(failed, INVOKE)
SAID = {"text": "Der Mond 🌖", "usage": (5, 9)}

OF_INVOKE = [
    well("anthropic", "An Anthropic message in base64.",
         [*m("Der ", "Mond 🌖"), *m_stop("end_turn")], finish_reasons=("end_turn",), **SAID),
    well("anthropic-limit", "max_tokens.", [*m("Der ", "Mond 🌖"), *m_stop("max_tokens")],
         status="limited", faults=("length-limit",), finish_reasons=("max_tokens",), **SAID),
    well("anthropic-refusal", "A refusal.", [*m("Der ", "Mond 🌖"), *m_stop("refusal")],
         status="filtered", faults=("content-filtered",), finish_reasons=("refusal",), **SAID),
    well("anthropic-no-stop", "The stop reason, but no message_stop: whole all the same.",
         [*m("Der ", "Mond 🌖"), *m_stop("end_turn")[:3]], faults=("missing-terminator",),
         finish_reasons=("end_turn",), **SAID),
    well("anthropic-completion", "The API before Messages.",
         [i(completion=" Der "), i(completion="Mond 🌖", stop_reason="stop_sequence",
                                   stop="\n\nHuman:", **LAST), END],
         text=" Der Mond 🌖", finish_reasons=("stop_sequence",), usage=(5, 9)),
    well("titan", "Titan: a text and a reason in one message.",
         [i(outputText="Der Mond 🌖", index=0, completionReason="FINISH", **LAST), END],
         finish_reasons=("FINISH",), **SAID),
    well("llama", "Llama, stopped by the limit.",
         [i(generation="Der ", generation_token_count=1, stop_reason=None),
          i(generation="Mond 🌖", stop_reason="length", **LAST), END],
         status="limited", faults=("length-limit",), finish_reasons=("length",), **SAID),
    well("cohere", "Cohere Command.",
         [i(is_finished=False, text="Der "), i(is_finished=False, text="Mond 🌖"),
          i(is_finished=True, finish_reason="COMPLETE", **LAST), END],
         finish_reasons=("COMPLETE",), **SAID),
    well("mistral", "Mistral: a list of outputs.",
         [i(outputs=[{"text": "Der ", "stop_reason": None}]),
          i(outputs=[{"text": "Mond 🌖", "stop_reason": "stop"}], **LAST), END],
         finish_reasons=("stop",), **SAID),
    well("nova", "Nova: Converse's events as keys, a block for each piece.",
         [i(messageStart={"role": "assistant"}),
          i(contentBlockDelta={"delta": {"text": "Der "}, "contentBlockIndex": 0}),
          i(contentBlockStop={"contentBlockIndex": 0}),
          i(contentBlockDelta={"delta": {"text": "Mond 🌖"}, "contentBlockIndex": 1}),
          i(contentBlockStop={"contentBlockIndex": 1}), i(messageStop={"stopReason": "end_turn"}),
          END, i(metadata={"usage": {"inputTokens": 5, "outputTokens": 9}}, **LAST)],
         finish_reasons=("end_turn",), **SAID),
    well("chat", "OpenAI's chat.",
         [i(choices=[{"index": 0, "delta": {"role": "assistant", "content": "Der "}}]),
          i(choices=[{"index": 0, "delta": {"content": "Mond 🌖"}}]),
          i(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}], **LAST), END],
         finish_reasons=("stop",), **SAID),
    well("unknown-model", "A protocol that is not known: Bedrock's own last word counts.",
         [i(wort="Der "), i(wort="Mond"), i(**LAST), END], usage=(5, 9),
         finish_reasons=("amazon-bedrock-invocationMetrics",)),
    ill("timeout", "The model took too long.",
        [*m("Der "), exception("modelTimeoutException", message="too slow")], "provider-error",
        text="Der ", notes={"usage": {"input": 5, "output": 1}},
        error=("modelTimeoutException", "", True)),
    ill("error-inside", "Anthropic's own error, in base64.",
        [*m("Der "), i(type="error", error={"type": "overloaded_error", "message": "x"})],
        "provider-error", text="Der ", notes={"usage": {"input": 5, "output": 1}},
        error=("overloaded_error", "", True)),
    ill("cut-between-events", "A clean end inside a block.", m("Der ", "Mond 🌖"),
        "truncated-between-events", text="Der Mond 🌖",
        notes={"usage": {"input": 5, "output": 1}}),
    ill("cut-in-message", "Ends inside a message.", [*m("Der "), m("Mond")[2][:-1]],
        "truncated-mid-event", text="Der ",
        notes={"usage": {"input": 5, "output": 1}}),
    ill("no-base64", "A message whose bytes are no base64.",
        [*m("Der "), message('{"bytes":"%%%"}', "chunk"), *m_stop("end_turn")[:2], END,
         m_stop("end_turn")[3]], "malformed-json", text="Der ", finish_reasons=("end_turn",),
        usage=(5, 9)),
]  # fmt: skip

BODIES = OF_CONVERSE + OF_INVOKE
