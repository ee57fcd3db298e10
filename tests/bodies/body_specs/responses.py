"""openai-responses."""

from __future__ import annotations

from typing import Any

from body_specs.parts import CREATED, END, Body, Json, Part, sse

NAME = "openai-responses"
ID = "resp_inv1"
TEXT = "Straße 🛤️ 本"
PIECES = ("Stra", "ße ", "🛤", "️ ", "本")


class Script:
    """Writes events with their numbers; each method returns one frame."""

    def __init__(self, *, first: int | None = 0, named: bool = True) -> None:
        self.number = first
        self.named = named

    def __call__(self, kind: str, **fields: Any) -> bytes:
        body: Json = {"type": kind}
        if self.number is not None:
            body["sequence_number"] = self.number
            self.number += 1
        return sse(body | fields, kind if self.named else "")

    def response(self, kind: str, status: str, output: list[Json] | None = None,
                 usage: tuple[int, int] | None = None, **more: Any) -> bytes:  # fmt: skip
        counted = usage and {
            "input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": sum(usage),
        }  # fmt: skip
        return self(
            f"response.{kind}",
            response={
                "id": ID, "object": "response", "created_at": CREATED, "status": status,
                "error": None, "incomplete_details": None, "model": "invented-1",
                "output": output or [], "usage": counted, **more,
            },
        )  # fmt: skip

    def start(self) -> list[bytes]:
        return [
            self.response("created", "in_progress"),
            self.response("in_progress", "in_progress"),
        ]

    def open_text(self, at: int = 0, part: str = "output_text") -> list[bytes]:
        item = {"id": f"msg_{at}", "type": "message", "status": "in_progress", "content": [],
                "role": "assistant"}  # fmt: skip
        empty = {"type": part, "refusal": ""} if part == "refusal" else text_part("")
        return [
            self("response.output_item.added", output_index=at, item=item),
            self("response.content_part.added", item_id=f"msg_{at}", output_index=at,
                 content_index=0, part=empty),
        ]  # fmt: skip

    def delta(self, piece: str, at: int = 0, kind: str = "output_text", **more: Any) -> bytes:
        where = {"item_id": f"msg_{at}", "output_index": at, "content_index": 0}
        return self(f"response.{kind}.delta", **(where | {"delta": piece} | more))

    def close_text(self, text: str, at: int = 0, status: str = "completed") -> list[bytes]:
        where = {"item_id": f"msg_{at}", "output_index": at, "content_index": 0}
        return [
            self("response.output_text.done", **where, text=text),
            self("response.content_part.done", **where, part=text_part(text)),
            self("response.output_item.done", output_index=at, item=message(text, at, status)),
        ]

    def message(self, pieces: tuple[str, ...], at: int = 0) -> list[bytes]:
        return [  # in this order: each call takes the next number
            *self.open_text(at),
            *[self.delta(piece, at, obfuscation="x" * len(piece)) for piece in pieces],
            *self.close_text("".join(pieces), at),
        ]

    def call(self, name: str, pieces: tuple[str, ...], at: int) -> list[bytes]:
        arguments = "".join(pieces)
        where = {"item_id": f"fc_{at}", "output_index": at}
        return [
            self("response.output_item.added", output_index=at, item=function(name, "", at)),
            *[self("response.function_call_arguments.delta", **where, delta=p) for p in pieces],
            self("response.function_call_arguments.done", **where, arguments=arguments),
            self("response.output_item.done", output_index=at, item=function(name, arguments, at)),
        ]


def text_part(text: str) -> Json:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def message(text: str, at: int = 0, status: str = "completed") -> Json:
    return {"id": f"msg_{at}", "type": "message", "status": status, "role": "assistant",
            "content": [text_part(text)]}  # fmt: skip


def function(name: str, arguments: str, at: int) -> Json:
    return {"id": f"fc_{at}", "type": "function_call", "call_id": f"call_{at}", "name": name,
            "status": "completed" if arguments else "in_progress",
            "arguments": arguments}  # fmt: skip


def body(name: str, shows: str, parts: list[Part], **rest: Any) -> Body:
    return Body(name=name, dialect=NAME, shows=shows, parts=parts, **rest)


def plain(script: Script, *, done: bool = False) -> list[Part]:
    return [
        *script.start(), *script.message(PIECES),
        script.response("completed", "completed", [message(TEXT)], (8, 6)), END,
        *([sse("[DONE]")] if done else []),
    ]  # fmt: skip


GOOD: dict[str, Any] = {"text": TEXT, "finish_reasons": ("completed",), "usage": (8, 6)}


