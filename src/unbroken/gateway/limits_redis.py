"""Limits that all workers and replicas share, through Redis.

The same buckets as in `limits`, kept in Redis and changed by one script a request, so that two
workers never count past each other; the time is Redis's own, so that clocks need not agree.

How many requests run is counted for each worker, and a worker's count holds only while it says
that it lives: the places of one that died are free again after `lease_s`. Every third of that
each worker says so, with its counts as they really are, which also puts right whatever a lost
answer of Redis's left wrong.

Where Redis does not answer, each worker limits by itself: a caller may then get its share of
every worker, and nobody is turned away for Redis's sake.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import secrets
from collections import Counter
from typing import Any

from unbroken.gateway.callers import Caller
from unbroken.gateway.limits import (
    Admission,
    Limits,
    Refusal,
    are_none,
    too_many_bytes,
    too_many_streams,
    too_often,
)

__all__ = ["SharedLimits"]

_log = logging.getLogger(__name__)

# What both scripts begin with. Numbers that are not whole go through Redis as strings: it cuts
# the decimals off what a script returns.
_SHARED = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local function level(name, size)
  local had = redis.call('HMGET', KEYS[3], name, name .. '_at')
  if not had[1] then return size end
  local gained = math.max(0, now - tonumber(had[2])) * size / 60
  return math.min(size, tonumber(had[1]) + gained)
end
local function keep(name, value, ms)
  redis.call('HSET', KEYS[3], name, tostring(value), name .. '_at', string.format('%.6f', now))
  redis.call('PEXPIRE', KEYS[3], math.ceil(ms))
end
"""

# KEYS: workers, running of the team, buckets of the team.
# ARGV: worker, streams, requests, bytes (0: no limit), bytes of the request, lease in s.
_ADMIT = f"""{_SHARED}
local streams, requests, bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local size, lease = tonumber(ARGV[5]), tonumber(ARGV[6])
redis.call('ZADD', KEYS[1], now + lease, ARGV[1])
if streams > 0 then
  local running, counts = 0, redis.call('HGETALL', KEYS[2])
  for n = 1, #counts, 2 do
    local until_s = redis.call('ZSCORE', KEYS[1], counts[n])
    if until_s and tonumber(until_s) > now then
      running = running + tonumber(counts[n + 1])
    else
      redis.call('HDEL', KEYS[2], counts[n])
    end
  end
  if running >= streams then return {{'streams', '0'}} end
end
local left_requests, left_bytes = 0, 0
if requests > 0 then
  left_requests = level('requests', requests)
  if left_requests < 1 then
    return {{'requests', tostring((1 - left_requests) * 60 / requests)}}
  end
end
if bytes > 0 then
  left_bytes = level('bytes', bytes)
  local needed = math.min(size, bytes)
  if left_bytes < needed then
    return {{'bytes', tostring((needed - left_bytes) * 60 / bytes)}}
  end
end
if requests > 0 then keep('requests', left_requests - 1, 120000) end
if bytes > 0 then
  -- Until it is full again the debt must be remembered.
  keep('bytes', left_bytes - size, 60000 + (bytes - left_bytes + size) * 60000 / bytes)
end
redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
redis.call('PEXPIRE', KEYS[2], 86400000)
redis.call('PEXPIRE', KEYS[1], 86400000)
return {{'admitted', '0'}}
"""

# KEYS: as above. ARGV: worker, bytes a minute (0: no limit), bytes of the answer.
_RELEASE = f"""{_SHARED}
if redis.call('HINCRBY', KEYS[2], ARGV[1], -1) <= 0 then redis.call('HDEL', KEYS[2], ARGV[1]) end
local bytes = tonumber(ARGV[2])
if bytes > 0 then
  local left = level('bytes', bytes) - tonumber(ARGV[3])
  keep('bytes', left, 60000 + (bytes - left) * 60000 / bytes)
end
return 1
"""

# KEYS: workers, then running of each team. ARGV: worker, lease in s, then a count for each team.
_RENEW = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 86400)
redis.call('ZADD', KEYS[1], now + 1 + tonumber(ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], 86400000)
for n = 2, #KEYS do
  if tonumber(ARGV[n + 1]) > 0 then
    redis.call('HSET', KEYS[n], ARGV[1], ARGV[n + 1])
    redis.call('PEXPIRE', KEYS[n], 86400000)
  else
    redis.call('HDEL', KEYS[n], ARGV[1])
  end
