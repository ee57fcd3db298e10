"""What a dialect declares. One file a provider API; adding one touches nothing else.

A dialect is four things: declarations (what it is called, how it is recognised, what ends it,
what orders it), a *reader* (frames to events), a *splicer* (frames of a later attempt, written
so that the SDK sees one valid stream), and two ways to ask for a continuation. It encodes as
well, for the tests and the lab. Name, wire, path and reader it must have; without the rest it
detects faults and recovers less.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from unbroken.core.checksum import Checksum
from unbroken.core.dialects.answer import Answer, AnswerCall, events_of
from unbroken.core.dialects.contracts import (
    Cursor,
    Lost,
    Mended,
    Mender,
    Note,
    Place,
    PlainReader,
    Reader,
    RequestFacts,
    Splicer,
    Variant,
)
from unbroken.core.dialects.payloads import MalformedPayloadError, error_from, parse_payload
from unbroken.core.events import Block
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request
from unbroken.core.wire import Wire

if TYPE_CHECKING:
    from unbroken.core.dialects.ask import Ask
    from unbroken.core.dialects.writing import Writer

__all__ = [
    "Answer",
    "AnswerCall",
    "Cursor",
    "Dialect",
    "Lost",
    "MalformedPayloadError",
    "Mended",
    "Mender",
    "Note",
    "Place",
    "PlainReader",
    "Reader",
    "RequestFacts",
    "Splicer",
    "Variant",
    "error_from",
    "parse_payload",
]


class Dialect(ABC):
    """One provider API. Instances carry no state."""

    name: ClassVar[str]
    family: ClassVar[str] = ""
    """The dialect whose rows of the capability table count, where it is not this one."""
    wire: ClassVar[Wire]
    content_types: ClassVar[tuple[str, ...]] = ("text/event-stream",)
    # What ends it -----------------------------------------------------------------------
    last_marker: ClassVar[str | None] = None
    """The marker's name in messages; None where the dialect has none (Gemini)."""
    goes_on_after_finish: ClassVar[bool] = False
    """Whether content may legally follow a finish (Gemini, when a built-in tool ran)."""
    silent_finishes: ClassVar[frozenset[str]] = frozenset()
    """Finish reasons with which an answer may be empty: nothing was asked, or a stop text came."""
    # What orders it ---------------------------------------------------------------------
    numbered: ClassVar[bool] = False
    repeats_text: ClassVar[bool] = False
    """Whether a finished text is repeated in full (Responses ``.done``): a self-check."""
    explicit_blocks: ClassVar[bool] = False
    """Whether blocks are opened and closed by events of their own."""
    # How it is continued ----------------------------------------------------------------
    reissue_after_reasoning: ClassVar[bool] = True
    """Whether the turn may be issued again once reasoning, but no text, was delivered."""
    splices_choices: ClassVar[bool] = False
    """Whether its splicer can go on with some of several choices (``n`` > 1)."""
    counts_thinking_apart: ClassVar[bool] = False
    """Whether the output in its usage reports leaves the thinking out (Gemini)."""
    heartbeat: ClassVar[bytes | None] = b": hb\n"
    variants: ClassVar[tuple[Variant, ...]] = ()
    final_errors: ClassVar[frozenset[str]] = frozenset()
    """Error types and codes for which the same request would fail again."""
    # How it is asked --------------------------------------------------------------------
    headers: ClassVar[Mapping[str, str]] = {}
    """What a request needs beside its key."""
    of_the_account: ClassVar[frozenset[str]] = frozenset()
    """Fields of a body that name what the provider keeps for one account: no other has it."""
    # How it counts ----------------------------------------------------------------------
    output_has_reasoning: ClassVar[bool] = True
    """Whether the output that it reports includes the tokens of thinking."""
    input_has_cached: ClassVar[bool] = True
    """Whether the input that it reports includes what was read from its cache."""

    # Recognition ------------------------------------------------------------------------
    @abstractmethod
    def recognises_path(self, path: str) -> bool:
        """Whether a request to this URL path speaks the dialect."""

    def recognises_frame(self, frame: Frame) -> bool:
        """Whether a first dispatched frame looks like this dialect.

        Asked only of recordings whose dialect is not told.
        """
        return False

    def number(self, frame: Frame) -> int | None:
        """Return the frame's own number, where the dialect counts its frames.

        Asked before the frame is read: what it means may depend on those before it.
        """
        return None

    def begins_numbering(self, frame: Frame) -> bool:
        """Whether a first numbered frame begins a stream that is read from its start.

        False: frames from number 0 on came before it, and may come late.
        """
        return True

    def from_start(self, request: Request) -> bool:
        """Whether the request asks for a stream from its start, of a numbered dialect."""
        return False

    def wants_stream(self, request: Request) -> bool:
        """Whether the request asks for a stream."""
        return request.stream_flag is True

    def variant(self, host: str = "", first_frames: bytes = b"") -> Variant:
        """Return the declared variant for a host, else by the marks in the first frames."""
        if host and (known := _variant_of_host(type(self), host)) is not None:
            return known
        for candidate in self.variants:
            for mark in candidate.marks:
                if mark in first_frames:
                    return candidate
        return Variant(name=self.name)

    def framed_as(self, head: bytes) -> Dialect:
        """Return the dialect that reads a body with these first bytes.

        Of a recording, only they tell on which wire an API with several was asked to answer.
        """
        return self

    def asked_as(self, request: Request) -> Dialect | None:
        """Return the dialect in which a request to its path is answered, or None if in none.

        Only an API with several wires has a choice.
        """
        return self

    # Stages -----------------------------------------------------------------------------
    @abstractmethod
    def reader(self) -> Reader:
        """Return a reader for a new attempt."""

    def mender(self, reader: Reader, said: Callable[[str, int, Block], Checksum]) -> Mender | None:
        """Return what makes lost frames of a numbered dialect good; None if nothing can.

        Args:
            reader: The attempt's reader, of this dialect.
            said: Gives what the deltas of a kind (``text``), choice and block gave so far.
        """
        return None

    @property
    def splices(self) -> bool:
        """Whether a later attempt can be written on in the middle of an answer."""
        return type(self).splicer is not Dialect.splicer

    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> Splicer:
        """Return a splicer that continues what was delivered.

        Args:
            delivered: What the consumer has.
            rung: ``"retry"`` (only reasoning was delivered; the turn is issued again),
                ``"replay"`` (the later attempt repeats everything from the start),
                ``"prefill"`` or ``"user-turn"`` (it continues).
            facts: What the request asked for.

        Raises:
            NotImplementedError: If the dialect has none (see `splices`): then nothing goes on
                in mid-answer, and only what comes before the first content is tried again.
        """
        raise NotImplementedError(self.name)

    # Requests ---------------------------------------------------------------------------
    def facts(self, request: Request) -> RequestFacts:
        """Return what recovery must know of the request.

        By default only its model: nothing is taken to be deterministic.
        """
        model = request.json.get("model")
        return RequestFacts(model=model if isinstance(model, str) else "")

    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        """Return the request with ``text`` as the assistant's begun turn, or None if it cannot.

        Args:
            request: The first attempt's request.
            text: The partial answer, less its anchor.
            extra: Fields that the capability table adds to the body or to the message
                (``{"body": {...}, "message": {...}}``).
        """
        return None

    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        """Return the request with the partial answer and a user turn that asks to go on.

        None if the request has no place for them.
        """
        return None

    def with_max_tokens(self, request: Request, limit: int) -> Request:
        """Return the same request with another `RequestFacts.max_tokens`."""
        return request

    def cursor(self, request: Request, place: Place) -> Cursor | str:
        """Return how the provider's own resume goes on from a place, or why it cannot.

        An empty reason says that this API has no resume of its own.

        Args:
            request: The request of the attempt that broke.
            place: How far that attempt was read.
        """
        return ""

    # Other targets ------------------------------------------------------------------------
    def with_model(self, request: Request, model: str) -> Request:
        """Return the same request to another model."""
        return request.with_json({**request.json, "model": model})

    def url_for(self, base_url: str, model: str) -> str:
        """Return the URL of a streamed request, from a base URL as the vendor's SDK takes it.

        Raises:
            NotImplementedError: If the dialect cannot be asked through `Target` or without
                an SDK.
        """
        raise NotImplementedError(self.name)

    def key_headers(self, key: str) -> dict[str, str]:
        """Return the headers that carry a key."""
        return {"authorization": f"Bearer {key}"}

    def read_ask(self, request: Request) -> Ask | str:
        """Return what a request asks, in nobody's words, or why it cannot be said in others."""
        return f"requests of {self.name} are not understood"

    def write_ask(self, ask: Ask, model: str) -> dict[str, Any] | str:
        """Return the body of a streamed request for an ask, or why it cannot be said."""
        return f"requests of {self.name} cannot be written"

    # Encoding ---------------------------------------------------------------------------
    def writer(self, *, id: str, model: str, created: int, asked: Request | None = None) -> Writer:
        """Return a writer of one stream; for other targets' answers, and for the lab.

        Args:
            id: The answer's id.
            model: The model's name.
            created: When it was made, seconds since the epoch.
            asked: The consumer's request, where the answer is that of another provider.

        Raises:
            NotImplementedError: If the dialect only reads.
        """
        raise NotImplementedError(self.name)

    def encode(self, answer: Answer) -> list[bytes]:
        """Return the frames of a whole, healthy stream for an answer; for tests and the lab.

        Raises:
            NotImplementedError: If the dialect only reads.
        """
        writer = self.writer(id=answer.id, model=answer.model, created=answer.created)
        return writer.write(list(events_of(answer)))


@lru_cache(maxsize=256)  # every stream asks, and the hosts are few
def _variant_of_host(dialect: type[Dialect], host: str) -> Variant | None:
    for candidate in dialect.variants:
        if candidate.hosts is not None and candidate.hosts.search(host):
            return candidate
    return None
