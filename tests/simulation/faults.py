"""What goes wrong with an answer's bytes: cut, corrupted, misnumbered, silent, or an error."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.framing import WIRES, aws_message
from tests.simulation.reading import Reading
from tests.simulation.replies import Reply
from tests.simulation.requests import STOP
from tests.simulation.seen import parsed
from tests.simulation.speech import Truth

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["FAULTS", "break_reply", "error_frame", "reads_of", "refusal"]

# Kind of fault, with its weight for a first and for a later attempt.
FAULTS: dict[str, tuple[int, int]] = {
    "none": (18, 60),
    "eof": (14, 8),
    "reset": (14, 6),
    "silence": (6, 3),
    "pings": (5, 2),
    "corrupt": (4, 2),
    "replaced": (3, 2),
    "error": (7, 4),
    "final-error": (2, 1),
    "account-error": (2, 1),
    "safety": (1, 1),
    "no-stream": (3, 1),
    "empty": (3, 1),
    "oversized": (2, 1),
    "checksum": (2, 1),
    "http": (6, 5),
    "connect": (3, 3),
    "connect-hang": (0, 2),
    "linger": (4, 3),
    "swapped": (3, 2),
    "lost": (3, 2),
    "drip": (1, 1),
}
HEALTHY = ("none", "linger", "swapped")


def break_reply(
    world: World, reply: Reply, frames: list[bytes], *, dialect: str, later: bool = False
) -> None:
    """Let the reply's fault happen to the frames, and cut them into reads."""
    _Breaking(world, reply, dialect).run(frames)


