"""A file that only ever grows, line by line; what fails in it harms nobody else."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from pathlib import Path

__all__ = ["LineFile"]

_log = logging.getLogger("unbroken")
_MOST_WAITING_BYTES = 8 * 1024 * 1024
_FLUSH_S = 10.0
_files: weakref.WeakSet[LineFile] = weakref.WeakSet()


class LineFile:
    """Appends lines; each is with the system when `write` returns, or soon after it.

    In a child of a fork nothing is written: two processes would number their streams alike.
    A writer that is killed leaves whole lines, and of the last one perhaps a part. A disk that
    fails ends the file: that is said once, in the log, and `failed` tells it.

    Args:
        path: A file that is not there yet; or a descriptor that is open for writing.
        in_thread: A thread writes, so that a slow disk makes nobody wait; see `behind`.

    Attributes:
        written_bytes: What went into the file.
        failed: Why nothing more is written, or None.

    Raises:
        FileExistsError: If the file is there already; nothing is ever overwritten.
        OSError: If it cannot be made.
    """

    def __init__(self, path: str | Path | int, *, in_thread: bool = False) -> None:
        self.path = None if isinstance(path, int) else Path(path)
        if isinstance(path, int):
            self._descriptor = path
        else:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
        self._in_thread = in_thread
        self._lock = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._writer: threading.Thread | None = None
        self._pid = os.getpid()
        self._closed = False
        self.written_bytes = 0
        self.failed: OSError | None = None
        self._inherited = False
        _files.add(self)
        if in_thread:
            atexit.register(self.close)  # or what waits would go with the thread

    @property
    def behind(self) -> bool:
        """Whether the disk is so far behind that who writes more should wait."""
        return self._waiting_bytes > _MOST_WAITING_BYTES

    def write(self, data: bytes) -> bool:
        """Append whole lines; False where they were lost, since the disk is far behind or broken.

        Args:
            data: One line, or more, with their line feeds.
        """
        with self._lock:
            if self._inherited and not self._closed:
                self._closed = True
                _log.warning("a recording is not gone on with in a process that was forked off")
            if self.failed is not None or self._closed:
                return False
            if not self._in_thread:
                return self._write(data)
            if self._waiting_bytes > 2 * _MOST_WAITING_BYTES:
                return False
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            if self._writer is None:
                self._writer = threading.Thread(
                    target=self._run, name="unbroken-recording", daemon=True
                )
                self._writer.start()
            self._lock.notify_all()
            return True

    def close(self) -> None:
        """Write what waits, and close the file. Calling it twice is fine."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._lock.notify_all()
            writer = self._writer if self._pid == os.getpid() else None
        if writer is not None:
            writer.join(_FLUSH_S)
        atexit.unregister(self.close)
        if self.path is not None:
            os.close(self._descriptor)

    def forked(self) -> None:
        """Be harmless in a child: the file is its parent's, and a lock may be held by nobody."""
        self._lock = threading.Condition()
        self._inherited = True
        self._waiting = deque()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._waiting and not self._closed:
                    self._lock.wait()
                if not self._waiting:
                    return
                data = b"".join(self._waiting)
                self._waiting.clear()
            self._write(data)
            with self._lock:
                self._waiting_bytes -= len(data)

    def _write(self, data: bytes) -> bool:
        if self.failed is not None:
            return False
        try:
            done = 0
            while done < len(data):
                written = os.write(self._descriptor, data[done:] if done else data)
                done += written
                self.written_bytes += written
        except OSError as error:
            self.failed = error
            where = "" if self.path is None else f" into {self.path}"
            _log.warning(
                "the recording stops here: it cannot be written%s (%s)", where, error.strerror
            )
            return False
        return True


def _in_child() -> None:
    for file in list(_files):
        file.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
