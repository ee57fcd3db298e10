"""Record streams to a file while they run: every byte, in the order in which things happened."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self

from unbroken.core.masking import LineMask
from unbroken.core.outcome import Outcome
from unbroken.core.recording import (
    VERSION,
    BodyEndHow,
    Connected,
    Contents,
    Delivered,
    Line,
    Lost,
    NoticeSeen,
    Opening,
    Read,
    encode_line,
)
from unbroken.core.request import Request
from unbroken.telemetry.recording import lines
from unbroken.telemetry.recording.output import LineFile

__all__ = ["Recorder", "RecordingTape", "opening", "salted"]

_log = logging.getLogger("unbroken")
_OTHER_CLOCK_S = 5.0
_MOST_UNDELIVERED = 1024 * 1024
_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


def opening(contents: Contents, side: str, note: str = "", *, started_at: float) -> Opening:
    """Return a recording's first line."""
    try:
        number = version("unbroken")
    except PackageNotFoundError:
        number = ""
    return Opening(
        version=VERSION,
        made_by=f"unbroken {number}".rstrip(),
        started_at=round(started_at, 6),
        contents=contents,
        side=side,
        note=note,
    )


def salted(salt: bytes | None) -> bytes:
    """Return the key of a recording's hashes: a given one, or a random one that nobody keeps."""
    return os.urandom(32) if salt is None else salt[:64]