end
return 1
"""


class SharedLimits:
    """Limits counted in Redis, for all workers and replicas together.

    Make it inside the event loop that uses it, and close it with `aclose`.

    Args:
        redis: A client of ``redis.asyncio``, which stays the caller's own. Its timeouts bound
            how long a request waits here.
        secret: Names of teams go to Redis only as a hash keyed with this: the journal's key.
        lease_s: Seconds after which the places of a worker that died are free.
        timeout_s: Seconds that Redis has to answer before this worker limits by itself.

    Attributes:
        is_alone: Whether Redis did not answer last, so that this worker limits by itself.
    """

    def __init__(
        self, redis: Any, *, secret: bytes, lease_s: float = 30.0, timeout_s: float = 1.0
    ) -> None:
        self._redis = redis
        self._secret = secret
        self._lease_s = lease_s
        self._timeout_s = timeout_s
        self._worker = secrets.token_hex(8)
        self._admit = redis.register_script(_ADMIT)
        self._release = redis.register_script(_RELEASE)
        self._renew = redis.register_script(_RENEW)
        self._own = Limits()
        self._running: Counter[str] = Counter()  # by the team's key: what this worker serves
        self._free: set[str] = set()  # teams whose last request ended since the last renewal
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._ask_again_at = 0.0
        self.is_alone = False

    async def aadmit(self, caller: Caller, request_bytes: int, now: float) -> Admission | Refusal:
        """Let a request in, or say when to come again; see `Limits.admit`."""
        limits = caller.limits
        if are_none(limits):
            return Admission(None)
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._keep_renewing())
        team = self._hashed(caller.team)
        keys = self._keys(team)
        arguments = [
            self._worker,
            limits.streams or 0,
            limits.requests_per_minute or 0,
            limits.bytes_per_minute or 0,
            request_bytes,
            self._lease_s,
        ]
        answer = await self._ask(self._admit, keys, arguments)
        if answer is None:
            return self._own.admit(caller, request_bytes, now)
        what, wait_s = _text(answer[0]), float(answer[1])
        match what:
            case "streams":
                return too_many_streams(limits.streams or 0)
            case "requests":
                return too_often(limits.requests_per_minute or 0, wait_s)
            case "bytes":
                return too_many_bytes(limits.bytes_per_minute or 0, wait_s)
        self._running[team] += 1

        def release(bytes_out: int, _now: float) -> None:
            self._running[team] -= 1
            if self._running[team] <= 0:
                del self._running[team]
                self._free.add(team)
            given = [self._worker, limits.bytes_per_minute or 0, bytes_out]
            task = asyncio.get_running_loop().create_task(self._give_back(keys, given))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return Admission(release)

    async def aclose(self) -> None:
        """Wait for what is still to be told to Redis, and give all places back."""
        if self._renewing is not None:
            self._renewing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewing
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._running or self._free:
            self._free |= self._running.keys()
            self._running.clear()
            await self._tell_counts()

    def _hashed(self, team: str) -> str:
        message = b"unbroken limits 1 " + team.encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:32]

    def _keys(self, team: str) -> list[str]:
        # One hash tag, so that a cluster keeps them on one node, where a script can use them.
        return [
            "{unbroken-limits}:workers",
            f"{{unbroken-limits}}:running:{team}",
            f"{{unbroken-limits}}:buckets:{team}",
        ]

    async def _ask(self, script: Any, keys: list[str], arguments: list[Any]) -> Any:
        """Run a script; None where Redis does not answer."""
        from redis.exceptions import RedisError

        clock = asyncio.get_running_loop().time
        if clock() < self._ask_again_at:
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await script(keys=keys, args=arguments)
        except (RedisError, OSError, TimeoutError) as problem:
            if not self.is_alone:
                name = type(problem).__name__
                _log.warning("redis does not answer (%s): limits hold for each worker alone", name)
            self.is_alone = True
            self._ask_again_at = clock() + self._timeout_s  # or each request would wait so long
            return None
        self.is_alone = False
        return answer

    async def _give_back(self, keys: list[str], arguments: list[Any]) -> None:
        await self._ask(self._release, keys, arguments)  # lost, the next renewal puts it right

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            await self._tell_counts()

    async def _tell_counts(self) -> None:
        free = self._free - self._running.keys()
        teams = {**self._running, **dict.fromkeys(free, 0)}
        keys = [self._keys("")[0], *(self._keys(team)[1] for team in teams)]
        answer = await self._ask(self._renew, keys, [self._worker, self._lease_s, *teams.values()])
        if answer is not None:
            self._free -= free


def _text(answer: bytes | str) -> str:
    """Return a word of Redis's, whichever way its client was told to give them."""
    return answer.decode() if isinstance(answer, bytes) else answer
