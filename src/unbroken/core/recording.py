r"""The format of recordings: what passed on the wire, byte for byte, with its times.

A recording is a file of JSON lines, only ever appended to, so that one whose writer died is whole
up to its last full line. The first line is an `Opening`; every other says one thing that happened.
Lines of several streams may stand between each other; those of one stream are in order of time.

    {"type":"recording","version":1,"made_by":"unbroken 0.1.0","started_at":1795269000.5}
    {"type":"request","at_s":0.0,"method":"POST","url":"https://...","headers":[...]}
    {"type":"sent","at_s":0.0,"text":"{\"model\": ...}"}
    {"type":"response","at_s":0.41,"headers":[...]}
    {"type":"read","at_s":0.412,"text":"data: {...}\n\n"}
    {"type":"delivered","at_s":0.412,"size":120}
    {"type":"end","at_s":1.9,"how":"eof"}

A *stream* is what the consumer sees; an *attempt* is one request upstream; both are 1 where a line
does not say. Bytes stand as ``text`` where they are UTF-8, else as ``base64``; where they could not
be kept at all, only as ``size``. Reads are of the body, after HTTP's own framing was taken off.
Keys of requests are never in a recording.

Readers skip lines of a type that they do not know, and fields too: those come with later versions.
A change that they could not skip raises `VERSION`. Everything here is pure; files are elsewhere.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal, TypeAlias

import msgspec

__all__ = [
    "VERSION",
    "BodyEndHow",
    "Connected",
    "Contents",
    "Delivered",
    "End",
    "FaultSeen",
    "Line",
    "Lost",
    "NoticeSeen",
    "Opening",
    "OutcomeSeen",
    "Read",
    "RecordingError",
    "RequestSent",
    "ResponseHead",
    "Sent",
    "Wanted",
    "WithBytes",
    "bytes_fields",
    "decode_line",
    "encode_line",
]

VERSION = 1
_MOST_SHOWN = 60
_MOST_S = 1e11  # some three thousand years: as seconds since the epoch, and as a stream's time

Contents = Literal["kept", "hashed", "removed"]
"""What became of prompts and outputs: kept; every text replaced by one of equal length that is the
same for the same text; or by x's. Sizes, cuts and times are those of the original."""

BodyEndHow = Literal[
    "eof", "incomplete", "reset", "silent", "deadline", "left", "given-up", "unanswered"
]
"""How an attempt's body ended: cleanly; by an orderly close inside HTTP's framing; by a failing
connection; by a time limit of the reader's HTTP library; by one of ours; since the consumer left;
given up for what it said; or no response ever came."""


class RecordingError(ValueError):
    """A line that is none of a recording; its message says why, and never quotes contents."""


