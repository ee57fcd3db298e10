"""What all drives share: where they go, what they saw, and the loop that reads a stream."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import time
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "DRIVES",
    "SECOND_ROW",
    "Drive",
    "DriveSpec",
    "Timed",
    "Watch",
    "Wire",
    "aclose",
    "aread_all",
    "chat_request",
    "client_settings",
    "close",
    "drive",
    "http_library",
    "read_all",
    "sdk_http_client",
    "spec_of",
]

_PROMPT = ({"role": "user", "content": "Tell me the story of the lighthouse keeper."},)
# What the fault server's healthy answers end with, as each SDK reports it.
_GOOD_FINISHES = frozenset(
    {
        *("stop", "tool_calls", "completed", "end_turn", "tool_use", "STOP"),  # as sent
        *("COMPLETE", "TOOL_CALL"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """Where a drive goes and over what.

    Attributes:
        base_url: Root of the server; the drive adds what its SDK wants (`/v1`).
        http_client: Client of the SDK's HTTP library, sync or async as the drive; it stays
            open, the caller closes it. Not for ollama, which takes transports only.
        transport: Transport of that library; the drive makes a client of it and closes both.
        timeout_s: Read timeout given to the SDK; None leaves the SDK's default.
        max_retries: Retries of the SDK itself; None leaves its default (2 for openai and
            anthropic, with pauses of 0.5 s and more).
        messages: The conversation, in the form of the chat dialect.
        request: Further arguments of the SDK's call (`temperature`, `tools` ...).
        headers: Sent with the request.
        stop_after: Leave the loop with a plain `break` after this many events with text.
        on_text: Called with each piece of text as it comes (to be slow, to look at a clock).
    """

    base_url: str
    http_client: Any = None
    transport: Any = None
    timeout_s: float | None = 2.0
    max_retries: int | None = None
    messages: Sequence[Mapping[str, Any]] = _PROMPT
    request: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    stop_after: int | None = None
    on_text: Callable[[str], None] | None = None


@dataclass(slots=True, kw_only=True)
class Drive:
    """What the application saw.

    Attributes:
        pieces: The visible text, as it came.
        tools: Tool calls, each ``{"name": ..., "arguments": JSON text}``.
        finish: Why it ended, in the provider's word, or None if nobody said.
        error: What was raised, or None.
        events: How many objects the SDK yielded.
        final_text: What the SDK's own accumulator holds at the end (`.stream()` helpers).
        odd: Things a careful application would log: error events that raise nothing.
    """

    name: str
    pieces: list[str] = field(default_factory=list)
    reasoning: str = ""
    tools: list[dict[str, str]] = field(default_factory=list)
    finish: str | None = None
    error: BaseException | None = None
    events: int = 0
    seconds: float = 0.0
    final_text: str | None = None
    odd: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def raised(self) -> str | None:
        """The exception as ``package.Class``, or None."""
        if self.error is None:
            return None
        kind = type(self.error)
        return f"{kind.__module__.partition('.')[0]}.{kind.__name__}"

    @property
    def finished(self) -> bool:
        """The provider said that it was done, normally."""
        return self.finish in _GOOD_FINISHES

    def verdict(self, truth: str) -> str:
        """``ok``, ``raise package.Class``; silent: ``EMPTY``, ``TRUNC``, ``CORRUPT``."""
        if self.error is not None:
            return f"raise {self.raised}"
        if self.text == truth:
            return "ok"
        if not self.text:
            return "EMPTY"
        return "TRUNC" if truth.startswith(self.text) else "CORRUPT"

    def as_json(self) -> dict[str, Any]:
        """All of it for another process; of the error, its class, bases, text and causes."""
        plain = ("name", "pieces", "reasoning", "tools", "finish", "events", "seconds")
        out = {key: getattr(self, key) for key in (*plain, "final_text", "odd")}
        causes: list[dict[str, Any]] = []
        error = self.error
        while error is not None:
            bases = [f"{c.__module__.partition('.')[0]}.{c.__name__}" for c in type(error).__mro__]
            causes.append({"class": bases[0], "bases": bases, "message": str(error)})
            error = error.__cause__
        return out | {"text": self.text, "raised": self.raised, "errors": causes}


DriveFunction = Callable[[Wire], Drive] | Callable[[Wire], Coroutine[Any, Any, Drive]]


@dataclass(frozen=True, slots=True)
class DriveSpec:
    """One call style of one SDK.

    Attributes:
        sdk: The package that it is.
        as_json: It wants an object ``{"text": ...}`` for an answer, and gives its text.
    """

    name: str
    dialect: str
    sdk: str
    is_async: bool
    function: DriveFunction
    as_json: bool = False

    @property
    def library(self) -> str:
        return http_library(self.sdk)


def http_library(sdk: str) -> str:
    """The HTTP library whose clients and transports the installed SDK takes."""
    sdk = _ON_OPENAI.get(sdk, sdk)
    major = int(importlib.metadata.version(sdk).partition(".")[0])
    return "httpx2" if major >= _FIRST_ON_HTTPX2[sdk] else "httpx"


_FIRST_ON_HTTPX2 = {
    "openai": 3,
    "anthropic": 1,
    "google-genai": 2,
    "mistralai": 2,
    "ollama": 1000,
    "groq": 1000,
    "cohere": 1000,
}
_ON_OPENAI = dict.fromkeys(
    ("langchain-openai", "pydantic-ai-slim", "instructor", "litellm"), "openai"
)
"""These are given a client of the openai SDK, or of its HTTP library."""


# the loop around every drive


class Watch:
    """Takes events of one dialect into a `Drive`, and counts text for `stop_after`."""

    def __init__(self, name: str, wire: Wire) -> None:
        self.drive = Drive(name=name)
        self.wire = wire
        self._calls: dict[Any, dict[str, str]] = {}

    def text(self, piece: str | None) -> None:
        if piece:
            self.drive.pieces.append(piece)
            if self.wire.on_text is not None:
                self.wire.on_text(piece)

    def think(self, piece: str | None) -> None:
        self.drive.reasoning += piece or ""

    def call(self, key: Any, name: str | None, arguments: str | None) -> None:
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = {"name": "", "arguments": ""}
            self.drive.tools.append(call)
        call["name"] += name or ""
        call["arguments"] += arguments or ""

    @property
    def enough(self) -> bool:
        return self.wire.stop_after is not None and len(self.drive.pieces) >= self.wire.stop_after


Reader = Callable[[Watch, Any], None]


def read_all(watch: Watch, events: Iterable[Any], read: Reader) -> bool:
    """Read to the end; return False if the loop was left before it."""
    for event in events:
        watch.drive.events += 1
        read(watch, event)
        if watch.enough:
            return False
    return True


async def aread_all(watch: Watch, events: AsyncIterable[Any], read: Reader) -> bool:
    async for event in events:
        watch.drive.events += 1
        read(watch, event)
        if watch.enough:
            return False
    return True


class Timed:
    """Times a drive and keeps its exception instead of raising it."""

    def __init__(self, drive: Drive) -> None:
        self._drive = drive

    def __enter__(self) -> None:
        self._start_s = time.monotonic()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        self._drive.seconds = time.monotonic() - self._start_s
        if not isinstance(error, Exception):
            return False  # nothing, or a cancellation, which must go on
        self._drive.error = error
        return True


DRIVES: dict[str, DriveSpec] = {}
"""The vendors' own SDKs, which every test takes."""
SECOND_ROW: dict[str, DriveSpec] = {}
"""Those for which a few telling tests do, since they sit on the same wires."""


