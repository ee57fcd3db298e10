"""Change what is inside a frame, and leave its wrapping as the provider wrote it.

Works on the bytes of whole frames of all wires. ``payload`` here is the innermost JSON: of
Bedrock's InvokeModel what is in its base64.
"""

from __future__ import annotations

import base64
import json
import re
from functools import lru_cache
from typing import Any

from unbroken.core.dialects import by_name
from unbroken.core.frames import Frame
from unbroken.core.wire import Wire, decoder_for, encode_aws_event_stream, encode_sse

__all__ = [
    "compact",
    "frame_in",
    "framed",
    "is_array",
    "number_of",
    "payload_of",
    "record_of",
    "renumbered",
    "wire_of",
    "with_payload",
]

_NUMBER = re.compile(rb'("sequence_number"\s*:\s*)(\d+)')
_DATA = re.compile(rb"^data:[^\r\n]*(?:\r\n|\r|\n)", re.MULTILINE)
_ARRAY = re.compile(rb"\A([\s,\[]*)(.*?)(\s*)\Z", re.DOTALL)


@lru_cache(maxsize=64)
def wire_of(dialect: str) -> Wire:
    """Return the wire of a dialect."""
    return by_name(dialect).wire


def is_array(dialect: str) -> bool:
    """Whether frames of the dialect are elements of one array, so that commas matter."""
    return bool(dialect) and wire_of(dialect) == "json-array"


def compact(value: Any) -> bytes:
    """Return JSON as providers write it: no blanks, letters as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def frame_in(dialect: str, data: bytes) -> Frame | None:
    """Return the frame that these bytes are, or None if they are no whole one."""
    decoder = decoder_for(wire_of(dialect))
    found = [frame for frame in decoder.blocks(data) if frame.dispatched]
    found += [frame for frame in decoder.close() if frame.dispatched]
    return found[0] if found else None


def payload_of(dialect: str, data: bytes) -> bytes:
    """Return the innermost payload of a frame, or nothing if it is none."""
    frame = frame_in(dialect, data)
    if frame is None:
        return b""
    if dialect == "bedrock-invoke":
        try:
            return base64.b64decode(json.loads(frame.payload)["bytes"])
        except (ValueError, KeyError, TypeError):
            return frame.payload
    return frame.payload


def record_of(dialect: str, data: bytes) -> dict[str, Any]:
    """Return a frame's payload as an object; an empty one if it is none."""
    try:
        value = json.loads(payload_of(dialect, data))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def with_payload(dialect: str, data: bytes, payload: bytes) -> bytes:
    """Return a frame with another payload, which need not be JSON nor UTF-8."""
    match wire_of(dialect):
        case "sse":
            end = b"\r\n" if b"\r\n" in data else b"\n"
            lines = b"".join(b"data: " + line + end for line in payload.split(b"\n"))
            if not _DATA.search(data):
                return lines + end
            return _DATA.sub(b"", _DATA.sub(lambda _: b"\0", data, count=1)).replace(
                b"\0", lines, 1
            )
        case "ndjson":
            return payload + b"\n"
        case "json-array":
            found = _ARRAY.match(data)
            assert found is not None  # the pattern matches anything
            return found[1] + payload + found[3]
        case "aws-event-stream":
            frame = frame_in(dialect, data)
            name = frame.event if frame is not None else "chunk"
            failure = frame is not None and frame.failure
            return framed(dialect, payload, event=name, failure=failure)


def framed(dialect: str, payload: bytes, *, event: str = "", failure: bool = False) -> bytes:
    """Return a payload as a frame of its own.

    Args:
        dialect: Whose frame.
        payload: The innermost payload.
        event: The event's name, where the wire has names.
        failure: Whether it is an AWS exception.
    """
    match wire_of(dialect):
        case "sse":
            if dialect == "gemini":  # Google ends its lines so
                return b"data: " + payload + b"\r\n\r\n"
            return encode_sse(payload, event=event or None)
        case "ndjson":
            return payload + b"\n"
        case "json-array":
            return b"\n,\r\n" + payload
        case "aws-event-stream":
            if dialect == "bedrock-invoke" and not failure:
                payload = compact({"bytes": base64.b64encode(payload).decode()})
            return encode_aws_event_stream(payload, event=event or "chunk", failure=failure)


def number_of(dialect: str, data: bytes) -> int | None:
    """Return a frame's own number, where the dialect counts its frames."""
    found = _NUMBER.search(data) if dialect == "openai-responses" else None
    return None if found is None else int(found[2])


def renumbered(dialect: str, data: bytes, number: int) -> bytes:
    """Return a frame with another number; unchanged where it has none."""
    if dialect != "openai-responses":
        return data
    return _NUMBER.sub(lambda found: found[1] + str(number).encode(), data, count=1)
