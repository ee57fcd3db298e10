"""What a dialect declares. One file a provider API; adding one touches nothing else.

A dialect is four things: declarations (what it is called, how it is recognised, what ends it,
what orders it), a *reader* (frames to events), a *splicer* (frames of a later attempt, written
so that the SDK sees one valid stream), and two ways to ask for a continuation. It encodes as
well, for the tests and the lab. Name, wire, path and reader it must have; without the rest it
detects faults and recovers less.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import msgspec

from unbroken.core.checksum import Checksum
from unbroken.core.dialects.answer import Answer, AnswerCall, events_of
from unbroken.core.events import Block, Event, ProviderError
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

_parse = msgspec.json.Decoder()


class MalformedPayloadError(Exception):
    """A whole frame whose payload is not exactly one JSON value. Never leaves the core."""


def parse_payload(payload: bytes) -> Any:
    """Return the payload's JSON value.

    The strict parser comes first; the standard library's also takes what real providers
    send and the strict one refuses: a surrogate pair that was cut over two deltas.

    Raises:
        MalformedPayloadError: If it is not exactly one JSON value.
    """
    try:
        return _parse.decode(payload)
    except msgspec.DecodeError as strict:
        try:
            return json.loads(payload)
        except (ValueError, RecursionError):
            raise MalformedPayloadError(str(strict)) from None
    except RecursionError:
        msg = "JSON nested too deeply"
        raise MalformedPayloadError(msg) from None


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
        for candidate in self.variants:
            if candidate.hosts is not None and host and candidate.hosts.search(host):
                return candidate
        for candidate in self.variants:
            if any(mark in first_frames for mark in candidate.marks):
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


def error_from(value: Any, *, final: frozenset[str] = frozenset()) -> ProviderError | None:
    """Return the error in a payload, whatever the shape, or None if there is none.

    The shapes are those of PROTOCOLS: ``{"error": {...}}``, ``{"error": "..."}``,
    ``[{"error": ...}]``, ``{"type": "error", ...}``, ``{"object": "error", ...}``,
    ``{"code", "error"}`` (xAI), ``{"error", "error_type"}`` (TGI), ``{"detail"}`` (FastAPI).

    Args:
        value: The parsed payload.
        final: Types and codes for which the same request would fail again.
    """
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    if not isinstance(value, dict):
        return None
    inner = value.get("error")
    if isinstance(inner, dict):
        source = inner
    elif isinstance(inner, str) and inner:
        source = {
            "message": inner,
            "type": value.get("error_type") or value.get("type"),
            "code": value.get("code"),
        }
    elif value.get("type") == "error" or value.get("object") == "error":
        source = value
    elif value.keys() == {"detail"}:
        source = {"message": str(value["detail"])}
    else:
        return None
    metadata = source.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kind = str(source.get("type") or metadata.get("error_type") or source.get("status") or "")
    if kind == "error":
        kind = ""
    code = str(source.get("code") if source.get("code") is not None else "")
    words = {kind.lower(), code.lower()} - {""}
    refused = bool(words & _REFUSED)
    return ProviderError(
        type=kind,
        code=code,
        message=str(source.get("message") or ""),
        retryable=not refused and not words & (_FINAL | final),
        refused=refused,
        elsewhere=bool(words & _ELSEWHERE),
    )


# The same request again would be refused again: keys, quota, and the request itself.
_FINAL = frozenset(
    {
        "400", "401", "402", "403", "404", "405", "413", "422",
        "authentication_error", "billing_error", "context_length_exceeded",
        "failed_precondition", "insufficient_quota", "invalid_api_key", "invalid_argument",
        "invalid_prompt", "invalid_request", "invalid_request_error", "model_not_found",
        "not_found", "not_found_error", "permission_denied", "permission_error",
        "request_too_large", "unauthenticated", "validation",
    }
)  # fmt: skip
_ELSEWHERE = frozenset(
    {
        "401", "402", "403", "404", "429",
        "authentication_error", "billing_error", "insufficient_quota", "invalid_api_key",
        "model_not_found", "not_found", "not_found_error", "permission_denied",
        "permission_error", "rate_limit_error", "resource_exhausted", "unauthenticated",
    }
)  # fmt: skip
_REFUSED = frozenset(
    {"content_filter", "content_policy_violation", "guardrail", "refusal", "safety"}
)
