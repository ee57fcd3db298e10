"""Read a recording line by line, whatever its size.

A line that a crash tore off is told as a note; anything else that is no line of a recording is
one error that names file and line. Exports of a browser (HAR) are read by the same function.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from unbroken.core.recording import Line, Opening, RecordingError, decode_line

__all__ = ["RecordingError", "read_lines"]

_MOST_LINE_BYTES = 256 * 1024 * 1024
_MOST_FIRST_BYTES = 1024 * 1024
_SHOWN_EVERY = 4096
"""Lines between two words on progress."""


def read_lines(
    path: str | os.PathLike[str],
    *,
    on_note: Callable[[str], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Line]:
    """Yield the lines of a recording, one at a time; those of unknown types are left out.

    Args:
        path: The file: a recording, or a HAR export; ``-`` reads a recording from standard input.
        on_note: Called with a sentence where the file's end is torn off.
        on_progress: Called now and then with the bytes read and the file's size (0: not known).

    Raises:
        RecordingError: If the file is none, or a line of it is broken; one sentence, with the
            file's name, without contents.
        OSError: If it cannot be read.
    """
    name = "standard input" if os.fspath(path) == "-" else os.fspath(path)
    if name == "standard input":
        yield from _lines(sys.stdin.buffer, name, 0, on_note, on_progress)
        return
    if _looks_like_har(Path(path)):
        yield from _har(Path(path))
        return
    with open(path, "rb", buffering=1024 * 1024) as file:
        size = os.fstat(file.fileno()).st_size
        yield from _lines(file, name, size, on_note, on_progress)


def _lines(
    file: BinaryIO,
    name: str,
    size: int,
    on_note: Callable[[str], None] | None,
    on_progress: Callable[[int, int], None] | None,
) -> Iterator[Line]:
    read = 0
    opened = False
    for number in _counted():
        limit = _MOST_LINE_BYTES if opened else _MOST_FIRST_BYTES
        raw = file.readline(limit)
        if not raw:
            break
        read += len(raw)
        if on_progress is not None and not number % _SHOWN_EVERY:
            on_progress(read, size)
        torn = not raw.endswith(b"\n")
        if torn and len(raw) == limit:
            msg = f"{name}: line {number} has more than {limit:,} bytes, so this is no recording"
            raise RecordingError(msg)
        if not raw.strip():
            continue
        try:
            line = decode_line(raw)
        except RecordingError as error:
            if torn and opened:
                if on_note is not None:
                    on_note(f"the last line is torn off after {len(raw):,} bytes, and was left out")
                return
            if not opened:
                msg = f"{name} is no recording: {error} (line {number})"
            else:
                msg = f"{name}: line {number} is broken: {error}"
            raise RecordingError(msg) from None
        if not opened and not isinstance(line, Opening):
            msg = f"{name} is no recording: its first line does not say that it is one"
            raise RecordingError(msg)
        opened = True
        if line is not None:
            yield line
    if not opened:
        msg = f"{name} is no recording: it is empty"
        raise RecordingError(msg)


def _counted() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


def _looks_like_har(path: Path) -> bool:
    with nullcontext() if not path.is_file() else open(path, "rb") as file:
        head = b"" if file is None else file.read(4096)
    head = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith(b"{") and head[1:].lstrip().startswith(b'"log"')


def _har(path: Path) -> Iterator[Line]:
    try:
        from unbroken.debugger.har import lines_of_har
    except ImportError:
        msg = f"{path} looks like a browser's HAR export, which this version does not read"
        raise RecordingError(msg) from None
    try:
        yield from lines_of_har(path)
    except RecordingError as error:
        msg = f"{path}: {error}"
        raise RecordingError(msg) from None
