"""``unbroken decode``: the frames of a body, as JSON lines."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, cast

import msgspec
import typer

from unbroken.cli.screen import say
from unbroken.cli.sources import reads_of
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.frames import Frame
from unbroken.core.wire import Decoder, SSEDecoder, decoder_for, likely_wires
from unbroken.core.wire import Wire as WireName

__all__ = ["Wire", "decode"]

_HEAD_BYTES = 4096  # so much white space, and it is no NDJSON


class Wire(StrEnum):
    """How frames are told apart."""

    AUTO = "auto"
    SSE = "sse"
    NDJSON = "ndjson"
    JSON_ARRAY = "json-array"
    AWS_EVENT_STREAM = "aws-event-stream"


def decode(
    source: Annotated[
        str, typer.Argument(metavar="FILE|-", help="A recorded body, or - for standard input.")
    ],
    wire: Annotated[
        Wire,
        typer.Option(
            envvar="UNBROKEN_WIRE", help="The framing; [b]auto[/b] tells it from the first byte."
        ),
    ] = Wire.AUTO,
) -> None:
    """Decode a body into frames: one JSON line each, as soon as the frame is whole.

    Faults go to standard error. Exit code 0; 1 if a frame was lost or cut; 2 if the input
    cannot be read.

    [bold]Example[/bold]: curl -sN https://... | unbroken decode - | jq -r .data
    """
    decoder: Decoder | None = None
    head = b""
    lost = False
    for data in reads_of(source):
        if decoder is None:
            head += data
            decoder = _decoder_for(wire, head)
            if decoder is None:
                continue
            data, head = head, b""
        _write(decoder.feed(data))
        lost |= _tell(decoder.take_faults())
    if decoder is None:
        decoder = SSEDecoder()
        _write(decoder.feed(head))
    _write(decoder.close())
    faults = decoder.take_faults()
    if decoder.mid_event and not lost:  # lost: the decoding ended before the body did
        faults.append(_cut(decoder))
    if lost | _tell(faults):
        raise typer.Exit(1)


def _decoder_for(wire: Wire, head: bytes) -> Decoder | None:
    """Return the decoder, or None while the first bytes do not tell which."""
    if wire is not Wire.AUTO:
        return decoder_for(cast("WireName", wire.value))
    if not head.removeprefix(b"\xef\xbb\xbf").lstrip() and len(head) < _HEAD_BYTES:
        return None
    return decoder_for(likely_wires(head)[0])


def _write(frames: list[Frame]) -> None:
    if frames:
        lines = [
            msgspec.json.encode({"event": f.event, "data": f.data, "id": f.id, "retry": f.retry})
            for f in frames
        ]
        sys.stdout.buffer.write(b"\n".join(lines) + b"\n")
        sys.stdout.buffer.flush()


def _cut(decoder: Decoder) -> Fault:
    return Fault.of(
        FaultKind.TRUNCATED_MID_EVENT,
        f"the body ended {len(decoder.pending)} bytes into a frame, which is not shown",
    )


def _tell(faults: list[Fault]) -> bool:
    """Write faults to standard error; return whether one of them is fatal."""
    for fault in faults:
        where = "" if fault.at_byte is None else f" at byte {fault.at_byte:,}"
        style = "red" if fault.fatal else "yellow"
        say((f"{fault.severity}: {fault.kind.value}{where}", style), f": {fault.detail}")
    return any(fault.fatal for fault in faults)
