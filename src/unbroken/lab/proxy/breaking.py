"""The faults of one attempt, dealt out between an upstream and its client.

It is a downstream put before the client's: the pump writes what the upstream says, and what
comes out is what the injectors make of it. Pieces keep the upstream's pace; a `Pause` is slept
here, while the pump reads nothing; a `Stop` ends the body and lets the upstream go.

    reads -> Cutter -> pieces -> injector -> injector -> parts -> the client's connection
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, assert_never

from unbroken.core.dialects.base import Dialect
from unbroken.lab.injectors.base import Injector, Scene, Spec, in_order, injector_for
from unbroken.lab.injectors.instead import Instead
from unbroken.lab.parts import Head, Part, Pause, Piece, Stop
from unbroken.lab.proxy.cutting import Cutter
from unbroken.lab.proxy.decoding import DAMAGED, Decoding
from unbroken.lab.proxy.log import Entry
from unbroken.relay.headers import for_downstream
from unbroken.relay.messages import Framing, ResponseHead
from unbroken.relay.pump import AbortHow, DownstreamLeftError, StoppedError
from unbroken.relay.serving import Reply

__all__ = ["Breaking"]

_MOST_STRIKES = 100  # remembered of one answer


class _Scene(Scene):
    """A scene that notes in the log when faults strike."""

    __slots__ = ("entry",)

    def __init__(self, entry: Entry, **more: Any) -> None:
        Scene.__init__(self, **more)
        self.entry = entry

    def struck(self, what: str) -> None:
        if len(self.entry.strikes) < _MOST_STRIKES:
            self.entry.strikes.append((self.entry.passed_s(), what))


class Breaking:
    """A downstream that breaks what is written to it, as the faults of one attempt say.

    Args:
        client: Who is answered.
        faults: The faults of the attempt.
        dialect: That of the request's path, or None.
        chance: Seeded for this attempt.
        entry: Where it is noted what strikes.

    Raises:
        FaultError: If one of the faults cannot be, in this dialect or at its place.
    """

    def __init__(
        self,
        client: Reply,
        faults: Sequence[Spec],
        *,
        dialect: Dialect | None,
        chance: random.Random,
        entry: Entry,
    ) -> None:
        self._client = client
        self._dialect = dialect
        self._entry = entry
        self._scene = _Scene(entry, dialect="" if dialect is None else dialect.name, random=chance)
        self._injectors = in_order(injector_for(spec, self._scene) for spec in faults)
        self._cutter = Cutter(dialect, "")
        self._decoding: Decoding | None = None
        self._head: ResponseHead | None = None  # held back until it is known how the body is coded
        self._silent = False
        self._due = 0.0

    @property
    def needs_no_upstream(self) -> bool:
        """Whether nothing of an answer would come through: then nobody need be asked, or paid."""
        return any(isinstance(injector, Instead) for injector in self._injectors)

    async def start(self, head: ResponseHead) -> None:
        """Send the head, as the faults change it."""
        self._due = asyncio.get_running_loop().time()
        self._cutter = Cutter(self._dialect, head.header("content-type") or "")
        self._decoding = Decoding.of(head.header("content-encoding"))
        if self._decoding is not None and head.framing != "none":
            self._head = head
        else:
            await self._start(head, rewritten=not head.header("content-encoding"))

    async def _start(self, head: ResponseHead, *, rewritten: bool) -> None:
        new = Head(status=head.status, framing="close" if head.framing == "close" else "chunked")
        headers = for_downstream(head.headers, rewritten=rewritten)
        headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        new.headers = {name.lower(): value for name, value in headers}
        before = dict(new.headers)
        for injector in self._injectors:
            new = injector.head(new)
        if new.status is None:
            self._silent = True  # the connection is closed without a byte, in its time
            return
        self._entry.status = new.status
        if new.framing == "raw":
            self._client.start_raw()
            return
        # Only what a fault changed is written anew, so that a header may come twice.
        kept = [p for p in headers if new.headers.get(p[0].lower()) == before[p[0].lower()]]
        added = [(name, v) for name, v in new.headers.items() if before.get(name) != v]
        framing: Framing = "close" if new.framing == "close" else "chunked"
        if "content-length" in new.headers:  # a fault's own, true or not
            framing = "length"
        out = ResponseHead(
            status=new.status,
            reason=head.reason if new.status == head.status else "",
            headers=kept + added,
            framing="none" if head.framing == "none" else framing,
        )
        await self._client.start(out, true_length=False)

    async def write(self, data: bytes) -> None:
        """Send what the faults make of a read."""
        if self._decoding is not None:
            try:
                data = self._decoding.feed(data)
            except zlib.error:
                await self._damaged()
            if self._decoding.is_coded is None:
                return
            await self._start_held()
            if not data:
                return
        for piece in self._cutter.feed(data):
            known = self._cutter.dialect or self._entry.dialect
            self._scene.dialect = self._entry.dialect = known
            await self._send(_through(piece, self._injectors))

    async def end(self) -> None:
        """Send what the faults make of the body's end."""
        if self._decoding is not None:
            if not self._decoding.is_whole:
                await self._damaged()
            await self._start_held()
            for piece in self._cutter.feed(self._decoding.rest()):
                await self._send(_through(piece, self._injectors))
        for piece in self._cutter.close():
            await self._send(_through(piece, self._injectors))
        await self._send(_closing(self._injectors))
        if self._silent:
            await self._stop(Stop("fin"))
            raise StoppedError
        await self._client.end()

    async def abort(self, how: AbortHow) -> None:
        """End as the upstream did, after what it had sent."""
        await self._start_held()
        for piece in self._cutter.rest():
            await self._send(_through(piece, self._injectors))
        await self._client.abort(how)

    async def _start_held(self) -> None:
        if self._head is not None:
            head, self._head = self._head, None
            coded = self._decoding is not None and bool(self._decoding.is_coded)
            if not coded:  # as it came; then only faults at bytes strike
                self._cutter = Cutter(None, "")
            await self._start(head, rewritten=coded)

    async def _damaged(self) -> None:
        """End as an upstream does that breaks: what cannot be decoded has no proper end."""
        self._entry.failure, self._entry.stopped = DAMAGED, "upstream-incomplete"
        await self.abort("rst")
        raise StoppedError

    async def left(self) -> None:
        """Return when the client is gone."""
        await self._client.left()

    async def _send(self, parts: Iterable[Part]) -> None:
        loop = asyncio.get_running_loop()
        for part in parts:
            match part:
                case Piece():
                    if part.data and not self._silent:
                        await self._client.write(part.data)
                    else:
                        await asyncio.sleep(0)  # an endless fault must not hold the loop
                case Pause(seconds=None):
                    await self._client.left()
                    raise DownstreamLeftError
                case Pause():
                    seconds = part.seconds or 0.0
                    # A pace makes good what a slow send took; a silence is as long as it says.
                    now = loop.time()
                    self._due = max(self._due, now - seconds if part.drip else now) + seconds
                    await asyncio.sleep(self._due - now)
                case Stop():
                    await self._stop(part)
                    raise StoppedError
                case _:
                    assert_never(part)

    async def _stop(self, stop: Stop) -> None:
        self._entry.stopped = "fin" if self._silent and stop.how == "clean" else stop.how
        if stop.how == "rst":
            await self._client.abort("rst")
        elif stop.how == "fin" or self._silent:
            await self._client.abort("fin")
        else:
            await self._client.end()


def _through(part: Part, injectors: Sequence[Injector]) -> Iterator[Part]:
    """Send one part through injectors, one behind another."""
    if not injectors:
        yield part
        return
    for changed in injectors[0].feed(part):
        yield from _through(changed, injectors[1:])


def _closing(injectors: Sequence[Injector]) -> Iterator[Part]:
    """Tell injectors of the body's end, the first one first."""
    for number, injector in enumerate(injectors):
        for part in injector.close():
            yield from _through(part, injectors[number + 1 :])
