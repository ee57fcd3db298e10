"""Sinks: where a stream is written while it comes.

A sink gets every delivery before the application does, and the outcome at the end. One that
fails is told of and left; the stream goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unbroken.sinks.base import Sink

if TYPE_CHECKING:
    from unbroken.sinks.choosing import FORMATS, for_path
    from unbroken.sinks.events import EventsFile
    from unbroken.sinks.sqlite import SQLiteFile
    from unbroken.sinks.text import TextFile

__all__ = ["FORMATS", "EventsFile", "SQLiteFile", "Sink", "TextFile", "for_path"]


def __getattr__(name: str) -> Any:
    # Later than the rest: streams without a sink need no SQLite.
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from unbroken.sinks import choosing

    value = globals()[name] = getattr(choosing, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
