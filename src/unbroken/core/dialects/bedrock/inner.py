"""What stands inside the messages of Bedrock's InvokeModel, by the model's provider."""

from __future__ import annotations

import binascii
from typing import Any, Literal

import msgspec

from unbroken.core.dialects.base import error_from
from unbroken.core.dialects.bedrock import common
from unbroken.core.dialects.bedrock.converse import EVENTS
from unbroken.core.dialects.payloads import parsed, record, records, string
from unbroken.core.events import Event, Finish, Meaning, Other, Start, Text

__all__ = [
    "METRICS",
    "PlainReader",
    "Shape",
    "converse_event",
    "inside",
    "padding_of",
    "shape_of",
    "text_key",
    "with_text",
    "wrapped",
]

METRICS = "amazon-bedrock-invocationMetrics"

Shape = Literal["messages", "completion", "converse", "chat", "plain"]
"""Whose protocol it is: ``completion`` is Anthropic's before Messages."""

_TEXTS = ("outputText", "generation", "text", "completion")  # Titan, Llama, Cohere, old Claude
_REASONS = ("completionReason", "stop_reason", "finish_reason")

_MEANINGS: dict[str, Meaning] = {
    "length": "limit", "max_tokens": "limit", "error_limit": "limit",
    "content_filtered": "filter", "error_toxic": "filter",
    "error": "fault",
}  # fmt: skip


class _Chunk(msgspec.Struct, gc=False, rename={"held": "bytes"}):
    held: bytes


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def inside(payload: bytes) -> bytes | None:
    """Return what a message holds in base64, or None if it holds nothing so."""
    try:
        return _decode_chunk(payload).held
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def wrapped(payload: bytes, padding: str = "") -> bytes:
    """Return a message around a payload."""
    value = {"bytes": binascii.b2a_base64(payload, newline=False).decode()}
    return common.message(value | ({"p": padding} if padding else {}), "chunk")


def padding_of(payload: bytes) -> str:
    """Return the padding of a message's payload."""
    return string(record(parsed(payload)).get("p"))


def shape_of(value: Any) -> Shape | None:
    """Return whose protocol a value speaks, or None if it does not tell."""
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("type"), str):
        return "messages"
    if "completion" in value:
        return "completion"
    if EVENTS & value.keys():
        return "converse"
    if isinstance(value.get("choices"), list):
        return "chat"
    outputs = records(value.get("outputs"))  # Mistral
    known = "is_finished" in value or any(key in value for key in (*_TEXTS, "completionReason"))
    return "plain" if known or (outputs and "text" in outputs[0]) else None


def converse_event(value: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and value of the event that stands as a key (Nova)."""
    name = next(iter(EVENTS & value.keys()), "")
    return name, record(value.get(name))


class PlainReader:
    """Reads the protocols that know only a text and a reason."""

    def __init__(self) -> None:
        self._started = False

    def fork(self) -> PlainReader:
        """Return an independent copy."""
        copy = PlainReader()
        copy._started = self._started
        return copy

    def read(self, value: dict[str, Any]) -> list[Event]:
        """Return what a value means."""
        error = error_from(value)
        if error is not None:
            return [error]
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Start())
        said = _said(value)
        if text := next((string(said[key]) for key in _TEXTS if key in said), ""):
            events.append(Text(text))
        if reason := next((string(said[key]) for key in _REASONS if said.get(key)), ""):
            events.append(Finish(reason, _MEANINGS.get(reason.lower(), "stop")))
        return events or [Other("chunk")]


def with_text(value: dict[str, Any], text: str, key: str) -> dict[str, Any]:
    """Return a value of a plain protocol with another text.

    Args:
        value: The value.
        text: The text.
        key: Where the text stands, if the value has none.
    """
    if records(value.get("outputs")):
        return {**value, "outputs": [{**_said(value), "text": text}]}
    found = text_key(value) or key
    return {**value, found: text} if found and (text or found in value) else value


def text_key(value: dict[str, Any]) -> str:
    """Return the key under which a value has its text, or an empty string."""
    return next((key for key in _TEXTS if key in value), "")


def _said(value: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a value that has the text and the reason."""
    outputs = records(value.get("outputs"))
    return outputs[0] if outputs else value
