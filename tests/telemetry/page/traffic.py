"""Made-up streams for the live page: a monitor is told of them as a driver would tell it."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from unbroken.core.actions import Reconnecting, StallNotice
from unbroken.core.events import Text
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import AttemptRecord, Outcome, Provenance
from unbroken.telemetry.health import HealthMonitor, StreamHealth

MODELS = [
    ("openai", "gpt-5.2", "openai-chat", 0.35, 0.02),
    ("openai", "gpt-5.2-mini", "openai-responses", 0.2, 0.012),
    ("anthropic", "claude-sonnet-5", "anthropic-messages", 0.6, 0.025),
    ("google", "gemini-3-flash", "gemini", 0.3, 0.04),
    ("local", "qwen3-32b", "ollama", 1.2, 0.05),
]
_FRAME = b'data: {"choices":[{"delta":{"content":"word "}}]}\n\n'
_EVENT = Text(index=0, text="word ") if "index" in Text.__struct_fields__ else Text(text="word ")


def cut(attempt: int = 1) -> Fault:
    return Fault.of(
        FaultKind.CONNECTION_RESET,
        f"the peer closed the connection after {1000 * attempt} bytes",
        at_byte=1000 * attempt,
    )


def reconnecting(fault: Fault, *, attempt: int = 2, rung: str = "prefill") -> Reconnecting:
    return Reconnecting(
        attempt=attempt, rung=rung, fault=fault, wait_s=0.1, added_bytes=900, skipped=[]
    )


def stall() -> StallNotice:
    return StallNotice(clock="progress", phase="text", waited_s=10.0, limit_s=120.0)


def deliver(health: StreamHealth, now: float, frames: int = 1) -> None:
    for _ in range(frames):
        health.delivered(_FRAME, [_EVENT], now)


def finish(
    health: StreamHealth,
    status: str = "complete",
    fault: Fault | None = None,
    attempts: int = 1,
    seam_at: int = 40,
    rung: str = "prefill",
) -> None:
    records = [AttemptRecord(number=number + 1) for number in range(attempts)]
    for record in records[1:]:
        record.rung = rung  # type: ignore[assignment]
    provenance = [
        Provenance(
            attempt=number + 1,
            start=number * seam_at,
            end=(number + 1) * seam_at,
            rung=records[number].rung,
            guarantee="seam-verified" if number else "byte-exact",
        )
        for number in range(attempts)
    ]
    health.outcome(
        Outcome(
            status=status,  # type: ignore[arg-type]
            faults=[fault] if fault else [],
            attempts=records,
            provenance=provenance,
        )
    )


class Clock:
    """A clock that a test moves; the wall stands at the same distance from it."""

    def __init__(self, now: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self.now, self.offset = now, wall - now

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + self.offset


@dataclass
class _Running:
    health: StreamHealth
    gap_s: float
    next_at: float
    left: int
    breaks_at: int = -1
    broken: list[Fault] = field(default_factory=list)
    stalls_at: int = -1


class Traffic:
    """Streams that come and go at random, by a seed."""

    def __init__(self, monitor: HealthMonitor, *, per_s: float = 1.0, seed: int = 7) -> None:
        self._monitor = monitor
        self._per_s = per_s
        self._random = random.Random(seed)
        self._running: list[_Running] = []
        self._number = 0

    def begin(self, now: float, *, frames: int | None = None) -> None:
        rnd = self._random
        provider, model, dialect, ttft_s, gap_s = rnd.choice(MODELS)
        self._number += 1
        health = self._monitor.start(
            f"s_{rnd.getrandbits(96):024x}", provider=provider, model=model, dialect=dialect,
            team=rnd.choice(["search", "support", "batch"]),
        )  # fmt: skip
        left = frames or rnd.randint(100, 900)
        one = _Running(
            health, gap_s * rnd.uniform(0.7, 1.5), now + ttft_s * rnd.lognormvariate(0, 0.4), left
        )
        if rnd.random() < 0.06:
            one.breaks_at = left // 2
        elif rnd.random() < 0.03:
            one.stalls_at = left // 2
        self._running.append(one)

    def step(self, now: float) -> None:
        """Do what happened until now."""
        rnd = self._random
        if rnd.random() < self._per_s:
            self.begin(now)
        for one in list(self._running):
            while one.next_at <= now:
                if one.left <= 0:
                    self._end(one)
                    break
                if one.left == one.stalls_at:
                    one.health.notice(stall())
                    one.stalls_at = -1
                    one.next_at = now + 25
                    break
                if one.left == one.breaks_at:
                    fault = cut(len(one.broken) + 1)
                    one.broken.append(fault)
                    one.breaks_at = -1
                    one.health.notice(reconnecting(fault, rung=rnd.choice(["prefill", "replay"])))
                    one.next_at = now + 1.5
                    break
                one.left -= 1
                self._monitor.clock.now = one.next_at  # type: ignore[attr-defined]
                deliver(one.health, one.next_at)
                one.health.resumed(one.next_at)
                one.next_at += one.gap_s * rnd.expovariate(1) if rnd.random() < 0.5 else one.gap_s
        self._monitor.clock.now = now  # type: ignore[attr-defined]

    def _end(self, one: _Running) -> None:
        self._running.remove(one)
        draw = self._random.random()
        attempts = 1 + len(one.broken)
        if draw < 0.012:
            fault = Fault.of(FaultKind.PROVIDER_ERROR, "overloaded_error after 812 frames")
            finish(one.health, "failed", fault, attempts)
        elif draw < 0.04:
            finish(one.health, "limited", Fault.of(FaultKind.LENGTH_LIMIT, "1024 tokens"), attempts)
        elif draw < 0.06:
            finish(
                one.health, "cancelled", Fault.of(FaultKind.CANCELLED, "the client left"), attempts
            )
        else:
            finish(one.health, "complete", one.broken[0] if one.broken else None, attempts)