def drive(
    name: str, dialect: str, sdk: str, *, row: Literal[1, 2] = 1, as_json: bool = False
) -> Callable[[Any], Any]:
    def add(function: Any) -> Any:
        is_async = inspect.iscoroutinefunction(function)
        table = DRIVES if row == 1 else SECOND_ROW
        table[name] = DriveSpec(name, dialect, sdk, is_async, function, as_json)
        return function

    return add


def spec_of(name: str) -> DriveSpec:
    """The drive of that name, of either row."""
    return DRIVES.get(name) or SECOND_ROW[name]


def client_settings(sdk: str, wire: Wire, *, is_async: bool) -> dict[str, Any]:
    """The arguments that the clients of openai and anthropic share."""
    settings: dict[str, Any] = {"api_key": "test-key", "default_headers": dict(wire.headers)}
    if wire.timeout_s is not None:
        settings["timeout"] = wire.timeout_s
    if wire.max_retries is not None:
        settings["max_retries"] = wire.max_retries
    http_client = sdk_http_client(sdk, wire, is_async=is_async)
    if http_client is not None:
        settings["http_client"] = http_client
    return settings


def sdk_http_client(sdk: str, wire: Wire, *, is_async: bool) -> Any:
    if wire.http_client is not None or wire.transport is None:
        return wire.http_client
    library = importlib.import_module(http_library(sdk))
    kind = library.AsyncClient if is_async else library.Client
    return kind(transport=wire.transport)


def chat_request(wire: Wire) -> dict[str, Any]:
    return {"model": "test-model", "messages": list(wire.messages), **wire.request}


def close(client: Any, wire: Wire) -> None:
    if wire.http_client is None:
        client.close()


async def aclose(client: Any, wire: Wire) -> None:
    if wire.http_client is None:
        await client.close()
