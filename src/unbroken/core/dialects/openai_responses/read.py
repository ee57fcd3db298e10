"""Frames of Responses to events; see `openai_responses` for the scheme of blocks."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from unbroken.core.dialects.base import MalformedPayloadError, error_from, parse_payload
from unbroken.core.dialects.openai_responses.course import Course
from unbroken.core.dialects.payloads import as_object, bare_error, number, record, string
from unbroken.core.events import (
    Block,
    BlockKind,
    Close,
    End,
    Event,
    Finish,
    Meaning,
    Number,
    Open,
    Other,
    Ping,
    ProviderError,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
    Whole,
)
from unbroken.core.frames import Frame

__all__ = ["FINAL_ERRORS", "ResponsesReader", "number_of"]

_CallKind = Literal["function", "custom", "server"]

# Calls whose arguments are streamed. Hosted tools other than MCP have no arguments to show.
_CALLS: dict[str, _CallKind] = {
    "function_call": "function",
    "custom_tool_call": "custom",
    "mcp_call": "server",
}
_FIRST_OF_SERVER = 1000  # the provider's own calls are counted apart from the application's
# Calls that the application carries out, and that come whole with the item.
_ACTIONS = frozenset({"computer_call", "local_shell_call", "shell_call", "apply_patch_call"})
_ITEM_KINDS: dict[str, BlockKind] = {"message": "text", "reasoning": "reasoning"}
_ARGUMENTS: dict[str, tuple[str, str]] = {
    # type before ".delta" / ".done" -> item type, key of the whole value
    "response.function_call_arguments": ("function_call", "arguments"),
    "response.custom_tool_call_input": ("custom_tool_call", "input"),
    "response.mcp_call_arguments": ("mcp_call", "arguments"),
}
_TERMINALS = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
# Shown or acted on, and nothing that a second attempt could go on with.
_UNCONTINUABLE = frozenset(
    {
        "response.output_text.annotation.added",
        "response.image_generation_call.partial_image",
        "response.code_interpreter_call_code.delta",
        "response.audio.delta",
        "response.audio.transcript.delta",
        "response.shell_call_command.delta",
        "response.apply_patch_call_operation_diff.delta",
    }
)

FINAL_ERRORS = frozenset(
    {
        "bio_policy", "cancelled", "data_residency_mismatch", "empty_image_file",
        "failed_to_download_image", "image_content_policy_violation",
        "image_file_not_found", "image_file_too_large", "image_parse_error",
        "image_too_large", "image_too_small", "invalid_base64_image", "invalid_image",
        "invalid_image_format", "invalid_image_mode", "invalid_image_url",
        "misalignment_policy_violation", "unsupported_image_media_type",
    }
)  # fmt: skip


class _FastDelta(msgspec.Struct, gc=False):
    """The fast path: nearly every frame is a piece of text. Any other type fails to parse."""

    type: Literal["response.output_text.delta"]
    delta: str
    output_index: int
    content_index: int
    sequence_number: int


class _Numbered(msgspec.Struct, gc=False):
    sequence_number: int


_decode_fast = msgspec.json.Decoder(_FastDelta).decode
_decode_number = msgspec.json.Decoder(_Numbered).decode


def number_of(frame: Frame) -> int | None:
    """Return a frame's ``sequence_number``, or None where it has none."""
    try:
        return _decode_number(frame.payload).sequence_number
    except (ValueError, RecursionError):
        pass
    try:  # half a surrogate pair is refused above
        return number(parse_payload(frame.payload), "sequence_number")
    except MalformedPayloadError:
        return None


