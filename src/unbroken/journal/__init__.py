"""What is kept of streams beside them: journals to read them again, and long answers' spill.

`unbroken.journal.redis` is imported only where it is used, since it needs the ``redis`` extra.
"""

from __future__ import annotations

from unbroken.journal.base import (
    End,
    EndStatus,
    Head,
    Journal,
    JournalDownError,
    JournalError,
    JournalFullError,
    Meta,
    OffsetError,
    OffsetGoneError,
    Reader,
    StreamInfo,
    UnknownStreamError,
    Writer,
    WriterLostError,
)
from unbroken.journal.memory import MemoryJournal
from unbroken.journal.spill import FileSpill, open_spill

__all__ = [
    "End",
    "EndStatus",
    "FileSpill",
    "Head",
    "Journal",
    "JournalDownError",
    "JournalError",
    "JournalFullError",
    "MemoryJournal",
    "Meta",
    "OffsetError",
    "OffsetGoneError",
    "Reader",
    "StreamInfo",
    "UnknownStreamError",
    "Writer",
    "WriterLostError",
    "open_spill",
]
