"""What faults are made of: the scene of a fault, the table's row, and frames that go wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.bodies import ALL_DIALECTS, WireFrame, content_type, line_frame, sse_frame
from tests.support.faultserver import Pieces, Reply

__all__ = [
    "FAULTS",
    "Fault",
    "Injector",
    "Scene",
    "empty_frame",
    "error_frames",
    "fault",
    "hostile_frame",
    "keepalive",
    "numbered",
    "with_text",
]

# What of the answer's text the body still carries.
Carries = Literal["whole", "prefix", "altered", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where a fault happens: `before` arrives, `after` is what should have followed."""

    dialect: str
    frames: Sequence[WireFrame]
    index: int
    params: Mapping[str, Any]

    @property
    def before(self) -> list[WireFrame]:
        return list(self.frames[: self.index])

    @property
    def after(self) -> list[WireFrame]:
        return list(self.frames[self.index :])

    @property
    def next(self) -> WireFrame:
        return self.frames[self.index]

    def param(self, name: str, default: Any) -> Any:
        return self.params.get(name, default)

    def reply(self, pieces: Pieces, **settings: Any) -> Reply:
        """A 200 with these pieces: a list, or for an endless body a function that makes them.

        The parameters `pace_s` and `framing` of the fault reach it too.
        """
        shared = {k: v for k, v in self.params.items() if k in ("pace_s", "framing")}
        headers = {"content-type": content_type(self.dialect)} | settings.pop("headers", {})
        return Reply(headers=headers, pieces=pieces, **(shared | settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One row of the table.

    Attributes:
        kind: The stable fault kind that it is; None where nothing is wrong, or where nobody
            could tell. `kind_in` holds the dialects in which it is another.
        carries: What of the text is in the body, if nobody repairs it.
        endless: It never ends by itself; only a deadline or the client ends it.
        dialects: Where it can be done.
    """

    name: str
    kind: str | None
    carries: Carries
    inject: Callable[[Scene], Reply]
    endless: bool = False
    dialects: Sequence[str] = ALL_DIALECTS
    kind_in: Mapping[str, str | None] = field(default_factory=dict)

    def kind_for(self, dialect: str) -> str | None:
        return self.kind_in.get(dialect, self.kind)


Injector = Callable[[Scene], Reply]
FAULTS: dict[str, Fault] = {}


def fault(
    name: str, kind: str | None, carries: Carries, **rest: Any
) -> Callable[[Injector], Injector]:
    def add(inject: Injector) -> Injector:
        FAULTS[name] = Fault(name=name, kind=kind, carries=carries, inject=inject, **rest)
        return inject

    return add


def keepalive(dialect: str) -> bytes:
    """What a server sends to keep a connection warm.

    Not harmless everywhere: google-genai raises on the comment, ollama on the blank line.
    """
    return {
        "anthropic-messages": b'event: ping\ndata: {"type":"ping"}\n\n',
        "gemini": b": keepalive\r\n\r\n",
        "ollama": b"\n",
    }.get(dialect, b": keepalive\n\n")


def error_frames(dialect: str) -> list[WireFrame]:
    """The provider's own error inside a 200 stream."""
    message = "The server had an error while processing your request"
    match dialect:
        case "openai-chat":
            error = {"message": message, "type": "server_error", "param": None, "code": None}
            return [sse_frame({"error": error})]
        case "openai-responses":
            flat = {"type": "error", "code": "server_error", "message": message, "param": None}
            return [sse_frame(flat | {"sequence_number": 0}, event="error")]
        case "anthropic-messages":
            error = {"type": "overloaded_error", "message": "Overloaded"}
            return [sse_frame({"type": "error", "error": error}, event="error")]
        case "gemini":
            status = {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}
            return [sse_frame({"error": status}, eol="\r\n")]
        case "cohere":
            delta = {"finish_reason": "ERROR", "error": message}
            return [sse_frame({"type": "message-end", "delta": delta}, event="message-end")]
        case _:
            return [line_frame({"error": "an error was encountered while running the model"})]


def numbered(dialect: str, frames: Iterable[WireFrame]) -> list[WireFrame]:
    """Number the events anew where the dialect numbers them (after putting one in)."""
    frames = list(frames)
    if dialect != "openai-responses":
        return frames
    return [
        f.with_payload(f.payload | {"sequence_number": number}) for number, f in enumerate(frames)
    ]


def empty_frame(dialect: str, like: WireFrame) -> WireFrame:
    """A text frame with no text in it: valid, and no progress."""
    return with_text(dialect, like, "")


def with_text(dialect: str, frame: WireFrame, text: str | None) -> WireFrame:
    payload = frame.payload
    match dialect:
        case "openai-chat":
            payload["choices"][0]["delta"]["content"] = text
        case "openai-responses":
            payload["delta"] = text
        case "anthropic-messages":
            payload["delta"]["text"] = text
        case "gemini":
            payload["candidates"][0]["content"]["parts"][0]["text"] = text
        case "cohere":
            payload["delta"]["message"]["content"]["text"] = text
        case _:
            payload["message"]["content"] = text
    return frame.with_payload(payload)


def hostile_frame(dialect: str, like: WireFrame, what: str) -> WireFrame:
    """A text frame without its text (`no_content`) or without what holds it (`empty_choices`)."""
    payload = like.payload
    holder = what == "empty_choices"
    match dialect:
        case "openai-chat":
            if holder:
                payload["choices"] = []
            else:
                payload["choices"][0]["delta"] = {}
        case "openai-responses":
            payload["delta"] = None
            if not holder:
                del payload["delta"]
        case "anthropic-messages":
            payload["delta"] = None if holder else {"type": "text_delta"}
        case "gemini":
            payload["candidates"] = [] if holder else [{"index": 0}]
        case "cohere":
            payload["delta"] = {} if holder else {"message": {"content": {}}}
        case _:
            if holder:
                del payload["message"]
            else:
                payload["message"] = {"role": "assistant"}
    return like.with_payload(payload)
