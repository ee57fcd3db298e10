"""From what is said to a body: deltas as the provider cuts them, its frames, and their pace.

Bodies come from the dialects' encoders, are joined, and decoded again into frames: what the lab
sends is what a decoder would find. The same order gives the same body but for its ids, so bodies
are remembered; a thousand streams at a time cost little more than copies.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.answer import Answer, AnswerCall
from unbroken.lab import shapes
from unbroken.lab.framing import payload_of, with_payload
from unbroken.lab.injectors.base import FaultError
from unbroken.lab.model.asks import Asked
from unbroken.lab.model.providers import PROVIDERS
from unbroken.lab.model.script import Script, numbered_for, tokens_of
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.oracle.numbered import Numbered
from unbroken.lab.parts import Piece
from unbroken.lab.roles import pieces_of_body

__all__ = ["NO_ID", "answer_for", "body_for", "paced", "whole_for"]

NO_ID = "lab00000000"
"""Stands for the number of an answer in a body that is remembered."""
_NO_MODEL = "lab-no-model"

# Medians in characters, as they were recorded from the providers.
_MEDIANS = {
    "anthropic-messages": 12,
    "bedrock-converse": 12,
    "bedrock-invoke": 12,
    "gemini": 26,
    "gemini-array": 26,
    "gemini-interactions": 26,
}
_MEDIAN = 4
_LARGEST = 308
_SPREAD = 0.55  # of the logarithm of a size
_CHARS_A_TOKEN = 4
_THINKING_SEED = 7_919  # other words than the answer's: thinking must not pass for it
_THINKING_SHARE = 4
_REMEMBERED_CHARS = 24_000
_MOST_PINGS = 10_000  # in one answer


@dataclass(frozen=True, slots=True)
class _Order:
    """All that a body depends on."""

    asked: Asked
    settings: AnswerSettings
    script: Script


def body_for(asked: Asked, settings: AnswerSettings, script: Script, id: str) -> list[Piece]:
    """Return the healthy body of a streamed answer, with roles and pace.

    Args:
        asked: What was asked.
        settings: How the model answers.
        script: What it says.
        id: The answer's number, as it stands in ids.
    """
    order = _Order(_without_caller(asked), settings, script)
    short = len(script.text) <= _REMEMBERED_CHARS
    pieces = _remembered_body(order) if short else _body(order)
    model = json.dumps(asked.model, ensure_ascii=False)[1:-1]
    names = ((NO_ID.encode(), id.encode()), (_NO_MODEL.encode(), model.encode("utf-8", "replace")))
    return list(_named(pieces, asked.dialect, names))


_Names = tuple[tuple[bytes, bytes], ...]


def _named(pieces: Iterable[Piece], dialect: str, names: _Names) -> Iterator[Piece]:
    """Yield copies of pieces that bear an answer's own id and model."""
    checked = DIALECTS[dialect].wire == "aws-event-stream"  # its messages have checksums
    at_byte = 0
    for piece in pieces:
        data = piece.data
        if not checked:
            for old, new in names:
                data = data.replace(old, new)
        elif piece.role == "start":  # only there does it name anything
            payload = named = payload_of(dialect, data)
            for old, new in names:
                named = named.replace(old, new)
            if named != payload:
                data = with_payload(dialect, data, named)
        yield Piece(data, piece.role, piece.frame, at_byte, piece.pace_s, piece.event)
        at_byte += len(data)


def whole_for(asked: Asked, settings: AnswerSettings, script: Script, id: str) -> bytes:
    """Return the answer that is not streamed, as JSON."""
    answer = answer_for(asked, settings, script, id)
    value = PROVIDERS[asked.dialect].whole(answer, asked)
    return json.dumps(value, ensure_ascii=False).encode()