def bytes_fields(data: bytes) -> dict[str, Any]:
    """Return the field in which a line holds bytes."""
    try:
        return {"text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode("ascii")}


class Opening(msgspec.Struct, kw_only=True, tag="recording", omit_defaults=True):
    """The first line.

    Attributes:
        version: Of the format.
        made_by: Who wrote it.
        started_at: Seconds since the epoch at ``at_s`` 0.
        contents: What became of prompts and outputs.
        side: Who recorded: ``library``, ``gateway``, ``proxy``, ``command``, ``flight-recorder``,
            ``har``.
        note: Anything a person should know.
    """

    version: int
    made_by: str = ""
    started_at: float = 0.0
    contents: Contents = "kept"
    side: str = ""
    note: str = ""


class _Happened(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What all other lines say.

    Attributes:
        at_s: Seconds since the recording began, on a monotonic clock.
        stream: The stream, from 1.
        attempt: The attempt, from 1.
    """

    at_s: float
    stream: int = 1
    attempt: int = 1


class WithBytes(_Happened, kw_only=True, omit_defaults=True):
    """A line that holds bytes. Use `data` and `size_bytes`.

    Attributes:
        text: The bytes, where they are UTF-8.
        base64: The bytes, where they are not.
        size: How many there were, where they themselves were not kept.
    """

    text: str | None = None
    base64: str | None = None
    size: int | None = None

    @property
    def data(self) -> bytes | None:
        """The bytes, or None where only their number was kept.

        Raises:
            RecordingError: If they are not what they say.
        """
        if self.text is not None:
            return self.text.encode("utf-8", "surrogatepass")
        if self.base64 is None:
            return None
        try:
            return base64.b64decode(self.base64, validate=True)
        except (binascii.Error, ValueError):
            msg = "bytes in a line are no base64"
            raise RecordingError(msg) from None

    @property
    def size_bytes(self) -> int:
        """How many bytes there were."""
        data = self.data
        return len(data) if data is not None else self.size or 0


class RequestSent(_Happened, kw_only=True, tag="request", omit_defaults=True):
    """A request is about to be sent.

    Attributes:
        method: HTTP method.
        url: Absolute, without keys.
        headers: As sent, in order, keys removed.
        dialect: What it speaks, where that is known.
        rung: How the attempt came about; see `unbroken.Provenance`.
    """

    method: str = "POST"
    url: str = ""
    headers: list[tuple[str, str]] = []
    dialect: str = ""
    rung: str = "first"


class Connected(_Happened, kw_only=True, tag="connected", omit_defaults=True):
    """The connection stands.

    Attributes:
        address: Who was reached: host and port.
        tls: Whether it is encrypted.
        reused: Whether it stood before.
    """

    address: str = ""
    tls: bool = False
    reused: bool = False


class Sent(WithBytes, kw_only=True, tag="sent", omit_defaults=True):
    """A part of the request's body went out."""


class ResponseHead(_Happened, kw_only=True, tag="response", omit_defaults=True):
    """The response's head came.

    Attributes:
        status: HTTP status.
        reason: Its words.
        headers: As they came, in order.
        framing: How HTTP tells the body's end: ``chunked``, ``length``, ``close``, ``none``, or
            ``""`` where that was not seen.
    """

    status: int = 200
    reason: str = ""
    headers: list[tuple[str, str]] = []
    framing: str = ""


class Read(WithBytes, kw_only=True, tag="read", omit_defaults=True):
    """Bytes of the body came, in one read.

    Attributes:
        waited_s: Seconds that the read was waited for, where that was measured.
    """

    waited_s: float | None = None


class Delivered(WithBytes, kw_only=True, tag="delivered", omit_defaults=True):
    """Bytes went to the consumer: as many of what was read, or other bytes, which stand here."""


class Wanted(_Happened, kw_only=True, tag="wanted", omit_defaults=True):
    """The consumer came back for more; since the last delivery it was busy."""


class End(_Happened, kw_only=True, tag="end", omit_defaults=True):
    """An attempt is over.

    Attributes:
        how: In which way.
        detail: What was said of it; never contents.
    """

    how: BodyEndHow = "eof"
    detail: str = ""


class NoticeSeen(_Happened, kw_only=True, tag="notice", omit_defaults=True):
    """Something was going on.

    Attributes:
        kind: ``stall``, ``reconnecting``, or ``command``: how the recorded command ended.
        detail: What.
    """

    kind: str = ""
    detail: str = ""


class FaultSeen(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A fault, as the outcome told it; see `unbroken.Fault`."""

    kind: str
    detail: str = ""
    severity: str = "fatal"
    at_byte: int | None = None
    frame: int | None = None
    attempt: int = 0


class OutcomeSeen(_Happened, kw_only=True, tag="outcome", omit_defaults=True):
    """The stream is over; what was judged while it ran.

    Attributes:
        status: See `unbroken.Outcome`.
        faults: All, in stream order.
        recoveries: Requests beyond the first.
    """

    status: str = ""
    faults: list[FaultSeen] = []
    recoveries: int = 0


class Lost(_Happened, kw_only=True, tag="lost", omit_defaults=True):
    """Here the flight recorder's ring had no room: what came between was not kept.

    Attributes:
        lines: How many lines.
        size: Bytes of body in them.
    """

    lines: int = 0
    size: int = 0


Line: TypeAlias = (
    Opening | RequestSent | Connected | Sent | ResponseHead | Read | Delivered | Wanted | End
    | NoticeSeen | OutcomeSeen | Lost
)  # fmt: skip

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class _Type(msgspec.Struct):
    type: Any = None


_type = msgspec.json.Decoder(_Type)
_KNOWN = frozenset(
    {
        "recording", "request", "connected", "sent", "response", "read", "delivered", "wanted",
        "end", "notice", "outcome", "lost",
    }
)  # fmt: skip


def encode_line(line: Line) -> bytes:
    """Return a line of the file, with its line feed."""
    return _encoder.encode(line) + b"\n"


def decode_line(raw: bytes) -> Line | None:
    """Return what a line says; None for a type that this version does not know.

    Args:
        raw: The line, with or without its line feed.

    Raises:
        RecordingError: If it is no line of a recording, or of a version that is not known.
    """
    try:
        line = _decoder.decode(raw)
    except msgspec.MsgspecError as error:
        _refuse_known(raw, error)
        return None
    except (RecursionError, UnicodeDecodeError):
        msg = "it is nested too deeply, or no UTF-8"
        raise RecordingError(msg) from None
    if type(line) is Opening and line.version > VERSION:
        msg = f"it is of format version {line.version}, and this Unbroken reads up to {VERSION}"
        raise RecordingError(msg)
    at_s = line.started_at if isinstance(line, Opening) else line.at_s
    if not -_MOST_S < at_s < _MOST_S:
        msg = "its time cannot be"
        raise RecordingError(msg)
    return line


def _refuse_known(raw: bytes, error: msgspec.MsgspecError) -> None:
    """Return if a line is of a type that is not known; else say what is wrong with it."""
    try:
        kind = _type.decode(raw).type
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        msg = "it is not JSON" if not raw.lstrip().startswith(b"{") else "its JSON is broken"
        raise RecordingError(msg) from None
    if not isinstance(kind, str):
        msg = "it has no type"
        raise RecordingError(msg)
    if kind in _KNOWN:
        msg = f"a line of type {kind} is not as it should be ({str(error)[:_MOST_SHOWN]})"
        raise RecordingError(msg)
