"""Where records come from: the package, and a folder or file that ``UNBROKEN_KNOWLEDGE`` names.

They are read when somebody first asks, once in a process. A file of the user's that cannot be read
is left out, with a problem in `Base.problems`, and never the concern of whoever only asks.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from unbroken.knowledge.record import Record

if TYPE_CHECKING:
    from unbroken.knowledge.faults import FaultIndex
    from unbroken.knowledge.match import Matcher

__all__ = ["DATA", "VARIABLE", "Base", "KnowledgeError", "base", "read_records"]

DATA = Path(__file__).parent / "data"
VARIABLE = "UNBROKEN_KNOWLEDGE"
_log = logging.getLogger("unbroken")
_decoder = msgspec.json.Decoder(Record)
_list_decoder = msgspec.json.Decoder(list[Record])


class KnowledgeError(ValueError):
    """A file that holds no records, or not such as these. The message names file and reason."""


class Base:
    """All records, and the ways to look one up.

    Args:
        records: The records; of two with one id the later counts.
        problems: What could not be taken in, in words.

    Attributes:
        records: In order of their ids.
        by_id: The same by id.
        problems: Files and patterns that were left out, and why.
    """

    def __init__(self, records: Iterable[Record], problems: Iterable[str] = ()) -> None:
        self.by_id: dict[str, Record] = {}
        for record in records:
            self.by_id[record.id] = record
        self.records = [self.by_id[name] for name in sorted(self.by_id)]
        self.problems = list(problems)

    def __len__(self) -> int:
        return len(self.records)

    def get(self, id: str) -> Record | None:
        """Return a record by its id, or None."""
        return self.by_id.get(id)

    def near(self, id: str, limit: int = 3) -> list[str]:
        """Return ids that are spelt much like this one, for messages."""
        import difflib

        ends = {name.rpartition("/")[2]: name for name in self.by_id}
        near = difflib.get_close_matches(id, self.by_id, limit, 0.6)
        near += [ends[end] for end in difflib.get_close_matches(id.rpartition("/")[2], ends, limit)]
        return list(dict.fromkeys(near))[:limit]

    @cached_property
    def matcher(self) -> Matcher:
        """What ranks the records for a query; made when it is first needed."""
        from unbroken.knowledge.match import Matcher

        made = Matcher(self.records)
        self.problems += made.problems
        return made

    @cached_property
    def fault_index(self) -> FaultIndex:
        """What finds records for a live fault; made when it is first needed."""
        from unbroken.knowledge.faults import FaultIndex

        return FaultIndex(self.records)


_lock = threading.Lock()
_base: Base | None = None


def _new_lock() -> None:
    global _lock  # noqa: PLW0603 - another thread may have held it when the process forked
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)


def base() -> Base:
    """Return the records of this installation, and those that ``UNBROKEN_KNOWLEDGE`` names.

    The variable names a folder (read with all below it) or a file; a record there takes the place
    of the package's one with the same id. It is looked at once in a process.
    """
    global _base  # noqa: PLW0603 - read once, shared by all
    if _base is None:
        with _lock:
            if _base is None:
                _base = _read_all(os.environ.get(VARIABLE, ""))
    return _base


def _read_all(own: str) -> Base:
    records: list[Record] = []
    problems: list[str] = []
    folders = [DATA] if DATA.is_dir() else []
    for place in [*folders, *([Path(own)] if own else [])]:
        try:
            files = record_files(place)
        except KnowledgeError as error:
            problems.append(str(error))
            continue
        for path in files:
            try:
                records += read_file(path)
            except KnowledgeError as error:
                problems.append(str(error))
    if problems:
        _log.warning("%d knowledge files were left out, such as: %s", len(problems), problems[0])
    return Base(records, problems)


def record_files(place: str | os.PathLike[str]) -> list[Path]:
    """Return the files of a place: itself, or all ``*.json`` below it, in order of their names.

    Raises:
        KnowledgeError: If there is no such file or folder, or it cannot be read.
    """
    path = Path(place)
    try:
        if not path.is_dir():
            if not path.exists():
                msg = f"{path}: no such file or folder"
                raise KnowledgeError(msg)
            return [path]
        return sorted(path.rglob("*.json"))
    except OSError as error:
        raise KnowledgeError(f"{path}: {error.strerror or error}") from None  # noqa: EM102


def read_records(*places: str | os.PathLike[str]) -> list[Record]:
    """Return the records of files and folders.

    A file holds one record, or a list of them, as JSON; its name may be any. Of a folder all
    ``*.json`` below it are read.

    Raises:
        KnowledgeError: At the first file that cannot be read or holds something else; the message
            names the file and the field.
    """
    return [
        record for place in places for path in record_files(place) for record in read_file(path)
    ]


def read_file(path: Path) -> list[Record]:
    """Return the records of one file; see `read_records`."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise KnowledgeError(f"{path}: {error.strerror or error}") from None  # noqa: EM102
    return records_in(raw, str(path))


def records_in(raw: bytes, name: str) -> list[Record]:
    """Return the records that bytes hold; `name` is what messages call them."""
    raw = raw.removeprefix(b"\xef\xbb\xbf").strip()
    try:
        if raw.startswith(b"["):
            return _list_decoder.decode(raw)
        return [_decoder.decode(raw)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        text = str(error)
        if text[1:2].islower():
            text = text[:1].lower() + text[1:]
        raise KnowledgeError(f"{name}: {text}") from None  # noqa: EM102
