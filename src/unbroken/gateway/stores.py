"""What is kept beyond one request: the journal, and the counts behind the limits.

In memory where one worker serves. Where several do, both are in Redis, which is imported only then.
"""

from __future__ import annotations

import base64
from typing import Any

from unbroken.gateway.callers import Caller
from unbroken.gateway.config import GatewayConfig, JournalConfig, Secret
from unbroken.gateway.limits import Admission, AnyLimits, Limits, Refusal
from unbroken.gateway.secret import derived
from unbroken.journal import Journal, MemoryJournal

__all__ = ["open_journal", "open_limits"]


def open_journal(config: GatewayConfig) -> Journal:
    """Return the journal that a configuration asks for.

    Raises:
        ImportError: If it is Redis, and the extra for it is not installed.
    """
    chosen = config.journal
    if chosen.kind == "memory":
        return MemoryJournal(
            max_stream_bytes=chosen.max_stream_bytes,
            max_total_bytes=chosen.max_total_bytes,
            keep_s=config.resume.keep_s,
        )
    from unbroken.journal.redis import RedisJournal

    return RedisJournal(
        chosen.url,
        keys=_keys(chosen),
        password=_revealed(chosen.password),
        keep_s=config.resume.keep_s,
        max_stream_bytes=chosen.max_stream_bytes,
        flush_s=chosen.flush_s,
    )


def open_limits(config: GatewayConfig) -> AnyLimits:
    """Return what counts the limits: in this worker, or shared where the journal is."""
    if config.journal.kind == "memory":
        return Limits()
    return _InRedis(config.journal)


class _InRedis:
    """Shared limits with a connection pool of their own, closed with them."""

    def __init__(self, journal: JournalConfig) -> None:
        import redis.asyncio

        from unbroken.gateway.limits_redis import SharedLimits

        self._client: Any = redis.asyncio.Redis.from_url(
            journal.url, password=_revealed(journal.password), socket_connect_timeout=1.0
        )
        self._shared = SharedLimits(self._client, secret=derived(_keys(journal)[0], "limits"))

    async def aadmit(self, caller: Caller, request_bytes: int, now: float) -> Admission | Refusal:
        return await self._shared.aadmit(caller, request_bytes, now)

    async def aclose(self) -> None:
        await self._shared.aclose()
        await self._client.aclose()


def _keys(journal: JournalConfig) -> list[bytes]:
    given = [key for key in (journal.key, *journal.old_keys) if key is not None]
    return [base64.b64decode(key.reveal()) for key in given]


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()
