"""Streams without an SDK: the requests are ours from the first on."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from dataclasses import replace
from types import ModuleType, TracebackType
from typing import Any, Self

from unbroken.api.asking import Headers, Messages, ask, ask_url
from unbroken.api.clients import LIBRARIES, load_library, plain_client
from unbroken.api.handlers import Handlers
from unbroken.core.actions import Deliver, Reconnecting, StallNotice
from unbroken.core.dialects.base import Dialect
from unbroken.core.errors import StreamingError
from unbroken.core.events import Event, Text
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.core.request import Request
from unbroken.drivers.asynchronous import AsyncDriver
from unbroken.drivers.base import Driver
from unbroken.drivers.sync import SyncDriver
from unbroken.transports._client import AsyncClientUpstream, ClientUpstream
from unbroken.transports._family import MODE_HEADER

__all__ = ["AsyncEventStream", "EventStream", "astream", "stream"]


class _Client:
    """The HTTP client to send with; one of our own is made only when it is needed."""

    def __init__(self, given: Any, library: str, *, asynchronous: bool) -> None:
        self.library = library
        self.own: Any = None
        self._given = given
        self._asynchronous = asynchronous

    @property
    def http(self) -> ModuleType:
        module: ModuleType = load_library(self.library)[0]
        return module

    def get(self) -> Any:
        if self._given is not None:
            return self._given
        if self.own is None:
            self.own = plain_client(self.library, asynchronous=self._asynchronous)
        return self.own


class _Setup:
    """What a stream is made of; shared by the stream object and by what runs it.

    The stream object is not: whoever lets go of it, or of an iterator over it, lets go of the
    connection, without waiting for the garbage collector.
    """

    def __init__(
        self,
        request: Request,
        dialect: Dialect,
        options: Options,
        handlers: Handlers,
        client: _Client,
    ) -> None:
        self.request = request
        self.dialect = dialect
        self.options = options
        self.handlers = handlers
        self.client = client
        self.driver: Driver | None = None
        self.closed = False
        self.aborted = False

    def watch(self, driver: Driver) -> None:
        self.driver = driver
        self.handlers.watch(driver)

    def tell(self, delivery: Deliver) -> None:
        """Call back for each piece of text."""
        for event in delivery.events:
            if type(event) is Text and event.text and not event.choice:
                self.handlers.token(event.text)


class _Common:
    """What the sync and the async stream share."""

    def __init__(self, setup: _Setup) -> None:
        self._setup = setup

    @property
    def outcome(self) -> Outcome:
        """How the stream ended; while it runs, what is known so far.

        The status of a stream that runs is ``unconfirmed``: its end is not proven.
        """
        driver = self._setup.driver
        if driver is None:
            left = self._setup.closed or self._setup.aborted
            name = self._setup.dialect.name
            return Outcome(dialect=name, status="cancelled" if left else "unconfirmed")
        return driver.stream.account(driver.clock())

    @property
    def request(self) -> Request:
        """The request as it is sent first. Its headers may hold a key."""
        return self._setup.request


class EventStream(_Common):
    """A stream of events; `unbroken.stream` makes it.

    Use it in a ``with`` block, which closes the connection at its end, or read it to its end.
    Iterate it in one thread; `abort` and `close` may come from any.
    """

    def __init__(self, setup: _Setup) -> None:
        super().__init__(setup)
        self._events = _run(setup)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def __next__(self) -> Event:
        return next(self._events)

    def iter_text(self) -> Iterator[str]:
        """Yield the answer's text as it comes, piece by piece."""
        for event in self._events:
            if type(event) is Text and event.text and not event.choice:
                yield event.text

    def text(self) -> str:
        """Read to the end; return the whole text, with what was read before.

        Raises:
            StreamingError: If the answer is not whole; `StreamingError.outcome` has the rest.
        """
        for _ in self._events:
            pass
        return self.outcome.text

    def abort(self) -> None:
        """End the stream from outside: from another thread, or from a callback.

        A read that waits ends at once. Who iterates gets an `IncompleteStreamError` with the
        code ``cancelled``, unless the answer was whole already.
        """
        self._setup.aborted = True
        driver = self._setup.driver
        if isinstance(driver, SyncDriver):
            driver.abort()

    def close(self) -> None:
        """Release the connection. In another thread than the one that reads, like `abort`."""
        self._setup.closed = True
        try:
            self._events.close()
        except ValueError:  # it is running: another thread reads
            self.abort()