def answer_for(asked: Asked, settings: AnswerSettings, script: Script, id: str) -> Answer:
    """Return the answer as data, in deltas."""
    provider = PROVIDERS[asked.dialect]
    pick = random.Random(f"{settings.seed}/{script.variant}/{script.start}/deltas")
    tokens = script.tokens
    limit = asked.max_tokens
    cut = limit is not None and len(tokens) > limit
    tokens = tokens[:limit] if cut else tokens
    tool = settings.say == "tool" and provider.calls and asked.form != "generate"
    thinking: tuple[str, ...] = ()
    if settings.say == "thinking" and provider.thinks and script.way != "prefill":
        thinking = tokens_of(_thinking(settings, script.variant).text)
    made = len(tokens) + len(thinking)
    calls: tuple[AnswerCall, ...] = ()
    if tool:
        calls = _calls(asked, settings, tokens, id, pick, cut=cut)
        tokens = ()
    counted = settings.usage and asked.wants_usage
    return Answer(
        text=tuple(_deltas(tokens, asked.dialect, settings, pick)),
        reasoning=tuple(_deltas(thinking, asked.dialect, settings, pick)),
        calls=calls,
        finish="limit" if cut else "tool-calls" if tool else "stop",
        usage=(1 + asked.prompt_chars // _CHARS_A_TOKEN, made) if counted else None,
        id=f"{provider.prefix}{id}",
        model=asked.model,
    )


def _calls(
    asked: Asked,
    settings: AnswerSettings,
    tokens: tuple[str, ...],
    id: str,
    pick: random.Random,
    *,
    cut: bool,
) -> tuple[AnswerCall, ...]:
    tool = asked.tools[0] if asked.tools else None
    whole_objects = asked.dialect in ("gemini", "gemini-array", "ollama")
    if cut and whole_objects:
        return ()  # half an object cannot be said there
    argument = (tool.argument if tool else "") or "text"
    said = [f'{{{json.dumps(argument)}: "']
    said += [json.dumps(token, ensure_ascii=False)[1:-1] for token in tokens]
    said += [] if cut else ['"}']
    fragments = tuple(_deltas(said, asked.dialect, settings, pick))
    prefix = PROVIDERS[asked.dialect].call_prefix
    name = tool.name if tool else "write"
    return (AnswerCall(name=name, arguments=fragments, id=f"{prefix}{id}"),)


def _thinking(settings: AnswerSettings, variant: int) -> Numbered:
    known = numbered_for(settings, variant)
    return replace(
        known,
        tokens=max(1, settings.tokens // _THINKING_SHARE),
        seed=settings.seed + _THINKING_SEED,
    )


def _deltas(
    tokens: Iterable[str], dialect: str, settings: AnswerSettings, pick: random.Random
) -> Iterator[str]:
    """Cut what is said into deltas."""
    if settings.delta == "token":
        yield from tokens
        return
    text, at = "".join(tokens), 0
    median = _MEDIANS.get(dialect, _MEDIAN)
    while at < len(text):
        if isinstance(settings.delta, int):
            size = settings.delta
        else:
            size = round(pick.lognormvariate(math.log(median), _SPREAD))
        size = min(max(size, 1), _LARGEST) if isinstance(settings.delta, str) else size
        yield text[at : at + size]
        at += size


# Frames -----------------------------------------------------------------------------------


def _without_caller(asked: Asked) -> Asked:
    """Return what was asked, less what no body depends on: bodies of all callers are one."""
    return replace(
        asked,
        model=_NO_MODEL,
        prefill="",
        prompt="",
        partial="",
        quoted="",
        anchor="",
        seed=None,
        temperature=None,
        idempotency_key="",
        fingerprint="",
        keep="kept" if asked.keep else "",
    )


def _body(order: _Order) -> tuple[Piece, ...]:
    asked, settings = order.asked, order.settings
    dialect = asked.dialect
    answer = answer_for(asked, settings, order.script, NO_ID)
    frames = DIALECTS[dialect].encode(answer)
    dress = PROVIDERS[dialect].dress
    if dress is not None:
        frames = dress(frames, asked)
    frames = [*_comments(dialect, settings), *frames]
    pieces = pieces_of_body(dialect, b"".join(frames))
    return tuple(paced(pieces, dialect, settings, seed=f"{order.script.variant}/pace"))


_remembered_body = lru_cache(maxsize=64)(_body)


def _comments(dialect: str, settings: AnswerSettings) -> list[bytes]:
    """Return what OpenRouter sends while it waits, where the wire has comments for it."""
    if DIALECTS[dialect].wire != "sse" or dialect == "gemini":  # Google's SDK breaks on them
        return []
    return [b": OPENROUTER PROCESSING\n\n"] * settings.comments


# Pace -------------------------------------------------------------------------------------


def paced(
    pieces: Iterable[Piece], dialect: str, settings: AnswerSettings, *, seed: str = ""
) -> Iterator[Piece]:
    """Yield pieces with the time that the model takes for each, and its pings in long gaps.

    The first content comes after ``ttft_s``, what follows at ``tps``. Frames without content
    come with the one before them. Numbers and places are given anew.
    """
    pick = random.Random(f"{settings.seed}/{seed}")
    sign = shapes.ping(dialect) or shapes.comment(dialect)
    gap_s = 1 / settings.tps if settings.tps else 0.0
    contents = number = at_byte = pings = 0
    for piece in pieces:
        wait_s = 0.0
        if piece.role == "content":
            if not contents:
                wait_s = settings.ttft_s
            elif contents % settings.burst == 0:
                wait_s = gap_s * settings.burst
            wait_s *= 1 + settings.jitter * pick.uniform(-1, 1)
            contents += 1
        while sign and settings.pings_s and number and wait_s > settings.pings_s:
            pings += 1
            if pings > _MOST_PINGS:
                msg = f"pings={settings.pings_s:g}s: more than {_MOST_PINGS:,} in the answer"
                raise FaultError(msg)
            wait_s -= settings.pings_s
            event = dialect == "anthropic-messages"
            yield Piece(sign, "ping", number, at_byte, settings.pings_s, event)
            number, at_byte = number + 1, at_byte + len(sign)
        yield Piece(piece.data, piece.role, number, at_byte, wait_s, piece.event)
        number, at_byte = number + 1, at_byte + len(piece.data)