class _Breaking:
    def __init__(self, world: World, reply: Reply, dialect: str) -> None:
        self.draw: Random = world.draw
        self.world = world
        self.reply = reply
        self.dialect = dialect
        self.wire = WIRES.get(dialect, "sse")

    def run(self, frames: list[bytes]) -> None:
        draw, reply, fault = self.draw, self.reply, self.reply.fault
        if fault in ("swapped", "lost"):
            frames = self._misnumbered(frames)
        last = max((n for n, frame in enumerate(frames) if frame[:1] != b":"), default=0)
        at = draw.randrange(last + 1)  # what comes behind the last marker is nobody's answer
        if fault == "corrupt":
            frames = [*frames[:at], self._corrupt(frames, at), *frames[at:]]
        elif fault == "replaced" and b"sequence_number" in frames[at]:
            # Its number is missed, and what it said may be made good.
            frames = [*frames[:at], self._corrupt(frames, at), *frames[at + 1 :]]
            reply.renumbered = True
        elif fault == "replaced":
            frames = self._replaced(frames, at)
        elif fault in ("error", "final-error", "account-error", "safety"):
            frames = [*frames[:at], error_frame(draw, self.dialect, fault, begun=at > 0)]
            if draw.random() < 0.4 and self.dialect == "openai-chat":
                frames.append(b"data: [DONE]\n\n")
        elif fault == "oversized":
            frames = self._oversized(frames, at)
        elif fault == "checksum":
            frame = bytearray(frames[at])
            frame[draw.randrange(len(frame))] ^= 1 << draw.randrange(8)
            frames = [*frames[:at], bytes(frame), *frames[at + 1 :]]
        elif fault == "no-stream":
            frames = [draw.choice((
                b"<html><body>502 Bad Gateway</body></html>",
                b'{"error": {"message": "no", "type": "server_error"}}',
                b'{"error": {"message": "bad key", "type": "authentication_error"}}\n',
            ))]  # fmt: skip
            reply.truth = None
        elif fault == "empty":
            frames = draw.choice(([], frames[:1], [b"\n"]))
            if self.wire == "aws":
                frames = frames[:1] if frames != [b"\n"] else []
        body = b"".join(frames)
        if fault in ("eof", "reset", "silence", "pings"):
            body = body[: self._cut(frames, len(body))]
            if fault == "pings" and draw.random() < 0.3:
                body = frames[0]  # before any content
        elif fault not in ("empty", "no-stream", "checksum"):
            reply.whole = fault in ("none", "linger", "swapped", "lost", "drip")
        reply.end = {"reset": "reset", "silence": "hang", "linger": "hang"}.get(fault, "eof")
        if fault in ("corrupt", "error") and draw.random() < 0.3:
            reply.end = draw.choice(("reset", "hang"))
        reply.end_s = draw.choice((0.0, 0.0, 0.3))
        reply.reads = reads_of(draw, body, frames)
        if fault == "pings":
            self._ping_on()
        elif fault == "drip":
            at = max(1, len(frames[0]))
            reply.reads = [(0.0, body[:at])]
            reply.reads += [(2.0, body[n : n + 160]) for n in range(at, len(body), 160)]

    def _cut(self, frames: list[bytes], size: int) -> int:
        draw = self.draw
        if self.world.stops and draw.random() < 0.6 and (places := self._half_stops(frames)):
            return draw.choice(places)
        way = draw.random()
        if way < 0.25:  # between two frames
            at = draw.randrange(len(frames) + 1)
            return sum(len(frame) for frame in frames[:at])
        if way < 0.4:  # close to the end, where proofs stand
            return max(0, size - draw.randrange(1, 260))
        return draw.randrange(size + 1)

    def _half_stops(self, frames: list[bytes]) -> list[int]:
        """Return the places behind which a stop sequence may be gone on with."""
        reading, at, places = Reading(self.dialect), 0, []
        begun = tuple(STOP[:size] for size in range(2, len(STOP)))
        for frame in frames:
            at += len(frame)
            reading.feed(frame)
            if reading.pieces and reading.text.endswith(begun):
                places.append(at)
        return places

    def _corrupt(self, frames: list[bytes], at: int) -> bytes:
        draw = self.draw
        if self.wire == "aws":
            return aws_message(
                draw.choice((b'{"cut', b"{}{}", b"{")),
                event_type="chunk", content_type="application/json", message_type="event",
            )  # fmt: skip
        if self.wire == "json-array":
            return b"[{]" if at == 0 and draw.random() < 0.0 else b'\n,\r\n{"cut": }'
        frame = draw.choice(frames)
        payload = frame.strip().rpartition(b"data:")[2].strip() or b"{}"
        half = payload[: max(1, draw.randrange(len(payload) + 1) - 1)]
        if payload[:1] != b"{":
            half = b'{"cut'
        way = draw.random()
        if way > 0.6 and (undecodable := self._undecodable(frames, at)) is not None:
            return undecodable
        if way < 0.3:
            half = payload + payload  # two values in one frame
        if payload == b"[DONE]" or half.strip() == b"":
            half = b"{"
        return half + b"\n" if self.wire == "ndjson" else b"data: " + half + b"\n\n"

    def _undecodable(self, frames: list[bytes], at: int) -> bytes | None:
        """Return a frame with a text of bytes that are no UTF-8; None where it may pass so."""
        options = self.world.options
        if options.malformed == "skip" or options.mode == "observe":
            return None
        reading = Reading(self.dialect, choices=self.world.choices)
        reading.feed(b"".join(frames[:at]))
        before = reading.text
        reading.feed(frames[at])
        said = json.dumps(reading.text[len(before) :])[1:-1].encode()
        if not said or frames[at].count(said) != 1:
            return None
        return frames[at].replace(said, b"\xc3")

    def _replaced(self, frames: list[bytes], at: int) -> list[bytes]:
        """One frame is garbled: what it said is lost."""
        garbled = self._corrupt(frames, at)
        if self.wire == "json-array" and at == 0:
            garbled = b'[{"cut": }'
        frames = [*frames[:at], garbled, *frames[at + 1 :]]
        truth = self.reply.truth
        if truth is not None:
            left = Reading(self.dialect, choices=self.world.choices)
            left.feed(b"".join(frames))
            if not left.bad or left.bad[0].end > sum(map(len, frames[: at + 1])):
                self.reply.fault = "corrupt"
            self.reply.truth = replace(
                truth, text=left.text, reasoning=left.reasoning,
                others=tuple(left.text_of(n + 1) for n in range(len(truth.others))),
                calls=self._left_calls(left, truth),
            )  # fmt: skip
            self.reply.holed = True
        return frames

    def _left_calls(self, left: Reading, truth: Truth) -> tuple[tuple[str, str], ...]:
        """Calls that were lost whole are lost; one with a hole in it must never come."""
        known: list[tuple[str, str]] = []
        rest = list(truth.calls)
        for call in left.calls:
            same = (c for c in rest if (c[0], parsed(c[1])) == (call.name, parsed(call.arguments)))
            found = next(same, None)
            if found is None:
                return truth.calls
            known.append(found)
            rest = rest[rest.index(found) + 1 :]
        return tuple(known)

    def _oversized(self, frames: list[bytes], at: int) -> list[bytes]:
        size = self.world.options.max_frame_bytes + 1
        if self.wire == "aws":
            filler = aws_message(b"x" * min(size, 70_000), event_type="chunk", message_type="event")
        elif self.wire == "json-array":
            filler = b',{"x": "' + b"x" * min(size, 70_000) + b'" }'
        else:
            filler = b"data: " + b"x" * min(size, 70_000)
        frames = [*frames[:at], filler, *frames[at:]]
        if size > 70_000:
            self.reply.fault = "corrupt"
            if self.wire not in ("aws", "json-array"):
                frames.insert(at + 1, b"\n\n")
            elif self.wire == "json-array":
                frames[at] = b'\n,\r\n{"cut": }'
        return frames

    def _misnumbered(self, frames: list[bytes]) -> list[bytes]:
        draw, frames = self.draw, list(frames)
        self.reply.renumbered = True
        numbered = [at for at, frame in enumerate(frames) if b"sequence_number" in frame]
        if self.reply.fault == "lost":
            for _ in range(draw.choice((1, 1, 1, 2, 4))):
                if len(numbered) > 2:
                    # The first has no number before it: its loss leaves no trace in the order.
                    del frames[draw.choice(numbered[1:-1])]
                    numbered = [n for n, frame in enumerate(frames) if b"sequence_n" in frame]
            return frames
        at = draw.choice(numbered[1:-2] or numbered[:1])
        other = min(at + draw.choice((1, 2, 3, 3, 6)), numbered[-1] - 1)
        if draw.random() < 0.5:
            frames.insert(max(other, at), frames[at])
        elif other > at:
            frames.insert(other, frames.pop(at))
        return frames

    def _ping_on(self) -> None:
        """After the cut: signs of life, and nothing else, for longer than any clock allows."""
        draw, reply = self.draw, self.reply
        last = reply.reads[-1][1] if reply.reads else b""
        if self.wire in ("aws", "json-array"):
            ping = b"" if self.wire == "aws" else b" "
            reply.reads += [(2.0, ping)] * 400 if ping else []
            reply.end = "hang"
            return
        end = b"\n\n" if self.wire == "sse" else b"\n"
        whole = not last or last.endswith((b"\n\n", b"\r\n\r\n"))
        if self.wire == "ndjson":
            whole = last.endswith(b"\n") or not last
        ping = b": ping" + end if self.wire == "sse" else b"\n"
        if self.wire == "sse" and draw.random() < 0.5:
            ping = b": " + b"ping " * 40 + end
        if not whole:  # the cut frame never ends: a comment inside it would be part of it
            ping = b" "
        reply.reads += [(2.0, ping)] * 400


