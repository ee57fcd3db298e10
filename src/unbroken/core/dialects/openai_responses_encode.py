"""Write a whole, healthy Responses stream."""

from __future__ import annotations

from typing import Any

from unbroken.core.dialects._payload import sse
from unbroken.core.dialects.base import Answer, AnswerCall

__all__ = ["encode_answer"]


def encode_answer(answer: Answer) -> list[bytes]:
    """Return the frames of an answer: a reasoning item, a message, calls, as far as given."""
    writer = _Writer(answer)
    writer.emit("response.created", response=writer.response("in_progress"))
    writer.emit("response.in_progress", response=writer.response("in_progress"))
    if answer.reasoning:
        writer.reasoning()
    if answer.text or not answer.calls:
        writer.message()
    for number, call in enumerate(answer.calls):
        writer.call(number, call)
    cut_by = {"limit": "max_output_tokens", "filter": "content_filter"}.get(answer.finish)
    status = "incomplete" if cut_by else "completed"
    usage = None
    if answer.usage is not None:
        given, made = answer.usage
        usage = {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + made,
        }
    whole = writer.response(
        status,
        output=writer.output,
        usage=usage,
        incomplete_details={"reason": cut_by} if cut_by else None,
    )
    writer.emit(f"response.{status}", response=whole)
    return writer.frames


class _Writer:
    """Numbers the frames and keeps the finished items for the terminal one."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.frames: list[bytes] = []
        self.output: list[dict[str, Any]] = []

    def emit(self, kind: str, **fields: Any) -> None:
        payload = {"type": kind, "sequence_number": len(self.frames), **fields}
        self.frames.append(sse(payload, event=kind))

    def response(self, status: str, **fields: Any) -> dict[str, Any]:
        return {
            "id": self.answer.id,
            "object": "response",
            "created_at": self.answer.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": self.answer.model,
            "output": [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
            **fields,
        }

    def open(self, item: dict[str, Any], **empty: Any) -> dict[str, Any]:
        """Open an item; return what every frame of it says."""
        index = len(self.output)
        opened = {**item, "status": "in_progress", **empty}
        self.emit("response.output_item.added", output_index=index, item=opened)
        return {"item_id": item["id"], "output_index": index}

    def close(self, item: dict[str, Any], **whole: Any) -> None:
        done = {**item, "status": "completed", **whole}
        self.emit("response.output_item.done", output_index=len(self.output), item=done)
        self.output.append(done)

    def reasoning(self) -> None:
        text = "".join(self.answer.reasoning)
        item = {"id": f"rs_{self.answer.id}", "type": "reasoning"}
        at = {**self.open(item, summary=[]), "summary_index": 0}
        part = {"type": "summary_text", "text": text}
        kind = "response.reasoning_summary"
        self.emit(f"{kind}_part.added", **at, part={**part, "text": ""})
        for piece in self.answer.reasoning:
            self.emit(f"{kind}_text.delta", **at, delta=piece)
        self.emit(f"{kind}_text.done", **at, text=text)
        self.emit(f"{kind}_part.done", **at, part=part)
        self.close(item, summary=[part])

    def message(self) -> None:
        text = "".join(self.answer.text)
        item = {"id": f"msg_{self.answer.id}", "type": "message", "role": "assistant"}
        at = {**self.open(item, content=[]), "content_index": 0}
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": text}
        self.emit("response.content_part.added", **at, part={**part, "text": ""})
        for piece in self.answer.text:
            self.emit("response.output_text.delta", **at, delta=piece, logprobs=[])
        self.emit("response.output_text.done", **at, text=text, logprobs=[])
        self.emit("response.content_part.done", **at, part=part)
        self.close(item, content=[part])

    def call(self, number: int, call: AnswerCall) -> None:
        whole = "".join(call.arguments)
        item = {
            "id": f"fc_{self.answer.id}_{number}",
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
        }
        at = self.open(item, arguments="")
        kind = "response.function_call_arguments"
        for piece in call.arguments:
            self.emit(f"{kind}.delta", **at, delta=piece)
        self.emit(f"{kind}.done", **at, name=call.name, arguments=whole)
        self.close(item, arguments=whole)
