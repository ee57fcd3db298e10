"""What flows from an answer to a socket: a head, then pieces, pauses, and one stop.

The scripted model and the fault proxy make such a flow out of a healthy body, injectors change
it, and the server carries it out. Nothing here has a socket or a clock: a pause is a value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Ending", "Head", "Part", "Pause", "Piece", "Role", "Stop"]

Role = Literal["start", "content", "finish", "terminal", "usage", "ping", "error", "other"]
"""What a frame is for: `content` moves the answer (text, thinking, tool arguments), `finish` tells
why the model stopped, `terminal` is the last marker."""

Ending = Literal["clean", "fin", "rst"]
"""How a body ends: `clean` is a proper end on every layer, `fin` closes the connection in an
orderly way with the body unfinished, `rst` resets it."""


@dataclass(slots=True, kw_only=True)
class Head:
    """Status line and headers of an answer.

    Attributes:
        status: The HTTP status; None closes the connection without a byte.
        headers: Names in lower case. Length and transfer coding are the server's.
            An injector that wants a wrong length sets ``content-length`` itself; then the bytes
            are sent as they are, whatever it says.
        framing: ``chunked``, ``close`` (the end of the connection is the end of the body),
            ``length`` (only for a body that is whole before it is sent), or ``raw``: the pieces
            are all that is written to the connection, status line, headers and transfer coding
            included, and it is closed after them as the `Stop` says, by FIN if there is none.
            For what no server library would write: half a head, wrong sizes, a late head.
    """

    status: int | None = 200
    headers: dict[str, str] = field(default_factory=dict)
    framing: Literal["chunked", "close", "length", "raw"] = "chunked"


@dataclass(slots=True)
class Piece:
    """Bytes that belong together: a frame, or what an injector made of one.

    Attributes:
        data: The bytes.
        role: What the frame is for. Of a frame in several pieces the last one has it: it came
            when its last byte did.
        frame: Its number in the healthy body, from 0; None for what was put in.
        at_byte: Where it begins in the healthy body.
        pace_s: How long after the piece before it a model would have it ready, in seconds.
        event: Whether it holds an event, so that ``@12f`` counts it; a comment does not, nor
            does any piece of a frame but the last.
    """

    data: bytes
    role: Role = "other"
    frame: int | None = None
    at_byte: int = 0
    pace_s: float = 0.0
    event: bool = True


@dataclass(slots=True)
class Pause:
    """Nothing for a while.

    Attributes:
        seconds: How long; None until the client leaves.
        drip: Whether it is how a slow answer goes on (a pace), rather than a silence.
    """

    seconds: float | None
    drip: bool = False


@dataclass(slots=True)
class Stop:
    """The body ends here; what would come after it is not sent."""

    how: Ending = "clean"


Part: TypeAlias = Piece | Pause | Stop