def _reasoning() -> list[Part]:
    s = Script()
    item = {"id": "rs_0", "type": "reasoning", "summary": []}
    where = {"item_id": "rs_0", "output_index": 0, "summary_index": 0}
    summary = {"type": "summary_text", "text": "Thinking 🤔."}
    done = item | {"summary": [summary], "encrypted_content": "aW52"}
    return [
        *s.start(), s("response.output_item.added", output_index=0, item=item),
        s("response.reasoning_summary_part.added", **where, part=summary | {"text": ""}),
        s("response.reasoning_summary_text.delta", **where, delta="Thinking "),
        s("response.reasoning_summary_text.delta", **where, delta="🤔."),
        s("response.reasoning_summary_text.done", **where, text="Thinking 🤔."),
        s("response.reasoning_summary_part.done", **where, part=summary),
        s("response.output_item.done", output_index=0, item=done),
        *s.message(("42",), 1),
        s.response("completed", "completed", [done, message("42", 1)], (8, 9)), END,
    ]  # fmt: skip


def _calls() -> list[Part]:
    s = Script()
    return [
        *s.start(), *s.call("add", ('{"a":', "1", "1", "}"), 0), *s.call("now", ("{}",), 1),
        s.response("completed", "completed",
                   [function("add", '{"a":11}', 0), function("now", "{}", 1)], (8, 9)), END,
    ]  # fmt: skip


def _refusal() -> list[Part]:
    s = Script()
    where = {"item_id": "msg_0", "output_index": 0, "content_index": 0}
    part = {"type": "refusal", "refusal": "I can't help."}
    item = message("") | {"content": [part]}
    return [
        *s.start(), *s.open_text(part="refusal"), s.delta("I can't ", kind="refusal"),
        s.delta("help.", kind="refusal"),
        s("response.refusal.done", **where, refusal=part["refusal"]),
        s("response.content_part.done", **where, part=part),
        s("response.output_item.done", output_index=0, item=item),
        s.response("completed", "completed", [item], (8, 4)), END,
    ]  # fmt: skip


def _cut_answer(reason: str) -> list[Part]:
    s = Script()
    return [
        *s.start(), *s.open_text(), s.delta("Es war ein"),
        *s.close_text("Es war ein", status="incomplete"),
        s.response("incomplete", "incomplete", [message("Es war ein", status="incomplete")],
                   (8, 16), incomplete_details={"reason": reason}), END,
    ]  # fmt: skip


def _interleaved() -> list[Part]:
    s = Script(named=False)
    item = {"id": "rs_1", "type": "reasoning", "summary": []}
    return [
        b": \n\n", *s.start(), *s.open_text(), s.delta("Ja."),
        s("response.output_item.added", output_index=1, item=item), *s.close_text("Ja."),
        s("response.output_item.done", output_index=1, item=item),
        s.response("completed", "completed", [message("Ja."), item], (8, 2)), END, sse("[DONE]"),
    ]  # fmt: skip


def _rotating_ids() -> list[Part]:
    s = Script()
    frames = [*s.start(), *s.message(("eins ", "zwei"))]
    frames = [f.replace(b"msg_0", f"msg_{n}r".encode()) for n, f in enumerate(frames)]
    return [*frames, s.response("completed", "completed", [message("eins zwei")], (8, 3)), END]


def _odd_events() -> list[Part]:
    s = Script()
    where = {"item_id": "ws_0", "output_index": 0}
    search = {"id": "ws_0", "type": "web_search_call", "status": "in_progress"}
    return [
        *s.start(), s("response.output_item.added", output_index=0, item=search),
        s("response.web_search_call.searching", **where), b": keepalive\n\n",
        s("response.output_item.done", output_index=0, item=search | {"status": "completed"}),
        s("response.invented_event", anything={"at": "all"}), *s.open_text(1), s.delta("Fund", 1),
        s("response.output_text.annotation.added", item_id="msg_1", output_index=1,
          content_index=0, annotation_index=0, annotation={"type": "url_citation"}),
        *s.close_text("Fund", 1),
        s.response("completed", "completed", [search, message("Fund", 1)], (8, 2)), END,
    ]  # fmt: skip


