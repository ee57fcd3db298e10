"""From a seed: a request, options, a consumer, and an upstream with its truths and faults."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.simulation.bodies import Style, encode
from tests.simulation.settings import TARGETS, draw_options
from tests.simulation.speech import Truth, continued, first_truth, repeated
from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.base import Dialect
from unbroken.core.request import Request

__all__ = ["FAULTS", "NEVER", "WALL_TIME", "Reply", "World", "asked"]

WALL_TIME = 1_800_000_000.0  # the epoch's seconds at the world's time 0: 15 Jan 2027 08:00 UTC
NEVER = float("inf")

# Kind of fault, with its weight for a first and for a later attempt.
FAULTS: dict[str, tuple[int, int]] = {
    "none": (18, 60),
    "eof": (14, 8),
    "reset": (14, 6),
    "silence": (6, 3),
    "pings": (5, 2),
    "corrupt": (6, 3),
    "error": (8, 4),
    "final-error": (2, 1),
    "no-stream": (3, 1),
    "empty": (3, 1),
    "oversized": (2, 1),
    "http": (6, 5),
    "connect": (3, 3),
    "connect-hang": (0, 2),
    "linger": (4, 3),
    "swapped": (2, 1),
    "lost": (2, 1),
}


@dataclass
class Reply:
    """One attempt's answer: a head, then reads, then an end.

    Attributes:
        status: HTTP status; None where no head comes.
        headers: Of the head.
        head_s: Seconds until the head, or until the connection fails.
        reads: (Seconds after the one before, bytes).
        end: ``eof``, ``reset`` or ``hang``.
        end_s: Seconds from the last read to the end.
        truth: What the model says, whole; None where it never speaks.
        fault: What goes wrong.
        whole: All of the healthy body is sent.
        longest_frame: Bytes of the largest frame.
        wait_s: How long it asks to wait.
        again_at: The time before which it asks not to come again.
        hopeless: The same request would fail again, and the reply says so.
        renumbered: Numbered frames were swapped, repeated or lost: what came in between waits.
    """

    status: int | None
    headers: dict[str, str]
    head_s: float
    reads: list[tuple[float, bytes]] = field(default_factory=list)
    end: str = "eof"
    end_s: float = 0.0
    truth: Truth | None = None
    fault: str = "none"
    whole: bool = False
    renumbered: bool = False
    longest_frame: int = 0
    wait_s: float = 0.0
    again_at: float = 0.0
    hopeless: bool = False


class World:
    """Everything that one seed decides. The same seed, the same world."""

    def __init__(self, seed: int, *, dialect: str | None = None) -> None:
        self.seed = seed
        self.draw = draw = Random(seed)
        name = draw.choice(sorted(DIALECTS))
        self.dialect: Dialect = DIALECTS[dialect or name]
        self.target = draw.choice(TARGETS[self.dialect.name])
        self.options = draw_options(draw)
        self.tools = draw.random() < 0.3
        self.thinking = draw.random() < 0.25
        self.structured = draw.random() < 0.07
        self.deterministic = draw.random() < 0.35
        self.kept = draw.random() < 0.4  # the provider keeps the answer (Responses)
        self.request = self._request()
        self.sent = draw.random() < 0.5
        self.permits = draw.random() < 0.95
        self.pauses = draw.choice((0.0, 0.0, 0.1, 0.5))
        self.leaves_after = draw.randrange(1, 20) if draw.random() < 0.08 else None
        self.first = first_truth(
            draw,
            tools=self.tools,
            thinking=self.thinking,
            structured=self.structured,
            loose=self.dialect.name not in ("gemini", "ollama"),
        )
        self.calm = draw.random() < 0.5  # later attempts are healthy and obedient

    def jitter(self) -> float:
        return self.draw.random()

    def _request(self) -> Request:
        draw, turn = self.draw, "What is a river? " * self.draw.choice((1, 1, 20))
        body: dict[str, Any] = {"model": self.target.model, "stream": True}
        match self.dialect.name:
            case "openai-chat":
                body["messages"] = [{"role": "user", "content": turn}]
                if self.deterministic:
                    body |= draw.choice(({"temperature": 0}, {"seed": 7}, {"temperature": 0.0}))
                if self.structured:
                    body["response_format"] = {"type": "json_object"}
            case "openai-responses":
                body["input"] = turn if draw.random() < 0.5 else [{"role": "user", "content": turn}]
                body["store"] = self.kept
                if self.deterministic:
                    body["temperature"] = 0
                if self.structured:
                    body["text"] = {"format": {"type": "json_object"}}
            case "anthropic-messages":
                body |= {"messages": [{"role": "user", "content": turn}], "max_tokens": 999}
                if self.deterministic:
                    body["temperature"] = 0
                if self.thinking:
                    body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
                if self.structured:
                    body["output_format"] = {"type": "json_schema", "schema": {}}
            case "gemini":
                body = {"contents": [{"role": "user", "parts": [{"text": turn}]}]}
                config: dict[str, Any] = {"temperature": 0} if self.deterministic else {}
                if self.structured:
                    config["responseMimeType"] = "application/json"
                if self.thinking:
                    config["thinkingConfig"] = {"includeThoughts": True}
                body["generationConfig"] = config
            case "ollama":
                body["messages"] = [{"role": "user", "content": turn}]
                body["options"] = {"temperature": 0} if self.deterministic else {}
                if self.structured:
                    body["format"] = "json"
        headers = (("authorization", "Bearer x"), ("content-type", "application/json"))
        raw = json.dumps(body).encode()
        return Request(method="POST", url=self.target.url, headers=headers, body=raw)

    # The upstream ---------------------------------------------------------------------------

    def reply(self, number: int, request: Request, heard: str) -> Reply:
        """Return how the upstream answers one attempt.

        Args:
            number: The attempt, from 1.
            request: What is sent.
            heard: The answer text that the consumer has.
        """
        draw = self.draw
        later = number > 1
        weights = [pair[later] for pair in FAULTS.values()]
        fault = draw.choices(list(FAULTS), weights)[0]
        if later and self.calm and draw.random() < 0.7:
            fault = "none"
        if not later and self.sent and fault in ("http", "connect"):
            fault = "eof"
        if fault in ("swapped", "lost") and not self.dialect.numbered:
            fault = "eof"
        head_s = draw.choice((0.0, 0.05, 0.4, 2.0))
        if fault == "connect":
            return Reply(None, {}, head_s, fault=fault)
        if fault == "connect-hang":
            return Reply(None, {}, NEVER, fault=fault)
        if fault == "http":
            return self._refusal(head_s)
        kind = "application/x-ndjson" if self.dialect.wire == "ndjson" else "text/event-stream"
        headers = {"content-type": kind, "x-request-id": f"req-{number}"}
        truth = self._truth(number, request, heard)
        style = Style.of(draw, self.dialect.name, number)
        frames = encode(draw, self.dialect, truth, style)
        hopeless = fault == "final-error"
        reply = Reply(200, headers, head_s, truth=truth, fault=fault, hopeless=hopeless)
        reply.longest_frame = max(map(len, frames))
        self._break(reply, frames)
        return reply

    def _truth(self, number: int, request: Request, heard: str) -> Truth:
        if number == 1:
            return self.first
        sent, anchor = asked(self.dialect.name, request.body)
        if sent is None:
            return self.first if self.calm else repeated(self.draw, self.first)
        obeys = self.draw if not self.calm else _Obedient(self.draw)
        return continued(obeys, self.first, heard=heard, sent=sent, anchor=anchor, tools=self.tools)

    def _refusal(self, head_s: float) -> Reply:
        draw = self.draw
        status = draw.choice((400, 401, 404, 422, 429, 429, 500, 503, 529))
        headers: dict[str, str] = {}
        wait_s, again_at = 0.0, 0.0
        form = draw.random()
        if form < 0.3:
            wait_s = draw.choice((0, 1, 7, 100))
            headers["retry-after"] = str(wait_s)
        elif form < 0.45:
            millis = draw.choice((0, 250, 1500))
            headers |= {"retry-after-ms": str(millis), "retry-after": "100"}
            wait_s = millis / 1000
        elif form < 0.5:
            headers["retry-after"] = "Fri, 15 Jan 2027 08:00:30 GMT"
            again_at = 30.0
        elif form < 0.55:
            headers["retry-after"] = draw.choice(("Thu, 01 Jan 1970 00:00:00 GMT", "soon"))
        elif form < 0.65:
            headers["x-should-retry"] = draw.choice(("true", "false"))
        hopeless = status in (401, 404) or headers.get("x-should-retry") == "false"
        hopeless = hopeless and headers.get("x-should-retry") != "true"
        return Reply(
            status, headers, head_s, fault="http",
            wait_s=wait_s, again_at=again_at, hopeless=hopeless,
        )  # fmt: skip

    def _break(self, reply: Reply, frames: list[bytes]) -> None:
        """Let the reply's fault happen to the frames, and cut them into reads."""
        draw, fault = self.draw, reply.fault
        if fault in ("swapped", "lost"):
            frames = self._misnumbered(reply, frames)
        last = max(n for n, frame in enumerate(frames) if frame[:1] != b":")
        at = draw.randrange(last + 1)  # what comes behind the last marker is nobody's answer
        if fault == "corrupt":
            frames = [*frames[:at], self._corrupt(frames), *frames[at:]]
        elif fault in ("error", "final-error"):
            frames = [*frames[:at], self._error(final=fault == "final-error")]
            if draw.random() < 0.4 and self.dialect.name == "openai-chat":
                frames.append(b"data: [DONE]\n\n")
        elif fault == "oversized":
            size = self.options.max_frame_bytes + 1
            frames = [*frames[:at], b"data: " + b"x" * min(size, 70_000), *frames[at:]]
            if size > 70_000:
                reply.fault = "corrupt"
                frames.insert(at + 1, b"\n\n")
        elif fault == "no-stream":
            frames = [draw.choice((
                b"<html><body>502 Bad Gateway</body></html>",
                b'{"error": {"message": "no", "type": "server_error"}}',
                b'{"error": {"message": "bad key", "type": "authentication_error"}}\n',
            ))]  # fmt: skip
            reply.truth = None
        elif fault == "empty":
            frames = draw.choice(([], frames[:1], [b"\n"]))
        body = b"".join(frames)
        if fault in ("eof", "reset", "silence", "pings"):
            body = body[: self._cut(frames, len(body))]
            if fault == "pings" and draw.random() < 0.3:
                body = frames[0]  # before any content
        elif fault not in ("empty", "no-stream"):
            reply.whole = fault in ("none", "linger", "swapped", "lost")
        reply.end = {"reset": "reset", "silence": "hang", "linger": "hang"}.get(fault, "eof")
        if fault in ("corrupt", "error") and draw.random() < 0.3:
            reply.end = draw.choice(("reset", "hang"))
        reply.end_s = draw.choice((0.0, 0.0, 0.3))
        reply.reads = self._reads(body, frames)
        if fault == "pings":
            self._ping_on(reply)

    def _cut(self, frames: list[bytes], size: int) -> int:
        draw = self.draw
        way = draw.random()
        if way < 0.25:  # between two frames
            at = draw.randrange(len(frames) + 1)
            return sum(len(frame) for frame in frames[:at])
        if way < 0.4:  # close to the end, where proofs stand
            return max(0, size - draw.randrange(1, 260))
        return draw.randrange(size + 1)

    def _corrupt(self, frames: list[bytes]) -> bytes:
        draw = self.draw
        frame = draw.choice(frames)
        payload = frame.strip().rpartition(b"data:")[2].strip() or b"{}"
        half = payload[: max(1, draw.randrange(len(payload) + 1) - 1)]
        if payload[:1] != b"{":
            half = b'{"cut'
        if draw.random() < 0.3:
            half = payload + payload  # two values in one frame
        if payload == b"[DONE]" or half.strip() == b"":
            half = b"{"
        return half + b"\n" if self.dialect.wire == "ndjson" else b"data: " + half + b"\n\n"

    def _error(self, *, final: bool) -> bytes:
        draw = self.draw
        passing = draw.choice(("overloaded_error", "server_error"))
        kind = "invalid_request_error" if final else passing
        inner = {"type": kind, "message": "it broke"}
        match self.dialect.name:
            case "anthropic-messages":
                name, value = "error", {"type": "error", "error": inner}
            case "openai-responses":
                name = "error"
                value = {"type": "error", "code": kind, "message": "it broke", "param": None}
            case "gemini":
                status = "INVALID_ARGUMENT" if final else "UNAVAILABLE"
                code = 400 if final else 503
                name, value = "", {"error": {"code": code, "status": status, "message": "no"}}
            case "ollama":
                name, value = "", {"error": "it broke" if not final else {"type": kind}}
            case _:
                coded = {**inner, "code": 400 if final else 503}
                name, value = "", {"error": draw.choice((inner, coded))}
        if self.dialect.wire == "ndjson":
            return json.dumps(value).encode() + b"\n"
        head = f"event: {name}\n" if name else ""
        return f"{head}data: {json.dumps(value)}\n\n".encode()

    def _misnumbered(self, reply: Reply, frames: list[bytes]) -> list[bytes]:
        draw, frames = self.draw, list(frames)
        reply.renumbered = True
        numbered = [at for at, frame in enumerate(frames) if b"sequence_number" in frame]
        if reply.fault == "lost":
            if len(numbered) > 2:
                # The first has no number before it: its loss leaves no trace in the order.
                del frames[draw.choice(numbered[1:-1])]
            return frames
        at = draw.choice(numbered[1:-2] or numbered[:1])
        other = min(at + draw.randrange(1, 4), numbered[-1] - 1)
        if draw.random() < 0.5:
            frames.insert(max(other, at), frames[at])
        elif other > at:
            frames.insert(other, frames.pop(at))
        return frames

    def _reads(self, body: bytes, frames: list[bytes]) -> list[tuple[float, bytes]]:
        draw = self.draw
        way = draw.random()
        sizes: list[int]
        if way < 0.3:  # a frame a read
            sizes = [len(frame) for frame in frames]
        elif way < 0.4:
            sizes = [len(body)]
        elif way < 0.5:
            sizes = [draw.randrange(1, 40) for _ in range(len(body) // 20 + 1)]
        else:
            sizes = [draw.randrange(1, 700) for _ in range(len(body) // 300 + 1)]
        reads: list[tuple[float, bytes]] = []
        at = 0
        pace = draw.choice((0.0, 0.01, 0.2))
        for size in sizes:
            if at >= len(body):
                break
            reads.append((self._gap(pace), body[at : at + size]))
            at += size
        if at < len(body):
            reads.append((self._gap(pace), body[at:]))
        return reads

    def _gap(self, pace: float) -> float:
        return pace if self.draw.random() > 0.01 else self.draw.choice((1.0, 4.0, 15.0, 45.0))

    def _ping_on(self, reply: Reply) -> None:
        """After the cut: signs of life, and nothing else, for longer than any clock allows."""
        draw = self.draw
        last = reply.reads[-1][1] if reply.reads else b""
        end = b"\n\n" if self.dialect.wire == "sse" else b"\n"
        whole = not last or last.endswith((b"\n\n", b"\r\n\r\n"))
        if self.dialect.wire == "ndjson":
            whole = last.endswith(b"\n") or not last
        ping = b": ping" + end if self.dialect.wire == "sse" else b"\n"
        if self.dialect.wire == "sse" and draw.random() < 0.5:
            ping = b": " + b"ping " * 40 + end
        if not whole:  # the cut frame never ends: a comment inside it would be part of it
            ping = b" "
        reply.reads += [(2.0, ping)] * 400


class _Obedient:
    """A draw that always takes the first choice of manners, and else draws."""

    def __init__(self, draw: Random) -> None:
        self._draw = draw

    def choices(self, options: tuple[str, ...], weights: tuple[int, ...]) -> list[str]:
        return [self._draw.choice((options[0], options[0], options[3]))]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._draw, name)


def asked(dialect: str, body: bytes) -> tuple[str | None, str]:
    """Return the begun answer that a request shows, or None, and the anchor it asks for."""
    value = json.loads(body)
    turns = value.get("messages") or value.get("contents") or value.get("input")
    if not isinstance(turns, list):
        return None, ""
    said = [(turn.get("role"), _words_of(turn)) for turn in turns]
    if said[-1][0] in ("assistant", "model"):
        return said[-1][1], ""
    if len(said) > 1 and said[-2][0] in ("assistant", "model"):
        _, _, quoted = said[-1][1].partition("Begin with exactly: ")
        anchor = quoted.partition("\nThose are the last words")[0]
        if anchor.startswith("<cut>") and anchor.endswith("</cut>"):
            anchor = anchor[5:-6]
        return said[-2][1], anchor
    return None, ""


def _words_of(turn: dict[str, Any]) -> str:
    content = turn.get("content", turn.get("parts"))
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())
