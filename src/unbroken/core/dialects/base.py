"""What a dialect declares. One file a provider API; adding one touches nothing else.

A dialect is four things: declarations (what it is called, how it is recognised, what ends it,
what orders it), a *reader* (frames to events), a *splicer* (frames of a later attempt, written
so that the SDK sees one valid stream), and two ways to ask for a continuation. It encodes as
well, for the tests and the lab.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self

import msgspec

from unbroken.core.events import Block, Event, ProviderError
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request

__all__ = [
    "Dialect",
    "MalformedPayloadError",
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
    """

    model: str = ""
    choices: int = 1
    deterministic: bool = False
    server_state: bool = False
    server_work: bool = False
    structured: bool = False
    thinking: bool = False


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


class Splicer(Protocol):
    """Writes the frames of a later attempt as the continuation of what was delivered."""

    def splice(self, frame: Frame, events: list[Event], text: str) -> list[bytes]:
        """Return the frames to deliver for one frame of the later attempt, in order.

        Lifecycle that the consumer has already seen, reasoning, and text that only repeats
        what was delivered are left out; ids, indexes, numbers and totals continue.

        Args:
            frame: The frame as the later attempt sent it.
            events: What the reader made of it.
            text: The part of the frame's answer text that is new; ``""`` for none.
        """
        ...


class Dialect(ABC):
    """One provider API. Instances carry no state."""

    name: ClassVar[str]
    wire: ClassVar[Literal["sse", "ndjson"]]
    content_types: ClassVar[tuple[str, ...]] = ("text/event-stream",)
    # What ends it -----------------------------------------------------------------------
    last_marker: ClassVar[str | None]
    """The marker's name in messages; None where the dialect has none (Gemini)."""
    goes_on_after_finish: ClassVar[bool] = False
    """Whether content may legally follow a finish (Gemini, when a built-in tool ran)."""
    # What orders it ---------------------------------------------------------------------
    numbered: ClassVar[bool] = False
    repeats_text: ClassVar[bool] = False
    """Whether a finished text is repeated in full (Responses ``.done``): a self-check."""
    explicit_blocks: ClassVar[bool] = False
    """Whether blocks are opened and closed by events of their own."""
    # How it is continued ----------------------------------------------------------------
    reissue_after_reasoning: ClassVar[bool] = True
    """Whether the turn may be issued again once reasoning, but no text, was delivered."""
    heartbeat: ClassVar[bytes | None] = b": hb\n"
    variants: ClassVar[tuple[Variant, ...]] = ()
    final_errors: ClassVar[frozenset[str]] = frozenset()
    """Error types and codes for which the same request would fail again."""

    # Recognition ------------------------------------------------------------------------
    @abstractmethod
    def recognises_path(self, path: str) -> bool:
        """Whether a request to this URL path speaks the dialect."""

    @abstractmethod
    def recognises_frame(self, frame: Frame) -> bool:
        """Whether a first dispatched frame looks like this dialect."""

    def number(self, frame: Frame) -> int | None:
        """Return the frame's own number, where the dialect counts its frames.

        Asked before the frame is read: what it means may depend on those before it.
        """
        return None

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

    # Stages -----------------------------------------------------------------------------
    @abstractmethod
    def reader(self) -> Reader:
        """Return a reader for a new attempt."""

    @abstractmethod
    def splicer(self, delivered: Received, *, rung: str, facts: RequestFacts) -> Splicer:
        """Return a splicer that continues what was delivered.

        Args:
            delivered: What the consumer has.
            rung: ``"retry"`` (only reasoning was delivered; the turn is issued again),
                ``"replay"`` (the later attempt repeats everything from the start),
                ``"prefill"`` or ``"user-turn"`` (it continues).
            facts: What the request asked for.
        """

    # Requests ---------------------------------------------------------------------------
    @abstractmethod
    def facts(self, request: Request) -> RequestFacts:
        """Return what recovery must know of the request."""

    @abstractmethod
    def prefill(self, request: Request, text: str, extra: Mapping[str, Any]) -> Request | None:
        """Return the request with ``text`` as the assistant's begun turn, or None if it cannot.

        Args:
            request: The first attempt's request.
            text: The partial answer, less its anchor.
            extra: Fields that the capability table adds to the body or to the message
                (``{"body": {...}, "message": {...}}``).
        """

    @abstractmethod
    def user_turn(self, request: Request, text: str, instruction: str) -> Request | None:
        """Return the request with the partial answer and a user turn that asks to go on."""

    # Encoding ---------------------------------------------------------------------------
    @abstractmethod
    def encode(self, answer: Answer) -> list[bytes]:
        """Return the frames of a whole, healthy stream for an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCall:
    """A tool call to encode: fragments joined are its arguments."""

    name: str
    arguments: tuple[str, ...]
    id: str = "call_1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to encode: what a model said, piece by piece.

    Attributes:
        text: Pieces of text, one delta each.
        reasoning: Pieces of thinking before it.
        calls: Tool calls after it.
        finish: Why it ends: ``stop``, ``tool-calls``, ``limit`` or ``filter``.
        usage: Input and output tokens, or None to leave usage out.
    """

    text: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    calls: tuple[AnswerCall, ...] = ()
    finish: Literal["stop", "tool-calls", "limit", "filter"] = "stop"
    usage: tuple[int, int] | None = None
    id: str = "answer-1"
    model: str = "a-model"
    created: int = field(default=1_700_000_000)


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
_REFUSED = frozenset(
    {"content_filter", "content_policy_violation", "guardrail", "refusal", "safety"}
)
