"""Put Unbroken under an SDK client that is already built."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from unbroken.api.clients import LIBRARIES, load_library
from unbroken.core.actions import Reconnecting, StallNotice
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.sinks.base import Sink, must_make_sinks
from unbroken.telemetry import Callbacks, HealthMonitor
from unbroken.telemetry.recording.flight import shared_flight_recorder
from unbroken.telemetry.recording.tape import Tapes

__all__ = ["wrap"]

_Client = TypeVar("_Client")
_log = logging.getLogger("unbroken")
_DEPTH = 4
"""How many attributes lie between an SDK's client and its HTTP client, at most (Cohere's)."""
_MOST_OBJECTS = 500
_SDKS = frozenset({"anthropic", "cohere", "google", "groq", "mistralai", "ollama", "openai"})
"""What other packages build on (langchain, pydantic-ai, instructor): also looked into."""


def wrap(
    client: _Client,
    *,
    options: Options | None = None,
    on_outcome: Callable[[Outcome], object] | None = None,
    on_stall: Callable[[StallNotice], object] | None = None,
    on_reconnect: Callable[[Reconnecting], object] | None = None,
    sink: Callable[[], Sink] | None = None,
    health: HealthMonitor | None = None,
    recorder: Tapes | None = None,
) -> _Client:
    """Put Unbroken under an SDK client that is already built and configured.

    The transport of its HTTP client (httpx2 or httpx, sync and async where it has both) is
    wrapped in place, with the ones of its proxies; all other settings stay. Copies that share
    the HTTP client (openai's ``with_options``) are protected with it. To wrap it again
    changes nothing.

    Args:
        client: OpenAI, Anthropic, google-genai, Ollama, Mistral, Groq, Cohere or any other
            client that keeps an httpx2 or httpx client; a LangChain model, a pydantic-ai agent,
            model or provider, or an instructor client that holds one; or an HTTP client itself.
        options: How to treat streams.
        on_outcome: Called with the outcome of every stream.
        on_stall: Called when nothing moves for a while.
        on_reconnect: Called before every further upstream request.
        sink: Makes what each stream is written to while it comes; see `unbroken.sinks`.
        health: Watches each stream; see `unbroken.telemetry.HealthMonitor`.
        recorder: Records each stream: an `unbroken.telemetry.Recorder` every byte of it, to a
            file. None takes the process's flight recorder, which keeps the last reads of each
            stream in memory, for `Outcome.flight` of one that fails.

    Returns:
        The same client.

    Raises:
        TypeError: If no HTTP client can be found in it.
    """
    must_make_sinks(sink)
    found = list(_http_clients(client))
    if not found:
        name = f"{type(client).__module__}.{type(client).__qualname__}"
        msg = (
            f"found no httpx2 or httpx client in {name}; if the SDK takes one, give it"
            " http_client=unbroken.http_client()"
        )
        raise TypeError(msg)
    observer = Callbacks(on_stall=on_stall, on_reconnect=on_reconnect, on_outcome=on_outcome)
    tapes = recorder or shared_flight_recorder()
    for library, http_client in found:
        _wrap_in_place(library, http_client, options, observer, sink, health, tapes)
    if _async_by_aiohttp(client):
        _log.warning(
            "the async calls of this google-genai client go through aiohttp, which Unbroken"
            " cannot protect; build it with http_options={'httpx_async_client':"
            " unbroken.async_http_client()}"
        )
    return client


def _http_clients(client: Any) -> Iterator[tuple[str, Any]]:
    """Yield the HTTP clients that an SDK's client keeps, with their library's name.

    Only objects of its own packages and of `_SDKS` are looked into, and only a few levels deep.
    """
    packages = {kind.__module__.partition(".")[0] for kind in type(client).__mro__}
    packages -= {"builtins", "typing", "abc", "pydantic"}
    packages |= _SDKS
    todo: deque[tuple[Any, int]] = deque([(client, 0)])
    seen: set[int] = set()
    while todo and len(seen) < _MOST_OBJECTS:
        current, depth = todo.popleft()
        if id(current) in seen:
            continue
        seen.add(id(current))
        library = _library_of(current)
        if library is not None:
            yield library, current
        elif depth < _DEPTH and type(current).__module__.partition(".")[0] in packages:
            values = list(getattr(current, "__dict__", {}).values())
            todo.extend((value, depth + 1) for value in values if hasattr(value, "__dict__"))


def _library_of(candidate: Any) -> str | None:
    for name in LIBRARIES:
        library = sys.modules.get(name)
        if library is not None and isinstance(candidate, (library.Client, library.AsyncClient)):
            return name
    return None


def _wrap_in_place(
    library: str,
    http_client: Any,
    options: Options | None,
    observer: Callbacks,
    sink: Callable[[], Sink] | None,
    health: HealthMonitor | None,
    tapes: Tapes,
) -> None:
    http, ours = load_library(library)
    kind = ours.Transport if isinstance(http_client, http.Client) else ours.AsyncTransport

    def guarded(inner: Any) -> Any:
        if inner is None or isinstance(inner, kind):
            return inner
        return kind(
            inner, options=options, observer=observer, sink=sink, health=health, tapes=tapes
        )

    def guard(client: Any) -> Any:
        client._transport = guarded(client._transport)
        client._mounts = {pattern: guarded(inner) for pattern, inner in client._mounts.items()}
        return client

    guard(http_client)
    # google-genai (seen in 3.4) sends by a client for each event loop, made when it is needed.
    make = getattr(http_client, "_inner_client_cls", None)
    if make is not None and not isinstance(make, _Guarding):
        http_client._inner_client_cls = _Guarding(make, guard)
        for made in list(getattr(http_client, "_loop_clients", {}).values()):
            guard(made)


class _Guarding:
    """Make HTTP clients as another factory does, and put Unbroken under each."""

    def __init__(self, make: Callable[..., Any], guard: Callable[[Any], Any]) -> None:
        self._make = make
        self._guard = guard

    def __call__(self, **settings: Any) -> Any:
        return self._guard(self._make(**settings))


def _async_by_aiohttp(client: Any) -> bool:
    """Whether a google-genai client sends its async calls by aiohttp (if installed, it does)."""
    uses = getattr(getattr(client, "_api_client", None), "_use_aiohttp", None)
    return callable(uses) and bool(uses())
