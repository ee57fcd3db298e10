"""How a later attempt at a Gemini answer goes on on the wire."""

from __future__ import annotations

from typing import Any

from unbroken.core.dialects.payloads import dump, number, parsed, record, records, sse, string
from unbroken.core.events import Event, Finish, Other, ToolCall
from unbroken.core.frames import Frame
from unbroken.core.received import Received

__all__ = ["GeminiSplicer"]

_CITING = ("citationMetadata", "groundingMetadata", "urlContextMetadata")


class GeminiSplicer:
    """See `unbroken.core.dialects.base.Splicer`; for signatures, the module `gemini`."""

    def __init__(self, delivered: Received, *, rung: str) -> None:
        self._rung = rung
        self._id = delivered.id
        self._text_delivered = bool(delivered.characters)
        self._first_prompt = delivered.usage.input
        # Bytes of text: on the wire, and as the later attempt counts them.
        self._joined = 0 if rung == "replay" else len(delivered.text.encode())
        self._heard = 0

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        value = parsed(frame.payload) if frame.dispatched else None
        if not isinstance(value, dict) or "error" in value:
            return self._pass(frame)
        candidates = records(value.get("candidates"))
        self._joined += len(text.encode("utf-8", "replace"))
        self._heard += sum(map(_text_bytes, candidates))
        kept = {type(event) for event in events}
        if candidates and not text and not kept & {ToolCall, Finish, Other}:
            return []
        value = dict(value)
        if candidates:
            calls = [event for event in events if type(event) is ToolCall]
            others = {event.type for event in events if type(event) is Other}
            value["candidates"] = [
                self._candidate(candidate, calls, others, text if not position else "")
                for position, candidate in enumerate(candidates)
            ]
        if "responseId" in value and self._id:
            value["responseId"] = self._id
        if isinstance(usage := value.get("usageMetadata"), dict):
            value["usageMetadata"] = self._usage(usage)
        return [self._write(value, frame)]

    def _pass(self, frame: Frame) -> list[bytes]:
        """Return a frame that stays as it is."""
        return [frame.raw]

    def _write(self, value: dict[str, Any], frame: Frame) -> bytes:
        # The SDK takes both line ends, other clients only the provider's.
        return sse(value, eol=b"\r\n" if frame.raw.endswith(b"\r\n") else b"\n")

    def _candidate(
        self, candidate: dict[str, Any], calls: list[ToolCall], others: set[str], text: str
    ) -> dict[str, Any]:
        content = record(candidate.get("content"))
        parts: list[dict[str, Any]] = []
        rest = text
        for part in records(content.get("parts")):
            if part.get("thought"):
                continue
            if isinstance(part.get("text"), str):
                # All that is new goes where the frame's first text stood.
                signed = "thoughtSignature" in part and not self._text_delivered
                if rest or signed:
                    parts.append({**part, "text": rest} if signed else {"text": rest})
                rest = ""
            elif isinstance(call := part.get("functionCall"), dict):
                if _take(call, calls):
                    parts.append(part)
            elif others & part.keys():
                parts.append(part)
        if rest:  # new only now, when the frames that brought it have gone by
            parts.insert(0, {"text": rest})
        if parts or "parts" in content:
            content = {"role": "model", **content, "parts": parts or [{"text": ""}]}
        dropped = [key for key in _CITING if key in candidate and key not in others]
        kept = {
            key: self._moved(field) if key in _CITING else field
            for key, field in candidate.items()
            if key not in dropped
        }
        return {**kept, "content": content} if content else kept

    def _moved(self, citing: Any) -> Any:
        """Count the positions of citations, in bytes, from the start of the whole answer.

        What is cited is told with or after its text, and by then all that the later attempt
        wrote is on the wire, so the two counts are at the same place.
        """
        ahead = 0 if self._rung == "replay" else self._joined - self._heard
        if isinstance(citing, list):
            return [self._moved(each) for each in citing]
        if not isinstance(citing, dict) or not ahead:
            return citing
        moved = {key: self._moved(each) for key, each in citing.items()}
        if isinstance(citing.get("endIndex"), int):
            # A start of 0 is left out by the API.
            moved["startIndex"] = (number(citing, "startIndex") or 0) + ahead
            moved["endIndex"] = citing["endIndex"] + ahead
        return moved

    def _usage(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Count the prompt once, and as output what was delivered, where both are known.

        A prefill's prompt holds the partial answer, so what it counts beyond the first prompt
        is output that was delivered before. Else only the prompt is put right, and the total.
        """
        prompt, output = number(usage, "promptTokenCount"), number(usage, "candidatesTokenCount")
        first = self._first_prompt
        if first is None or prompt is None or prompt < first:
            return usage
        changed = {**usage, "promptTokenCount": first}
        if self._rung == "prefill" and output is not None:
            changed["candidatesTokenCount"] = output + prompt - first
        elif (total := number(usage, "totalTokenCount")) is not None:
            changed["totalTokenCount"] = total - (prompt - first)
        return changed


def _take(call: dict[str, Any], kept: list[ToolCall]) -> bool:
    """Whether the call is among those that are kept; each of them counts for one."""
    name = string(call.get("name"))
    arguments = dump(record(call.get("args"))).decode()
    for position, event in enumerate(kept):
        if (event.name or "") == name and event.arguments in (arguments, ""):
            del kept[position]
            return True
    return False


def _text_bytes(candidate: dict[str, Any]) -> int:
    """Return how long a candidate's piece of the answer text is, in bytes."""
    parts = records(record(candidate.get("content")).get("parts"))
    said = (string(part.get("text")) for part in parts if not part.get("thought"))
    return sum(len(text.encode("utf-8", "replace")) for text in said)
