"""From a truth to the bytes of a healthy stream, in one of the many legal shapes.

Delta sizes, line ends, escapes, comments, pings, empty deltas and unknown fields vary; a
surrogate pair may be cut over two deltas. The frames come from the dialect's own encoder; that
they say the truth is checked with the reader of these tests.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from random import Random

from tests.simulation.framing import WIRES
from tests.simulation.speech import Truth
from unbroken.core.dialects.base import Answer, AnswerCall, Dialect

__all__ = ["WHOLE_CALLS", "Style", "encode", "pieces_of"]

WHOLE_CALLS = ("gemini", "gemini-array", "ollama")
"""Dialects that write a call at once: its arguments are JSON."""

# A pair cut over two deltas is legal only as two escapes, which strict writers refuse: until
# the frames are written, each half stands as a character of the private use area.
_SHIFT = 0xE000 - 0xD800
_HALF = re.compile("[\ue000-\ue7ff]")
_BEYOND_ASCII = re.compile("[^\x00-\x7e]+")


@dataclass(frozen=True)
class Style:
    """How a server writes."""

    eol: str = "\n"
    space: str = " "
    ascii: bool = False
    cut_pairs: bool = False
    longest_piece: int = 12
    comments: float = 0.0
    pings: float = 0.0
    extra_field: bool = False
    ids: bool = False
    usage: bool = True
    serial: int = 1
    marks: int = 0

    @classmethod
    def of(cls, draw: Random, dialect: str, serial: int, *, kept: bool = False) -> Style:
        """Draw a style; an answer that is kept has ids of its own, and no frames without one."""
        busy = draw.random() < 0.3
        plain = dialect in ("gemini", *WIRES)
        return cls(
            eol="\r\n" if draw.random() < 0.25 else "\n",
            space="" if draw.random() < 0.15 else " ",
            ascii=draw.random() < 0.25,
            cut_pairs=draw.random() < 0.3 and WIRES.get(dialect) != "aws",
            longest_piece=draw.choice((1, 4, 12, 12, 40, 400)),
            comments=0.2 if busy and not plain and not kept else 0.0,
            pings=0.2 if busy and not kept else 0.0,
            extra_field=draw.random() < 0.2,
            ids=draw.random() < 0.1,
            usage=draw.random() < 0.8,
            # Some servers give every answer the same ids.
            serial=serial if kept or draw.random() < 0.8 else 1,
            marks=draw.choice((0, 1, 1, 1, 3)) if kept else 0,
        )


def pieces_of(draw: Random, text: str, style: Style) -> tuple[str, ...]:
    """Cut a text into deltas."""
    if style.cut_pairs:
        text = "".join(_halves(char) if char > "\uffff" else char for char in text)
    pieces = []
    at = 0
    while at < len(text):
        size = draw.randint(1, style.longest_piece)
        pieces.append(text[at : at + size])
        at += size
    return tuple(pieces)


def _halves(char: str) -> str:
    pair = char.encode("utf-16-be")
    return "".join(chr(int.from_bytes(pair[at : at + 2], "big") + _SHIFT) for at in (0, 2))


def encode(draw: Random, dialect: Dialect, truth: Truth, style: Style) -> list[bytes]:
    """Return the frames of a whole, healthy stream, all of its bytes."""
    if truth.others:
        return _interleaved(draw, truth, style)
    answer = Answer(
        text=pieces_of(draw, truth.text, style),
        reasoning=pieces_of(draw, truth.reasoning, style),
        calls=tuple(
            AnswerCall(
                name=name,
                arguments=pieces_of(draw, arguments, style)
                if dialect.name not in WHOLE_CALLS
                else (arguments,),
                id=f"call_{style.serial}_{at}",
            )
            for at, (name, arguments) in enumerate(truth.calls)
        ),
        finish=truth.finish,  # type: ignore[arg-type]
        usage=(draw.randrange(5, 99), draw.randrange(5, 99)) if style.usage else None,
        id=f"answer-{style.serial}",
        created=1_700_000_000 + style.serial,
    )
    frames: list[bytes] = []
    whole = dialect.encode(answer)
    for at, raw in enumerate(whole):
        if style.comments and draw.random() < style.comments:
            frames.append(f": keep-alive{style.eol}{style.eol}".encode())
        if 0 < at < len(whole) - 1 and style.pings and draw.random() < style.pings:
            frames += _ping(dialect.name, style)
        frames.append(_written(dialect, raw, style, at))
    if style.comments and draw.random() < 0.3:
        frames.append(f": bye{style.eol}{style.eol}".encode())
    return frames


def _interleaved(draw: Random, truth: Truth, style: Style) -> list[bytes]:
    """Return a Chat stream of several choices that take turns."""
    head = {
        "id": f"answer-{style.serial}", "object": "chat.completion.chunk", "created": 1_700_000_000,
        "model": "a-model",
    }  # fmt: skip

    def frame(at: int, delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": at, "delta": delta, "finish_reason": reason}
        payload = json.dumps({**head, "choices": [choice]}, ensure_ascii=False)
        payload = _escaped(payload, everything=style.ascii)
        return f"data:{style.space}{payload}{style.eol}{style.eol}".encode()

    reason = {"limit": "length", "filter": "content_filter"}.get(truth.finish, "stop")
    lanes = []
    for at, text in enumerate((truth.text, *truth.others)):
        lane = [frame(at, {"role": "assistant", "content": ""})]
        lane += [frame(at, {"content": piece}) for piece in pieces_of(draw, text, style)]
        lanes.append([*lane, frame(at, {}, reason)])
    frames = []
    while lanes:
        lane = draw.choice(lanes)
        frames.append(lane.pop(0))
        lanes = [each for each in lanes if each]
    if style.usage:
        usage = {"prompt_tokens": 9, "completion_tokens": 33, "total_tokens": 42}
        payload = json.dumps({**head, "choices": [], "usage": usage})
        frames.append(f"data:{style.space}{payload}{style.eol}{style.eol}".encode())
    return [*frames, f"data:{style.space}[DONE]{style.eol}{style.eol}".encode()]


def _written(dialect: Dialect, raw: bytes, style: Style, at: int) -> bytes:
    if dialect.wire == "aws-event-stream":
        return raw
    if dialect.wire == "json-array":
        return _escaped(raw.decode(), everything=style.ascii).encode()
    name, payload = "", raw.decode().strip()
    if dialect.wire == "sse":
        for line in raw.decode().replace("\r\n", "\n").split("\n"):
            key, _, value = line.partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                payload = value
    if payload[:1] == "{":
        marked = style.marks and at % style.marks == 0
        if style.ascii or style.extra_field or marked:
            value = json.loads(payload)
            if marked:
                value["event_id"] = f"e{at}"
            if style.extra_field:
                value["obfuscation"] = "x" * (at % 5)
            payload = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        if style.cut_pairs or style.ascii:
            payload = _escaped(payload, everything=style.ascii)
    if dialect.wire == "ndjson":
        return (payload + style.eol).encode()
    lines = [f"id:{style.space}{at}"] if style.ids else []
    lines += [f"event:{style.space}{name}"] if name else []
    lines += [f"data:{style.space}{payload}", "", ""]
    return style.eol.join(lines).encode()


def _escaped(payload: str, *, everything: bool) -> str:
    payload = _HALF.sub(lambda half: f"\\u{ord(half[0]) - _SHIFT:04x}", payload)
    if everything and not payload.isascii():
        payload = _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], payload)
    return payload


def _ping(dialect: str, style: Style) -> list[bytes]:
    """Return a frame that says nothing, where the dialect has one that may come anywhere."""
    match dialect:
        case "openai-chat":
            empty = {
                "id": f"answer-{style.serial}",
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
            }
            name, payload = "", json.dumps(empty)
        case "anthropic-messages":
            name, payload = "ping", '{"type": "ping"}'
        case "gemini-interactions":
            name = "interaction.status_update"
            value = {"event_type": name, "interaction_id": f"answer-{style.serial}"}
            payload = json.dumps({**value, "status": "in_progress"})
        case _:
            return []
    lines = [f"event: {name}"] if name else []
    return [style.eol.join([*lines, f"data: {payload}", "", ""]).encode()]
