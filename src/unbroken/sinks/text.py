"""The text of an answer in a file that has its name only once it is whole."""

from __future__ import annotations

import os
from collections.abc import Sequence

from unbroken.core.events import Event
from unbroken.core.outcome import Outcome
from unbroken.sinks.base import PROVEN, Halves, text_in
from unbroken.sinks.files import (
    Holds,
    IfExists,
    LockedFile,
    check_if_exists,
    checked_path,
    exists_error,
    sync_folder,
)

__all__ = ["TextFile"]


class TextFile:
    """Write an answer's text, as UTF-8.

    While the answer comes it is in ``PATH.partial``; at a proven end, when the disk has it, it
    gets its name. So what is called ``PATH`` is whole. After a failure, or ``kill -9``, the
    text so far stays in ``PATH.partial``. Each delivery is handed to the operating system at
    once.

    With ``if_exists="append"`` the text goes to the end of ``PATH`` itself, and as long as the
    answer is not whole, ``PATH.unfinished`` has a line with the byte at which it begins.

    Args:
        path: Where.
        if_exists: ``fail`` refuses where there is a file; ``overwrite`` replaces it at the
            proven end, and not before; ``append`` as told above.
        choice: Of several choices, which.

    Raises:
        FileExistsError: If there is a file, or one that was left unfinished.
        BlockingIOError: If another stream is writing it.
        OSError: If it cannot be made: no such folder, no permission.
        ValueError: For another word than these.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, if_exists: IfExists = "fail", choice: int = 0
    ) -> None:
        check_if_exists(if_exists)
        self.path = checked_path(path)
        self.holds: Holds = "nothing"
        self._if_exists = if_exists
        self._choice = choice
        self._halves = Halves()
        self._mark: LockedFile | None = None
        self._marked_at = 0
        self._whole = self._removed = False
        self._began_at = 0
        if if_exists == "append":
            self._file = LockedFile(self.path, "append")
            self._began_at = self._file.size
            try:
                self._begin_mark()
            except OSError:
                if self._mark is not None:
                    self._mark.drop(self._marked_at)
                self._file.drop(self._began_at)
                raise
            return
        if if_exists == "fail" and os.path.lexists(self.path):
            raise exists_error(self.path, 'if_exists="append" or "overwrite" takes it')
        try:
            self._file = LockedFile(self.path + ".partial", if_exists)
        except FileExistsError:
            hint = 'an answer that is not whole; if_exists="overwrite" drops it'
            raise exists_error(self.path + ".partial", hint) from None

    @property
    def written_to(self) -> str:
        """Where the text is now; ``""`` where nothing came, and no file is left."""
        if self._removed:
            return ""
        if self._if_exists == "append" or self._whole:
            return self.path
        return self._file.path

    def _begin_mark(self) -> None:
        self._mark = LockedFile(self.path + ".unfinished", "append")
        self._marked_at = self._mark.size
        self._mark.write(b"an answer that is not whole begins at byte %d\n" % self._file.size)

    def write(self, events: Sequence[Event]) -> None:
        """Write the text of one delivery."""
        text = self._halves.whole(text_in(events, self._choice))
        if text:
            self._file.write(text.encode())

    def close(self, outcome: Outcome | None) -> None:
        """Give the file its name if the answer is whole."""
        try:
            if self._file.size > self._began_at:
                self.holds = "part"
            if outcome is not None and outcome.status in PROVEN:
                self._file.sync()
                self.holds = "all"
                self._finish()
                self._whole = True
            elif self._mark is None and not self._file.size:
                os.unlink(self._file.path)  # nothing came: nothing is left
                self._removed = True
        finally:
            self._file.close()
            if self._mark is not None:
                self._mark.close()

    def _finish(self) -> None:
        if self._mark is not None:
            self._mark.cut(self._marked_at)
            if not self._marked_at:
                os.unlink(self._mark.path)
            return
        if self._if_exists == "fail" and os.path.lexists(self.path):
            raise exists_error(self.path, "it came while the answer did")
        os.replace(self._file.path, self.path)
        sync_folder(self.path)
