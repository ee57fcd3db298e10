"""The access log: one JSON line for each request, and one for each prompt that is sent again.

Lines are written by a thread of their own from a bounded queue: a disk that is full, a pipe that
nobody reads or a log server that hangs costs lines, never a stream. What is lost is counted, and
said once.

No line holds anything of prompts, answers or keys: each field is written by name below, texts
are cut short, and a stream's id, with which it could be asked for, is there as a short hash only.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from unbroken.core.actions import Notice, Reconnecting
from unbroken.core.outcome import Outcome
from unbroken.core.request import Request
from unbroken.knowledge import records_for
from unbroken.telemetry.health import StreamRow, names_of
from unbroken.telemetry.health.bill import bill_of

__all__ = ["AccessLog", "Resends", "path_of", "stream_facts", "stream_hash"]

_log = logging.getLogger("unbroken")
_MOST_WAITING_BYTES = 8 * 1024 * 1024
_MOST_TEXT = 200
_LOOK_EVERY_S = 1.0
_BATCH_BYTES = 64 * 1024
_REQUEST_ID = re.compile(r"[\w.:/=+-]{1,100}")
_STREAM_PATH = re.compile(r"(?<=/streams/)[^/]+")

_encoder = msgspec.json.Encoder()


class AccessLog:
    """Writes lines to standard output or to a file, whatever becomes of those.

    Args:
        where: ``-`` for standard output, else the path of a file, which is appended to. A file
            that was moved away (logrotate) is noticed within a second and made anew.
        on_lost: Called, in the writer's thread, with the number of lines that were just lost.
        wall_time: Seconds since the epoch.

    Attributes:
        lost: Lines that could not be written.
        failing: Whether the last line could not.
    """

    def __init__(
        self,
        where: str,
        *,
        on_lost: Callable[[int], object] | None = None,
        wall_time: Callable[[], float] = time.time,
    ) -> None:
        self.lost = 0
        self.failing = False
        self._where = where
        self._on_lost = on_lost
        self._wall_time = wall_time
        self._lines: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._wake = threading.Condition()
        self._closed = False
        self._moved = False  # the place was changed, or is to be opened again
        self._handle: int | None = None
        self._looked_at = 0.0
        self._torn = False  # half a line was written
        self._lost_untold = 0
        self._thread = threading.Thread(target=self._run, name="unbroken-access-log", daemon=True)
        self._thread.start()

    def write(self, kind: str, facts: Mapping[str, Any]) -> None:
        """Add a line. Returns at once.

        Args:
            kind: ``request``, ``stream`` or ``resend``.
            facts: What it says; what is None is left out.
        """
        at = datetime.fromtimestamp(self._wall_time(), UTC)
        line = {"time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "kind": kind}
        line.update((key, _short(value)) for key, value in facts.items() if value is not None)
        data = _encoder.encode(line) + b"\n"
        with self._wake:
            if self._closed or self._waiting_bytes + len(data) > _MOST_WAITING_BYTES:
                self._lost_untold += 1
            else:
                self._lines.append(data)
                self._waiting_bytes += len(data)
            self._wake.notify()

    def reopen(self, where: str | None = None) -> None:
        """Open the file again, or another one: after SIGHUP."""
        with self._wake:
            self._where = self._where if where is None else where
            self._moved = True
            self._wake.notify()

    def close(self, *, limit_s: float = 2.0) -> None:
        """Write what is waiting, but for no longer than this many seconds."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(limit_s)

    # The thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(
                    lambda: self._lines or self._closed or self._moved or self._lost_untold
                )
                lines, moved, closed = list(self._lines), self._moved, self._closed
                where, lost, self._lost_untold = self._where, self._lost_untold, 0
                self._lines.clear()
                self._waiting_bytes = 0
                self._moved = False
            if moved:
                self._let_go()
            if lost:
                self._tell(lost, "too many lines were waiting")
            for batch in self._batches(lines):
                self._write(where, batch)
            if closed:
                self._let_go()
                return

    def _batches(self, lines: list[bytes]) -> list[list[bytes]]:
        """Return lines as they are written together: bounded, so that a failure costs few."""
        found: list[list[bytes]] = []
        size = _BATCH_BYTES
        for line in lines:
            if size + len(line) > _BATCH_BYTES:
                found.append([])
                size = 0
            found[-1].append(line)
            size += len(line)
        return found

    def _write(self, where: str, lines: list[bytes]) -> None:
        written = 0
        data = b"".join(lines)
        try:
            handle = self._open(where)
            if self._torn:  # half a line of an earlier failure: it gets its end
                os.write(handle, b"\n")
                self._torn = False
            while written < len(data):
                # Lines of several workers go to one pipe: whole ones, up to 4 KiB, stay whole.
                written += os.write(handle, data[written:])
        except OSError as error:
            whole = data[:written].count(b"\n")
            self._torn = not data[:written].endswith(b"\n") and written > 0
            self._let_go()
            self._tell(len(lines) - whole, error.strerror or type(error).__name__)
            return
        if self.failing:
            self.failing = False
            _log.warning("the access log is written again; %d lines were lost", self.lost)

    def _open(self, where: str) -> int:
        now = time.monotonic()
        if where == "-":
            if self._handle is None:
                self._handle = os.dup(sys.__stdout__.fileno() if sys.__stdout__ else 1)
            return self._handle
        if self._handle is not None and now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            try:
                there, mine = os.stat(where), os.fstat(self._handle)
                same = (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
            except OSError:
                same = False
            if not same:
                self._let_go()
        if self._handle is None:
            # Not blocking: opening a named pipe that nobody reads would wait for ever.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            handle = os.open(where, flags, 0o640)
            if stat.S_ISREG(os.fstat(handle).st_mode):
                os.set_blocking(handle, True)
            self._handle, self._looked_at = handle, now
        return self._handle

    def _let_go(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            with contextlib.suppress(OSError):
                os.close(handle)

    def _tell(self, lost: int, why: str) -> None:
        self.lost += lost
        if not self.failing:
            self.failing = True
            _log.warning(
                "the access log cannot be written (%s): lines are lost, streams go on", why
            )
        if self._on_lost is not None:
            self._on_lost(lost)


class Resends:
    """Writes a line for each prompt that is sent again, as it is sent. An observer.

    A driver tells the reason (`notice`), and whoever sends calls `sent` with the request.

    Args:
        log: Where to.
        facts: What is known of the stream: team, provider, and whatever names it.
    """

    def __init__(self, log: AccessLog, facts: Mapping[str, Any]) -> None:
        self._log = log
        self._facts = dict(facts)
        self._due: Reconnecting | None = None

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, Reconnecting):
            self._due = notice

    def sent(self, request: Request) -> None:
        """A request goes out. The first of a stream, and one without a prompt, say nothing."""
        due, self._due = self._due, None
        if due is None or not request.body:
            return
        host, model = names_of(request)
        self._log.write(
            "resend",
            {
                **self._facts,
                "attempt": due.attempt,
                "rung": due.rung,
                "why": due.fault.kind.value,
                "target_host": host,
                "target_model": model,
                "added_bytes": due.added_bytes,
                "wait_s": round(due.wait_s, 3),
            },
        )

    def outcome(self, outcome: Outcome) -> None:
        pass

    def internal_error(self, error: Exception) -> None:
        pass


def stream_facts(row: StreamRow, outcome: Outcome | None) -> dict[str, Any]:
    """Return what a line says of a stream that ended.

    Args:
        row: Its health.
        outcome: How it ended; None where none ever began.
    """
    faults: dict[str, int] = {}
    facts: dict[str, Any] = {
        "outcome": row.status,
        "stream_bytes": row.bytes,
        "frames": row.frames,
        "tokens": row.tokens,
        "tokens_counted": row.tokens_counted,
        "ttft_s": None if row.ttft_s is None else round(row.ttft_s, 4),
        "stream_s": round(row.duration_s, 4),
        "longest_gap_s": round(row.longest_gap_s, 4),
        "attempts": row.attempts,
        "buffered": True if row.buffered else None,
    }
    if outcome is None:
        for error in row.errors:
            faults[error.kind] = faults.get(error.kind, 0) + 1
        return {**facts, "faults": faults or None}
    for fault in outcome.faults:
        faults[fault.kind.value] = faults.get(fault.kind.value, 0) + 1
    bill = bill_of(outcome, tokens=row.tokens)
    wrote = {each.attempt: each.guarantee for each in outcome.provenance}
    ids = [each.request_id for each in outcome.attempts if _REQUEST_ID.fullmatch(each.request_id)]
    usage = bill.usage
    spent = {
        "input": usage.input,
        "output": usage.output,
        "cached_input": usage.cached_input,
        "reasoning": usage.reasoning,
        "estimated_output": usage.estimated_output,
    }
    return {
        **facts,
        "faults": faults or None,
        "record": None if outcome.fault is None else next(iter(records_for(outcome.fault)), None),
        "recoveries": [
            {
                "rung": each.rung,
                "guarantee": wrote.get(each.number, "none"),
                "fault": None if each.fault is None else each.fault.kind.value,
            }
            for each in outcome.attempts[1:]
        ]
        or None,
        "usage": _known(spent, outcome) if any(spent.values()) else None,
        "cost": None if row.cost is None else round(row.cost, 8),
        "wasted_tokens": bill.wasted_tokens or None,
        "saved_tokens": bill.saved_tokens or None,
        "upstream_request_ids": ids or None,
    }


def _known(spent: dict[str, int], outcome: Outcome) -> dict[str, int]:
    """Leave out what no attempt's provider told, such as the input: it is not 0."""
    told = [each.usage for each in outcome.attempts]
    return {
        name: count
        for name, count in spent.items()
        if name == "estimated_output" or any(getattr(use, name) is not None for use in told)
    }


def stream_hash(stream_id: str) -> str:
    """Return what stands for a stream's id in logs: enough to find its lines by, and no more."""
    return hashlib.sha256(b"unbroken stream " + stream_id.encode()).hexdigest()[:12]


def path_of(target: str) -> str:
    """Return a request's path for a log: no query (keys are put there), no stream's id."""
    path = target.partition("?")[0]
    return _STREAM_PATH.sub(lambda found: stream_hash(found[0]), path)[:_MOST_TEXT]


def _short(value: Any) -> Any:
    return value[:_MOST_TEXT] if isinstance(value, str) else value
