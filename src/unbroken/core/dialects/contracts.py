"""What a dialect works with: facts and places as values, and its stages as protocols."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Protocol, Self

import msgspec

from unbroken.core.events import Block, Event
from unbroken.core.frames import Frame
from unbroken.core.request import Request

__all__ = [
    "Cursor",
    "Lost",
    "Mended",
    "Mender",
    "Note",
    "Place",
    "PlainReader",
    "Reader",
    "RequestFacts",
    "Splicer",
    "Variant",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """How one service differs from the dialect it speaks. Data, never a branch.

    Attributes:
        name: The service.
        hosts: Pattern on the request's host; None matches no host.
        marks: Byte strings of which one in the first frames tells this variant.
        missing_finish_legal: The last marker alone may end a good answer.
        missing_marker_legal: Good streams come without the last marker.
        retryable: Error types or codes that are worth the same request again.
        final: Error types or codes that are not, beyond the dialect's own.
    """

    name: str
    hosts: re.Pattern[str] | None = None
    marks: tuple[bytes, ...] = ()
    missing_finish_legal: bool = False
    missing_marker_legal: bool = False
    retryable: frozenset[str] = frozenset()
    final: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFacts:
    """What the request asks for, as far as recovery must know.

    Attributes:
        model: The model's name, or ``""``.
        choices: How many answers (``n``).
        deterministic: Temperature is 0 or a seed is given.
        server_state: The provider keeps the answer under an id that the application may
            send back (Responses with ``store``, ``previous_response_id``, ``conversation``).
        server_work: Hosted or MCP tools, ``background``: a retry may repeat work there.
        structured: JSON mode or a strict schema: never spliced in mid-value.
        thinking: The request turns thinking on.
        max_tokens: Most tokens that the answer may have, thinking included; None: not said.
        stop: Texts at which the provider ends the answer.
    """

    model: str = ""
    choices: int = 1
    deterministic: bool = False
    server_state: bool = False
    server_work: bool = False
    structured: bool = False
    thinking: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far an attempt was read.

    Attributes:
        id: The provider's id of the answer, or ``""``.
        number: Number of the last frame that was read in its turn, or None.
        mark: The provider's own name for the place after the last frame (an event id), or ``""``.
        bytes: Body bytes that arrived.
        content_since_mark: Content, or an opening or end, was read after the last frame that had
            a mark: it would come again.
    """

    id: str = ""
    number: int | None = None
    mark: str = ""
    bytes: int = 0
    content_since_mark: bool = False


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """A request that is answered with the rest of the same body.

    Attributes:
        request: The request.
        mid_frame: The answer goes on at the byte after the last that arrived; False: with
            the frame after the last whole one.
    """

    request: Request
    mid_frame: bool = False


class Reader(Protocol):
    """Turns one attempt's frames into events. Keeps what the dialect needs to do so."""

    def read(self, frame: Frame) -> list[Event]:
        """Return what the frame means.

        Also called for blocks that the wire does not dispatch when they hold unknown
        fields or bare text, since providers have put errors there.

        Raises:
            MalformedPayloadError: If the payload is not exactly one JSON value.
        """
        ...

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        """Return the texts of payloads that are nothing but more text of one block.

        None if any of them is, or may be, anything else; then nothing has changed, and
        `read` decides. A short cut for healthy streams; a dialect need not have it.
        """
        ...

    def fork(self) -> Self:
        """Return an independent copy of the state."""
        ...


class PlainReader(ABC):
    """A reader without a short cut, for a dialect that wants to say only what frames mean.

    Keep its state in attributes that `copy.deepcopy` can copy.
    """

    @abstractmethod
    def read(self, frame: Frame) -> list[Event]:
        """See `Reader.read`."""

    def texts(self, payloads: list[bytes], choice: int, block: Block) -> list[str] | None:
        """See `Reader.texts`: there is no short cut."""
        return None

    def fork(self) -> Self:
        """Return an independent copy of the state."""
        return deepcopy(self)


class Splicer(Protocol):
    """Writes the frames of a later attempt as the continuation of what was delivered."""

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        """Return the frames to deliver for one frame of the later attempt, in order.

        Lifecycle that the consumer has already seen, reasoning, and text that only repeats
        what was delivered are left out; ids, indexes, numbers and totals continue.

        Args:
            frame: The frame as the later attempt sent it.
            events: What the reader made of it.
            text: The part of the frame's answer text that is new; ``""`` for none. Where more
                than one choice was asked for, ``events`` has the new text of each as well.
        """
        ...


class Lost(msgspec.Struct, frozen=True):
    """Frames that never came.

    Attributes:
        first: The number of the first of them.
        count: How many they are.
    """

    first: int
    count: int


class Note(msgspec.Struct):
    """What a dialect notes of a frame that waits behind lost ones; it adds fields of its own.

    Attributes:
        frame: The frame.
        tells: It may say what was lost: it is more than a delta.
    """

    frame: Frame
    tells: bool


class Mended(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs in the place of lost frames.

    Attributes:
        frames: In order, with numbers of the lost ones; none where they carried nothing that
            an application would miss.
        source: The event that repeats what was lost, or ``""``.
        characters: How much text of the lost frames it gave back.
    """

    frames: list[Frame]
    source: str = ""
    characters: int = 0


class Mender(Protocol):
    """Finds out what lost frames carried, from frames that repeat it."""

    def note(self, frame: Frame) -> Note:
        """Return what is to be known of a frame behind the lost ones."""
        ...

    def mend(
        self, lost: Lost, behind: Sequence[Note | Lost], *, ended: bool
    ) -> Mended | str | None:
        """Return what belongs in the place of lost frames, or why it cannot be told.

        None: not known yet. All frames before the lost ones have been read.

        Args:
            lost: The lost frames.
            behind: What came after them, in order, with further lost ones.
            ended: Nothing more will come.
        """
        ...
