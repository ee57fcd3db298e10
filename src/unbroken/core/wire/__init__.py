"""Bytes to frames and back.

A decoder takes the body in reads of any size and gives back whole frames, each with its
exact bytes. It holds these promises, whatever the bytes are:

- the same frames, `raw` and `offset` included, however the bytes are cut;
- `raw` of all blocks, joined, followed by `pending`, is the body (what came after a
  breach of `max_frame_bytes`, or after a checksum that was wrong, excepted);
- work linear in the bytes, memory bounded by `max_frame_bytes`;
- never an exception: what is wrong with the bytes becomes a fault beside the good frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Protocol, Self

from unbroken.core.faults import Fault
from unbroken.core.frames import Frame
from unbroken.core.wire._state import BOM, DEFAULT_MAX_FRAME_BYTES, Run
from unbroken.core.wire.aws_event_stream import AWSEventStreamDecoder, encode_aws_event_stream
from unbroken.core.wire.json_array import JSONArrayDecoder, encode_json_array
from unbroken.core.wire.ndjson import NDJSONDecoder, encode_ndjson
from unbroken.core.wire.sse import SSEDecoder, encode_sse

__all__ = [
    "DEFAULT_MAX_FRAME_BYTES",
    "AWSEventStreamDecoder",
    "Decoder",
    "JSONArrayDecoder",
    "NDJSONDecoder",
    "Run",
    "SSEDecoder",
    "Wire",
    "decoder_for",
    "encode_aws_event_stream",
    "encode_json_array",
    "encode_ndjson",
    "encode_sse",
    "likely_wires",
]


Wire = Literal["sse", "ndjson", "json-array", "aws-event-stream"]


class Decoder(Protocol):
    """What all decoders of the wire layer have in common.

    One decoder serves one body. Use either `feed` or `blocks` for a read, not both:
    they move the same state.
    """

    never_begins: ClassVar[bytes]
    """First bytes (after a BOM and blanks) that tell a body of something else: a page, an
    error in JSON."""

    @property
    def faults(self) -> list[Fault]:
        """Faults found and not yet taken, in stream order."""

    @property
    def pending(self) -> bytes:
        """The bytes of the frame that is not whole; still there after `close`."""

    @property
    def stopped(self) -> bool:
        """Whether what came cannot be decoded, so that later data is ignored."""

    @property
    def mid_event(self) -> bool:
        """Whether `pending` is part of an event, rather than comments or blanks only."""

    @property
    def leftover_unknown(self) -> tuple[str, ...]:
        """Lines with undefined field names in `pending`: evidence, never dispatched."""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that this read completes, without what dispatches nothing."""

    def run(self, data: bytes) -> Run | None:
        """Return the read as a run of blocks of one shape, or None; changes nothing."""

    def take(self, run: Run) -> None:
        """Take a read that `run` gave back, in place of `blocks`."""

    def blocks(self, data: bytes) -> list[Frame]:
        """Return every block that this read completes, so that all bytes can be passed on."""

    def close(self) -> list[Frame]:
        """Say that the body ended; return the frame that only its end made whole, if any."""

    def take_faults(self) -> list[Fault]:
        """Return `faults` and forget them."""

    def fork(self) -> Self:
        """Return an independent decoder in the same state."""


_DECODERS: dict[Wire, Callable[..., Decoder]] = {
    "sse": SSEDecoder,
    "ndjson": NDJSONDecoder,
    "json-array": JSONArrayDecoder,
    "aws-event-stream": AWSEventStreamDecoder,
}


def decoder_for(wire: Wire, *, max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES) -> Decoder:
    """Return a decoder for a new body on this wire."""
    return _DECODERS[wire](max_frame_bytes=max_frame_bytes)


def likely_wires(head: bytes) -> list[Wire]:
    """Return the wires that a body with these first bytes may be on, the likeliest first."""
    first = head.lstrip(BOM + b" \t\r\n")[:1]
    if head[:1] in (b"\x00", b"\x01"):  # a length, and no text
        return ["aws-event-stream"]
    if first == b"[":
        return ["json-array", "ndjson", "sse"]
    return ["ndjson", "sse"] if first == b"{" else ["sse", "ndjson"]
