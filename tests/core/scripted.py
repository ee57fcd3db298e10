"""A driver for tests: plays scripted attempts against a `Stream`, in virtual time.

    run = play([Reply(frames[:5], end="reset"), Reply(frames)])
    assert run.delivered == whole

Nothing sleeps: the clock jumps to the next timer, or to the end of a pause that the script
asks for. It checks what every driver relies on: one connection at a time, every delivered piece
whole frames, nothing after the end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

from unbroken.core.actions import (
    Connect,
    Deliver,
    Disconnect,
    FinishStream,
    Notice,
    Receive,
    Reconnecting,
    StallNotice,
    Wait,
)
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import DIALECTS, by_name
from unbroken.core.dialects.base import Answer
from unbroken.core.events import Text
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.core.request import Request
from unbroken.core.stream import Stream

URLS = {
    "openai-chat": "http://127.0.0.1:8080/v1/chat/completions",
    "openai-responses": "https://api.openai.com/v1/responses",
    "anthropic-messages": "https://api.anthropic.com/v1/messages",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash"
    ":streamGenerateContent?alt=sse",
    "ollama": "http://127.0.0.1:11434/api/chat",
    "gemini-array": "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash"
    ":streamGenerateContent",
    "bedrock-converse": "https://bedrock-runtime.us-east-1.amazonaws.com/model"
    "/anthropic.claude-3-haiku-20240307-v1%3A0/converse-stream",
    "bedrock-invoke": "https://bedrock-runtime.us-east-1.amazonaws.com/model"
    "/anthropic.claude-3-haiku-20240307-v1%3A0/invoke-with-response-stream",
    "openai-completions": "https://api.openai.com/v1/completions",
    "cohere": "https://api.cohere.com/v2/chat",
    "gemini-interactions": "https://generativelanguage.googleapis.com/v1beta/interactions",
    "openai-assistants": "https://api.openai.com/v1/threads/thread_1/runs",
}
QUESTION = "Why is the sea salt?"
SPLICED = [name for name, dialect in DIALECTS.items() if dialect.splices]
"""Dialects in which an answer can go on in its middle."""
CALLING = [name for name in DIALECTS if name != "openai-completions"]
"""Dialects that have tool calls."""
NO_FILTER = ("ollama", "cohere", "gemini-interactions")
"""Dialects without a word of their own for an answer that a filter cut."""

Piece = bytes | float
"""Bytes of one read, or seconds in which nothing comes."""


def ask(dialect: str = "openai-chat", *, url: str = "", **body: Any) -> Request:
    """Return a request of the dialect; `body` adds to it."""
    asked: dict[str, Any] = {"model": "a-model", "stream": True}
    if dialect in ("gemini", "gemini-array"):
        asked = {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]}
    elif dialect in ("openai-responses", "gemini-interactions"):
        asked["input"] = QUESTION
    elif dialect == "openai-completions":
        asked["prompt"] = QUESTION
    elif dialect == "openai-assistants":
        asked["assistant_id"] = "asst_1"
    elif dialect == "bedrock-converse":
        asked = {"messages": [{"role": "user", "content": [{"text": QUESTION}]}]}
        if "temperature" in body:
            asked["inferenceConfig"] = {"temperature": body.pop("temperature")}
    elif dialect == "bedrock-invoke":
        asked = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99,
                 "messages": [{"role": "user", "content": QUESTION}]}  # fmt: skip
    else:
        asked["messages"] = [{"role": "user", "content": QUESTION}]
    return Request(method="POST", url=url or URLS[dialect], body=json.dumps(asked | body).encode())


def frames(
    text: str = "", *, dialect: str = "openai-chat", size: int = 4, **more: Any
) -> list[bytes]:
    """Return the frames of a whole answer, its text in pieces of `size` characters."""
    pieces = tuple(text[at : at + size] for at in range(0, len(text), size))
    return by_name(dialect).encode(Answer(text=pieces, **more))


def until(sent: list[bytes], text: str, *, dialect: str = "openai-chat") -> list[bytes]:
    """Return the frames up to the one with which `text` has been said."""
    attempt, said = Attempt(by_name(dialect)), ""
    for count, raw in enumerate(sent, 1):
        for step in attempt.receive(raw):
            said += "".join(event.text for event in step.events if type(event) is Text)
        if said.startswith(text):
            return sent[:count]
    raise AssertionError(f"{text!r} is never said")


@dataclass(frozen=True)
class Reply:
    """One attempt: what comes of it, and how it ends.

    Attributes:
        body: One item a read or a pause; or a function of the request that gives them.
        status: HTTP status; ``refused``: no connection at all.
        headers: Lower-case names.
        end: ``silence`` leaves the connection open until a clock ends it.
        after_s: Seconds until the response head.
    """

    body: Sequence[Piece] | Callable[[Request], Sequence[Piece]] = ()
    _: KW_ONLY
    status: int | Literal["refused"] = 200
    headers: dict[str, str] = field(default_factory=dict)
    end: Literal["eof", "reset", "silence"] = "eof"
    after_s: float = 0.0


@dataclass
class Run:
    """What a consumer, an observer and the providers saw of a stream."""

    stream: Stream
    now: float = 0.0
    requests: list[Request] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)
    delivered_at: list[float] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    raised: Fault | None = None
    over: bool = False

    @property
    def outcome(self) -> Outcome:
        return self.stream.outcome

    @property
    def delivered(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def rungs(self) -> list[str]:
        return [record.rung for record in self.outcome.attempts]

    @property
    def kinds(self) -> list[str]:
        return [fault.kind.value for fault in self.outcome.faults]

    @property
    def stalls(self) -> list[StallNotice]:
        return [notice for notice in self.notices if isinstance(notice, StallNotice)]

    @property
    def reconnects(self) -> list[Reconnecting]:
        return [notice for notice in self.notices if isinstance(notice, Reconnecting)]

    def skipped(self, rung: str) -> str:
        return next((skip.why for skip in self.outcome.skipped if skip.rung == rung), "")


def play(
    replies: Sequence[Reply],
    *,
    request: Request | None = None,
    dialect: str = "openai-chat",
    options: Options | None = None,
    cancel_after: int | None = None,
    consumer_s: float = 0.0,
    **stream: Any,
) -> Run:
    """Drive a stream to its end.

    Args:
        replies: One for each upstream request, in order; it is an error to need more.
        request: The first request; by default a plain one of the dialect.
        dialect: What it speaks.
        options: The user's.
        cancel_after: Leave after so many deliveries.
        consumer_s: Seconds that the consumer takes over each delivery.
        stream: More arguments of `Stream`.
    """
    request = request or ask(dialect)
    run = Run(Stream(request, by_name(dialect), options=options or Options(), now=0.0, **stream))
    waiting = iter(replies)
    reply: Reply | None = None
    reads: list[Piece] = []
    connected = 0
    for _ in range(100_000):
        action = run.stream.next_action()
        run.notices += run.stream.take_notices()
        match action:
            case Connect(request=asked):
                assert not connected, "a second connection beside the first"
                run.requests.append(asked)
                run.sent_at.append(run.now)
                reply = next(waiting, None)
                assert reply is not None, f"request {len(run.requests)} was not expected"
                connected = len(run.requests)
                reads = list(reply.body(asked) if callable(reply.body) else reply.body)
                _head(run, reply)
            case Disconnect():
                connected = 0
            case Wait(until=at):
                _advance(run, at)
            case Receive():
                assert connected
                assert reply is not None
                run.stream.resume(run.now)
                read(run, reply, reads)
            case Deliver(data=data):
                assert not run.over, "delivered after the end"
                run.pieces.append(data)
                run.delivered_at.append(run.now)
                run.now += consumer_s
                if cancel_after is not None and len(run.pieces) >= cancel_after:
                    cancel_after = None
                    run.stream.cancel(run.now)
            case FinishStream(fault=fault):
                run.over, run.raised = True, fault
            case None:
                assert run.over, "the machine waits for nothing"
                assert not connected, "a connection is left open"
                return run
    raise AssertionError("the stream never ends")


def _head(run: Run, reply: Reply) -> None:
    if _advance(run, run.now + reply.after_s) and reply.after_s:
        return
    if reply.status == "refused":
        fault = Fault.of(FaultKind.CONNECT_FAILED, "connection refused")
        run.stream.failed(fault, run.now)
    else:
        run.stream.connected(reply.status, reply.headers, run.now)


def _advance(run: Run, until: float) -> bool:
    """Let time pass, with its timers; return whether one of them gave the machine work."""
    for _ in range(10_000):
        due = run.stream.next_timer()
        if due is None or due > until:
            break
        run.now = max(run.now, due)
        reading = run.stream.reading
        run.stream.handle_timer(run.now)
        if run.stream._actions or run.stream.reading != reading:
            return True
    run.now = max(run.now, until)
    return False


def read(run: Run, reply: Reply, reads: list[Piece]) -> None:
    """Wait for the next bytes, or for a timer that gives the machine something to do."""
    while reads:
        piece = reads.pop(0)
        if isinstance(piece, bytes):
            run.stream.receive(piece, run.now)
            return
        until = run.now + piece
        if _advance(run, until):
            if run.stream.reading and run.now < until:
                reads.insert(0, until - run.now)  # a held call was released: the pause goes on
            return
    if reply.end == "eof":
        run.stream.receive_eof(run.now)
    elif reply.end == "reset":
        run.stream.failed(Fault.of(FaultKind.CONNECTION_RESET, "peer reset"), run.now)
    else:
        due = run.stream.next_timer()
        assert due is not None, "silence that no clock will end"
        _advance(run, due)
