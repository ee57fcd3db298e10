"""Files that sinks write: opened once, locked, unbuffered."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import Literal, get_args

__all__ = [
    "Holds",
    "IfExists",
    "LockedFile",
    "check_if_exists",
    "checked_path",
    "exists_error",
    "sync_folder",
]

IfExists = Literal["fail", "append", "overwrite"]
Holds = Literal["nothing", "part", "all"]
"""How much of an answer is in a file."""


def checked_path(path: str | os.PathLike[str]) -> str:
    """Return the path of a file to write.

    Raises:
        IsADirectoryError: If it is a folder.
        ValueError: If it is empty, or there is something that is no regular file.
    """
    name = os.fspath(path)
    if not name:
        msg = "the path is empty: name a file"
        raise ValueError(msg)
    if os.path.isdir(name) or name.endswith(os.sep):
        raise IsADirectoryError(errno.EISDIR, "it is a folder: name a file", name)
    if os.path.exists(name) and not os.path.isfile(name):
        msg = f"{name} is no regular file: a device or a pipe would be replaced"
        raise ValueError(msg)
    return name


def check_if_exists(value: str) -> None:
    """Refuse a word that does not exist."""
    if value not in get_args(IfExists):
        msg = f"if_exists must be one of {', '.join(get_args(IfExists))}, not {value!r:.80}"
        raise ValueError(msg)


def exists_error(path: str, hint: str) -> FileExistsError:
    """Return what to raise for a file that is in the way."""
    return FileExistsError(errno.EEXIST, f"{os.strerror(errno.EEXIST)} ({hint})", path)


class LockedFile:
    """A file that one stream writes at its end; each write goes to the operating system at once.

    Args:
        path: Where.
        if_exists: ``fail``, ``append``, or ``overwrite``, which empties it.

    Raises:
        BlockingIOError: If another stream writes it.
        OSError: If it cannot be opened.
    """

    def __init__(self, path: str, if_exists: IfExists) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        if if_exists == "fail":
            flags |= os.O_EXCL
        self._created = if_exists == "fail" or not os.path.lexists(path)
        self._descriptor: int | None = os.open(path, flags, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if if_exists == "overwrite":
                os.ftruncate(self._descriptor, 0)  # not before it is ours
        except OSError as error:
            self.close()
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                words = "another stream is writing it"
                raise BlockingIOError(errno.EWOULDBLOCK, words, path) from None
            if self._created:
                os.unlink(path)
            raise

    def write(self, data: bytes) -> None:
        """Write all of it, or raise."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._open, rest) :]

    @property
    def _open(self) -> int:
        if self._descriptor is None:
            msg = "the sink is closed: each stream needs its own"
            raise ValueError(msg)
        return self._descriptor

    @property
    def size(self) -> int:
        """Its bytes, with what was there before."""
        return os.fstat(self._open).st_size

    def ends_with(self, data: bytes) -> bool:
        """Whether it is empty, or ends so."""
        at = self.size - len(data)
        return self.size == 0 or (at >= 0 and os.pread(self._open, len(data), at) == data)

    def cut(self, size: int) -> None:
        """Drop what lies behind."""
        os.ftruncate(self._open, size)

    def drop(self, size: int) -> None:
        """Leave it as it was: without what lies behind, or not at all if we made it."""
        with contextlib.suppress(OSError):  # there is an error already
            self.cut(size)
            if self._created:
                os.unlink(self.path)
        self.close()

    def sync(self) -> None:
        """Wait until the disk has it."""
        os.fsync(self._open)

    def close(self) -> None:
        """Close it, which unlocks it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        if getattr(self, "_descriptor", None) is not None:
            self.close()


def sync_folder(path: str) -> None:
    """Wait until the disk has a file's new name, where the system can say so."""
    with contextlib.suppress(OSError):
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
