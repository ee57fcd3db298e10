"""The clocks: silence and missing progress, by phase. Reads no clock itself.

Two things are told apart: bytes (a ping keeps the silence clock quiet) and progress (only
content counts: pings, comments, empty deltas and role-only frames do not). A wrong kill is
billed twice, so limits are long, and a notice comes at a third of each. Where the user sets a
floor, text that comes too slowly is no progress either.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from unbroken.core.checks.floor import Floor
from unbroken.core.events import (
    Close,
    Event,
    Finish,
    Open,
    Other,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Clocks

__all__ = ["Liveness", "Phase", "StallNotice"]

Phase = Literal["first-event", "before-content", "text", "thinking", "tool-input", "ending"]


class StallNotice(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing moved for a while; no action was taken.

    Attributes:
        clock: ``first-event``, ``silence`` or ``progress``.
        phase: What the stream was doing.
        waited_s: Seconds since something moved.
        limit_s: Seconds at which the attempt will be given up, or None.
        attempt: The attempt, from 1.
    """

    clock: str
    phase: Phase
    waited_s: float
    limit_s: float | None
    attempt: int = 0


class Liveness:
    """Watch one attempt's clocks. Every input brings `now`, in seconds."""

    def __init__(self, clocks: Clocks, *, now: float) -> None:
        self._clocks = clocks
        self._phase: Phase = "first-event"
        self._opened = now
        self._byte = now
        self._progress = now
        self._touched = now
        self._noticed: set[str] = set()
        self._floor: Floor | None = None
        if clocks.floor_chars_per_s is not None and clocks.floor_window_s is not None:
            self._floor = Floor(
                chars_per_s=clocks.floor_chars_per_s, window_s=clocks.floor_window_s
            )
        self.counts_text = self._floor is not None
        """Whether `wrote` wants to hear of the text that passes by `text`."""

    @property
    def phase(self) -> Phase:
        """What the stream is doing."""
        return self._phase

    def resume(self, now: float) -> None:
        """Reading goes on after the consumer took its time: that time does not count."""
        idle = now - self._touched
        if idle > 0:
            self._opened += idle
            self._byte += idle
            self._progress += idle
            self._touched = now
            if self._floor is not None:
                self._floor.shift(idle)

    def receive(self, now: float) -> None:
        """Bytes arrived."""
        self._byte = self._touched = now
        if self._noticed:
            self._noticed.discard("silence")

    def event(self, event: Event, now: float) -> None:
        """A frame meant this."""
        phase = self._phase
        match event:
            case Text(text=text) | Refusal(text=text):
                moved, phase = bool(text), "text" if text else phase
            case Reasoning():
                moved, phase = True, "thinking"
            case ToolCall(arguments=arguments, name=name, whole=whole):
                moved, phase = bool(arguments or name or whole), "tool-input"
            case Finish():
                moved, phase = True, "ending"
            case Open(kind="reasoning"):
                moved, phase = False, "thinking"
            case Open(kind="tool"):
                moved, phase = True, "tool-input"
            case Other(content=True):
                moved = True
            case _:
                moved = False
        if phase == "first-event":
            phase = "before-content"
        self._phase = phase
        if moved:
            self.progress(now)
        if self._floor is not None:
            self._count(event, now)

    def _count(self, event: Event, now: float) -> None:
        assert self._floor is not None
        match event:
            case Text(text=text) | Refusal(text=text):
                if text:
                    self._floor.wrote(len(text), now)
            case Close():
                self._floor.pause()
            case _ if self._phase != "text":
                self._floor.pause()
            case _:
                pass

    def text(self, now: float) -> None:
        """Bytes arrived, all of them text: the common case of `receive` and `event`."""
        self._phase = "text"
        self._byte = self._touched = self._progress = now
        if self._noticed:
            self._noticed.clear()

    def wrote(self, characters: int, now: float) -> None:
        """So much text came by `text`; only asked for where `counts_text`."""
        if self._floor is not None:
            self._floor.wrote(characters, now)

    def progress(self, now: float) -> None:
        """Content moved."""
        self._progress = now
        if self._noticed:
            self._noticed.clear()

    def restart(self, now: float) -> None:
        """Begin all clocks again: what was due was told, and the attempt goes on."""
        self._opened = now
        self.receive(now)
        self.progress(now)
        if self._floor is not None:
            self._floor.pause()

    def _limits(self) -> list[tuple[str, float, float | None]]:
        """Return (clock, since when, limit) for the clocks that run in this phase."""
        clocks = self._clocks
        if self._phase == "first-event":
            return [
                ("first-event", self._opened, clocks.first_event_s),
                ("silence", self._byte, clocks.silence_s),
            ]
        slow = self._phase in ("before-content", "thinking", "tool-input")
        limit = clocks.progress_slow_s if slow else clocks.progress_text_s
        return [("silence", self._byte, clocks.silence_s), ("progress", self._progress, limit)]

    def _notice_after(self, clock: str, limit: float | None) -> float | None:
        if clock == "progress" and self._clocks.notice_s is not None:
            return self._clocks.notice_s if limit is None else min(self._clocks.notice_s, limit / 3)
        return None if limit is None else limit / 3

    def next_timer(self) -> float | None:
        """Return when to call `handle_timer`, or None if nothing is awaited."""
        floor = None if self._floor is None else self._floor.due()
        times = [] if floor is None else [floor]
        for clock, since, limit in self._limits():
            if limit is not None:
                times.append(since + limit)
            notice = self._notice_after(clock, limit)
            if notice is not None and clock not in self._noticed:
                times.append(since + notice)
        return min(times, default=None)

    def deadline(self) -> float | None:
        """Return when the attempt will be given up if nothing moves."""
        times = [since + limit for _, since, limit in self._limits() if limit is not None]
        if self._floor is not None and (floor := self._floor.due()) is not None:
            times.append(floor)
        return min(times, default=None)

    def handle_timer(self, now: float) -> Fault | StallNotice | None:
        """Return what is due: a fault, a notice, or None if woken early."""
        self._touched = max(self._touched, now)  # whoever asks was reading until now
        for clock, since, limit in self._limits():
            waited = now - since
            # As `next_timer` adds: the difference may round to just under the limit.
            if limit is not None and now >= since + limit:
                return Fault.of(
                    FaultKind.STALLED,
                    f"{_WHAT[clock]} for {waited:.1f} s in phase {self._phase}"
                    f" (clock {clock}, limit {limit:g} s)",
                )
        if self._floor is not None and (found := self._floor.handle_timer(now)) is not None:
            return Fault.of(
                FaultKind.SLOW_DRIP,
                f"{found} characters of text came in {self._floor.window_s:g} s, under the floor"
                f" of {self._floor.chars_per_s:g} a second (clock floor, phase {self._phase})",
            )
        for clock, since, limit in self._limits():
            waited = now - since
            notice = self._notice_after(clock, limit)
            if notice is not None and now >= since + notice and clock not in self._noticed:
                self._noticed.add(clock)
                return StallNotice(clock=clock, phase=self._phase, waited_s=waited, limit_s=limit)
        return None


_WHAT = {
    "first-event": "no first event",
    "silence": "no byte arrived",
    "progress": "no content moved",
}
