"""Streams without an SDK: the requests are ours from the first on."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from unbroken.api.asking import Headers, Messages, ask, ask_url
from unbroken.api.clients import LIBRARIES
from unbroken.api.event_streams import AsyncEventStream, EventStream, Sender, Setup
from unbroken.api.handlers import Handlers
from unbroken.core.actions import Reconnecting, StallNotice
from unbroken.core.errors import StreamingError
from unbroken.core.kept_stream import asks_to_resume
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.sinks.base import GuardedSink, Sink
from unbroken.telemetry import HealthMonitor
from unbroken.telemetry.recording.flight import shared_flight_recorder
from unbroken.telemetry.recording.tape import Tapes
from unbroken.transports._family import MODE_HEADER, checked, in_mode

__all__ = ["astream", "stream"]


def stream(
    messages: Messages | None = None,
    *,
    model: str | None = None,
    base_url: str | None = None,
    dialect: str | None = None,
    api_key: str | None = None,
    url: str | None = None,
    json: Any = None,
    headers: Headers | None = None,
    options: Options | None = None,
    timeout_s: float | None = None,
    client: Any = None,
    library: str = "httpx2",
    on_token: Callable[[str], object] | None = None,
    on_error: Callable[[StreamingError], object] | None = None,
    on_stall: Callable[[StallNotice], object] | None = None,
    on_reconnect: Callable[[Reconnecting], object] | None = None,
    on_complete: Callable[[str], object] | None = None,
    on_outcome: Callable[[Outcome], object] | None = None,
    sink: Sink | Callable[[], Sink] | None = None,
    health: HealthMonitor | None = None,
    recorder: Tapes | None = None,
    resume: bool = False,
    **body: Any,
) -> EventStream:
    """Return a stream of events from a model, without an SDK.

    Nothing is sent before the first event is asked for. Failures before the stream (no
    connection, 429, 5xx) are retried with growing pauses, or after the time that the provider
    asks for; failures within it are recovered as under an SDK.

    Args:
        messages: ``[{"role": ..., "content": ...}]``, for every dialect; or a string, the
            user's.
        model: The model.
        base_url: Where the API is; None takes what the vendor's SDK would.
        dialect: ``openai-chat`` (where nothing else is said), ``openai-responses``,
            ``anthropic-messages``, ``gemini`` or ``ollama``. With ``url`` it is told from it.
        api_key: None takes the environment variable of the vendor's SDK, except with ``url``.
        url: In place of ``messages``: the whole URL of a request ...
        json: ... and its body.
        headers: Further headers of every request; they win over ours.
        options: How to treat the stream. The mode ``off`` observes, as there is nothing to
            step aside for. In ``observe`` what any reader would notice is raised all the
            same: no connection, an HTTP error, a reset.
        timeout_s: The whole stream, recoveries included, in seconds; as `Clocks.total_s`.
        client: An httpx2 or httpx client to send with: its transport, proxies, headers,
            authentication and read timeout are used, and it stays open. None makes one.
        library: ``httpx2`` or ``httpx``, for the client that is made.
        on_token: Called with each piece of text, before it is yielded.
        on_error: Called with each failure, also those that are recovered from.
        on_stall: Called when nothing moves for a while; on a thread of Unbroken's, so it must
            return soon.
        on_reconnect: Called before every further upstream request.
        on_complete: Called at a proven end with the whole text; where `Outcome.overflowed`
            (an answer of more than `max_replay_bytes`), with its beginning.
        on_outcome: Called at every end with the outcome. An exception in a callback is
            logged once, and the stream goes on.
        sink: What the stream is written to while it comes, or a function that makes it; see
            `unbroken.sinks`.
        health: Watches the stream; see `unbroken.telemetry.HealthMonitor`.
        recorder: Records the stream, every byte of it, to a file; see
            `unbroken.telemetry.Recorder`. None takes the process's flight recorder.
        resume: What is asked is an Unbroken gateway (``unbroken serve``): have it keep the
            answer, so that a connection to it that is lost is read on where it was lost,
            byte for byte, also if the gateway's other replica answers. A provider ignores it.
        body: Further fields of the request's body, in the provider's words.

    Raises:
        TypeError: For arguments that do not go together.
        ValueError: For a dialect or option that does not exist.
    """
    return EventStream(_setup(False, **_arguments(locals())))


def astream(
    messages: Messages | None = None,
    *,
    model: str | None = None,
    base_url: str | None = None,
    dialect: str | None = None,
    api_key: str | None = None,
    url: str | None = None,
    json: Any = None,
    headers: Headers | None = None,
    options: Options | None = None,
    timeout_s: float | None = None,
    client: Any = None,
    library: str = "httpx2",
    on_token: Callable[[str], object] | None = None,
    on_error: Callable[[StreamingError], object] | None = None,
    on_stall: Callable[[StallNotice], object] | None = None,
    on_reconnect: Callable[[Reconnecting], object] | None = None,
    on_complete: Callable[[str], object] | None = None,
    on_outcome: Callable[[Outcome], object] | None = None,
    sink: Sink | Callable[[], Sink] | None = None,
    health: HealthMonitor | None = None,
    recorder: Tapes | None = None,
    resume: bool = False,
    **body: Any,
) -> AsyncEventStream:
    """Return the async twin of `stream`, for asyncio and trio.

    The callbacks are plain functions, called in the event loop.
    """
    return AsyncEventStream(_setup(True, **_arguments(locals())))


_CALLBACKS = ("on_token", "on_error", "on_stall", "on_reconnect", "on_complete", "on_outcome")


def _arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Sort a call's arguments: the callbacks apart."""
    callbacks = {name: given.pop(name) for name in _CALLBACKS}
    return {**given, "callbacks": callbacks}


