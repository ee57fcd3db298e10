"""The flight recorder: what passed last, of every stream, in memory for as long as it may matter.

A stream's ring holds its first lines (the requests' heads) and its newest, up to a limit in bytes;
what fell out between them is counted. While the stream runs a read costs it one tuple. Only when
the stream fails are lines of a recording made of them: for `Outcome.flight`, and for a file where a
folder was set.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple, overload

import msgspec

from unbroken.core.masking import LineMask
from unbroken.core.outcome import Outcome
from unbroken.core.recording import BodyEndHow, Contents, Line, Lost
from unbroken.core.request import Request
from unbroken.telemetry.recording import lines

__all__ = ["Flight", "FlightRecorder", "Landed", "shared_flight_recorder"]

_log = logging.getLogger("unbroken")
_FIRST = 8
"""How many entries at a stream's beginning are always kept."""
_ENTRY_BYTES = 160
"""What an entry takes beside its data, about."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")

Entry = tuple[Any, ...]
"""A function of `lines` and what it takes, but for the time, which comes second."""


class FlightRecorder:
    """Keeps the last of each stream; see the module's head.

    Args:
        folder: Where a stream that failed is written, a file each; None writes none.
        contents: What becomes of prompts and outputs in those files.
        max_bytes: Most bytes kept of one stream beside its first few lines, what Python takes
            for them included; 0 keeps nothing.
        most_files: Most files written; what fails later is only in its outcome.
        keep: How many of the latest streams that failed are kept in `latest`.

    Attributes:
        latest: They, the newest last.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        contents: Contents = "removed",
        max_bytes: int = 32 * 1024,
        most_files: int = 1000,
        keep: int = 0,
    ) -> None:
        if max_bytes < 0:
            msg = f"max_bytes must be at least 0, not {max_bytes}"
            raise ValueError(msg)
        self.folder = None if folder is None else Path(folder)
        self.contents: Contents = contents
        self.max_bytes = max_bytes
        self.latest: deque[Landed] = deque(maxlen=keep)
        self._files_left = most_files
        self._warned = False

    def stream(self, *, name: str = "") -> FlightTape:
        """Return the tape of a stream that begins."""
        return FlightTape(self, name)

    def landed(self, name: str, fault: str, flight: Flight) -> Path | None:
        """Keep a stream that failed, and write it into the folder; return its file, or None."""
        self.latest.append(Landed(name, time.time(), fault, flight))
        if self.folder is None or self._files_left <= 0:
            return None
        self._files_left -= 1
        stamp = time.strftime("%Y%m%d-%H%M%S")
        plain = _UNSAFE.sub("-", name)[:40]
        from unbroken.telemetry.recording.saving import save_recording

        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = self.folder / f"flight-{stamp}-{os.getpid()}-{self._files_left}{plain}.jsonl"
            save_recording(flight, path, contents=self.contents, side="flight-recorder")
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning(
                    "the flight recorder cannot write into %s (%s)", self.folder, error.strerror
                )
            return None
        return path


class Flight(Sequence[Line]):
    """What was kept of a stream: lines of a recording, made when they are looked at; no keys."""

    def __init__(
        self, first: list[Entry], ring: list[Entry], lost: int = 0, lost_bytes: int = 0
    ) -> None:
        self._first = first
        self._ring = ring
        self._lost = lost
        self._lost_bytes = lost_bytes

    @cached_property
    def _lines(self) -> tuple[Line, ...]:
        mask = LineMask("kept")
        found = [line for each in self._made() for line in mask.put(each)]
        return (*found, *mask.finish())

    def _made(self) -> Iterator[Line]:
        entries = [*self._first, *self._ring]
        began = entries[0][1] if entries else 0.0
        for number, (make, at, *facts) in enumerate(entries):
            if number == len(self._first) and self._lost:
                yield Lost(at_s=at - began, lines=self._lost, size=self._lost_bytes)
            yield from make(at - began, *facts)

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, index: int) -> Line: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Line, ...]: ...
    def __getitem__(self, index: int | slice) -> Line | tuple[Line, ...]:
        return self._lines[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Flight | tuple) and self._lines == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        # Crash reporters write down the variables of a traceback: no prompt, no output.
        return f"<Flight of {len(self._first) + len(self._ring)} entries>"

    def __reduce__(self) -> tuple[Any, ...]:
        return tuple, (self._lines,)


