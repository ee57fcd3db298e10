"""Which sink a path asks for."""

from __future__ import annotations

import os
from typing import Any

from unbroken.sinks.events import EventsFile
from unbroken.sinks.files import IfExists
from unbroken.sinks.sqlite import SQLiteFile
from unbroken.sinks.text import TextFile

__all__ = ["FORMATS", "for_path"]

FORMATS: dict[str, Any] = {"text": TextFile, "events": EventsFile, "sqlite": SQLiteFile}
_SUFFIXES = {
    ".jsonl": "events",
    ".ndjson": "events",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}


def for_path(
    path: str | os.PathLike[str], *, format: str | None = None, if_exists: IfExists = "fail"
) -> TextFile | EventsFile | SQLiteFile:
    """Return the sink that a file's suffix asks for.

    Args:
        path: ``.jsonl`` and ``.ndjson`` are `EventsFile`; ``.sqlite``, ``.sqlite3`` and ``.db``
            are `SQLiteFile`; anything else is `TextFile`.
        format: ``text``, ``events`` or ``sqlite``, in place of the suffix.
        if_exists: What to do where there is such a file; see each sink.

    Raises:
        OSError: As the sink's own.
        ValueError: For a format that does not exist.
    """
    known = format or _SUFFIXES.get(os.path.splitext(os.fspath(path))[1].lower(), "text")
    if known not in FORMATS:
        msg = f"format must be one of {', '.join(FORMATS)}, not {known!r:.80}"
        raise ValueError(msg)
    sink: TextFile | EventsFile | SQLiteFile = FORMATS[known](path, if_exists=if_exists)
    return sink