def _run(setup: _Setup) -> Generator[Event, None, None]:
    handlers = setup.handlers
    if setup.closed:
        return
    client = setup.client
    driver = SyncDriver(
        setup.request,
        setup.dialect,
        options=setup.options,
        observer=handlers,
        upstream=ClientUpstream(client.http, client.get),
    )
    setup.watch(driver)
    if setup.aborted:
        driver.abort()
    try:
        for delivery in driver:
            if handlers.hears_tokens:
                setup.tell(delivery)
            yield from delivery.events
        handlers.ended(driver.outcome)
    except StreamingError as error:
        handlers.failed(error)
        raise
    finally:
        driver.close()
        if client.own is not None:
            client.own.close()


class AsyncEventStream(_Common):
    """A stream of events for event loops; `unbroken.astream` makes it.

    Use it in an ``async with`` block, which closes the connection at its end, or read it to
    its end. Iterate it in one task; `abort` may come from any task or thread.
    """

    def __init__(self, setup: _Setup) -> None:
        super().__init__(setup)
        self._batch: Iterator[Event] = iter(())
        self._reading = False
        self._over = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while True:
            for event in self._batch:
                return event
            await self._fill()

    async def _fill(self) -> None:
        """Read the next events.

        Raises:
            StopAsyncIteration: The stream is over.
        """
        setup = self._setup
        handlers = setup.handlers
        if self._over:
            raise StopAsyncIteration
        driver = setup.driver
        if not isinstance(driver, AsyncDriver):
            driver = AsyncDriver(
                setup.request,
                setup.dialect,
                options=setup.options,
                observer=handlers,
                upstream=AsyncClientUpstream(setup.client.http, setup.client.get),
            )
            setup.watch(driver)
            if setup.aborted:
                driver.abort()
        whole = False
        self._reading = True
        try:
            delivery = await anext(driver)
            whole = True
        except StopAsyncIteration:
            handlers.ended(driver.outcome)
            raise
        except StreamingError as error:
            handlers.failed(error)
            raise
        finally:
            self._reading = False
            if not whole:
                self._over = True
                await self._release()
        if handlers.hears_tokens:
            setup.tell(delivery)
        self._batch = iter(delivery.events)

    async def iter_text(self) -> AsyncGenerator[str, None]:
        """Yield the answer's text as it comes, piece by piece."""
        async for event in self:
            if type(event) is Text and event.text and not event.choice:
                yield event.text

    async def text(self) -> str:
        """Read to the end; return the whole text, with what was read before.

        Raises:
            StreamingError: If the answer is not whole; `StreamingError.outcome` has the rest.
        """
        async for _ in self:
            pass
        return self.outcome.text

    def abort(self) -> None:
        """End the stream from outside: from any task or thread, or from a callback.

        A read that waits ends at once. Who iterates gets an `IncompleteStreamError` with the
        code ``cancelled``, unless the answer was whole already.
        """
        self._setup.aborted = True
        driver = self._setup.driver
        if isinstance(driver, AsyncDriver):
            driver.abort()

    async def aclose(self) -> None:
        """Release the connection. While another task reads, like `abort`."""
        self._setup.closed = True
        if self._reading:
            self.abort()
            return
        self._over = True
        self._batch = iter(())
        await self._release()

    async def _release(self) -> None:
        driver, client = self._setup.driver, self._setup.client
        try:
            if isinstance(driver, AsyncDriver):
                await driver.aclose()
        finally:
            own, client.own = client.own, None
            if own is not None:
                await own.aclose()


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
        on_complete: Called at a proven end with the whole text.
        on_outcome: Called at every end with the outcome. An exception in a callback is
            logged once, and the stream goes on.
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
    body: dict[str, Any],
) -> _Setup:
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers or ())
    options, pairs = _in_force(options or Options(), pairs)
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
    sender = _Client(client, library, asynchronous=asynchronous)
    return _Setup(request, speaks, options, Handlers(**callbacks), sender)


def _in_force(
    options: Options, headers: list[tuple[str, str]]
) -> tuple[Options, list[tuple[str, str]]]:
    """Return the options in the mode that rules, and the headers to send."""
    named = next((value for name, value in headers if name.lower() == MODE_HEADER), None)
    mode = named or os.environ.get("UNBROKEN_MODE") or options.mode
    if mode == "off":
        mode = "observe"
    if mode != options.mode:
        options = options.with_mode(mode)
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
