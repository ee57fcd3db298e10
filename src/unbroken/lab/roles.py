"""What each frame of a body is for, read lightly: enough to say where a fault should strike.

The dialects have readers, but the lab must not trust them: a mistake of theirs would be made
here too, and would cancel out. A frame is read by itself, without what came before it.

Where a frame is several things at once, one goes before the other: an error, the last marker,
content, the finish, usage, a start. So Ollama's ``done`` and Responses' ``response.completed``,
which are finish and last marker in one, are ``terminal``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from unbroken.core.dialects import by_name
from unbroken.core.frames import Frame
from unbroken.core.wire import decoder_for
from unbroken.lab.parts import Piece, Role

__all__ = ["pieces_of", "pieces_of_body", "role_of"]

_Record = dict[str, Any]


def role_of(dialect: str, frame: Frame) -> Role:
    """Return what a frame is for.

    Args:
        dialect: A name of `unbroken.core.dialects.DIALECTS`.
        frame: The frame, dispatched or not.

    Raises:
        ValueError: If the lab knows no such dialect.
    """
    read = _READERS.get(dialect)
    if read is None:
        msg = f"the lab knows no dialect {dialect!r}; it knows {', '.join(sorted(_READERS))}"
        raise ValueError(msg)
    if not frame.dispatched:  # comments and blanks; some servers write a field `error:`
        return "error" if any(line.startswith("error") for line in frame.unknown) else "ping"
    if frame.failure or frame.event == "error":
        return "error"
    payload = frame.payload.strip()
    if payload == b"[DONE]" or (frame.event == "end" and payload == b"]"):
        return "terminal"
    try:
        value = json.loads(payload)
        if dialect == "bedrock-invoke" and isinstance(value, dict) and "bytes" in value:
            value = json.loads(base64.b64decode(value["bytes"]))
    except (ValueError, RecursionError, TypeError):
        return "other"
    if not isinstance(value, dict):
        return "other"
    if value.get("error") or value.get("type") == "error":
        return "error"
    return read(frame.event, value)


def pieces_of(dialect: str, frames: Iterable[Frame]) -> Iterator[Piece]:
    """Yield frames as pieces of a healthy body: numbered, placed, and with their roles.

    Args:
        dialect: A name of `unbroken.core.dialects.DIALECTS`.
        frames: All blocks of a body from its beginning, as `unbroken.core.wire` decodes them.
    """
    for number, frame in enumerate(frames):
        yield Piece(
            frame.raw,
            role_of(dialect, frame),
            frame=number,
            at_byte=frame.offset,
            event=frame.dispatched,
        )


def pieces_of_body(dialect: str, body: bytes) -> list[Piece]:
    """Return a body that is whole (a recording) as pieces; joined they are the body.

    What is left at its end without being a frame is a piece of the role ``other``.
    """
    decoder = decoder_for(by_name(dialect).wire)
    frames = decoder.blocks(body) + decoder.close()
    pieces = list(pieces_of(dialect, frames))
    known = sum(len(piece.data) for piece in pieces)
    if known < len(body):
        pieces.append(Piece(body[known:], frame=len(pieces), at_byte=known, event=False))
    return pieces


def _chat(_: str, value: _Record) -> Role:
    choices = _records(value.get("choices"))
    deltas = [_record(choice.get("delta")) for choice in choices]
    if any(_says(delta) for delta in deltas):
        return "content"
    if any(choice.get("finish_reason") for choice in choices):
        return "finish"
    if any("role" in delta or "tool_calls" in delta for delta in deltas):
        return "start"
    return "usage" if value.get("usage") and not choices else "other"


def _says(delta: _Record) -> bool:
    """Whether a delta of chat has text, thinking, or a piece of a call's arguments."""
    texts = ("content", "refusal", "reasoning", "reasoning_content")
    if any(delta.get(name) for name in texts):  # Mistral has lists of parts
        return True
    calls = [_record(call.get("function")) for call in _records(delta.get("tool_calls"))]
    calls.append(_record(delta.get("function_call")))
    return any(call.get("arguments") for call in calls)


def _completions(event: str, value: _Record) -> Role:
    choices = _records(value.get("choices"))
    if any(choice.get("text") for choice in choices) or value.get("value"):  # Writer has no more
        return "content"
    return _chat(event, value)


def _responses(event: str, value: _Record) -> Role:
    name = value.get("type") or event
    match name:
        case "response.completed" | "response.incomplete":
            return "terminal"
        case "response.failed":
            return "error"
        case "response.created" | "response.queued" | "response.in_progress":
            return "start"
    if name.endswith(".delta"):
        return "content" if value.get("delta") else "other"
    return "start" if name.endswith(".added") and "annotation" not in name else "other"


def _anthropic(event: str, value: _Record) -> Role:
    match value.get("type") or event:
        case "message_start" | "content_block_start":
            return "start"
        case "content_block_delta":
            delta = _record(value.get("delta"))
            said = ("text", "thinking", "partial_json", "content")
            return "content" if any(delta.get(name) for name in said) else "other"
        case "message_delta":
            stopped = _record(value.get("delta")).get("stop_reason")
            return "finish" if stopped else "usage"
        case "message_stop":
            return "terminal"
        case "ping":
            return "ping"
        case "completion":  # Anthropic before Messages
            if value.get("completion"):
                return "content"
            return "finish" if value.get("stop_reason") else "other"
    return "other"


