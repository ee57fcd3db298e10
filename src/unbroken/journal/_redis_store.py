"""Redis as the journal uses it: connections, names, records and entries."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import msgspec

from unbroken.journal.base import End, Head, JournalDownError, JournalFullError, Meta
from unbroken.journal.sealing import OVERHEAD_BYTES, Box, Sealer

try:
    import redis.asyncio as redis_asyncio
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError, ResponseError
except ImportError as error:  # pragma: no cover - depends on what is installed
    msg = 'the Redis journal needs redis: pip install "unbroken[redis]"'
    raise ImportError(msg) from error

__all__ = [
    "DOWN",
    "Entry",
    "Names",
    "Record",
    "Store",
    "code_of",
    "entry_bytes",
    "names_of",
    "open_entry",
    "open_record",
    "seal_entry",
    "seal_record",
]

DOWN = (RedisError, OSError, TimeoutError)
"""What a client raises where Redis cannot be asked."""

Command = tuple[Any, ...]


class Names(NamedTuple):
    """The names of one stream's things in Redis."""

    record: str
    log: str
    stop: str
    read: str


class Record(msgspec.Struct, frozen=True):
    """What is in a stream's record."""

    meta: Meta
    head: Head | None = None
    end: End | None = None
    size: int = 0


class Entry(NamedTuple):
    """One entry of a log: bytes, its head, or its end.

    Attributes:
        number: Second half of its id: 0 for the head, else one more than the offset.
        value: What is in it.
    """

    number: int
    value: bytes | Head | End

    @property
    def offset(self) -> int:
        """Where in the log it begins."""
        return max(self.number - 1, 0)


def names_of(sealer: Sealer, stream_id: str) -> list[Names]:
    """Return a stream's names by each key; the first are those that it gets."""
    kinds = (sealer.names(kind, stream_id) for kind in "msxr")
    return [Names(*names) for names in zip(*kinds, strict=True)]


def seal_record(box: Box, record: Record) -> bytes:
    """Return a record as it is stored."""
    return box.seal("m", msgspec.msgpack.encode(record))


def open_record(box: Box, blob: bytes) -> Record:
    """Return a stored record."""
    return msgspec.msgpack.decode(box.open("m", blob), type=Record)


def seal_entry(box: Box, epoch: int, entry: Entry) -> tuple[str, bytes]:
    """Return an entry's field and value as they are stored."""
    match entry.value:
        case Head() as head:
            kind, value = "h", msgspec.msgpack.encode(head)
        case End() as end:
            kind, value = "e", msgspec.msgpack.encode(end)
        case data:
            kind, value = "d", data
    return kind, box.seal(f"{kind}-{epoch}-{entry.number}", value)


def open_entry(box: Box, epoch: int, entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """Return a stored entry.

    Raises:
        UnsealError: It does not open.
    """
    number = int(entry_id.partition(b"-")[2])
    ((kind_, blob),) = fields.items()
    kind = kind_.decode()
    value = box.open(f"{kind}-{epoch}-{number}", blob)
    if kind == "h":
        return Entry(number, msgspec.msgpack.decode(value, type=Head))
    if kind == "e":
        return Entry(number, msgspec.msgpack.decode(value, type=End))
    return Entry(number, value)


def entry_bytes(fields: dict[bytes, bytes]) -> int:
    """Return how many bytes of the log a stored entry has, without opening it."""
    blob = fields.get(b"d")
    return 0 if blob is None else len(blob) - OVERHEAD_BYTES


def code_of(error: Exception) -> str:
    """Return Redis's word for an error, such as ``OOM``: its texts are not for logs."""
    if type(error).__name__ == "OutOfMemoryError":  # redis-py takes the code off the text
        return "OOM"
    word = str(error).partition(" ")[0]
    return word if isinstance(error, ResponseError) and word.isupper() else type(error).__name__


class Store:
    """Connections to Redis, for short commands and for waiting.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        password: Beside the URL.
        sealer: Names and seals.
        timeout_s: How long one answer may take.
        connections: Most connections for short commands; more at once wait for one.
    """

    def __init__(
        self, url: str, *, password: str | None, sealer: Sealer, timeout_s: float, connections: int
    ) -> None:
        settings: dict[str, Any] = {
            "socket_connect_timeout": timeout_s,
            "protocol": 2,  # one shape of replies, whatever the client's default is
            "decode_responses": False,
        }
        if password is not None:
            settings["password"] = password
        self.sealer = sealer
        self.timeout_s = timeout_s
        pool = redis_asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            # Once more, since the connection may have died while it lay idle. All commands
            # may come twice.
            retry=Retry(NoBackoff(), 1),
            **settings,
        )
        waiting = redis_asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=1,
            timeout=timeout_s,
            socket_timeout=timeout_s + 1.0,
            retry=Retry(NoBackoff(), 0),
            **settings,
        )
        self._client = redis_asyncio.Redis(connection_pool=pool)
        self._waiting = redis_asyncio.Redis(connection_pool=waiting)

    async def run(self, *commands: Command, atomic: bool = False) -> list[Any]:
        """Send commands in one pipeline; return their replies, errors of single ones included.

        Raises:
            JournalDownError: Redis did not answer.
            JournalFullError: It refused an atomic pipeline for want of memory.
        """
        try:
            async with self._client.pipeline(transaction=atomic) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                return list(await pipeline.execute(raise_on_error=False))
        except DOWN as error:
            if code_of(error) == "OOM":
                msg = "Redis is full (maxmemory)"
                raise JournalFullError(msg) from error
            msg = f"Redis cannot be reached ({code_of(error)})"
            raise JournalDownError(msg) from error

    async def ask(self, *commands: Command, atomic: bool = False) -> list[Any]:
        """As `run`, where an error of a single command is one of the whole."""
        replies = await self.run(*commands, atomic=atomic)
        for reply in replies:
            if isinstance(reply, Exception):
                msg = f"Redis refused a command ({code_of(reply)})"
                raise JournalDownError(msg) from reply
        return replies

    async def news(
        self, places: dict[str, str], *, count: int, block_ms: int
    ) -> list[tuple[str, list[tuple[bytes, dict[bytes, bytes]]]]]:
        """Wait for entries behind the given ids of the given logs; by one connection.

        Raises:
            JournalDownError: Redis did not answer.
        """
        names, ids = list(places), list(places.values())
        try:
            command = ("XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS", *names, *ids)
            reply: Any = await self._waiting.execute_command(*command)  # type: ignore[no-untyped-call,unused-ignore]
        except DOWN as error:
            msg = f"Redis cannot be reached ({code_of(error)})"
            raise JournalDownError(msg) from error
        pairs = reply.items() if isinstance(reply, dict) else reply or ()
        return [(name.decode(), entries) for name, entries in pairs]

    async def aclose(self) -> None:
        """Close all connections."""
        for client in (self._client, self._waiting):
            with contextlib.suppress(*DOWN):
                await client.aclose()
                await client.connection_pool.disconnect()
