"""Every event of a stream as a line of JSON, with the outcome as the last one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from unbroken.core.events import Event
from unbroken.core.outcome import Outcome
from unbroken.sinks.base import PROVEN
from unbroken.sinks.files import (
    Holds,
    IfExists,
    LockedFile,
    check_if_exists,
    checked_path,
    exists_error,
)
from unbroken.sinks.summary import KINDS, encoded, fields_of, now_text, summary_of

__all__ = ["EventsFile"]

VERSION = 1


class EventsFile:
    r"""Write a stream's events as JSON lines.

    The first line of a stream is ``{"type":"stream","format":"unbroken-events","version":1,...}``,
    then comes a line for each event, with its kind as ``type``, and the last is
    ``{"type":"outcome",...}``. A stream without that last line was cut off by the end of the
    process; the last line itself may be cut off then. Each delivery is handed to the operating
    system at once.

    Args:
        path: Where.
        if_exists: ``fail`` refuses where there is a file; ``append`` writes one more stream
            behind the others; ``overwrite`` empties it first.

    Raises:
        FileExistsError: If there is a file.
        BlockingIOError: If another stream is writing it.
        OSError: If it cannot be made: no such folder, no permission.
        ValueError: For another word than these.
    """

    def __init__(self, path: str | os.PathLike[str], *, if_exists: IfExists = "fail") -> None:
        check_if_exists(if_exists)
        self.path = self.written_to = checked_path(path)
        self.holds: Holds = "nothing"
        try:
            self._file = LockedFile(self.path, if_exists)
        except FileExistsError:
            hint = 'if_exists="append" or "overwrite" takes it'
            raise exists_error(self.path, hint) from None
        size = self._file.size
        try:
            torn = b"" if self._file.ends_with(b"\n") else b"\n"  # a line that was cut off
            head = {"type": "stream", "format": "unbroken-events", "version": VERSION}
            self._file.write(torn + encoded({**head, "began_at": now_text()}) + b"\n")
        except OSError:
            self._file.drop(size)
            raise

    def write(self, events: Sequence[Event]) -> None:
        """Write the events of one delivery."""
        lines = [encoded({"type": KINDS[type(e)], **_untyped(fields_of(e))}) for e in events]
        if lines:
            self._file.write(b"\n".join(lines) + b"\n")
            self.holds = "part"

    def close(self, outcome: Outcome | None) -> None:
        """Write the last line."""
        try:
            if outcome is not None:
                self.holds = "all" if outcome.status in PROVEN else self.holds
                line = {"type": "outcome", "ended_at": now_text(), **summary_of(outcome)}
                self._file.write(encoded(line) + b"\n")
                self._file.sync()
        finally:
            self._file.close()


def _untyped(fields: dict[str, object]) -> dict[str, object]:
    """Give way where an event has a field ``type`` of its own: the provider's word."""
    if "type" in fields:
        fields["provider_type"] = fields.pop("type")
    return fields
