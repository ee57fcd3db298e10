"""Reading a stream on after the client's own connection was lost; see the resume protocol."""

from __future__ import annotations

from unbroken.gateway.resume.answering import ResumeService
from unbroken.gateway.resume.decisions import Asked, Attach, Begun, NotKept, Refused, Stopped
from unbroken.gateway.resume.ids import Position, PositionError, is_stream_id, new_stream_id
from unbroken.gateway.resume.keys import InvalidKeyError, body_hash, lease_of, parse_key
from unbroken.gateway.resume.marking import Marker, ends_block
from unbroken.gateway.resume.serving import Writable, serve_reader
from unbroken.gateway.resume.state import OpenState
from unbroken.gateway.resume.tokens import Tokens

__all__ = [
    "Asked",
    "Attach",
    "Begun",
    "InvalidKeyError",
    "Marker",
    "NotKept",
    "OpenState",
    "Position",
    "PositionError",
    "Refused",
    "ResumeService",
    "Stopped",
    "Tokens",
    "Writable",
    "body_hash",
    "ends_block",
    "is_stream_id",
    "lease_of",
    "new_stream_id",
    "parse_key",
    "serve_reader",
]
