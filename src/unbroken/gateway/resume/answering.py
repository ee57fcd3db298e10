"""Who may read or stop which stream, from where: the decisions of the resume protocol.

`ResumeService` takes what a request says, asks the journal, and gives back what to do, as one of
a few values. It writes no HTTP: the gateway's app does. docs/reference/resume-protocol.md is what
it has to keep.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from unbroken.gateway.resume.decisions import (
    Asked,
    Attach,
    Begun,
    NotKept,
    Refused,
    Stopped,
    down,
    gone,
    unknown,
)
from unbroken.gateway.resume.ids import Position, PositionError, is_stream_id, new_stream_id
from unbroken.gateway.resume.keys import InvalidKeyError, body_hash, lease_of, parse_key
from unbroken.gateway.resume.lost import LostReader
from unbroken.gateway.resume.marking import PROBE_BYTES, Marker, ends_block
from unbroken.gateway.resume.state import OpenState
from unbroken.gateway.resume.tokens import Tokens
from unbroken.journal.base import (
    Journal,
    JournalDownError,
    JournalError,
    JournalFullError,
    Meta,
    OffsetError,
    OffsetGoneError,
    Reader,
    StreamInfo,
    UnknownStreamError,
    Writer,
    WriterLostError,
)

__all__ = ["ResumeService"]

_log = logging.getLogger("unbroken")

_REQUEST_HEADER = "x-unbroken-resume"
_ROUNDS = 4  # streams that a POST may see fail before they begin, until it gives up


class ResumeService:
    """Decides about streams that can be read on.

    Args:
        journal: Where they are kept.
        secrets: From `config.resume.secret`: at least 32 bytes each, equal on all workers and
            replicas; the first one signs, all are accepted. Empty takes a random one, good for
            one process.
        enabled: False: nothing is kept, and nothing can be read on.
        on_conflict: What a POST gets whose key's stream still runs.
        token_s: How long a token is good for, in seconds.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        secrets: Sequence[bytes] = (),
        enabled: bool = True,
        on_conflict: Literal["attach", "409"] = "attach",
        token_s: float = 900.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        keys = list(secrets) or [_random_secret()]
        self.journal = journal
        self.tokens = Tokens(keys)
        self._lease_secret = hmac.digest(keys[0], b"unbroken resume leases 1", "sha256")
        self._enabled = enabled
        self._on_conflict = on_conflict
        self._token_s = token_s
        self._clock = clock

    # ------------------------------------------------------------ POST

    async def begin(self, asked: Asked) -> Begun | Attach | Refused | NotKept:
        """Say what a request for a stream gets.

        Waits, where the request attaches to a stream whose answer has not begun yet, until it
        has. If that stream fails before it begins, this request takes its place.
        """
        headers = _single(asked.headers)
        wants = _asks_for_resume(headers.get(_REQUEST_HEADER))
        key = headers.get("idempotency-key")
        if asked.scope is None or asked.method != "POST":
            key = None
        if not wants and key is None:
            return NotKept()
        if not self._enabled:
            return NotKept(reason="off")
        if not asked.wire:
            return NotKept(reason="no-stream")
        lease = hashed = ""
        if key is not None and asked.scope is not None:
            try:
                lease = lease_of(self._lease_secret, asked.scope, parse_key(key))
            except InvalidKeyError as error:
                return Refused(status=400, kind="idempotency-key-invalid", text=str(error))
            hashed = body_hash(asked.method, asked.target, asked.body)
        position = _position(headers)
        if isinstance(position, Refused):
            return position
        # Who reads on must not get the beginning of another answer for it: its key was freed,
        # since the stream failed, or is not kept any more.
        begins = position is None or position.offset == 0
        for _ in range(_ROUNDS):
            meta = Meta(
                id=new_stream_id(),
                created_at=self._clock(),
                scope=asked.scope or "",
                dialect=asked.dialect,
                wire=asked.wire,
                model=asked.model,
                provider=asked.provider,
                route=asked.route,
                lease=lease,
                body_hash=hashed,
            )
            try:
                taken = await self._create(meta)
            except JournalFullError:
                return NotKept(reason="journal-full") if begins else _nothing_to_read_on()
            except JournalDownError as error:
                return NotKept(reason="journal-down") if begins else down(error)
            if not isinstance(taken, StreamInfo):
                if not begins:
                    await taken.end("cancelled")
                    return _nothing_to_read_on()
                return Begun(
                    writer=taken,
                    reader=taken.attach(0),
                    marker=Marker(meta.wire, meta.epoch, 0) if wants else None,
                    headers=self._headers(meta.id, headers, wants=wants, scope=asked.scope),
                )
            if not hmac.compare_digest(taken.meta.body_hash, hashed):
                return Refused(
                    status=422,
                    kind="idempotency-key-reused",
                    text="this Idempotency-Key was used for another request; take a new one",
                )
            if self._on_conflict == "409" and taken.running:
                return Refused(
                    status=409,
                    kind="idempotency-key-in-use",
                    text="the first request with this Idempotency-Key still runs",
                )
            answer = await self._attach(taken, headers, position, scope=asked.scope, wants=wants)
            if answer is not None:
                return answer
        return Refused(
            status=503,
            kind="stream-not-begun",
            text="requests with this Idempotency-Key failed before an answer began; try again",
            headers=[("Retry-After", "1")],
        )

    # ------------------------------------------------------------ /streams/{id}

    async def attach(
        self, stream_id: str, headers: Iterable[tuple[str, str]], scope: str | None
    ) -> Attach | Refused:
        """Say what a GET of a stream gets. Waits until the stream's answer has begun."""
        named = _single(headers)
        info = await self._allowed(stream_id, named, scope)
        if isinstance(info, Refused):
            return info
        position = _position(named)
        if isinstance(position, Refused):
            return position
        answer = await self._attach(info, named, position, scope=scope, wants=True)
        return unknown() if answer is None else answer

    async def stop(
        self, stream_id: str, headers: Iterable[tuple[str, str]], scope: str | None
    ) -> Stopped | Refused:
        """Stop a stream for everybody, wherever it runs."""
        info = await self._allowed(stream_id, _single(headers), scope)
        if isinstance(info, Refused):
            return info
        if not info.running:
            return Stopped(status=204)
        try:
            return Stopped(status=202 if await self.journal.stop(stream_id) else 204)
        except UnknownStreamError:
            return unknown()
        except JournalDownError as error:
            return down(error)

    # ------------------------------------------------------------ inside

    async def _create(self, meta: Meta) -> Writer | StreamInfo:
        """Create a stream. A client that leaves meanwhile must leave none that nobody ends."""
        creating = asyncio.ensure_future(self.journal.create(meta))
        try:
            return await asyncio.shield(creating)
        except asyncio.CancelledError:
            with contextlib.suppress(JournalError):
                taken = await creating
                if not isinstance(taken, StreamInfo):
                    await taken.end("cancelled")
            raise

    async def _allowed(
        self, stream_id: str, headers: Mapping[str, str], scope: str | None
    ) -> StreamInfo | Refused:
        """Return a stream that the caller may read and stop."""
        token = headers.get("x-unbroken-token")
        by_token = False
        if token is not None:
            # Says nothing of whether the stream exists: the MAC is over the id as it was asked.
            by_token = self.tokens.good(token, stream_id, now=self._clock())
            if not by_token and scope is None:
                return Refused(
                    status=401,
                    kind="token-not-good",
                    text="this token is not for this stream, or it has expired",
                )
        elif scope is None:
            return Refused(
                status=401,
                kind="key-missing",
                text="reading a stream takes the key it was begun with, or its X-Unbroken-Token",
            )
        if not self._enabled or not is_stream_id(stream_id):
            return unknown()
        try:
            info = await self.journal.find(stream_id)
        except JournalDownError as error:
            return down(error)
        owner = "" if info is None else info.meta.scope
        # Compared also where there is nothing, so that both take as long.
        by_scope = hmac.compare_digest(owner.encode(), (scope or "").encode()) and bool(scope)
        if info is None or not (by_token or by_scope):
            return unknown()
        return info

    async def _attach(
        self,
        info: StreamInfo,
        headers: Mapping[str, str],
        position: Position | None,
        *,
        scope: str | None,
        wants: bool,
    ) -> Attach | Refused | None:
        """Attach to a stream; None if it ended, or will never begin, without an answer."""
        meta = info.meta
        epoch, offset = position or (meta.epoch, 0)
        if epoch != meta.epoch:
            return gone("the position is of another epoch of the log, which is not kept")
        reader: Reader | None = None
        try:
            reader = await self.journal.reader(meta.id, offset)
            head = await reader.head()
            if head is not None and offset and not head.framed:
                return Refused(
                    status=400,
                    kind="no-event-stream",
                    text="this answer is no stream of events: it is read from its beginning only",
                )
            if head is not None and await self._is_place(reader, meta, offset):
                prefix = b""
                if headers.get("x-unbroken-state", "").strip() == "1":
                    prefix = await self._state_before(meta, offset)
                marked = wants or position is not None
                answer = Attach(
                    head=head,
                    reader=reader,
                    marker=Marker(meta.wire, epoch, offset) if marked else None,
                    headers=self._headers(meta.id, headers, wants=wants, scope=scope),
                    state_prefix=prefix,
                )
                reader = None
                return answer
            if head is None:
                return None
        except UnknownStreamError:
            return None
        except WriterLostError:
            if offset == 0 or info.head is None:
                return None
            return Attach(  # its client hears that the stream failed, as in the midst of reading
                head=info.head,
                reader=LostReader(meta, offset),
                marker=Marker(meta.wire, epoch, offset),
                headers=self._headers(meta.id, headers, wants=wants, scope=scope),
            )
        except OffsetGoneError as error:
            return gone(str(error))
        except OffsetError as error:
            return Refused(status=400, kind="position-beyond-log", text=str(error))
        except JournalDownError as error:
            return down(error)
        except JournalError as error:
            _log.warning("a stream could not be read on: %s", type(error).__name__)
            return down(JournalDownError(str(error)))
        finally:
            if reader is not None:
                await reader.aclose()
        return Refused(
            status=400,
            kind="position-within-event",
            text=f"byte {offset} lies within an event: a position is what an event's id said",
        )

    async def _is_place(self, reader: Reader, meta: Meta, offset: int) -> bool:
        if meta.wire != "sse" or offset == 0:
            return True
        begin = max(offset - PROBE_BYTES, 0)
        try:
            before = await self._bytes(meta.id, begin, offset - begin)
        except OffsetGoneError as error:
            # What is kept begins with a whole append, and so with a block.
            return error.kept_from == offset
        return ends_block(before)

    async def _state_before(self, meta: Meta, offset: int) -> bytes:
        state = OpenState(meta.dialect)
        reader = await self.journal.reader(meta.id, 0)
        try:
            while reader.offset < offset:
                before = reader.offset
                data = await reader.read()
                state.receive(data[: offset - before])
        finally:
            await reader.aclose()
        if state.overflowed:
            raise OffsetGoneError(offset=0, kept_from=offset)
        return state.prefix

    async def _bytes(self, stream_id: str, offset: int, count: int) -> bytes:
        """Return bytes that are there already."""
        reader = await self.journal.reader(stream_id, offset)
        found = b""
        try:
            while len(found) < count:
                data = await reader.read()
                if not data:
                    break
                found += data[: count - len(found)]
        finally:
            await reader.aclose()
        return found

    def _headers(
        self, stream_id: str, asked: Mapping[str, str], *, wants: bool, scope: str | None
    ) -> list[tuple[str, str]]:
        headers = [("X-Unbroken-Resume", "1"), ("X-Unbroken-Stream", stream_id)]
        parameters = asked.get(_REQUEST_HEADER, "").partition(";")[2]
        wants_token = "token" in {part.strip().lower() for part in parameters.split(";")}
        # Who reads by a token cannot make it last longer by asking for another.
        if wants and (wants_token or scope is None) and "x-unbroken-token" not in asked:
            expires_at = self._clock() + self._token_s
            headers.append(("X-Unbroken-Token", self.tokens.make(stream_id, expires_at=expires_at)))
        return headers


def _random_secret() -> bytes:
    return secrets.token_bytes(32)


def _single(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name; of several the first counts."""
    named: dict[str, str] = {}
    for name, value in headers:
        named.setdefault(name.lower(), value)
    return named


def _asks_for_resume(value: str | None) -> bool:
    return value is not None and value.partition(";")[0].strip() == "1"


def _nothing_to_read_on() -> Refused:
    return gone(
        "the stream that this Last-Event-ID is of failed, or is not kept any more; to begin a new"
        " one leave Last-Event-ID out"
    )


def _position(headers: Mapping[str, str]) -> Position | Refused | None:
    text = headers.get("last-event-id")
    if text is None or not text.strip():
        return None  # an EventSource that has seen no id sends none, or an empty one
    try:
        return Position.parse(text)
    except PositionError as error:
        return Refused(status=400, kind="position-malformed", text=str(error))
