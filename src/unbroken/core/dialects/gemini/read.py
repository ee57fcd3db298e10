"""Gemini: frames to events."""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.core.dialects.base import (
    error_from,
    parse_payload,
)
from unbroken.core.dialects.payloads import (
    as_object,
    bare_error,
    dump,
    number,
    record,
    records,
    string,
)
from unbroken.core.events import (
    Block,
    Event,
    Finish,
    Meaning,
    Open,
    Other,
    Reasoning,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame

__all__ = ["FINAL_ERRORS", "GeminiReader"]

FINAL_ERRORS = frozenset({"already_exists", "out_of_range", "unimplemented"})

_MEANINGS: dict[str, Meaning] = {
    "STOP": "stop",
    "MAX_TOKENS": "limit",
    "CONTINUATION": "pause",  # comes with a token, with which the SDK itself asks for the rest
    "SAFETY": "filter", "RECITATION": "filter", "LANGUAGE": "filter", "BLOCKLIST": "filter",
    "PROHIBITED_CONTENT": "filter", "SPII": "filter", "MODEL_ARMOR": "filter",
    "ESCALATION": "filter", "IMAGE_SAFETY": "filter", "IMAGE_PROHIBITED_CONTENT": "filter",
    "IMAGE_RECITATION": "filter", "IMAGE_OTHER": "filter",
    "MALFORMED_FUNCTION_CALL": "fault", "MALFORMED_RESPONSE": "fault",
    "UNEXPECTED_TOOL_CALL": "fault", "TOO_MANY_TOOL_CALLS": "fault",
    "MISSING_THOUGHT_SIGNATURE": "fault", "OTHER": "fault", "NO_IMAGE": "fault",
}  # fmt: skip

# Parts that ask for work of a server tool, and those that bring its result.
_ASKS = ("executableCode", "toolCall")

_ANSWERS = ("codeExecutionResult", "toolResponse")

# What a part says beside the one thing it is.
_PART_ASIDES = frozenset({"thought", "thoughtSignature", "partMetadata", "videoMetadata"})

# About stretches of the text, counted from its start: no continuation could keep them true.
_CITING = ("citationMetadata", "groundingMetadata", "urlContextMetadata")

# With ``enum-encoding=int`` the reasons come as numbers. From 5 on the two services count
# differently, but 6 to 10 are filters in both, but for one fault in either.
_NUMBERED = {
    "1": "STOP", "2": "MAX_TOKENS", "3": "SAFETY", "4": "RECITATION", "5": "OTHER",
    "6": "SAFETY", "7": "SAFETY", "8": "SAFETY", "9": "SAFETY", "10": "SAFETY",
}  # fmt: skip


# The fast path: one candidate with one part of text, and the token counts. A field typed None
# may be absent or null; anything else in it fails to parse, and the frame goes the long way,
# which alone decides what frames mean.
class _Part(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    text: str
    thought: bool | None = None
    thoughtSignature: None = None  # noqa: N815


class _Content(msgspec.Struct, gc=False):
    parts: tuple[_Part]


class _Candidate(msgspec.Struct, gc=False):
    content: _Content
    index: int = 0
    finishReason: None = None  # noqa: N815
    citationMetadata: None = None  # noqa: N815
    groundingMetadata: None = None  # noqa: N815
    urlContextMetadata: None = None  # noqa: N815


class _Usage(msgspec.Struct, gc=False):
    promptTokenCount: int | None = None  # noqa: N815
    candidatesTokenCount: int | None = None  # noqa: N815
    cachedContentTokenCount: int | None = None  # noqa: N815
    thoughtsTokenCount: int | None = None  # noqa: N815


class _Payload(msgspec.Struct, gc=False):
    candidates: tuple[_Candidate]
    usageMetadata: _Usage | None = None  # noqa: N815
    promptFeedback: None = None  # noqa: N815
    error: None = None


_decode_fast = msgspec.json.Decoder(_Payload).decode


class _Said(msgspec.Struct):
    """What the reader must know of a candidate to judge its finish and number its calls."""

    calls: int = 0
    content: bool = False
    server_asks: int = 0  # for work whose result has not come
    call_open: bool = False  # a call that comes in pieces


class GeminiReader:
    """See `unbroken.core.dialects.base.Reader`."""

    def __init__(self) -> None:
        self._started = False
        self._said: dict[int, _Said] = {}

    def fork(self) -> GeminiReader:
        copy = GeminiReader()
        copy._started = self._started
        copy._said = {index: msgspec.structs.replace(said) for index, said in self._said.items()}
        return copy

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        return None

    def read(self, frame: Frame) -> list[Event]:
        if self._started:
            try:
                fast = _decode_fast(frame.payload)
            except (ValueError, RecursionError):
                return self._read_any(frame)
            (candidate,) = fast.candidates
            (part,) = candidate.content.parts
            said = self._said.get(candidate.index)
            if part.text and not part.thought and said and said.content and not said.server_asks:
                events: list[Event] = [Text(part.text, candidate.index)]
                if (u := fast.usageMetadata) is not None:
                    events.append(
                        UsageReport(
                            u.promptTokenCount,
                            u.candidatesTokenCount,
                            u.cachedContentTokenCount,
                            u.thoughtsTokenCount,
                        )
                    )
                return events
        return self._read_any(frame)

    def _read_any(self, frame: Frame) -> list[Event]:
        if not frame.dispatched:
            found = bare_error(frame, final=FINAL_ERRORS)
            return [] if found is None else [found]
        if not frame.payload.strip():
            return []
        value = parse_payload(frame.payload)
        error = error_from(value, final=FINAL_ERRORS)
        if error is not None:
            return [error]
        value = as_object(value)
        events: list[Event] = []
        if not self._started:
            self._started = True
            id_, model = string(value.get("responseId")), string(value.get("modelVersion"))
            events.append(Start(id_ or None, model))
        usage = value.get("usageMetadata")
        counted = number(usage, "totalTokenCount") is not None
        for candidate in records(value.get("candidates")):
            self._candidate(candidate, events, counted=counted)
        if reason := string(record(value.get("promptFeedback")).get("blockReason")):
            events.append(Finish(f"prompt:{reason}", "filter"))
        if isinstance(usage, dict):
            events.append(_usage(usage))
        return events

    def _candidate(self, candidate: dict[str, Any], events: list[Event], *, counted: bool) -> None:
        index = number(candidate, "index") or 0
        said = self._said.get(index)
        if said is None:
            said = self._said[index] = _Said()
            events.append(Open("other", index))
        serving = False
        for part in records(record(candidate.get("content")).get("parts")):
            serving = _part(part, index, said, events) or serving
        events.extend(Other(key, content=True) for key in _CITING if candidate.get(key))
        given = candidate.get("finishReason")
        reason = str(given) if isinstance(given, int) else string(given)
        if reason in ("", "0", "FINISH_REASON_UNSPECIFIED"):
            return
        meaning = _MEANINGS.get(_NUMBERED.get(reason, reason), "stop")
        stamped = not counted and ("safetyRatings" in candidate or not said.content)
        final = meaning != "stop" or not (serving or said.server_asks or stamped)
        if meaning == "stop" and said.calls:
            meaning = "tool-calls"
        events.append(Finish(reason, meaning, index, final=final))


def _part(part: dict[str, Any], choice: int, said: _Said, events: list[Event]) -> bool:
    """Read one part; return whether it is work of a server tool."""
    serving = False
    if text := string(part.get("text")):
        said.content = True
        if part.get("thought"):
            events.append(Reasoning(text, choice))
        else:
            said.server_asks = 0  # the server's work is done, whether or not it was shown
            events.append(Text(text, choice))
    for kind, content in part.items():
        if kind == "functionCall" and isinstance(content, dict):
            said.content, said.server_asks = True, 0
            events.extend(_call(content, choice, said))
        elif kind == "text" or kind in _PART_ASIDES or content is None:
            continue
        else:
            said.content = True
            if kind in _ASKS:
                serving, said.server_asks = True, said.server_asks + 1
            elif kind in _ANSWERS:
                serving, said.server_asks = True, max(0, said.server_asks - 1)
            events.append(Other(kind, content=True))
    if part.get("thoughtSignature"):
        events.append(Reasoning("", choice, sealed=True))
    return serving


def _call(call: dict[str, Any], choice: int, said: _Said) -> list[Event]:
    """Read a function call: whole, or where that was asked for, in pieces.

    Pieces say how to build the arguments by path; they are told as content that cannot be
    continued, and the call is complete when a piece says that none follows.
    """
    goes_on = bool(call.get("willContinue"))
    name, id_ = string(call.get("name")), string(call.get("id"))
    in_pieces = goes_on or said.call_open
    if not said.call_open:
        said.calls += 1
    said.call_open = goes_on
    arguments = ""
    if not in_pieces:
        arguments = dump(record(call.get("args"))).decode()
    events: list[Event] = [
        ToolCall(
            said.calls - 1, arguments, choice, id=id_ or None, name=name or None, whole=not goes_on
        )
    ]
    if in_pieces:
        events.append(Other("partialArgs", content=True))
    return events


def _usage(usage: dict[str, Any]) -> UsageReport:
    """Take over the counts as they are sent: thinking is not part of the output here."""
    return UsageReport(
        number(usage, "promptTokenCount"),
        number(usage, "candidatesTokenCount"),
        number(usage, "cachedContentTokenCount"),
        number(usage, "thoughtsTokenCount"),
    )
