"""A temporary file for what recovery must remember of a long answer.

It has no name in the file system (or loses it at once), is readable by this user only, and is
gone with the stream or the process. Nothing here raises: a full disk or a missing folder costs
the stream its recovery, never its text.
"""

from __future__ import annotations

import logging
import os
import tempfile

__all__ = ["FileSpill", "open_spill"]

_log = logging.getLogger("unbroken")


class FileSpill:
    """Bytes in an unnamed file; see `unbroken.core.spill.Spill`.

    A process that was forked off reads what its parent wrote, and adds nothing: both would
    write to the same place.

    Args:
        descriptor: Of an open file, empty and without a name; closed with the spill.
        limit_bytes: Most bytes that it takes.
    """

    def __init__(self, descriptor: int, *, limit_bytes: int) -> None:
        self._descriptor: int | None = descriptor
        self._limit_bytes = limit_bytes
        self._size = 0
        self._owner = os.getpid()

    @property
    def size(self) -> int:
        """Bytes appended so far."""
        return self._size

    def append(self, data: bytes) -> bool:
        """Write more bytes; False if they do not fit, and then never again."""
        if self._descriptor is None or os.getpid() != self._owner:
            return False
        if self._size + len(data) > self._limit_bytes:
            return self._give_up(f"max_spill_bytes ({self._limit_bytes}) is used up")
        rest = memoryview(data)
        try:
            while rest:
                written = os.pwrite(self._descriptor, rest, self._size)
                self._size += written
                rest = rest[written:]
        except OSError as error:
            return self._give_up(error.strerror or type(error).__name__)
        return True

    def _give_up(self, why: str) -> bool:
        _log.warning(
            "a long answer cannot be healed any more, since what was delivered cannot be"
            " remembered: %s",
            why,
        )
        self.close()
        return False

    def read(self, start: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``start``; nothing if they cannot be read."""
        if self._descriptor is None:
            return b""
        try:
            return os.pread(self._descriptor, size, start)
        except OSError:
            return b""

    def close(self) -> None:
        """Close the file, which gives its space back."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


def open_spill(folder: str | None, limit_bytes: int) -> FileSpill | None:
    """Return a new spill, or None, with a warning in the log, if no file can be made.

    Args:
        folder: Where; None takes the system's folder for temporary files.
        limit_bytes: Most bytes that it takes; 0 makes none.
    """
    if not limit_bytes:
        return None
    try:
        with tempfile.TemporaryFile(prefix="unbroken-", dir=folder, buffering=0) as file:
            descriptor = os.dup(file.fileno())
    except OSError as error:
        _log.warning(
            "no temporary file for a long answer (%s): it cannot be healed", error.strerror
        )
        return None
    return FileSpill(descriptor, limit_bytes=limit_bytes)
