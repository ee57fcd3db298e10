"""How a later attempt at an InvokeModel answer goes on on the wire."""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.core.dialects.anthropic_messages.splice import MessagesSplicer
from unbroken.core.dialects.base import RequestFacts, Splicer
from unbroken.core.dialects.bedrock.converse_splice import ConverseSplicer
from unbroken.core.dialects.bedrock.inner import (
    converse_event,
    inside,
    padding_of,
    shape_of,
    text_key,
    with_text,
    wrapped,
)
from unbroken.core.dialects.openai_chat.dialect import OpenAIChat
from unbroken.core.dialects.payloads import dump, parsed, record
from unbroken.core.events import End, Event, Finish, Other
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.wire.sse import SSEDecoder

__all__ = ["InvokeSplicer"]


class InvokeSplicer:
    """See `unbroken.core.dialects.base.Splicer`.

    The splicer of the dialect inside decides; what it writes is put into messages.
    """

    def __init__(self, delivered: Received, *, rung: str, facts: RequestFacts) -> None:
        inner = delivered.fork()
        inner.skeleton = [_unwrapped(event, payload) for event, payload in delivered.skeleton]
        self._messages: Splicer = MessagesSplicer(inner, rung=rung)
        self._chat: Splicer = OpenAIChat().splicer(inner, rung=rung, facts=facts)
        self._converse: Splicer = ConverseSplicer(inner, rung=rung, write=self._as_key)
        self._text_key = ""
        self._beside: dict[str, Any] = {}  # what stands beside an event of Converse: metrics

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        payload = inside(frame.payload)
        if frame.failure or payload is None:
            return [frame.raw]
        value = record(parsed(payload))
        match shape_of(value):
            case "messages":
                return self._in_sse(self._messages, frame, payload, events, text)
            case "chat":
                return self._in_sse(self._chat, frame, payload, events, text)
            case "converse":
                name, said = converse_event(value)
                self._beside = {key: each for key, each in value.items() if key != name}
                as_event = msgspec.structs.replace(frame, event=name, payload=dump(said))
                return self._converse.splice(as_event, events, text)
            case _:
                return self._plain(value, frame, events, text)

    def _in_sse(
        self, splicer: Splicer, frame: Frame, payload: bytes, events: list[Event], text: str
    ) -> list[bytes]:
        as_event = msgspec.structs.replace(frame, event="message", payload=payload)
        out: list[bytes] = []
        for raw in splicer.splice(as_event, events, text):
            if raw is frame.raw:
                out.append(raw)
            else:
                padding = padding_of(frame.payload)
                out += [wrapped(each.payload, padding) for each in SSEDecoder().feed(raw)]
        return out

    def _plain(
        self, value: dict[str, Any], frame: Frame, events: list[Event], text: str
    ) -> list[bytes]:
        self._text_key = text_key(value) or self._text_key
        if not text and not any(type(event) in (Finish, End, Other) for event in events):
            return []
        changed = with_text(value, text, self._text_key)
        return [wrapped(dump(changed), padding_of(frame.payload))]

    def _as_key(self, value: dict[str, Any], event: str) -> bytes:
        beside = self._beside if event in ("messageStop", "metadata") else {}
        return wrapped(dump({event: value, **beside}))


def _unwrapped(event: str, payload: bytes) -> tuple[str, bytes]:
    """Return event name and payload as the dialect inside knows them."""
    held = inside(payload)
    if held is None:
        return event, payload
    value = record(parsed(held))
    if shape_of(value) == "converse":
        name, said = converse_event(value)
        return name, dump(said)
    return "message", held