class ResponsesReader:
    """See `unbroken.core.dialects.base.Reader`. All state is keyed by output index."""

    def __init__(self) -> None:
        self._started = False
        self._failed = False
        self._calls: dict[int, tuple[int, _CallKind]] = {}  # our index, kind
        self._spoken: set[int] = set()  # calls of which a piece of arguments came
        self._whole: set[int] = set()
        self._parts: set[tuple[int, int]] = set()  # open ones
        self.course = Course()

    def fork(self) -> ResponsesReader:
        copy = ResponsesReader()
        copy._started, copy._failed = self._started, self._failed
        copy._calls = dict(self._calls)
        copy._spoken, copy._whole = set(self._spoken), set(self._whole)
        copy._parts = set(self._parts)
        copy.course = self.course.fork()
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        return None

    def read(self, frame: Frame) -> list[Event]:
        try:
            fast = _decode_fast(frame.payload)
        except (ValueError, RecursionError):
            return self._read_any(frame)
        events: list[Event] = [Number(fast.sequence_number)]
        if fast.delta:
            events.append(Text(fast.delta, 0, (fast.output_index, fast.content_index)))
        return events

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            error = bare_error(frame, final=FINAL_ERRORS)
            return [] if error is None else [error]
        stripped = frame.payload.strip()
        if not stripped:
            return []
        if stripped == b"[DONE]":
            return [End("[DONE]")]  # proves nothing here; some relays add it
        value = parse_payload(frame.payload)
        if not isinstance(value, dict) and (error := error_from(value)) is not None:
            return [error]
        value = as_object(value)
        kind = value.get("type")
        if not isinstance(kind, str):
            kind = "" if frame.event == "message" else frame.event
        events: list[Event] = []
        if (counted := number(value, "sequence_number")) is not None:
            events.append(Number(counted))
        if kind == "error" or (not kind.startswith("response.") and value.get("error")):
            self._failed = True
            events.append(_error(value))
        elif kind in _TERMINALS:
            self._end(kind, value, events)
        elif kind in ("response.created", "response.queued", "response.in_progress"):
            self._lifecycle(kind, value, events)
        elif kind in ("keepalive", "ping"):
            events.append(Ping())
        elif (at := number(value, "output_index")) is not None:
            self._item(kind, at, value, events)
        else:
            events.append(Other(kind, content=kind in _UNCONTINUABLE))
        return events

    def _lifecycle(self, kind: str, value: dict[str, Any], events: list[Event]) -> None:
        # A stream resumed with `starting_after` begins later than response.created.
        if kind == "response.created" or not self._started:
            response = record(value.get("response"))
            model = string(response.get("model")) or None
            events.append(Start(string(response.get("id")) or None, model))
        else:
            events.append(Other(kind))
        self._started = self.course.started = True

    def _item(self, kind: str, at: int, value: dict[str, Any], events: list[Event]) -> None:
        """Read a frame that belongs to an output item."""
        self.course.follow(kind, at, value)
        stem, _, action = kind.rpartition(".")
        delta = string(value.get("delta"))
        part = number(value, "content_index")
        block = (at, -1 if part is None else part)
        if stem in _ARGUMENTS and action in ("delta", "done"):
            self._arguments(stem, action, at, value, events)
            return
        match kind:
            case "response.output_item.added":
                self._open_item(at, record(value.get("item")), events)
            case "response.output_item.done":
                self._close_item(at, record(value.get("item")), events)
            case "response.content_part.added":
                self._open_part(block, record(value.get("part")), events)
            case "response.content_part.done":
                self._parts.discard(block)
                events.append(Close(0, block))
            case "response.output_text.delta":
                if delta:
                    events.append(Text(delta, 0, block))
            case "response.refusal.delta":
                if delta:
                    events.append(Refusal(delta, 0, block))
            case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
                if delta:
                    home = block if block in self._parts else (at, -1)
                    events.append(Reasoning(delta, 0, home))
            case "response.output_text.done":
                events.append(Whole("text", string(value.get("text")), 0, block))
                events.append(Other(kind))
            case _:
                events.append(Other(kind, content=kind in _UNCONTINUABLE))

    def _open_item(self, at: int, item: dict[str, Any], events: list[Event]) -> None:
        kind = string(item.get("type"))
        is_call = kind in _CALLS or kind in _ACTIONS
        opens = "tool" if is_call else _ITEM_KINDS.get(kind, "other")
        events.append(Open(opens, 0, (at, -1)))
        if is_call:
            events.append(self._call(at, item))
        elif kind == "message" and isinstance(parts := item.get("content"), list):
            for index, part in enumerate(parts):
                self._open_part((at, index), record(part), events)
        elif kind == "mcp_approval_request":
            events.append(Other(kind, content=True))  # asks the application

    def _open_part(self, block: tuple[int, int], part: dict[str, Any], events: list[Event]) -> None:
        if block in self._parts:
            return
        self._parts.add(block)
        thought = part.get("type") == "reasoning_text"
        events.append(Open("reasoning" if thought else "text", 0, block))

    def _close_item(self, at: int, item: dict[str, Any], events: list[Event]) -> None:
        kind = string(item.get("type"))
        if (kind in _CALLS or kind in _ACTIONS) and at not in self._whole:
            # No arguments were streamed, or their `.done` was left out.
            whole = item.get("input" if kind == "custom_tool_call" else "arguments")
            if kind in _ACTIONS:
                action = item.get("action") or item.get("operation") or {}
                whole = msgspec.json.encode(action).decode()
            first = "" if at in self._calls else self._call(at, item).name
            events.append(
                ToolCall(
                    self._calls[at][0],
                    "" if at in self._spoken else string(whole),
                    block=(at, -1),
                    id=string(item.get("call_id")) or None,
                    name=first or None,
                    whole=True,
                    kind=self._calls[at][1],
                )
            )
            self._whole.add(at)
        if kind == "reasoning" and item.get("encrypted_content"):
            events.append(Reasoning("", 0, (at, -1), sealed=True))
        for block in sorted(b for b in self._parts if b[0] == at):
            self._parts.discard(block)
            events.append(Close(0, block))
        events.append(Close(0, (at, -1)))

    def _call(self, at: int, item: dict[str, Any]) -> ToolCall:
        """Register the item's call and return the event that names it."""
        kind = string(item.get("type"))
        index, call_kind = self._call_at(at, _CALLS.get(kind, "custom"))
        return ToolCall(
            index,
            block=(at, -1),
            id=string(item.get("call_id")) or string(item.get("id")) or None,
            name=string(item.get("name")) or kind,
            kind=call_kind,
        )

    def _call_at(self, at: int, kind: _CallKind) -> tuple[int, _CallKind]:
        """Return the index and kind of the item's call; a new one gets the next index."""
        if at not in self._calls:
            of_server = kind == "server"
            alike = sum((k == "server") == of_server for _, k in self._calls.values())
            self._calls[at] = (alike + (_FIRST_OF_SERVER if of_server else 0), kind)
        return self._calls[at]

    def _arguments(
        self, stem: str, action: str, at: int, value: dict[str, Any], events: list[Event]
    ) -> None:
        item_type, key = _ARGUMENTS[stem]
        index, kind = self._call_at(at, _CALLS[item_type])
        if action == "delta":
            piece = string(value.get("delta"))
            if piece:
                self._spoken.add(at)
                events.append(ToolCall(index, piece, block=(at, -1), kind=kind))
            return
        whole = string(value.get(key))
        piece = "" if at in self._spoken else whole
        self._spoken.add(at)
        self._whole.add(at)
        events.append(ToolCall(index, piece, block=(at, -1), whole=True, kind=kind))
        events.append(Whole("arguments", whole, 0, (at, -1)))
        events.append(Other(f"{stem}.done"))  # kept for the splicer: it was on the wire

    def _end(self, kind: str, value: dict[str, Any], events: list[Event]) -> None:
        response = record(value.get("response"))
        status = string(response.get("status"))
        if f"response.{status}" not in _TERMINALS:
            status = kind.removeprefix("response.")  # a relay may leave the status out
        reason, meaning = status, self._meaning(status, response)
        if status == "incomplete":
            cut_by = string(record(response.get("incomplete_details")).get("reason"))
            reason = f"{status}:{cut_by}" if cut_by else status
            meaning = "filter" if cut_by == "content_filter" else "limit"
        if meaning == "fault" and not self._failed:
            # After an `error` event it would be the same error again.
            self._failed = True
            error = record(response.get("error")) or {"code": status}
            events.append(_error({"error": error}))
        events.append(Finish(reason, meaning))
        if isinstance(usage := response.get("usage"), dict):
            events.append(_usage(usage))
        events.append(End(kind))

    def _meaning(self, status: str, response: dict[str, Any]) -> Meaning:
        if status in ("failed", "cancelled"):
            return "fault"
        asked = any(kind != "server" for _, kind in self._calls.values())
        return "tool-calls" if asked else "stop"


def _error(value: dict[str, Any]) -> ProviderError:
    error = error_from(value, final=FINAL_ERRORS)
    error = error or error_from({"error": value}, final=FINAL_ERRORS)
    assert error is not None  # the second shape always is one
    if "policy" in error.code or "policy" in error.type:
        return msgspec.structs.replace(error, retryable=False, refused=True)
    return error


def _usage(usage: dict[str, Any]) -> UsageReport:
    return UsageReport(
        number(usage, "input_tokens"),
        number(usage, "output_tokens"),
        number(usage.get("input_tokens_details"), "cached_tokens"),
        number(usage.get("output_tokens_details"), "reasoning_tokens"),
    )
