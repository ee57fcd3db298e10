"""The model's answer to a request: a head, and the pieces of a healthy body."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from unbroken.lab.injectors.base import FaultError
from unbroken.lab.model.asks import Asked, Cursor, Refusal
from unbroken.lab.model.memory import Kept, Memory
from unbroken.lab.model.providers import PROVIDERS
from unbroken.lab.model.providers.around import info, model_entry, models
from unbroken.lab.model.recordings import Recordings
from unbroken.lab.model.script import Way, write_script
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.model.writing import answer_for, body_for, whole_for
from unbroken.lab.oracle.numbered import Numbered
from unbroken.lab.parts import Head, Piece
from unbroken.lab.shapes import content_type

__all__ = ["Reply", "reply_to"]

_JSON = "application/json"
_LLAMA_RING_BYTES = 4 * 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Reply:
    """An answer, healthy and whole, before any fault.

    Attributes:
        head: Status and headers.
        pieces: The body, with roles, places and pace; the reader may change the list.
        dialect: Whose frames they are.
        way: How it came about; ``plain`` and ``refused`` are no answers of the model.
        numbered: The whole answer as numbered text; None where it is another text.
        variant: Which of the model's answers it is.
        tokens: How many numbered tokens the whole answer has, 0 for another text.
        said: The text that this reply says: of arguments and of a continuation, what is new.
        start: Where in the whole answer it begins, in characters.
    """

    head: Head
    pieces: list[Piece] = field(default_factory=list)
    dialect: str
    way: Way = "whole"
    numbered: Numbered | None = None
    variant: int = 0
    tokens: int = 0
    said: str = ""
    start: int = 0


def reply_to(
    asked: Asked,
    settings: AnswerSettings,
    memory: Memory,
    variant: int = 0,
    replay: Recordings | None = None,
) -> Reply:
    """Return the model's answer.

    Args:
        asked: What was asked.
        settings: How the model answers.
        memory: What the service remembers; it is changed.
        variant: The number of the attempt, from 0: a model that samples answers each otherwise.
        replay: Recordings to answer with, in place of a text.
    """
    match asked.kind:
        case "answer":
            return _answer(asked, settings, memory, variant, replay)
        case "cursor":
            return _read_on(asked, settings, memory)
        case "kept":
            return _read_again(asked, settings, memory)
        case "stop":
            return _stop(asked, memory)
        case "count":
            return _json(asked, _count(asked))
        case "models":
            return _json(asked, models(asked.dialect))
        case "model":
            return _json(asked, model_entry(asked.dialect, asked.model))
        case "info":
            kind, body = info(asked.form)
            return _plain(asked, body, kind)


# Answers ----------------------------------------------------------------------------------


def _answer(
    asked: Asked,
    settings: AnswerSettings,
    memory: Memory,
    variant: int,
    replay: Recordings | None,
) -> Reply:
    repeats = "idempotency" in settings.honours
    kept = memory.repeat_of(asked) if repeats else None
    if kept is not None:
        return _reply(kept, "repeat")
    if replay is not None:
        try:
            return _played(asked, settings, replay)
        except FaultError as error:
            return _refused(asked, 404, str(error))
    script = write_script(asked, settings, variant)
    if asked.empty:
        script = replace(script, text="", start=0, numbered=None)
    id = f"lab{memory.next_number():08d}"
    if asked.stream:
        pieces = body_for(asked, settings, script, id)
    else:
        body = whole_for(asked, settings, script, id)
        takes_s = settings.ttft_s
        if settings.tps is not None:
            takes_s += len(script.tokens) / settings.tps
        pieces = [Piece(body, "content", 0, 0, takes_s)]
    kept = Kept(asked=asked, settings=settings, script=script, id=id, pieces=tuple(pieces))
    reply = _reply(kept, script.way)
    if repeats and asked.idempotency_key:
        memory.remember(asked, kept)
    if asked.keep and "cursor" in settings.honours:
        memory.keep(*_place(asked, id), kept)
    return reply


def _place(asked: Asked, id: str) -> tuple[str, str]:
    """Return under which service's ids an answer is kept, and under which."""
    if asked.keep.startswith("conversation:"):
        return "llama", asked.keep.removeprefix("conversation:")
    service = "interactions" if asked.dialect == "gemini-interactions" else "responses"
    return service, PROVIDERS[asked.dialect].prefix + id


def _whole(kept: Kept) -> Any:
    """Return an answer that is kept as the value of its JSON."""
    answer = answer_for(kept.asked, kept.settings, kept.script, kept.id)
    return PROVIDERS[kept.asked.dialect].whole(answer, kept.asked)


def _reply(kept: Kept, way: Way) -> Reply:
    asked, script = kept.asked, kept.script
    stream = asked.stream
    headers = {"content-type": content_type(asked.dialect) if stream else _JSON}
    headers |= {"cache-control": "no-cache"} if stream else {}
    headers[PROVIDERS[asked.dialect].request_id] = f"req_{kept.id}"
    said = "".join(script.tokens)
    if asked.max_tokens is not None:
        said = "".join(script.tokens[: asked.max_tokens])
    return Reply(
        head=Head(headers=headers, framing="chunked" if stream else "length"),
        pieces=[replace(piece) for piece in kept.pieces],
        dialect=asked.dialect,
        way=way,
        numbered=script.numbered,
        variant=script.variant,
        tokens=script.numbered.tokens if script.numbered else 0,
        said=said,
        start=script.start,
    )


