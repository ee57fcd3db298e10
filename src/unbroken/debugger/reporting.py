"""The report from Python: what a recording shows, as data, as text, as one HTML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from unbroken.core.dialects import by_name
from unbroken.core.options import Clocks
from unbroken.core.recording import Line, Opening
from unbroken.debugger.analysis.whole import analyse
from unbroken.debugger.facts import Report as Facts
from unbroken.debugger.help import add_help
from unbroken.debugger.reading import read_lines

__all__ = ["Report", "report"]


class Report(Facts, kw_only=True):
    """What a recording shows; `report` makes it.

    The fields are those of the JSON object; see `unbroken.debugger.facts`.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the object that ``unbroken report --json`` prints."""
        found: dict[str, Any] = _plain(msgspec.to_builtins(self))
        return found

    def text(self, *, width: int = 96) -> str:
        """Return summary and timeline as plain text.

        Args:
            width: Columns at which lines are broken.
        """
        from unbroken.debugger.view_text import report_lines

        return "\n".join(line.plain.rstrip() for line in report_lines(self, width=width)) + "\n"

    def html(self) -> str:
        """Return the report as one HTML file that needs nothing else.

        Raises:
            ImportError: If Plotly is not installed; says how to install it.
        """
        from unbroken.debugger.view_html import page

        return page(self)


def report(
    recording: str | os.PathLike[str] | Iterable[Line],
    *,
    stream: int | None = None,
    dialect: str = "auto",
    previews: bool = False,
    pause_s: float | None = None,
    every_read: bool = False,
    clocks: Clocks | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Say what a recording shows: what happened when, what broke, and where the fault lies.

    A gigabyte takes some minutes and well under 200 MB of memory.

    Args:
        recording: A recording's path (or a HAR export's), its lines, or ``outcome.flight``.
        stream: Look at this stream alone; None: at all.
        dialect: What all bodies are read as; ``auto`` tells it from the requests and bodies.
        previews: Keep the first characters of requests and reads. Else a report holds no contents.
        pause_s: A pause of so many seconds has a line of its own in the timeline; None: one of a
            second or more that is also long for its stream.
        every_read: Give every read a line of its own, in place of folding those that are alike.
        clocks: Whose limits stalls are told by; None: the defaults of `unbroken.Options`.
        on_progress: Called now and then with the bytes read and the file's size.

    Raises:
        RecordingError: If the file is no recording, or broken; says in one sentence how.
        OSError: If it cannot be read.
        ValueError: If there is no such dialect, or no such stream.
    """
    if dialect != "auto":
        by_name(dialect)
    notes: list[str] = []
    name, size = "", 0
    if isinstance(recording, str | os.PathLike):
        name = "standard input" if os.fspath(recording) == "-" else os.path.basename(recording)
        if name != "standard input":
            size = os.stat(recording).st_size
        lines: Iterable[Line] = read_lines(recording, on_note=notes.append, on_progress=on_progress)
    else:
        lines = _opened(recording)
        name = "flight recorder"
    facts = analyse(
        lines,
        stream=stream,
        dialect=dialect,
        previews=previews,
        pause_s=pause_s,
        every_read=every_read,
        clocks=clocks,
    )
    if stream is not None and not facts.streams:
        msg = f"the recording has no stream {stream}"
        raise ValueError(msg)
    add_help(facts)
    known = {field: getattr(facts, field) for field in facts.__struct_fields__}
    known |= {"name": name, "size_bytes": size, "notes": [*notes, *facts.notes]}
    return Report(**known)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, times to the microsecond."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value


def _opened(lines: Iterable[Line]) -> Iterable[Line]:
    """Yield lines that may lack their opening: those of a stream that is over."""
    first = True
    for line in lines:
        if first and not isinstance(line, Opening):
            yield Opening(version=1)
        first = False
        yield line
