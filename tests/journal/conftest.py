"""Journals of each kind, for tests that are the same for all."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from unbroken.journal import Journal, MemoryJournal

KEY = bytes(range(32))


@pytest.fixture(scope="session")
def redis_at() -> Iterator[Any]:
    from tests.journal.redis_server import redis_server

    with redis_server() as server:
        yield server


Opened = Callable[..., AbstractAsyncContextManager[tuple[Journal, Journal]]]


@pytest.fixture(params=["memory", "redis"])
def journals(request: pytest.FixtureRequest) -> Opened:
    """A context manager that gives the journal twice: as the writer's process has it, and as
    another process has it that shares it. In memory both are the same.
    """

    @contextlib.asynccontextmanager
    async def memory(**options: Any) -> AsyncIterator[tuple[Journal, Journal]]:
        journal = MemoryJournal(**options)
        yield journal, journal
        await journal.aclose()

    if request.param == "memory":
        return memory
    server = request.getfixturevalue("redis_at")

    @contextlib.asynccontextmanager
    async def redis(**options: Any) -> AsyncIterator[tuple[Journal, Journal]]:
        from unbroken.journal.redis import RedisJournal

        settings = {"flush_s": 0.005, "pulse_s": 0.1, "lost_s": 1.0, **options}
        here = RedisJournal(server.url, keys=[KEY], **settings)
        there = RedisJournal(server.url, keys=[KEY], **settings)
        yield here, there
        await here.aclose()
        await there.aclose()

    return redis
