"""What a caller may do, and what a worker takes on. Reads no clock: every call brings `now`.

Requests and bytes a minute are counted by buckets: each holds a minute's worth, and fills up
evenly. So a caller may use its minute at once, and then goes on at its rate. What an answer
weighs is known at its end only, so that the bucket for bytes may go below empty; nothing is
ever cut for it, the next request waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from unbroken.gateway.callers import Caller
from unbroken.gateway.config import CallerLimits

__all__ = ["Admission", "Allowance", "AnyLimits", "Held", "Limits", "Refusal"]

_MINUTE_S = 60.0
_AGAIN_S = 1.0  # when a place among the running streams is free cannot be known


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A request that a limit does not let in.

    Attributes:
        status: 429.
        retry_after_s: Seconds until it may be let in.
        reason: For the caller: which limit, and its figure.
    """

    status: int = 429
    retry_after_s: float
    reason: str

    @property
    def retry_after(self) -> str:
        """The value of the Retry-After header: whole seconds, never 0."""
        return str(max(1, int(-(-self.retry_after_s // 1))))


class Admission:
    """A request that was let in. Call `release` once, however it ends; again does nothing."""

    __slots__ = ("_release",)

    def __init__(self, release: Callable[[int, float], None] | None) -> None:
        self._release = release

    def release(self, bytes_out: int, now: float) -> None:
        """Give the place back, and count what was answered."""
        release, self._release = self._release, None
        if release is not None:
            release(bytes_out, now)


class AnyLimits(Protocol):
    """What the gateway asks: limits of this worker, or those that all workers share."""

    async def aadmit(
        self, caller: Caller, request_bytes: int, now: float
    ) -> Admission | Refusal: ...

    async def aclose(self) -> None: ...


@dataclass(slots=True)
class _Bucket:
    level: float
    at: float

    def fill(self, size: int, now: float) -> None:
        gained = max(0.0, now - self.at) * size / _MINUTE_S
        self.level, self.at = min(float(size), self.level + gained), max(self.at, now)

    def wait_s(self, needed: float, size: int) -> float:
        return max(0.0, needed - self.level) * _MINUTE_S / size


@dataclass(slots=True)
class _Team:
    running: int = 0
    buckets: dict[str, _Bucket] = field(default_factory=dict)

    def bucket(self, name: str, size: int, now: float) -> _Bucket:
        found = self.buckets.get(name)
        if found is None:
            found = self.buckets[name] = _Bucket(float(size), now)
        found.fill(size, now)
        return found


class Limits:
    """The limits of all callers, counted in this process.

    Callers are told apart by team; all that have none count as one.
    """

    def __init__(self) -> None:
        self._teams: dict[str, _Team] = {}

    def admit(self, caller: Caller, request_bytes: int, now: float) -> Admission | Refusal:
        """Let a request in, or say when to come again.

        Args:
            caller: Who sent it.
            request_bytes: Size of its body.
            now: Any steady clock, in seconds.
        """
        limits = caller.limits
        team = self._teams.setdefault(caller.team, _Team())
        if limits.streams is not None and team.running >= limits.streams:
            return too_many_streams(limits.streams)
        requests = bytes_in = None
        if (size := limits.requests_per_minute) is not None:
            requests = team.bucket("requests", size, now)
            if wait_s := requests.wait_s(1.0, size):
                return too_often(size, wait_s)
        if (size := limits.bytes_per_minute) is not None:
            bytes_in = team.bucket("bytes", size, now)
            # A request larger than a whole minute's worth waits for a full bucket, not for ever.
            if wait_s := bytes_in.wait_s(min(request_bytes, size), size):
                return too_many_bytes(size, wait_s)
        if requests is not None:
            requests.level -= 1.0
        if bytes_in is not None:
            bytes_in.level -= request_bytes
        team.running += 1

        def release(bytes_out: int, now: float) -> None:
            team.running -= 1
            if (size := limits.bytes_per_minute) is not None:
                team.bucket("bytes", size, now).level -= bytes_out

        return Admission(release)

    async def aadmit(self, caller: Caller, request_bytes: int, now: float) -> Admission | Refusal:
        """Do what `admit` does, as `AnyLimits` has it."""
        return self.admit(caller, request_bytes, now)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to close."""

    def running(self, team: str) -> int:
        """Return how many of a team's requests are running."""
        found = self._teams.get(team)
        return 0 if found is None else found.running


def are_none(limits: CallerLimits) -> bool:
    """Whether nothing is limited."""
    return limits == CallerLimits()


def too_many_streams(most: int) -> Refusal:
    """Return the refusal where too many requests run at once."""
    reason = f"more than {most} requests of this key at once (limit: streams)"
    return Refusal(retry_after_s=_AGAIN_S, reason=reason)


def too_often(most: int, wait_s: float) -> Refusal:
    """Return the refusal where requests come too often."""
    reason = f"more than {most} requests a minute with this key (limit: requests_per_minute)"
    return Refusal(retry_after_s=wait_s, reason=reason)


def too_many_bytes(most: int, wait_s: float) -> Refusal:
    """Return the refusal where requests and answers were too large."""
    reason = f"more than {most} bytes a minute with this key (limit: bytes_per_minute)"
    return Refusal(retry_after_s=wait_s, reason=reason)


class Allowance:
    """How much of something a process may hold: bytes in buffers, connections.

    For one event loop: not locked.

    Attributes:
        most: The limit.
        used: What is held now.
        peak: The most that ever was.
    """

    __slots__ = ("most", "peak", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self.peak = 0

    def take(self, amount: int = 1) -> bool:
        """Take so much, or nothing and return False if that is too much."""
        if self.used + amount > self.most:
            return False
        self.used += amount
        self.peak = max(self.peak, self.used)
        return True

    def give(self, amount: int = 1) -> None:
        """Give back what was taken."""
        assert 0 <= amount <= self.used, "more is given back than was taken"
        self.used -= amount


class Held:
    """One request's part of an allowance, given back at its end; a context manager."""

    __slots__ = ("_allowance", "_amount")

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._amount = 0

    def take(self, amount: int) -> bool:
        """Take more; return False if there is not so much."""
        if not self._allowance.take(amount):
            return False
        self._amount += amount
        return True

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *exc: object) -> None:
        self._allowance.give(self._amount)
        self._amount = 0