class Landed(NamedTuple):
    """A stream that failed, as `FlightRecorder.latest` keeps it.

    Attributes:
        name: What it was called.
        at: When it ended, seconds since the epoch.
        fault: Its fault's kind.
        flight: What was kept.
    """

    name: str
    at: float
    fault: str
    flight: Flight


class FlightTape:
    """One stream's ring; an `unbroken.telemetry.recording.tape.Tape`."""

    __slots__ = (
        "_bytes", "_first", "_lost", "_lost_bytes", "_name", "_owner", "_ring",
    )  # fmt: skip

    only_late = True

    def __init__(self, owner: FlightRecorder, name: str) -> None:
        self._owner = owner
        self._name = name
        self._first: list[Entry] = []
        self._ring: deque[Entry] = deque()
        self._bytes = 0
        self._lost = 0
        self._lost_bytes = 0

    def request(self, request: Request, attempt: int, rung: str, dialect: str, now: float) -> None:
        size = len(request.body)
        if size > self._owner.max_bytes:  # it would be held for as long as the outcome is
            request = msgspec.structs.replace(request, body=b"")
            self._put((lines.request_lines, now, request, attempt, rung, dialect, size))
        else:
            self._put((lines.request_lines, now, request, attempt, rung, dialect))

    def answered(
        self,
        attempt: int,
        status: int,
        headers: Iterable[tuple[str, str]],
        now: float,
        reason: str = "",
        framing: str = "",
    ) -> None:
        self._put((lines.response_lines, now, attempt, status, headers, reason, framing))

    def read(self, attempt: int, data: bytes, now: float, waited_s: float | None = None) -> None:
        ring = self._ring
        ring.append((lines.read_lines, now, attempt, data))
        self._bytes += len(data) + _ENTRY_BYTES
        if self._bytes > self._owner.max_bytes:
            self._shorten()

    def ended(self, attempt: int, how: BodyEndHow, detail: str, now: float) -> None:
        self._put((lines.end_lines, now, attempt, how, detail))

    def delivered(self, data: bytes, now: float) -> None:
        self._put((lines.delivered_lines, now, len(data)))

    def wanted(self, now: float) -> None:
        self._put((lines.wanted_lines, now))

    def notice(self, kind: str, detail: str, attempt: int, now: float) -> None:
        self._put((lines.notice_lines, now, kind, detail, attempt))

    def outcome(self, outcome: Outcome, now: float) -> None:
        if outcome.fault is not None and self._owner.max_bytes:
            self._put((lines.outcome_lines, now, outcome))
            outcome.flight = flight = self.flight()
            self._owner.landed(self._name, outcome.fault.kind.value, flight)

    def close(self, now: float) -> None:
        self._first = []
        self._ring = deque()

    def flight(self) -> Flight:
        """Return what is kept, as lines of a recording."""
        return Flight(list(self._first), list(self._ring), self._lost, self._lost_bytes)

    def _put(self, entry: Entry) -> None:
        if len(self._first) < _FIRST and not self._ring:
            self._first.append(entry)
        else:
            self._ring.append(entry)
            self._bytes += _ENTRY_BYTES

    def _shorten(self) -> None:
        """Let the oldest entries go; the newest stays, if only by its size."""
        ring, most = self._ring, self._owner.max_bytes
        while self._bytes > most and ring:
            entry = ring.popleft()
            self._bytes -= _ENTRY_BYTES
            size = 0
            if entry[0] is lines.read_lines:
                size = len(entry[3])
                self._bytes -= size
            if size and not ring and most:
                ring.append((lines.unkept_read_lines, entry[1], entry[2], size))
                self._bytes += _ENTRY_BYTES
                return
            self._lost += 1
            self._lost_bytes += size


@cache
def shared_flight_recorder() -> FlightRecorder:
    """Return the process's: writes into the folder that ``UNBROKEN_FLIGHT_DIR`` names, if any."""
    return FlightRecorder(os.environ.get("UNBROKEN_FLIGHT_DIR") or None)
