"""The text of any SDK's stream: one row of a table for each shape that events come in.

No SDK is imported: an event is known by the fields that it has, as an object or as a `dict`.
What has no text (metadata, usage, pings, tool calls, reasoning, a finish) gives none, and is
never an error. Of several answers (``n`` > 1) it is the first.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

from unbroken.core.events import Text

__all__ = ["aiter_text", "iter_text", "text_of"]

_MISSING = object()


def _get(holder: Any, name: str) -> Any:
    """Return a field of an object or a `dict`, or None."""
    if isinstance(holder, Mapping):
        return holder.get(name)
    return getattr(holder, name, None)


def _has(holder: Any, name: str) -> bool:
    if isinstance(holder, Mapping):
        return name in holder
    return getattr(holder, name, _MISSING) is not _MISSING


def _joined(content: Any) -> str:
    """Return the text of a content: a string, or a list of parts of which some are text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return ""
    return "".join(_part(part) for part in content)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if _get(part, "thought") or _get(part, "type") not in (None, "text", "output_text"):
        return ""
    text = _get(part, "text")
    return text if isinstance(text, str) else ""


def _first(holder: Any, name: str) -> Any:
    """Return the entry with index 0 (or without an index) of a list in a field, or None."""
    entries = _get(holder, name)
    if not isinstance(entries, list | tuple):
        return None
    return next((entry for entry in entries if not _get(entry, "index")), None)


def _choices(event: Any) -> str:
    """OpenAI chat and completions, and all that speak like them."""
    choice = _first(event, "choices")
    delta = _get(choice, "delta")
    return _joined(_get(choice, "text") if delta is None else _get(delta, "content"))


def _candidates(event: Any) -> str:
    """Gemini."""
    content = _get(_first(event, "candidates"), "content")
    return _joined(_get(content, "parts"))


def _ollama_chat(event: Any) -> str:
    return _joined(_get(_get(event, "message"), "content"))


def _ollama_generate(event: Any) -> str:
    return _joined(_get(event, "response"))


def _wrapped(event: Any) -> str:
    """Mistral puts each event into an envelope, and so do some SSE clients."""
    inner = _get(event, "data")
    return "" if isinstance(inner, str | bytes) or inner is None else text_of(inner)


def _text_generation(event: Any) -> str:
    token = _get(event, "token")
    return "" if _get(token, "special") else _joined(_get(token, "text"))


def _nothing(event: Any) -> str:
    return ""


def _delta(event: Any) -> str:
    """The delta is the text, or holds it."""
    delta = _get(event, "delta")
    return delta if isinstance(delta, str) else _part(delta) if delta is not None else ""


def _anthropic_delta(event: Any) -> str:
    delta = _get(event, "delta")
    return _joined(_get(delta, "text")) if _get(delta, "type") == "text_delta" else ""


def _anthropic_start(event: Any) -> str:
    block = _get(event, "content_block")
    return _joined(_get(block, "text")) if _get(block, "type") == "text" else ""


def _cohere_delta(event: Any) -> str:
    content = _get(_get(_get(event, "delta"), "message"), "content")
    return _part(content) if content is not None else ""


def _message_part(event: Any) -> str:
    """LangChain: a part of a message, which adds up to the message."""
    return _joined(_get(event, "content"))


def _pydantic_ai(event: Any) -> str:
    """pydantic-ai says what was added to which part, and gives a part's first words with it."""
    delta, part = _get(event, "delta"), _get(event, "part")
    if _get(delta, "part_delta_kind") == "text":
        return _joined(_get(delta, "content_delta"))
    if _get(event, "event_kind") == "part_start" and _get(part, "part_kind") == "text":
        return _joined(_get(part, "content"))
    return ""


_BY_TYPE: dict[str, Callable[[Any], str]] = {
    "response.output_text.delta": _delta,  # OpenAI Responses
    "content_block_start": _anthropic_start,
    "content_block_delta": _anthropic_delta,
    "text": _nothing,  # anthropic's helper: says again what `content_block_delta` said
    "chunk": _nothing,  # openai's chat helper: its `content.delta` says it again
    "content.delta": _delta,  # openai's chat helper; Gemini interactions
    "content-delta": _cohere_delta,
    "AIMessageChunk": _message_part,
}
"""Events that name their type. A type that is not here may still have one of the shapes."""

