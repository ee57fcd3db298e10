"""What became of real streams here: counts of recoveries, in an SQLite file, if you ask for it.

Off unless ``UNBROKEN_EVIDENCE`` names a file or an `Evidence` is given as an observer. A row
counts, for a record, a fault kind, a provider and a rung, how often the stream was healed and how
often not. There is nothing else in it: no prompt, no output, no key, no address.

The store is never the stream's concern: what cannot be written (a full disk, another process that
has the file) is kept in memory, bounded, and tried again with the next outcome.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator

import msgspec

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.knowledge.explain import explain_fault
from unbroken.knowledge.faults import provider_of
from unbroken.knowledge.told import labels

__all__ = ["VARIABLE", "Count", "Evidence", "EvidenceError", "evidence", "told_by_evidence"]

VARIABLE = "UNBROKEN_EVIDENCE"
VERSION = 1
_APPLICATION = 0x556E6265  # "Unbe", in the file's header
_BUSY_S = 0.05  # a stream waits no longer for another process
_READER_BUSY_S = 5.0
_MOST_WAITING = 10_000  # rows that are kept in memory while the file cannot be written
_REORDERED = (FaultKind.OUT_OF_ORDER, FaultKind.DUPLICATE_EVENT)
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS counts (
        record TEXT NOT NULL,
        fault TEXT NOT NULL,
        provider TEXT NOT NULL,
        rung TEXT NOT NULL,
        healed INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        first_day TEXT NOT NULL,
        last_day TEXT NOT NULL,
        PRIMARY KEY (record, fault, provider, rung)
    ) WITHOUT ROWID
"""
_ADD = """
    INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        healed = healed + excluded.healed,
        failed = failed + excluded.failed,
        last_day = max(last_day, excluded.last_day)
"""
_log = logging.getLogger("unbroken")

_Key = tuple[str, str, str, str]


class EvidenceError(ValueError):
    """The file is no store of evidence, or cannot be read."""


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one fault, by one way to recover.

    Attributes:
        record: The id of the record that explains it, or ``""``.
        fault: The fault's kind.
        provider: The provider, or the dialect where many speak it.
        rung: How it was recovered, ``order`` where events were only put in order, ``none`` where
            nothing was tried.
        healed: How often the stream went on.
        failed: How often it did not.
        first_day: The first day of it, ``YYYY-MM-DD`` in UTC.
        last_day: The last.
    """

    record: str
    fault: str
    provider: str
    rung: str
    healed: int
    failed: int
    first_day: str
    last_day: str


class Evidence:
    """An observer that counts what became of faults, in a file that many processes may share.

    It can be given wherever an observer is taken; its methods never raise and hardly wait.

    Args:
        path: The file; made, with its folders, when there is something to count.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._lock = threading.Lock()
        self._waiting: dict[_Key, list[int]] = {}
        self._told = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self._lock = threading.Lock()
        self._waiting = {}  # the parent writes what waits

    # --- as an observer --------------------------------------------------------------------------

    def notice(self, notice: object) -> None:
        """Nothing: only outcomes count."""

    def internal_error(self, error: Exception) -> None:
        """Nothing: only outcomes count."""

    def outcome(self, outcome: Outcome) -> None:
        """Count what a stream that is over tells."""
        try:
            found = list(_counted(outcome))
            if found or self._waiting:
                self._add(found)
        except Exception as error:  # noqa: BLE001 - who only counts must not end a stream
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        if not self._told:
            self._told = True
            _log.warning(
                "evidence cannot be written to %s (%s: %s); it is kept in memory and tried again",
                self.path, type(error).__name__, error,
            )  # fmt: skip

    def _add(self, found: list[tuple[_Key, bool]]) -> None:
        with self._lock:
            for key, healed in found:
                if key in self._waiting or len(self._waiting) < _MOST_WAITING:
                    self._waiting.setdefault(key, [0, 0])[0 if healed else 1] += 1
            try:
                self._write()
            except (sqlite3.Error, OSError) as error:
                self._tell(error)
            else:
                self._waiting.clear()
                self._told = False

    def _write(self) -> None:
        folder = os.path.dirname(self.path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        today = time.strftime("%Y-%m-%d", time.gmtime())
        # A connection each time: it is a fault's price, not a stream's, and survives fork.
        with contextlib.closing(_connect(self.path, _BUSY_S)) as store:
            # What a crash of the machine could lose is a count; a stream must not wait for disks.
            store.execute("PRAGMA synchronous = OFF")
            store.execute("BEGIN IMMEDIATE")
            try:
                _prepare(store, self.path)
                store.executemany(
                    _ADD, [(*key, *counts, today, today) for key, counts in self._waiting.items()]
                )
                store.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    store.execute("ROLLBACK")
                raise

    # --- to read ---------------------------------------------------------------------------------

    def counts(self) -> list[Count]:
        """Return all that was counted, in order; nothing where there is no file yet.

        Raises:
            EvidenceError: If the file is something else, or cannot be read.
        """
        if not os.path.exists(self.path):
            return []
        try:
            with contextlib.closing(_connect(self.path, _READER_BUSY_S)) as store:
                if not store.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    return []
                _check(store, self.path)
                rows = store.execute("SELECT * FROM counts ORDER BY record, fault, provider, rung")
                names = [column[0] for column in rows.description]
                return [msgspec.convert(dict(zip(names, row, strict=True)), Count) for row in rows]
        except sqlite3.OperationalError as error:
            raise EvidenceError(f"cannot read {self.path}: {error}") from error  # noqa: EM102
        except (sqlite3.DatabaseError, msgspec.ValidationError, ValueError) as error:
            raise _foreign(self.path) from error


def _connect(path: str, busy_s: float) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=busy_s, isolation_level=None)


