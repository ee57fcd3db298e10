"""Write a Responses stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from unbroken.core.dialects.payloads import sse
from unbroken.core.dialects.writing import Writer, WrittenCall
from unbroken.core.events import Meaning
from unbroken.core.received import join_pieces

__all__ = ["ResponsesWriter"]


class ResponsesWriter(Writer):
    """See `unbroken.core.dialects.writing.Writer`.

    Every text is said again when it is whole, and everything once more at the end: what is
    written must be remembered. Reasoning of another provider's model is left out: its item
    would be looked for under its id, and refused, when the application sends it back.
    """

    reasons: ClassVar[Mapping[Meaning, str]] = {
        "stop": "completed", "tool-calls": "completed",
        "limit": "max_output_tokens", "filter": "content_filter",
    }  # fmt: skip
    keeps_arguments = True
    call_id = re.compile(r"[A-Za-z0-9_-]{1,64}")

    def __init__(self, **known: Any) -> None:
        super().__init__(**known)
        self._number = -1
        self._output: list[dict[str, Any]] = []
        self._item: _Item | None = None  # the message or reasoning that is open
        self._call_item: dict[str, Any] = {}
        self._messages = 0

    def _say(self, kind: str, **fields: Any) -> None:
        self._number += 1
        payload = {"type": kind, "sequence_number": self._number, **fields}
        self._emit(sse(payload, event=kind))

    def _response(self, status: str, **fields: Any) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": self.model,
            "output": [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
            **fields,
        }

    def _start(self) -> None:
        self._say("response.created", response=self._response("in_progress"))
        self._say("response.in_progress", response=self._response("in_progress"))

    # Items --------------------------------------------------------------------------------

    def _open(self, item: dict[str, Any], **empty: Any) -> dict[str, Any]:
        """Open an item; return what every frame of it says."""
        self._leave()
        index = len(self._output)
        opened = {**item, "status": "in_progress", **empty}
        self._say("response.output_item.added", output_index=index, item=opened)
        return {"item_id": item["id"], "output_index": index}

    def _done(self, item: dict[str, Any], **whole: Any) -> None:
        done = {**item, "status": "completed", **whole}
        self._say("response.output_item.done", output_index=len(self._output), item=done)
        self._output.append(done)

    def _enter(self, kind: str) -> _Item:
        """Make sure that the part of this kind is the one that is written."""
        item = self._item
        if item is not None and item.kind == kind:
            return item
        payload: dict[str, Any]
        if kind == "summary_text":
            payload, key = {"id": f"rs_{self.id}", "type": "reasoning"}, "summary"
            if any(done["type"] == "reasoning" for done in self._output):
                payload["id"] += f"_{len(self._output)}"
            place = {"summary_index": 0}
        else:
            payload = {"id": f"msg_{self.id}", "type": "message", "role": "assistant"}
            if self._messages:
                payload["id"] += f"_{self._messages}"
            self._messages += 1
            key, place = "content", {"content_index": 0}
        at = {**self._open(payload, **{key: []}), **place}
        self._item = item = _Item(kind, payload, key, at)
        self._say(item.frame("part.added"), **at, part=item.part(""))
        return item

    def _leave(self) -> None:
        item, self._item = self._item, None
        if item is None:
            return
        text = join_pieces(item.pieces)
        extra: dict[str, Any] = {"logprobs": []} if item.kind == "output_text" else {}
        self._say(item.frame("done"), **item.at, **{item.text_key: text}, **extra)
        self._say(item.frame("part.done"), **item.at, part=item.part(text))
        self._done(item.payload, **{item.key: [item.part(text)]})

    def _piece(self, kind: str, text: str) -> None:
        item = self._enter(kind)
        item.pieces.append(self._hold(text))
        extra: dict[str, Any] = {"logprobs": []} if kind == "output_text" else {}
        self._say(item.frame("delta"), **item.at, delta=text, **extra)

    def _text(self, text: str) -> None:
        self._piece("output_text", text)

    def _refusal(self, text: str) -> None:
        self._piece("refusal", text)

    def _reasoning(self, text: str) -> None:
        if self.asked is None:
            self._piece("summary_text", text)

    # Calls --------------------------------------------------------------------------------

    def _open_call(self, call: WrittenCall) -> None:
        self._call_item = {
            "id": f"fc_{self.id}_{call.number}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
        }
        self._call_at = self._open(self._call_item, arguments="")

    def _arguments(self, call: WrittenCall, piece: str) -> None:
        self._say("response.function_call_arguments.delta", **self._call_at, delta=piece)

    def _close_call(self, call: WrittenCall) -> None:
        whole = call.arguments
        kind = "response.function_call_arguments.done"
        self._say(kind, **self._call_at, name=call.name, arguments=whole)
        self._done(self._call_item, arguments=whole)
        self._call_item = {}

    # The end ------------------------------------------------------------------------------

    def _end(self, reason: str, *, marked: bool) -> None:
        if not self._messages and not self._calls:
            self._enter("output_text")
        self._leave()
        output = self._output
        if self._call_item:  # cut by the limit: never done
            cut = next(call for call in self._calls.values() if not call.whole)
            item = {**self._call_item, "status": "incomplete", "arguments": cut.arguments}
            output = [*output, item]
        status = "completed" if reason == "completed" else "incomplete"
        whole = self._response(
            status,
            output=output,
            usage=self._usage(),
            incomplete_details=None if reason == "completed" else {"reason": reason},
        )
        self._say(f"response.{status}", response=whole)

    def _usage(self) -> dict[str, Any] | None:
        given, made = self.usage.input, self.usage.output
        if given is None and made is None:
            return None
        return {
            "input_tokens": given or 0,
            "input_tokens_details": {"cached_tokens": self.usage.cached_input or 0},
            "output_tokens": made or 0,
            "output_tokens_details": {"reasoning_tokens": self.usage.reasoning or 0},
            "total_tokens": (given or 0) + (made or 0),
        }


class _Item:
    """A message, or a reasoning item, with the one part that is written in it."""

    def __init__(self, kind: str, payload: dict[str, Any], key: str, at: dict[str, Any]) -> None:
        self.kind = kind
        self.payload = payload
        self.key = key
        self.at = at
        self.pieces: list[str] = []

    @property
    def text_key(self) -> str:
        return "refusal" if self.kind == "refusal" else "text"

    def frame(self, what: str) -> str:
        """Return the type of a frame about the part (``part.added``) or its text (``delta``)."""
        if not what.startswith("part."):
            stem = {"summary_text": "reasoning_summary_text"}.get(self.kind, self.kind)
            return f"response.{stem}.{what}"
        stem = "reasoning_summary" if self.kind == "summary_text" else "content"
        return f"response.{stem}_{what}"

    def part(self, text: str) -> dict[str, Any]:
        """Return the part as it stands with this text."""
        if self.kind == "output_text":
            return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
        return {"type": self.kind, self.text_key: text}
