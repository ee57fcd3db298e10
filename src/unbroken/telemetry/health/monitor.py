"""The monitor: all streams of a process, and what they add up to."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable

from unbroken.telemetry.health.figures import Figures, Group, Groups, Labels, count_in
from unbroken.telemetry.health.prices import Price, Prices
from unbroken.telemetry.health.report import HealthReport, report_of
from unbroken.telemetry.health.rows import FaultRow, StreamRow
from unbroken.telemetry.health.stream import StreamHealth

__all__ = ["HealthMonitor"]

_log = logging.getLogger("unbroken")
_KEEP_FAULTS = 200
_MOST_NAME = 80
_LOOK_S = 10.0
"""How often streams that nobody completed are looked for."""


class HealthMonitor:
    """Watch streams: each one's row, and the figures of all.

    Give one to `unbroken.http_client`, `unbroken.wrap` or `unbroken.stream` as ``health=``; or
    tell it of streams that Unbroken does not drive, by `start`, `record_frame`, `record_error`
    and `complete`. It may be used from any thread. After a fork the child begins at zero: what
    came before is the parent's to tell.

    Nothing of prompts and answers is kept, and memory is bounded: see the arguments.

    Args:
        clock: Seconds, monotonic; the one that drivers use.
        wall_time: Seconds since the epoch.
        keep: Ended streams whose rows are kept.
        abandon_s: Seconds without a word after which a stream is given up as ``abandoned``;
            None: never. Running streams of Unbroken's own always end by themselves.
        most_active: Streams watched at once; beyond it, the one that began first is given up.
        prices: What tokens cost; the first entry that fits a stream counts.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_time: Callable[[], float] = time.time,
        keep: int = 200,
        abandon_s: float | None = 3600.0,
        most_active: int = 100_000,
        prices: Iterable[Price] = (),
    ) -> None:
        self.prices = Prices(prices)
        self.clock = clock
        self._wall_time = wall_time
        self._keep = keep
        self._abandon_s = abandon_s
        self._most_active = most_active
        self._listeners: list[Callable[[StreamRow], object]] = []
        self._active: dict[str, StreamHealth] = {}
        self._reset()
        _monitors.add(self)

    def _reset(self) -> None:
        self.locked = threading.RLock()  # after a fork the old one may be held for ever
        for stream in self._active.values():
            stream.group = Group()  # the parent counts it
        self._active = {}
        self._ended: deque[StreamRow] = deque(maxlen=self._keep)
        self._faults: deque[FaultRow] = deque(maxlen=_KEEP_FAULTS)
        self._groups = Groups()
        self._looked_at = self.clock()
        self._wall_offset = self._wall_time() - self._looked_at
        self._listener_failed = False

    # Streams ----------------------------------------------------------------------------------

    def start(
        self,
        stream_id: str | None = None,
        *,
        provider: str = "",
        model: str = "",
        dialect: str = "",
        route: str = "",
        team: str = "",
        began: float | None = None,
    ) -> StreamHealth:
        """Begin to watch a stream.

        Args:
            stream_id: Its id; None makes one. If a stream with it runs already, that one is
                given up as ``abandoned``.
            provider: Who is asked: a short name, as it becomes a label.
            model: Which model.
            dialect: How it is spoken to.
            route: The gateway's route.
            team: Whose it is; shown in rows, not a label.
            began: When its request was made, on the monitor's clock; None: now.
        """
        now = self.clock()
        labels = Labels(
            provider=_name(provider), model=_name(model), dialect=_name(dialect), route=_name(route)
        )
        stream = self.make(
            stream_id or f"s-{secrets.token_hex(8)}",
            labels,
            team=team[:_MOST_NAME],
            began=now if began is None else began,
        )
        while (before := self._in_the_way(stream.id)) is not None:
            before.end("abandoned")
        with self.locked:
            self._active[stream.id] = stream
        self._give_up_silent(now)
        self.changed(stream)
        return stream

    def make(self, stream_id: str, labels: Labels, *, team: str, began: float) -> StreamHealth:
        """Make the record of a stream that begins; here for monitors that keep more."""
        return StreamHealth(self, stream_id, labels, team=team, began=began)

    def _in_the_way(self, stream_id: str) -> StreamHealth | None:
        """Return a stream that must be given up before one with this id begins."""
        with self.locked:
            if len(self._active) >= self._most_active:
                return next(iter(self._active.values()))
            return self._active.get(stream_id)

    def record_frame(self, stream_id: str, size_bytes: int, *, tokens: int = 0) -> None:
        """A frame of a stream came. An id that is not running is ignored.

        Args:
            stream_id: As given to `start`.
            size_bytes: The frame's size.
            tokens: Tokens of output in it; 0 for a frame without content.
        """
        stream = self._active.get(stream_id)
        if stream is not None:
            stream.frame(size_bytes, tokens, self.clock())

    def record_error(self, stream_id: str, error: BaseException | str) -> None:
        """A stream had an error, and may go on. An id that is not running is ignored.

        Args:
            stream_id: As given to `start`.
            error: Of an exception only the class is kept, since its text may quote an answer.
                Text is kept (200 characters of it) and shown: give none that is private.
        """
        stream = self._active.get(stream_id)
        if stream is None:
            return
        if isinstance(error, BaseException):
            stream.error(type(error).__name__, "")
        else:
            stream.error("error", str(error))

    def record_retry(self, stream_id: str, *, rung: str = "retry") -> None:
        """A stream is asked for once more. An id that is not running is ignored."""
        stream = self._active.get(stream_id)
        if stream is not None:
            stream.retried(rung)

    def complete(self, stream_id: str, *, success: bool = True) -> None:
        """A stream is over. An id that is not running, or no longer, is ignored."""
        stream = self._active.get(stream_id)
        if stream is not None:
            stream.end("complete" if success else "failed")

    # Listeners --------------------------------------------------------------------------------

    def listen(self, function: Callable[[StreamRow], object]) -> Callable[[], None]:
        """Call a function with a stream's row whenever the stream changes.

        That is when it starts, stalls, has an error, is tried again, loses its client or ends;
        not at every frame, which would slow streams down: look at `active` for those. It is
        called in the thread of the stream, so it must return soon; if it raises, that is logged
        once and the stream goes on.

        Returns:
            A function that ends it.
        """
        self._listeners.append(function)

        def stop() -> None:
            if function in self._listeners:
                self._listeners.remove(function)

        return stop

    def changed(self, stream: StreamHealth) -> None:
        """Tell listeners of a stream."""
        if not self._listeners:
            return
        row = stream.row(self.clock())
        for function in list(self._listeners):
            try:
                function(row)
            except Exception as error:  # noqa: BLE001 - a listener must not end a stream
                if not self._listener_failed:
                    self._listener_failed = True
                    name = type(error).__name__
                    _log.warning("a health listener raised %s; streams go on", name)

    # What is known ----------------------------------------------------------------------------

    def active(self) -> list[StreamRow]:
        """Return the streams that run, the oldest first."""
        now = self.clock()
        self._give_up_silent(now)
        with self.locked:
            streams = list(self._active.values())
        return [stream.row(now) for stream in streams]

    def ended(self) -> list[StreamRow]:
        """Return the streams that ended, the latest first; at most `keep` of them."""
        with self.locked:
            return list(reversed(self._ended))

    def stream(self, stream_id: str) -> StreamRow | None:
        """Return one stream's row, or None where its id is not known, or no longer."""
        stream = self._active.get(stream_id)
        if stream is not None:
            return stream.row(self.clock())
        return next((row for row in self.ended() if row.id == stream_id), None)

    def latest_faults(self) -> list[FaultRow]:
        """Return the faults of all streams, the latest first; at most 200 of them."""
        with self.locked:
            return list(reversed(self._faults))

    def figures(self) -> Figures:
        """Return all counters and histograms, with what running streams have done so far."""
        self._give_up_silent(self.clock())
        with self.locked:
            streams = [(stream, self.group_of(stream)) for stream in self._active.values()]
            copies = {id(group): _copy(group) for group in self._groups.all()}
            for stream, group in streams:
                stream.add_running(copies[id(group)])
        return Figures(groups=list(copies.values()))

    def report(self) -> HealthReport:
        """Return how all streams are doing."""
        return report_of(self.figures(), at=self.wall(self.clock()))

    # For the streams --------------------------------------------------------------------------

    def wall(self, now: float) -> float:
        """Return a time of the clock in seconds since the epoch."""
        return now + self._wall_offset

    def group_of(self, stream: StreamHealth) -> Group:
        """Return where a stream is counted. The caller holds the lock."""
        if stream.group is None:
            stream.group = self._groups.get(stream.labels, served=stream.tokens > 0)
            stream.group.started += 1
        return stream.group

    def count(self, stream: StreamHealth, name: str) -> None:
        """Add one to a counter."""
        with self.locked:
            group = self.group_of(stream)
            setattr(group, name, getattr(group, name) + 1)

    def trouble(self, kind: str, count: int = 1) -> None:
        """Count an error that is no stream's, as one type of `HealthReport.errors_by_type`.

        Args:
            kind: A short stable name.
            count: How many there were.
        """
        with self.locked:
            count_in(self._groups.get(Labels(), served=True).errors, kind, count)

    def fault(self, stream: StreamHealth, row: FaultRow) -> None:
        """Count and keep a fault."""
        with self.locked:
            count_in(self.group_of(stream).faults, row.kind)
            self._faults.append(row)

    def forget(self, stream: StreamHealth) -> None:
        """A stream ended. The caller holds the lock."""
        if self._active.get(stream.id) is stream:  # else it is one of before a fork
            del self._active[stream.id]
            self._ended.append(stream.row(self.clock()))

    def _give_up_silent(self, now: float) -> None:
        limit_s = self._abandon_s
        if limit_s is None or now < self._looked_at + _LOOK_S:
            return
        self._looked_at = now
        with self.locked:
            silent = [s for s in self._active.values() if now - s.heard_at > limit_s]
        for stream in silent:
            stream.end("abandoned")


def _name(text: str) -> str:
    """Return a name that is short and has only plain characters: it becomes a label."""
    text = text[:_MOST_NAME]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "?" for c in text)
    return text.strip()


def _copy(group: Group) -> Group:
    copy = Group(labels=group.labels)
    copy.merge(group)
    return copy


_monitors: weakref.WeakSet[HealthMonitor] = weakref.WeakSet()


def _after_fork() -> None:
    for monitor in list(_monitors):
        monitor._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