def _prepare(store: sqlite3.Connection, path: str) -> None:
    if store.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        _check(store, path)
        return
    store.execute(_SCHEMA)
    store.execute(f"PRAGMA application_id = {_APPLICATION}")
    store.execute(f"PRAGMA user_version = {VERSION}")


def _check(store: sqlite3.Connection, path: str) -> None:
    if store.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise _foreign(path)
    version = store.execute("PRAGMA user_version").fetchone()[0]
    if version != VERSION:
        msg = f"{path} has version {version}; this Unbroken reads version {VERSION}"
        raise EvidenceError(msg)


def _foreign(path: str) -> EvidenceError:
    return EvidenceError(f"{path} is no store of evidence")


def _counted(outcome: Outcome) -> Iterator[tuple[_Key, bool]]:
    """Yield what a stream tells: for each fault the way that was tried, and whether it went on."""
    wrote = {slice_.attempt for slice_ in outcome.provenance}
    provider = provider_of(outcome.dialect) or outcome.dialect
    for before, after in zip(outcome.attempts, [*outcome.attempts[1:], None], strict=True):
        if before.fault is None or not before.fault.fatal:
            continue
        if after is None:
            yield _key(before.fault, provider, "none"), False
        else:
            yield (
                _key(before.fault, provider, after.rung),
                (after.fault is None or after.number in wrote),
            )
    for kind in _REORDERED:
        fault = next((fault for fault in outcome.faults if fault.kind is kind), None)
        if fault is not None:
            yield _key(fault, provider, "order"), True


def _key(fault: Fault, provider: str, rung: str) -> _Key:
    record = explain_fault(fault, provider=provider)
    return (record.id if record is not None else "", fault.kind.value, provider, rung)


_one: tuple[str, Evidence] | None = None


def evidence() -> Evidence | None:
    """Return the store that ``UNBROKEN_EVIDENCE`` names, or None where nobody asked for one."""
    global _one  # noqa: PLW0603 - one a process, so that what waits is not spread
    path = os.environ.get(VARIABLE, "")
    if not path:
        return None
    if _one is None or _one[0] != path:
        _one = (path, Evidence(path))
    return _one[1]


def told_by_evidence(record: str, lang: str = "en") -> str:
    """Return what this machine's own evidence says of a record, in a sentence, or ``""``."""
    store = evidence()
    if store is None:
        return ""
    try:
        counts = [count for count in store.counts() if count.record == record]
    except EvidenceError:
        return ""
    healed, failed = sum(c.healed for c in counts), sum(c.failed for c in counts)
    if not healed + failed:
        return ""
    return labels(lang)["healed"].format(n=healed, tries=healed + failed)
