"""What a frame means, less what differs between two runs of the same request.

Ids, times and padding are new in every answer, so two recordings of one stream would never be
equal with them. What is left of a frame is its *shape*, as a digest; what its events mean are
*parts*: stretches of text, which may be cut anywhere, and everything else, which may not.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from unbroken.core.events import (
    Close,
    End,
    Event,
    Finish,
    Mark,
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

__all__ = ["Part", "label_of", "parts_of", "shape_of"]

_IDS = re.compile(
    r"(?:id|.*_id|.*Id|created|created_at|createTime|completed_at|timestamp|system_fingerprint"
    r"|obfuscation|p|signature|thoughtSignature|encrypted_content|.*_duration|request-id|timings)\Z"
)


class Part(msgspec.Struct, gc=False):
    """A piece of meaning.

    Attributes:
        kind: ``text``, ``reasoning``, ``refusal``, ``arguments``; or any other, which is whole.
        key: What it belongs to; of other kinds, what it says.
        text: Of those four kinds.
        label: What it is, in words, without contents.
        frame: The number of its frame, from 0.
        at_byte: Where the frame begins in the body.
    """

    kind: str
    key: Any
    text: str
    label: str
    frame: int
    at_byte: int


def parts_of(events: list[Event], frame: int, at_byte: int) -> list[Part]:
    """Return what a frame means, without ids, pings and numbers."""
    parts: list[Part] = []

    def add(kind: str, key: Any, text: str, label: str) -> None:
        parts.append(Part(kind, key, text, label, frame, at_byte))

    for event in events:
        match event:
            case Text(text=text, choice=choice, block=block):
                if text:
                    add("text", (choice, block), text, label_of(event))
            case Reasoning(text=text, choice=choice, block=block):
                if text:
                    add("reasoning", (choice, block), text, label_of(event))
            case Refusal(text=text, choice=choice, block=block):
                if text:
                    add("refusal", (choice, block), text, label_of(event))
            case ToolCall(choice=choice, index=index, arguments=arguments):
                if event.name is not None or event.whole:
                    add("call", (choice, index, event.name, event.whole), "", label_of(event))
                if arguments:
                    add("arguments", (choice, index), arguments, label_of(event))
            case Ping() | Number() | Mark():
                pass
            case Start():
                add("start", None, "", label_of(event))
            case Whole(kind=kind, text=text, choice=choice, block=block):
                add("whole", (kind, choice, block, text), "", label_of(event))
            case ProviderError(type=kind, code=code):
                add("error", (kind, code), "", label_of(event))
            case _:
                add(type(event).__name__, event, "", label_of(event))
    return parts


def label_of(event: Event) -> str:
    """Return what an event is, in few words that hold no contents."""
    match event:
        case Open(kind=kind):
            return f"opening ({kind})"
        case ToolCall(name=name) if name is not None:
            return "start of a tool call"
        case ToolCall(whole=True, arguments=""):
            return "end of a tool call"
        case ToolCall():
            return "tool arguments"
        case Whole(kind=kind):
            return f"repeated {kind}"
        case Finish(reason=reason):
            return f"finish ({_word(reason)})"
        case End(marker=marker):
            return f"last marker ({_word(marker)})"
        case ProviderError(type=kind, code=code):
            return f"error ({_word(kind or code or 'unnamed')})"
        case Other(type=kind):
            return f"event {_word(kind)}"
        case UsageReport():
            return "usage"
        case Reasoning(sealed=True):
            return "signature"
        case Close():
            return "closing"
        case _:
            return type(event).__name__.lower()


def shape_of(frame: Frame) -> int:
    """Return a digest of a frame that is the same for all that differ in ids, times and padding."""
    try:
        value = msgspec.json.decode(frame.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return hash((frame.event, frame.payload))
    return hash((frame.event, msgspec.json.encode(_bare(value), order="sorted")))


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _bare(kept) for name, kept in value.items() if not _IDS.match(name)}
    return [_bare(kept) for kept in value] if isinstance(value, list) else value


def _word(text: str) -> str:
    return re.sub(r"[^\w.:\[\]/-]", "?", text)[:48]
