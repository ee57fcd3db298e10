"""What the dialect tests share: read a body, heal one by hand, and write requests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from unbroken.core.checks.completeness import Completeness
from unbroken.core.dialects.base import Dialect, RequestFacts
from unbroken.core.events import Event, Open, Reasoning, Start, Text, ToolCall
from unbroken.core.frames import Frame
from unbroken.core.received import Received
from unbroken.core.request import Request
from unbroken.core.wire import decoder_for


def decode(dialect: Dialect, body: bytes) -> list[Frame]:
    """Return all blocks of a body; what its end leaves over comes as an undispatched frame."""
    decoder = decoder_for(dialect.wire)
    frames = [*decoder.blocks(body), *decoder.close()]
    if decoder.leftover_unknown:
        left = decoder.pending
        frames.append(
            Frame("message", b"", "", None, left, len(body) - len(left), False,
                  decoder.leftover_unknown)
        )  # fmt: skip
    return frames


@dataclass
class Seen:
    """One body, read to its end."""

    received: Received = field(default_factory=Received)
    events: list[Event] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.events]


def read(dialect: Dialect, body: bytes | Iterable[bytes]) -> Seen:
    seen = Seen()
    reader = dialect.reader()
    for frame in decode(dialect, body if isinstance(body, bytes) else b"".join(body)):
        if not frame.dispatched and not frame.unknown:
            continue
        events = reader.read(frame)
        seen.frames.append(frame)
        seen.events += events
        seen.received.add(frame, events)
    return seen


def proven(dialect: Dialect, events: list[Event], *, choices: int = 1) -> bool:
    """Whether the events prove the end, by the checks that streams are judged with."""
    account = Completeness(dialect, choices=choices)
    for event in events:
        account.add(event)
    finals = all(finish.final for finish in account.finishes.values())
    return account.finished and finals and not account.error_seen


def calls_of(received: Received) -> list[tuple[str, Any]]:
    """The calls that an application sees, arguments parsed where they are JSON."""
    found: list[tuple[str, Any]] = []
    for call in received.calls.values():
        try:
            found.append((call.name, json.loads(call.arguments)))
        except ValueError:
            found.append((call.name, call.arguments))
    return found


def splice(
    dialect: Dialect,
    delivered: list[bytes],
    later: list[bytes],
    *,
    rung: str,
    repeated: int = 0,
    facts: RequestFacts | None = None,
) -> bytes:
    """Return the body that the consumer sees when `later` continues what was delivered.

    A small stand-in for the recovery machine, with its rules: starts, reasoning, the first
    `repeated` characters of text and calls that were delivered are not kept.
    """
    before = read(dialect, delivered)
    known = calls_of(before.received)
    splicer = dialect.splicer(before.received, rung=rung, facts=facts or RequestFacts())
    out = list(delivered)
    reader = dialect.reader()
    dropped: set[int] = set()  # calls of the later attempt that were delivered before
    names = iter(calls_of(read(dialect, later).received))
    for frame in decode(dialect, b"".join(later)):
        events = reader.read(frame)
        kept: list[Event] = []
        text = ""
        for event in events:
            if type(event) is Text:
                text += event.text[repeated:]
                repeated = max(0, repeated - len(event.text))
            elif type(event) is ToolCall:
                if event.name and rung == "replay" and next(names) in known:
                    dropped.add(event.index)
                if event.index not in dropped:
                    kept.append(event)
            elif type(event) not in (Start, Reasoning):
                kept.append(event)
        out += splicer.splice(frame, kept, text)
    return b"".join(out)


def until(dialect: Dialect, frames: list[bytes], pieces: int) -> list[bytes]:
    """Return the frames up to and with the one that holds the given piece of text."""
    reader = dialect.reader()
    for count, raw in enumerate(frames, 1):
        events = [event for frame in decode(dialect, raw) for event in reader.read(frame)]
        pieces -= any(type(event) is Text for event in events)
        if pieces == 0:
            return frames[:count]
    raise AssertionError("fewer pieces than that")


def request(url: str, body: dict[str, Any]) -> Request:
    return Request(method="POST", url=url, body=json.dumps(body).encode())


def blocks_opened(events: list[Event]) -> list[str]:
    return [event.kind for event in events if type(event) is Open]