def _gemini(_: str, value: _Record) -> Role:
    candidates = _records(value.get("candidates"))
    parts = [
        part
        for candidate in candidates
        for part in _records(_record(candidate.get("content")).get("parts"))
    ]
    passive = {"text", "thought", "thoughtSignature"}
    if any(part.get("text") or part.keys() - passive for part in parts):
        return "content"
    if any(candidate.get("finishReason") for candidate in candidates):
        return "finish"
    if _record(value.get("promptFeedback")).get("blockReason"):
        return "finish"
    return "usage" if value.get("usageMetadata") and not candidates else "other"


def _interactions(event: str, value: _Record) -> Role:
    match value.get("event_type") or event:
        case "interaction.created" | "interaction.start" | "step.start":
            return "start"
        case "interaction.completed" | "interaction.complete":
            status = _record(value.get("interaction")).get("status")
            return "error" if status in ("failed", "cancelled") else "finish"
        case "step.delta":
            delta = _record(value.get("delta"))
            said = [delta.get(name) for name in ("text", "arguments", "data", "uri")]
            said.append(_record(delta.get("content")).get("text"))
            return "content" if any(said) else "other"
    return "other"


def _ollama(_: str, value: _Record) -> Role:
    if value.get("done"):
        return "terminal"
    message = _record(value.get("message"))
    said = ("content", "thinking", "tool_calls")
    if any(message.get(name) for name in said) or value.get("response") or value.get("thinking"):
        return "content"
    return "other"


def _cohere(event: str, value: _Record) -> Role:
    delta = _record(value.get("delta"))
    message = _record(delta.get("message"))
    match value.get("type") or event:
        case "message-start" | "content-start" | "tool-call-start":
            return "start"
        case "content-delta":
            content = _record(message.get("content"))
            return "content" if content.get("text") or content.get("thinking") else "other"
        case "tool-plan-delta":
            return "content" if message.get("tool_plan") else "other"
        case "tool-call-delta":
            call = _record(_record(message.get("tool_calls")).get("function"))
            return "content" if call.get("arguments") else "other"
        case "message-end":
            return "error" if delta.get("error") else "finish"
    return "other"


def _converse(event: str, value: _Record) -> Role:
    match event:
        case "messageStart" | "contentBlockStart":
            return "start"
        case "contentBlockDelta":
            delta = _record(value.get("delta"))
            thought = _record(delta.get("reasoningContent")).get("text")
            called = _record(delta.get("toolUse")).get("input")
            return "content" if delta.get("text") or thought or called else "other"
        case "messageStop":
            return "finish"
        case "metadata":
            return "terminal"
    return "other"


_CONVERSE = frozenset(
    {"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop",
     "metadata"}
)  # fmt: skip


def _invoke(event: str, value: _Record) -> Role:
    """Read what stands inside, which is of the model's provider."""
    if isinstance(value.get("type"), str):
        return _anthropic(event, value)
    for name in _CONVERSE & value.keys():  # Amazon's own models
        return _converse(name, _record(value[name]))
    if isinstance(value.get("choices"), list):
        return _chat(event, value)
    for said in (*_records(value.get("outputs")), value):
        if any(said.get(name) for name in ("outputText", "generation", "text", "completion")):
            return "content"
        reasons = ("completionReason", "stop_reason", "finish_reason")
        if any(said.get(name) for name in reasons):
            return "finish"
    return "other"


def _assistants(event: str, value: _Record) -> Role:
    delta = _record(value.get("delta"))
    match event:
        case "thread.message.delta":
            parts = _records(delta.get("content"))
            said = any(_record(part.get("text")).get("value") for part in parts)
            return "content" if said else "other"
        case "thread.run.step.delta":
            calls = _records(_record(delta.get("step_details")).get("tool_calls"))
            functions = [_record(call.get("function")).get("arguments") for call in calls]
            codes = [_record(call.get("code_interpreter")).get("input") for call in calls]
            return "content" if any([*functions, *codes]) else "start"
        case "thread.run.completed" | "thread.run.requires_action" | "thread.run.incomplete":
            return "finish"
        case "thread.run.failed" | "thread.run.cancelled" | "thread.run.expired":
            return "error"
    return "start" if event.endswith((".created", ".queued", ".in_progress")) else "other"


def _record(value: Any) -> _Record:
    return value if isinstance(value, dict) else {}


def _records(value: Any) -> list[_Record]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


_READERS: dict[str, Callable[[str, _Record], Role]] = {
    "openai-chat": _chat,
    "openai-responses": _responses,
    "anthropic-messages": _anthropic,
    "gemini": _gemini,
    "gemini-array": _gemini,
    "ollama": _ollama,
    "openai-completions": _completions,
    "cohere": _cohere,
    "bedrock-converse": _converse,
    "bedrock-invoke": _invoke,
    "gemini-interactions": _interactions,
    "openai-assistants": _assistants,
}