_BY_FIELD: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("choices", _choices),
    ("candidates", _candidates),
    ("message", _ollama_chat),
    ("response", _ollama_generate),
    ("token", _text_generation),
    ("data", _wrapped),
    ("event_kind", _pydantic_ai),
)
"""Events known by a field, in this order."""

_WITH_DONE = (_ollama_chat, _ollama_generate)
"""Shapes that are only believed beside a field ``done``: their names are used elsewhere."""


def text_of(event: Any) -> str:
    """Return the answer text in one event of a stream; ``""`` where there is none.

    Args:
        event: An event of any SDK, or of `unbroken.stream`; a `dict`, or a plain string.
    """
    if isinstance(event, str):
        return event
    if isinstance(event, Text):
        return event.text if event.choice == 0 else ""
    if type(event).__module__ == Text.__module__:
        return ""  # another event of ours
    kind = _get(event, "type")
    if isinstance(kind, str) and (named := _BY_TYPE.get(kind)) is not None:
        return named(event)
    for field, read in _BY_FIELD:
        if _has(event, field) and (read not in _WITH_DONE or _has(event, "done")):
            return read(event)
    return ""


def iter_text(stream: Iterable[Any]) -> Iterator[str]:
    """Yield the text of any SDK's stream, whatever odd events it holds.

    OpenAI (chat, responses, completions, the ``.stream()`` helpers) and all that are
    compatible with it, Anthropic, Gemini, Ollama, Mistral, Groq, Cohere, LangChain, the events
    of pydantic-ai, litellm, and `unbroken.stream`.
    Events without text are passed over; nothing is looked up that might be missing. What
    the stream raises is raised here.

    Args:
        stream: What the SDK returned. It is closed if you leave before its end.

    Yields:
        Pieces of text as they come, none of them empty.

    Raises:
        TypeError: If it cannot be iterated.
    """
    try:
        events = iter(stream)
    except TypeError:
        raise TypeError(_unfit(stream, "aiter_text", "__aiter__", "with", "__enter__")) from None
    return _texts(stream, events)


def _texts(stream: Any, events: Iterator[Any]) -> Iterator[str]:
    ended = False
    try:
        for event in events:
            if text := text_of(event):
                yield text
        ended = True
    finally:
        close = getattr(stream, "close", None)
        if not ended and callable(close):
            close()


def aiter_text(stream: Any) -> AsyncIterator[str]:
    """Yield the text of any SDK's async stream; see `iter_text`.

    Args:
        stream: What the SDK returned; it may be the call that was not awaited yet. Close it
            yourself, best with ``async with``, if you leave before its end.

    Raises:
        TypeError: If it cannot be iterated.
    """
    if not isinstance(stream, AsyncIterable) and not inspect.isawaitable(stream):
        raise TypeError(_unfit(stream, "iter_text", "__iter__", "async with", "__aenter__"))
    return _AsyncTexts(stream)


class _AsyncTexts:
    """A class and not a generator: an abandoned one would be closed at some later time."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._events: AsyncIterator[Any] | None = None

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if self._events is None:
            if not isinstance(self._stream, AsyncIterable):
                self._stream = await self._stream
            self._events = aiter(self._stream)
        async for event in self._events:
            if text := text_of(event):
                return text
        raise StopAsyncIteration


def _unfit(stream: Any, other: str, other_mark: str, word: str, enter: str) -> str:
    """Return what to say about something that cannot be iterated."""
    name = f"{type(stream).__module__}.{type(stream).__qualname__}"
    if hasattr(stream, other_mark):
        return f"{name} is for unbroken.{other}"
    if hasattr(stream, enter):
        return f"{name} is opened first: `{word} ... as stream`, then its text can be read"
    return f"{name} is no stream: it cannot be iterated"
