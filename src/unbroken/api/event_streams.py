"""The stream objects of direct use: what is iterated, aborted and closed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from io import StringIO
from types import ModuleType, TracebackType
from typing import Any, Self

from unbroken.api.clients import load_library, plain_client
from unbroken.api.handlers import Handlers
from unbroken.core.actions import Deliver
from unbroken.core.dialects.base import Dialect
from unbroken.core.errors import StreamingError
from unbroken.core.events import Event, Text
from unbroken.core.options import Options
from unbroken.core.outcome import Outcome
from unbroken.core.pieces import mended
from unbroken.core.request import Request
from unbroken.drivers.asynchronous import AsyncDriver
from unbroken.drivers.base import Driver
from unbroken.drivers.sync import SyncDriver
from unbroken.sinks.base import GuardedSink
from unbroken.telemetry import HealthMonitor
from unbroken.telemetry.recording.tape import Tapes
from unbroken.transports._client import AsyncClientUpstream, ClientUpstream
from unbroken.transports._family import watched

__all__ = ["AsyncEventStream", "EventStream", "Sender", "Setup"]


class Sender:
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


class Setup:
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
        client: Sender,
        sink: GuardedSink | None = None,
        health: HealthMonitor | None = None,
        tapes: Tapes | None = None,
    ) -> None:
        self.request = request
        self.dialect = dialect
        self.options = options
        self.handlers = handlers
        self.client = client
        self.sink = sink
        self.health = health
        self.tapes = tapes
        self.driver: Driver | None = None
        self.closed = False
        self.aborted = False

    def never_begun(self) -> None:
        """Closed before anything was asked for: nobody else closes the sink."""
        if self.sink is not None and self.driver is None:
            self.sink.close(None)

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

    def __init__(self, setup: Setup) -> None:
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


def _whole_text(outcome: Outcome, read: StringIO | None) -> str:
    """Return the whole text: as it is kept, or else as it was read."""
    if sum(map(len, outcome.texts.values())) >= outcome.characters:
        return outcome.text
    if read is None:
        msg = (
            f"the answer of {outcome.characters} characters is longer than is kept"
            " (max_replay_bytes), and its beginning was read before: read it with iter_text(),"
            " or give the stream a sink"
        )
        raise ValueError(msg)
    return mended(read.getvalue())


class EventStream(_Common):
    """A stream of events; `unbroken.stream` makes it.

    Use it in a ``with`` block, which closes the connection at its end, or read it to its end.
    Iterate it in one thread; `abort` and `close` may come from any.
    """

    def __init__(self, setup: Setup) -> None:
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
            ValueError: If it is longer than `max_replay_bytes`, and part was read before.
        """
        whole = StringIO() if self._setup.driver is None else None
        for text in self.iter_text():
            if whole is not None:
                whole.write(text)
        return _whole_text(self.outcome, whole)

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
        self._setup.never_begun()
        try:
            self._events.close()
        except ValueError:  # it is running: another thread reads
            self.abort()


def _run(setup: Setup) -> Generator[Event, None, None]:
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
        sink=setup.sink,
        health=watched(setup.health, setup.request, setup.dialect),
        tape=None if setup.tapes is None else setup.tapes.stream(),
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

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._batch: Iterator[Event] = iter(())
        self._reading = False
        self._over = False
        self._torn = False  # a read was cancelled: nothing can follow it

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
            StreamingError: It failed; or a read of it was cancelled before, as
                `asyncio.wait_for` does, and what follows is not to be taken for its end.
        """
        setup = self._setup
        handlers = setup.handlers
        driver = setup.driver
        if self._torn and driver is not None and not setup.closed:
            raise driver.left_early()
        if self._over:
            raise StopAsyncIteration
        if not isinstance(driver, AsyncDriver):
            driver = AsyncDriver(
                setup.request,
                setup.dialect,
                options=setup.options,
                observer=handlers,
                upstream=AsyncClientUpstream(setup.client.http, setup.client.get),
                sink=setup.sink,
                health=watched(setup.health, setup.request, setup.dialect),
                tape=None if setup.tapes is None else setup.tapes.stream(),
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
        except BaseException:
            self._torn = True
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
            ValueError: If it is longer than `max_replay_bytes`, and part was read before.
        """
        whole = StringIO() if self._setup.driver is None else None
        async for text in self.iter_text():
            if whole is not None:
                whole.write(text)
        return _whole_text(self.outcome, whole)

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
        self._setup.never_begun()
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