def _played(asked: Asked, settings: AnswerSettings, replay: Recordings) -> Reply:
    if not asked.stream:
        msg = "recordings are streams: ask for one"
        raise FaultError(msg)
    recording = replay.take(asked, settings)
    return Reply(
        head=Head(status=recording.status, headers={"content-type": recording.content_type}),
        pieces=recording.pieces(settings),
        dialect=recording.dialect,
        said=recording.text,
    )


# What is kept -----------------------------------------------------------------------------


def _read_on(asked: Asked, settings: AnswerSettings, memory: Memory) -> Reply:
    """The rest of an answer that is kept, from a cursor on."""
    cursor = asked.cursor
    assert cursor is not None
    kept = memory.kept_at(cursor) if "cursor" in settings.honours else None
    if kept is None:
        return _refused(asked, 404, f"no answer {cursor.id!r} is kept")
    if not kept.asked.stream:
        return _refused(asked, 400, "the answer was not made as a stream")
    rest = _rest(kept, cursor)
    if isinstance(rest, str):
        return _refused(asked, 400, rest)
    reply = _reply(kept, "cursor")
    reply.pieces = list(_numbered_anew(rest))
    return reply


def _rest(kept: Kept, cursor: Cursor) -> list[Piece] | str:
    """Return the pieces behind a cursor, or why there are none."""
    pieces = kept.pieces
    if cursor.service == "llama":
        return _from_byte(kept, int(cursor.after or 0))
    if cursor.after is None:
        return list(pieces)
    if cursor.service == "interactions":
        mark = f'"event_id":"{cursor.after}"'.encode()
        for at, piece in enumerate(pieces):
            if mark in piece.data:
                return list(pieces[at + 1 :])
        return f"no event is called {cursor.after!r}"
    number, after = -1, int(cursor.after)
    for at, piece in enumerate(pieces):
        if piece.event and piece.role != "ping":  # comments carry no number
            number += 1
        if number > after:
            return list(pieces[at:])
    return []


def _from_byte(kept: Kept, begin: int) -> list[Piece] | str:
    whole = kept.bytes
    if begin > whole:
        return f"the stream has only {whole:,} bytes"
    if begin < whole - _LLAMA_RING_BYTES:
        return "stream offset lost: the buffer keeps 4 MiB"
    rest = [piece for piece in kept.pieces if piece.at_byte + len(piece.data) > begin]
    if rest and rest[0].at_byte < begin:
        first = rest[0]
        part = first.data[begin - first.at_byte :]
        # The other half of a frame holds no event of its own.
        rest[0] = replace(first, data=part, at_byte=begin, event=False)
    return rest


def _numbered_anew(pieces: Iterable[Piece]) -> Iterable[Piece]:
    at_byte = 0
    for number, piece in enumerate(pieces):
        yield replace(piece, frame=number, at_byte=at_byte)
        at_byte += len(piece.data)


def _read_again(asked: Asked, settings: AnswerSettings, memory: Memory) -> Reply:
    """An answer that is kept, whole."""
    cursor = asked.cursor
    assert cursor is not None
    kept = memory.kept_at(cursor) if "cursor" in settings.honours else None
    if kept is None:
        return _refused(asked, 404, f"no answer {cursor.id!r} is kept")
    return _json(asked, _whole(kept))


def _stop(asked: Asked, memory: Memory) -> Reply:
    cursor = asked.cursor
    assert cursor is not None
    kept = memory.forget(cursor) if asked.form != "cancelled" else memory.kept_at(cursor)
    if kept is None:
        return _refused(asked, 404, f"no answer {cursor.id!r} is kept")
    match asked.form:
        case "cancelled":
            # A scripted answer is there at once, so it always ended before.
            value: Any = _whole(kept)
        case "deleted":
            value = {"id": cursor.id, "object": "response.deleted", "deleted": True}
        case _:
            value = {"success": True}
    return _json(asked, value)


# Beside answers -----------------------------------------------------------------------------


def _count(asked: Asked) -> dict[str, Any]:
    tokens = 1 + asked.prompt_chars // 4
    match asked.dialect:
        case "gemini":
            return {"totalTokens": tokens}
        case "openai-responses":
            return {"object": "response.input_tokens", "input_tokens": tokens}
        case _:
            return {"input_tokens": tokens}


def _json(asked: Asked, value: Any) -> Reply:
    return _plain(asked, json.dumps(value, ensure_ascii=False).encode(), _JSON)


def _plain(asked: Asked, body: bytes, kind: str, *, status: int = 200, way: Way = "plain") -> Reply:
    return Reply(
        head=Head(status=status, headers={"content-type": kind}, framing="length"),
        pieces=[Piece(body, "other", 0)],
        dialect=asked.dialect,
        way=way,
    )


def _refused(asked: Asked, status: int, message: str) -> Reply:
    body = Refusal(status=status, message=message, dialect=asked.dialect).body
    return _plain(asked, body, _JSON, status=status, way="refused")