def reads_of(draw: Random, body: bytes, frames: list[bytes]) -> list[tuple[float, bytes]]:
    """Cut a body into reads, with the time before each."""
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

    def gap() -> float:
        return pace if draw.random() > 0.01 else draw.choice((1.0, 4.0, 15.0, 45.0))

    for size in sizes:
        if at >= len(body):
            break
        if size:
            reads.append((gap(), body[at : at + size]))
        at += size
    if at < len(body):
        reads.append((gap(), body[at:]))
    return reads


_KINDS = {
    "error": ("overloaded_error", "server_error"),
    "final-error": ("invalid_request_error",),
    "account-error": ("authentication_error", "insufficient_quota", "model_not_found"),
    "safety": ("content_filter",),
}


def error_frame(draw: Random, dialect: str, fault: str, *, begun: bool = True) -> bytes:
    """Return a provider's own error in the stream."""
    kind = draw.choice(_KINDS[fault])
    final = fault != "error"
    inner = {"type": kind, "message": "it broke"}
    name = ""
    value: object
    match dialect:
        case "anthropic-messages":
            name, value = "error", {"type": "error", "error": inner}
        case "openai-responses":
            name = "error"
            value = {"type": "error", "code": kind, "message": "it broke", "param": None}
        case "gemini" | "gemini-array":
            status = {"error": "UNAVAILABLE", "final-error": "INVALID_ARGUMENT",
                      "account-error": "PERMISSION_DENIED"}.get(fault, kind)  # fmt: skip
            code = {"error": 503, "account-error": 403}.get(fault, 400)
            value = {"error": {"code": code, "status": status, "message": "no"}}
        case "ollama":
            value = {"error": "it broke" if not final else {"type": kind}}
        case "gemini-interactions":
            name = "error"
            value = {"event_type": "error", "error": {"code": kind, "message": "no"}}
        case "bedrock-converse" | "bedrock-invoke":
            named = {"error": "throttlingException", "final-error": "validationException",
                     "account-error": "accessDeniedException"}.get(fault, "")  # fmt: skip
            if named:
                return aws_message(
                    b'{"message": "it broke"}', exception_type=named,
                    content_type="application/json", message_type="exception",
                )  # fmt: skip
            inner_raw = base64.b64encode(json.dumps({"type": "error", "error": inner}).encode())
            payload = json.dumps({"bytes": inner_raw.decode()}).encode()
            return aws_message(payload, event_type="chunk", message_type="event")
        case "openai-chat":
            coded = {**inner, "code": kind if final else 503}
            value = {"error": draw.choice((inner, coded))}
        case _:
            value = {"error": inner}
    if dialect == "gemini-array":
        return (b"\n,\r\n" if begun else b"[") + json.dumps(value).encode()
    if dialect == "ollama":
        return json.dumps(value).encode() + b"\n"
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()


def refusal(draw: Random, head_s: float) -> Reply:
    """Return a head that is no 2xx."""
    status = draw.choice((400, 401, 403, 404, 422, 429, 429, 500, 503, 529))
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
    problem = b""
    told = headers.get("x-should-retry")
    if status == 429 and draw.random() < 0.3:
        problem = b'{"error": {"type": "insufficient_quota", "message": "no money"}}'
    hopeless = status in (401, 403, 404) or bool(problem) or told == "false"
    hopeless = hopeless and told != "true"
    return Reply(
        status, headers, head_s, fault="http", problem=problem,
        wait_s=wait_s, again_at=again_at, hopeless=hopeless,
    )  # fmt: skip
