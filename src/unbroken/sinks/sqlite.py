"""Streams in an SQLite database: a row for each batch of text or other event, one for the end."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Sequence

from unbroken.core.events import Event, Text, TextRun
from unbroken.core.outcome import Outcome
from unbroken.sinks.base import PROVEN, Halves
from unbroken.sinks.files import Holds, IfExists, check_if_exists, checked_path, exists_error
from unbroken.sinks.summary import KINDS, encoded, fields_of, now_text, summary_of

__all__ = ["SQLiteFile"]

VERSION = 1
_APPLICATION = 0x556E6272  # "Unbr", in the file's header
_BUSY_S = 5.0
_SCHEMA = """
    CREATE TABLE streams (
        id INTEGER PRIMARY KEY,
        began_at TEXT NOT NULL,
        ended_at TEXT,
        status TEXT,
        outcome TEXT
    );
    CREATE TABLE events (
        stream INTEGER NOT NULL REFERENCES streams (id),
        number INTEGER NOT NULL,
        type TEXT NOT NULL,
        choice INTEGER NOT NULL,
        text TEXT,
        fields TEXT,
        PRIMARY KEY (stream, number)
    ) WITHOUT ROWID;
"""


class SQLiteFile:
    """Write a stream into an SQLite database; many streams may share one.

    Table ``streams`` has a row for each, whose ``status`` and ``outcome`` (JSON) are null until
    its end: null for good if the process died. Table ``events`` has what came, by ``number``:
    the text of one delivery in one row (``type`` ``text``), every other event in a row of its
    own with its ``fields`` as JSON. Each delivery is a transaction (write-ahead log), so what
    was committed survives the process.

    Args:
        path: Where. Not on a network file system: SQLite's write-ahead log needs shared memory.
        if_exists: ``fail`` refuses where there is a file; ``append`` adds a stream to a
            database made before; ``overwrite`` deletes it first.

    Raises:
        FileExistsError: If there is a file.
        OSError: If it cannot be made: no such folder, no permission.
        ValueError: If the file is no such database, or for another word than these.
    """

    def __init__(self, path: str | os.PathLike[str], *, if_exists: IfExists = "fail") -> None:
        check_if_exists(if_exists)
        self.path = self.written_to = checked_path(path)
        self.holds: Holds = "nothing"
        self._number = 0
        self._halves: dict[int, Halves] = {}
        if if_exists == "fail":
            try:  # nobody else may come in between
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))
            except FileExistsError:
                hint = 'if_exists="append" or "overwrite" takes it'
                raise exists_error(self.path, hint) from None
        elif if_exists == "overwrite":
            self._remove()
        created = not os.path.lexists(self.path) or if_exists == "fail"
        try:
            # Deliveries may come in another thread than this one, never in two at once.
            self._base = sqlite3.connect(
                self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._stream = self._begin()
            except BaseException:
                self._base.close()
                if created:
                    self._remove()
                raise
        except sqlite3.OperationalError as error:
            folder = os.path.dirname(self.path) or "."
            code = errno.EIO if os.path.isdir(folder) else errno.ENOENT
            words = str(error) if code == errno.EIO else os.strerror(code)
            raise OSError(code, words, self.path) from error
        except sqlite3.DatabaseError as error:
            raise self._foreign() from error

    def _remove(self) -> None:
        for name in (self.path, self.path + "-wal", self.path + "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)

    def _begin(self) -> int:
        base = self._base
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("BEGIN IMMEDIATE")
        ours = base.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION
        version = base.execute("PRAGMA user_version").fetchone()[0]
        if not ours and base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise self._foreign()
        if ours and version != VERSION:
            msg = f"{self.path} has version {version}; this Unbroken writes version {VERSION}"
            raise ValueError(msg)
        if not ours:
            for statement in _SCHEMA.split(";")[:-1]:
                base.execute(statement)
            base.execute(f"PRAGMA application_id = {_APPLICATION}")
            base.execute(f"PRAGMA user_version = {VERSION}")
        row = base.execute("INSERT INTO streams (began_at) VALUES (?)", (now_text(),))
        base.execute("COMMIT")
        assert row.lastrowid is not None
        return row.lastrowid

    def _foreign(self) -> ValueError:
        return ValueError(f"{self.path} is not a database of Unbroken's")

    def write(self, events: Sequence[Event]) -> None:
        """Write the events of one delivery, as one transaction."""
        rows = list(self._rows(events))
        if not rows:
            return
        base = self._base
        base.execute("BEGIN IMMEDIATE")
        try:
            base.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", rows)
            base.execute("COMMIT")
            self.holds = "part"
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                base.execute("ROLLBACK")
            raise

    def _rows(self, events: Sequence[Event]) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        if type(events) is TextRun:
            self._add_text(rows, events.texts, events.choice)
            return rows
        texts: list[str] = []
        choice = 0
        for event in events:
            if type(event) is Text:
                if event.choice != choice:
                    self._add_text(rows, texts, choice)
                    texts, choice = [], event.choice
                texts.append(event.text)
                continue
            self._add_text(rows, texts, choice)
            texts = []
            fields = fields_of(event)
            at = fields.pop("choice", 0)
            self._add(rows, KINDS[type(event)], at, None, encoded(fields).decode())
        self._add_text(rows, texts, choice)
        return rows

    def _add_text(self, rows: list[tuple[object, ...]], texts: list[str], choice: int) -> None:
        text = self._halves.setdefault(choice, Halves()).whole("".join(texts))
        if text:
            self._add(rows, "text", choice, text, None)

    def _add(self, rows: list[tuple[object, ...]], *columns: object) -> None:
        rows.append((self._stream, self._number, *columns))
        self._number += 1

    def close(self, outcome: Outcome | None) -> None:
        """Write how the stream ended."""
        try:
            if outcome is not None:
                self.holds = "all" if outcome.status in PROVEN else self.holds
                self._base.execute("PRAGMA synchronous = FULL")  # the last commit waits for disk
                self._base.execute(
                    "UPDATE streams SET ended_at = ?, status = ?, outcome = ? WHERE id = ?",
                    (
                        now_text(),
                        outcome.status,
                        encoded(summary_of(outcome)).decode(),
                        self._stream,
                    ),
                )
        finally:
            self._base.close()
