"""The dialects: frames to events and back, a folder or a file for each provider's API.

Other packages bring dialects too. The core finds and loads none: it is given a function that
does (`load_with`), and what comes of it is registered here. A dialect of theirs that raises when
it is asked whose a request is has been heard for the last time: it must not break streams.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, get_args

from unbroken.core.dialects.anthropic_messages.dialect import AnthropicMessages
from unbroken.core.dialects.base import Dialect
from unbroken.core.dialects.bedrock.converse import BedrockConverse
from unbroken.core.dialects.bedrock.invoke import BedrockInvoke
from unbroken.core.dialects.cohere.dialect import Cohere
from unbroken.core.dialects.gemini.array import GeminiArray
from unbroken.core.dialects.gemini.dialect import Gemini
from unbroken.core.dialects.gemini_interactions.dialect import GeminiInteractions
from unbroken.core.dialects.ollama.dialect import Ollama
from unbroken.core.dialects.openai_assistants import OpenAIAssistants
from unbroken.core.dialects.openai_chat.dialect import OpenAIChat
from unbroken.core.dialects.openai_completions import OpenAICompletions
from unbroken.core.dialects.openai_responses.dialect import OpenAIResponses
from unbroken.core.frames import Frame
from unbroken.core.request import Request
from unbroken.core.wire import Wire

__all__ = [
    "DIALECTS",
    "by_name",
    "framed",
    "load_with",
    "recognise_frame",
    "recognise_request",
    "register",
]

# To add a dialect is to write its folder or file, and to name it here.
_CLASSES: tuple[type[Dialect], ...] = (
    OpenAIChat,
    OpenAIResponses,
    AnthropicMessages,
    Gemini,
    GeminiArray,
    Ollama,
    OpenAICompletions,
    Cohere,
    BedrockConverse,
    BedrockInvoke,
    GeminiInteractions,
    OpenAIAssistants,
)

DIALECTS: dict[str, Dialect] = {cls.name: cls() for cls in _CLASSES}
"""Every dialect by its name; instances carry no state."""
_OWN = frozenset(DIALECTS)
_complaints: dict[str, Callable[[str, Exception], None]] = {}
_loader: list[Callable[[], None]] = []
T = TypeVar("T")


def register(
    dialect: Dialect, *, on_failure: Callable[[str, Exception], None] | None = None
) -> None:
    """Add a dialect. Those that come with Unbroken are asked before it.

    Args:
        dialect: An instance; it carries no state.
        on_failure: Called with its name and the error if it raises when it is asked whether
            it knows a request or a frame; it is asked no more then.

    Raises:
        TypeError: If it is no `Dialect`, or its reader is not a `Reader`.
        ValueError: If its name is taken or none, or there is no such wire.
    """
    if not isinstance(dialect, Dialect):
        msg = f"a dialect is an instance of Dialect, not {type(dialect).__name__}"
        raise TypeError(msg)
    name, wire = getattr(dialect, "name", ""), getattr(dialect, "wire", "")
    if not isinstance(name, str) or not name:
        msg = f"{type(dialect).__name__} has no name"
        raise ValueError(msg)
    if name in DIALECTS:
        msg = f"a dialect is called {name!r} already"
        raise ValueError(msg)
    if wire not in get_args(Wire):
        msg = f"{name} has the wire {wire!r}; the wires are {', '.join(get_args(Wire))}"
        raise ValueError(msg)
    reader = dialect.reader()
    if not all(callable(getattr(reader, method, None)) for method in ("read", "texts", "fork")):
        msg = f"the reader of {name} has not all of read, texts and fork (see PlainReader)"
        raise TypeError(msg)
    DIALECTS[name] = dialect
    if on_failure is not None:
        _complaints[name] = on_failure


def load_with(loader: Callable[[], None]) -> None:
    """Give the function that registers what other packages bring.

    It is called at every look-up, so it must see for itself that it loads once.
    """
    _loader[:] = [loader]


def _all() -> list[Dialect]:
    for load in _loader:
        load()
    return list(DIALECTS.values())


def _ask(dialect: Dialect, question: Callable[[Dialect], T]) -> T | None:
    """Return what a dialect answers; None if it is another package's and raises."""
    try:
        return question(dialect)
    except Exception as bug:  # told to whom it concerns; ours is raised
        if dialect.name in _OWN:
            raise
        DIALECTS.pop(dialect.name, None)
        if (complain := _complaints.pop(dialect.name, None)) is not None:
            complain(dialect.name, bug)
        return None


def by_name(name: str) -> Dialect:
    """Return the dialect of that name.

    Raises:
        ValueError: If there is none; the message lists those that there are.
    """
    _all()
    try:
        return DIALECTS[name]
    except KeyError:
        msg = f"no dialect is called {name!r}; the dialects are {', '.join(DIALECTS)}"
        raise ValueError(msg) from None


def recognise_request(request: Request) -> Dialect | None:
    """Return the dialect that a request's URL speaks, streamed or not, or None."""
    for dialect in _all():
        if _ask(dialect, lambda known: known.recognises_path(request.path)):
            found = _ask(dialect, lambda known: known.asked_as(request))
            return None if found is None else DIALECTS.get(found.name, found)
    return None


def recognise_frame(frame: Frame) -> Dialect | None:
    """Return the dialect that a first dispatched frame looks like, or None."""
    return next((d for d in _all() if _ask(d, lambda known: known.recognises_frame(frame))), None)


def framed(dialect: Dialect, head: bytes) -> Dialect:
    """Return the dialect, or the one of the same API on the wire that the first bytes show."""
    found = dialect.framed_as(head)
    return DIALECTS.get(found.name, found)