class Recorder:
    """Writes every stream, byte for byte, to one file of lines; see `unbroken.core.recording`.

    Keys are never in it. Any number of streams, from any threads, may be recorded at once. A
    disk that fails ends the recording with one warning, and harms no stream; so does a fork, in
    the child.

    Args:
        path: A file that is not there yet (made for its owner's eyes only); or a descriptor that
            is open for writing.
        contents: What becomes of prompts and outputs: ``kept``, ``hashed`` or ``removed``.
        side: Who records; see `unbroken.core.recording.Opening`.
        note: What a person should know.
        salt: The key of the hashes for ``hashed``; whoever has it can try what a text was. None
            takes a random one and forgets it.
        in_thread: A thread of its own writes, so that a slow disk stops no event loop; lines
            are left out where it is far behind, and that is noted.

    Raises:
        FileExistsError: If the file is there already; nothing is ever overwritten.
        OSError: If it cannot be made.

    Attributes:
        streams: How many were begun.
        body_bytes: What was read in all of them.
    """

    def __init__(
        self,
        path: str | Path | int,
        *,
        contents: Contents = "kept",
        side: str = "library",
        note: str = "",
        salt: bytes | None = None,
        in_thread: bool = False,
    ) -> None:
        self._file = LineFile(path, in_thread=in_thread)
        self.contents: Contents = contents
        self._salt = salted(salt)
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self.streams = 0
        self.body_bytes = 0
        self._open: weakref.WeakValueDictionary[int, RecordingTape] = weakref.WeakValueDictionary()
        self._ended_last = 0
        _recorders.add(self)
        self._file.write(encode_line(opening(contents, side, note, started_at=time.time())))

    @property
    def path(self) -> Path | None:
        """The file; None where it is a descriptor."""
        return self._file.path

    @property
    def written_bytes(self) -> int:
        """What went into the file."""
        return self._file.written_bytes

    @property
    def failed(self) -> OSError | None:
        """Why the recording stopped; None while it goes on."""
        return self._file.failed

    @property
    def behind(self) -> bool:
        """Whether the disk is far behind: who can wait before it reads on should."""
        return self._file.behind

    def stream(self, *, name: str = "") -> RecordingTape:
        """Return the tape of a stream that begins."""
        with self._lock:
            self.streams += 1
            number = self.streams
        mask = LineMask(self.contents, salt=self._salt)
        tape = self._open[number] = RecordingTape(self, number, mask, self._began)
        return tape

    def notice(self, kind: str, detail: str, now: float) -> None:
        """Note what concerns no single stream, with those that are open, or that ended last.

        Args:
            kind: See `unbroken.core.recording.NoticeSeen`.
            detail: What; without keys and contents.
            now: When, on the process's monotonic clock.
        """
        tapes = list(self._open.values())
        for tape in tapes:
            tape.notice(kind, detail, max(tape.attempt, 1), now)
        if not tapes and self._ended_last:
            line = NoticeSeen(
                at_s=max(0.0, round(now - self._began, 6)),
                stream=self._ended_last,
                kind=kind,
                detail=detail,
            )
            self._write([line])

    def _closed(self, number: int) -> None:
        if self._open.pop(number, None) is not None:
            self._ended_last = number

    def _forked(self) -> None:
        self._lock = threading.Lock()
        for tape in list(self._open.values()):
            tape.forked()

    def close(self) -> None:
        """End the file. Calling it twice is fine; streams that run on are not recorded on."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _write(self, found: list[Line]) -> int:
        """Write lines; return how many were lost."""
        lost = 0
        for line in found:
            lost += not self._file.write(encode_line(line))
        return lost if self._file.failed is None else 0


def _in_child() -> None:
    for recorder in list(_recorders):
        recorder._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class RecordingTape:
    """One stream of a recording; an `unbroken.telemetry.recording.tape.Tape`.

    Beside what that tells, a proxy knows when a connection stood (`connected`) and how long a
    read was waited for.
    """

    only_late = False

    def __init__(self, recorder: Recorder, number: int, mask: LineMask, began: float) -> None:
        self.number = number
        self._recorder = recorder
        self._mask = mask
        self._began = began
        self._lock = threading.Lock()
        self._clock_off: float | None = None
        self._last_s = 0.0
        self._unseen = bytearray()  # what was read and not delivered so far
        self._attempt = 0
        self._dropped = self._dropped_bytes = 0
        self._over = False
        self._broken = False

    def request(self, request: Request, attempt: int, rung: str, dialect: str, now: float) -> None:
        """A request is about to be sent."""
        at_s = self._at(now)
        self._attempt = attempt
        self._unseen.clear()
        with self._lock:
            if not self._over:
                self._guarded(partial(self._learn, request.body))
        self._put(lines.request_lines(at_s, request, attempt, rung, dialect))

    def connected(
        self, attempt: int, now: float, *, address: str, tls: bool, reused: bool = False
    ) -> None:
        """The connection for an attempt stands."""
        at_s = self._at(now)
        line = Connected(at_s=at_s, attempt=attempt, address=address, tls=tls, reused=reused)
        self._put([line])

    def answered(
        self,
        attempt: int,
        status: int,
        headers: Iterable[tuple[str, str]],
        now: float,
        reason: str = "",
        framing: str = "",
    ) -> None:
        """The head of its response came."""
        at_s = self._at(now)
        self._put(lines.response_lines(at_s, attempt, status, headers, reason, framing))

    def read(self, attempt: int, data: bytes, now: float, waited_s: float | None = None) -> None:
        """Bytes of its body came."""
        self._recorder.body_bytes += len(data)
        if len(self._unseen) + len(data) <= _MOST_UNDELIVERED:
            self._unseen += data
        else:
            self._unseen.clear()
        waited_s = None if waited_s is None else round(waited_s, 6)
        self._put([Read(at_s=self._at(now), attempt=attempt, waited_s=waited_s)], data)

    def ended(self, attempt: int, how: BodyEndHow, detail: str, now: float) -> None:
        """The attempt is over."""
        self._put(lines.end_lines(self._at(now), attempt, how, detail))

    def delivered(self, data: bytes, now: float) -> None:
        """Bytes went to the consumer."""
        at_s = self._at(now)
        found = self._unseen.find(data)
        line = Delivered(at_s=at_s, attempt=max(self._attempt, 1))
        if found >= 0:
            del self._unseen[: found + len(data)]
            line.size = len(data)
            self._put([line])
        else:
            self._put([line], data)

    def wanted(self, now: float) -> None:
        """The consumer came back for more."""
        self._put(lines.wanted_lines(self._at(now)))

    def notice(self, kind: str, detail: str, attempt: int, now: float) -> None:
        """Something was going on."""
        self._put(lines.notice_lines(self._at(now), kind, detail, attempt))

    def outcome(self, outcome: Outcome, now: float) -> None:
        """The stream is over, and this is what came of it."""
        self._put(lines.outcome_lines(self._at(now), outcome))

    def close(self, now: float) -> None:
        """Nothing more comes."""
        with self._lock:
            if not self._over:
                self._over = True
                self._guarded(self._mask.finish)
        self._unseen = bytearray()
        self._recorder._closed(self.number)

    @property
    def attempt(self) -> int:
        """The attempt that runs; 0 before the first."""
        return self._attempt

    def forked(self) -> None:
        """Be harmless in a child of a fork: the lock may be held by nobody."""
        self._lock = threading.Lock()

    def _learn(self, body: bytes | None) -> list[Line]:
        """Know the keys in the body before its address is written down."""
        if body:
            self._mask.learn(body)
        return []

    def _at(self, now: float) -> float:
        """Return the recording's time; it never goes back."""
        if self._clock_off is None:  # a clock that is not the process's begins here
            here = time.monotonic()
            self._clock_off = here - now if abs(here - now) > _OTHER_CLOCK_S else 0.0
        self._last_s = max(self._last_s, round(now + self._clock_off - self._began, 6))
        return self._last_s

    def _put(self, told: list[Line], data: bytes | None = None) -> None:
        with self._lock:
            if self._over:
                return
            for line in told:
                if not isinstance(line, Opening):
                    line.stream = self.number
                self._guarded(partial(self._mask.put, line, data))

    def _guarded(self, mask: Callable[[], list[Line]]) -> None:
        if self._broken or self._recorder.failed is not None:
            return
        try:
            found = mask()
        except Exception:  # noqa: BLE001 - a stream must not break by its recording
            self._broken = True
            _log.exception("a stream's recording failed; it is not recorded on")
            return
        if not found:
            return
        if self._dropped:
            gap = Lost(
                at_s=self._last_s, stream=self.number, lines=self._dropped, size=self._dropped_bytes
            )
            if self._recorder._write([gap]):
                self._drop(found)
                return
            self._dropped = self._dropped_bytes = 0
        for at, line in enumerate(found):
            if self._recorder._write([line]):
                self._drop(found[at:])
                return

    def _drop(self, found: list[Line]) -> None:
        self._dropped += len(found)
        self._dropped_bytes += sum(line.size_bytes for line in found if isinstance(line, Read))