def _setup(
    asynchronous: bool,
    *,
    messages: Messages | None,
    model: str | None,
    base_url: str | None,
    dialect: str | None,
    api_key: str | None,
    url: str | None,
    json: Any,
    headers: Headers | None,
    options: Options | None,
    timeout_s: float | None,
    client: Any,
    library: str,
    callbacks: dict[str, Any],
    sink: Sink | Callable[[], Sink] | None,
    health: HealthMonitor | None,
    recorder: Tapes | None,
    resume: bool,
    body: dict[str, Any],
) -> Setup:
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers or ())
    options, pairs = _in_force(checked(options), pairs)
    if timeout_s is not None:
        options = replace(options, clocks=replace(options.timing, total_s=timeout_s))
    known: dict[str, str] | None = None
    if client is not None:
        library = _library_of(client, asynchronous)
        known = dict(client.headers.items())
        base_url = base_url or str(client.base_url) or None
    if url is not None:
        if messages is not None or model is not None or body:
            msg = "with url= the request is json=; messages, model and body fields go into it"
            raise TypeError(msg)
        request, speaks = ask_url(
            url, json=json, dialect=dialect, api_key=api_key, headers=pairs, client_headers=known
        )
    else:
        if messages is None or json is not None:
            msg = "give messages= and model=, or url= and json="
            raise TypeError(msg)
        request, speaks = ask(
            messages,
            model=model or "",
            dialect=dialect or "openai-chat",
            base_url=base_url,
            api_key=api_key,
            headers=pairs,
            body=body,
            client_headers=known,
        )
    if resume:
        request = asks_to_resume(request, str(uuid.uuid4()))
    sender = Sender(client, library, asynchronous=asynchronous)
    guarded = None if sink is None else GuardedSink(sink)
    tapes = recorder or shared_flight_recorder()
    return Setup(request, speaks, options, Handlers(**callbacks), sender, guarded, health, tapes)


def _in_force(
    options: Options, headers: list[tuple[str, str]]
) -> tuple[Options, list[tuple[str, str]]]:
    """Return the options in the mode that rules, and the headers to send."""
    named = next((value for name, value in headers if name.lower() == MODE_HEADER), None)
    options = in_mode(options, named)
    if options.mode == "off":
        options = options.with_mode("observe")
    return options, [pair for pair in headers if pair[0].lower() != MODE_HEADER]


def _library_of(client: Any, asynchronous: bool) -> str:
    for name in LIBRARIES:
        library = sys.modules.get(name)
        if library is None:
            continue
        if isinstance(client, library.AsyncClient if asynchronous else library.Client):
            return name
    kind = "AsyncClient" if asynchronous else "Client"
    msg = (
        f"client must be an httpx2 or httpx {kind},"
        f" not {type(client).__module__}.{type(client).__qualname__}"
    )
    raise TypeError(msg)
