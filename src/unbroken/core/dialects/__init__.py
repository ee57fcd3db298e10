"""The dialects: frames to events and back, one file a provider API."""

from __future__ import annotations

from unbroken.core.dialects.anthropic_messages import AnthropicMessages
from unbroken.core.dialects.base import Dialect
from unbroken.core.dialects.gemini import Gemini
from unbroken.core.dialects.ollama import Ollama
from unbroken.core.dialects.openai_chat import OpenAIChat
from unbroken.core.dialects.openai_responses import OpenAIResponses
from unbroken.core.frames import Frame
from unbroken.core.request import Request

__all__ = ["DIALECTS", "by_name", "recognise_frame", "recognise_request"]

# To add a dialect is to write its file and to name it here.
_CLASSES: tuple[type[Dialect], ...] = (
    OpenAIChat,
    OpenAIResponses,
    AnthropicMessages,
    Gemini,
    Ollama,
)

_WIRE_BY_QUERY = frozenset({"gemini"})

DIALECTS: dict[str, Dialect] = {cls.name: cls() for cls in _CLASSES}
"""Every dialect by its name; instances carry no state."""


def by_name(name: str) -> Dialect:
    """Return the dialect of that name.

    Raises:
        ValueError: If there is none; the message lists those that there are.
    """
    try:
        return DIALECTS[name]
    except KeyError:
        msg = f"no dialect is called {name!r}; the dialects are {', '.join(DIALECTS)}"
        raise ValueError(msg) from None


def recognise_request(request: Request) -> Dialect | None:
    """Return the dialect that a request's URL speaks, streamed or not, or None.

    The query counts only where it chooses the wire: Gemini without ``alt=sse`` streams a JSON
    array, and is not recognised.
    """
    for dialect in DIALECTS.values():
        if dialect.recognises_path(request.path) and (
            dialect.name not in _WIRE_BY_QUERY or dialect.wants_stream(request)
        ):
            return dialect
    return None


def recognise_frame(frame: Frame) -> Dialect | None:
    """Return the dialect that a first dispatched frame looks like, or None."""
    return next((d for d in DIALECTS.values() if d.recognises_frame(frame)), None)