HEALTHY = [
    body("text", "Text only, with padding to ignore; usage in the terminal event.", plain(Script()),
         **GOOD),
    body("reasoning", "A reasoning item with a summary, then a message.", _reasoning(), text="42",
         reasoning="Thinking 🤔.", finish_reasons=("completed",), usage=(8, 9)),
    body("tool-calls-parallel", "Two function calls; identical fragments one after another.",
         _calls(), tool_calls=(("add", '{"a":11}'), ("now", "{}")), finish_reasons=("completed",),
         usage=(8, 9)),
    body("refusal", "A refusal part.", _refusal(), refusal="I can't help.",
         finish_reasons=("completed",), usage=(8, 4)),
    body("length-limit", "response.incomplete by the token limit: a proven end.",
         _cut_answer("max_output_tokens"), status="limited", faults=("length-limit",),
         text="Es war ein", finish_reasons=("incomplete:max_output_tokens",), usage=(8, 16)),
    body("content-filter", "response.incomplete by the content filter.",
         _cut_answer("content_filter"), status="filtered", faults=("content-filtered",),
         text="Es war ein", finish_reasons=("incomplete:content_filter",), usage=(8, 16)),
    body("done-marker", "[DONE] after the terminal event, as some services send it.",
         plain(Script(), done=True), **GOOD),
    body("no-numbers", "An older stream without sequence_number.", plain(Script(first=None)),
         **GOOD),
    body("numbers-from-41", "A resumed stream: numbers start where the earlier one ended.",
         plain(Script(first=41)), **GOOD),
    body("items-interleaved", "No event names, a second item opened before the first is closed.",
         _interleaved(), text="Ja.", finish_reasons=("completed",), usage=(8, 2)),
    body("ids-rotate", "A new item_id on every event (Copilot): only indexes can be trusted.",
         _rotating_ids(), text="eins zwei", finish_reasons=("completed",), usage=(8, 3)),
    body("unknown-events", "A hosted tool, an annotation, a comment, an event nobody knows.",
         _odd_events(), text="Fund", finish_reasons=("completed",), usage=(8, 2)),
    body("empty-output", "The terminal response repeats nothing of what was streamed.",
         [*(s := Script()).start(), *s.message(("5",)), s.response("completed", "completed"), END],
         text="5", finish_reasons=("completed",)),
]  # fmt: skip


def _flat_error() -> list[Part]:
    s = Script()
    return [*s.start(), *s.open_text(), s.delta("Hal"),
            s("error", code="server_error", message="gone", param=None)]  # fmt: skip


def _nested_error() -> list[Part]:
    s = Script()
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    return [
        *s.start(), s("error", error={"type": "tokens", "param": None, **error}),
        s.response("failed", "failed", error=error),
    ]  # fmt: skip


def _failed() -> list[Part]:
    s = Script()
    return [*s.start(), *s.open_text(), s.delta("Hal"),
            s.response("failed", "failed",
                       error={"code": "invalid_prompt", "message": "policy"})]  # fmt: skip


def _numbers(order: tuple[int, ...]) -> list[Part]:
    """A message whose three deltas come in another order, twice, or not at all."""
    s = Script()
    head = [*s.start(), *s.open_text()]
    deltas = [s.delta(piece) for piece in ("eins ", "zwei ", "drei")]
    tail = [*s.close_text("eins zwei drei"),
            s.response("completed", "completed", [message("eins zwei drei")], (8, 3))]  # fmt: skip
    return [*head, *[deltas[i] for i in order], *tail, END]


COUNTED: dict[str, Any] = {"finish_reasons": ("completed",), "usage": (8, 3)}
_S = Script()
_OPEN: list[Part] = [*_S.start(), *_S.open_text(), _S.delta("Hal"), _S.delta("lo 👋")]
_DONE: list[Part] = [*(_T := Script()).start(), *_T.message(("Hallo",))]

FAULTS = [
    body("error-flat", "The documented flat error event, which the SDK yields as any other.",
         _flat_error(), status="failed", faults=("provider-error",), text="Hal",
         error=("", "server_error", True)),
    body("error-nested", "The nested error event, followed by response.failed: one fault.",
         _nested_error(), status="failed", faults=("provider-error",), finish_reasons=("failed",),
         error=("tokens", "rate_limit_exceeded", True)),
    body("failed", "response.failed alone, with a code that would fail again.", _failed(),
         status="failed", faults=("provider-error",), text="Hal", finish_reasons=("failed",),
         error=("", "invalid_prompt", False)),
    body("cut-between-events", "A clean end in the middle of the text.", _OPEN, status="failed",
         faults=("truncated-between-events",), text="Hallo 👋"),
    body("cut-before-terminal", "Every item is closed, but no terminal event says that was all.",
         _DONE, status="failed", faults=("truncated-between-events",), text="Hallo"),
    body("cut-in-line", "Ends inside the terminal event.",
         [*_DONE, _T.response("completed", "completed", [message("Hallo")], (8, 1))[:-40]],
         status="failed", faults=("truncated-mid-event",), text="Hallo"),
    body("done-without-terminal", "[DONE] instead of a terminal event.", [*_OPEN, sse("[DONE]")],
         status="failed", faults=("missing-finish",), text="Hallo 👋"),
    body("number-twice", "The same event twice, with the same number.", _numbers((0, 1, 1, 2)),
         faults=("duplicate-event",), text="eins zwei drei", **COUNTED),
    body("numbers-swapped", "Two events in the wrong order: the numbers put it right.",
         _numbers((0, 2, 1)), faults=("out-of-order",), text="eins zwei drei", **COUNTED),
    body("number-missing", "A text delta never came; the `.done` text still holds it.",
         _numbers((0, 2)), faults=("missing-event",), text="eins zwei drei",
         notes={"whole_text": "eins zwei drei"}, **COUNTED),
]  # fmt: skip

BODIES = HEALTHY + FAULTS
