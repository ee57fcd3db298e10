"""Write lines that are there already, such as a flight recorder's, to a file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from copy import copy
from pathlib import Path

from unbroken.core.masking import LineMask, Secrets
from unbroken.core.recording import Contents, Line, Opening, encode_line
from unbroken.telemetry.recording.output import LineFile
from unbroken.telemetry.recording.recorder import opening, salted

__all__ = ["masked_lines", "save_recording"]


def save_recording(
    recorded: Iterable[Line],
    path: str | Path,
    *,
    contents: Contents = "removed",
    side: str = "",
    note: str = "",
    started_at: float | None = None,
    salt: bytes | None = None,
) -> None:
    """Write lines to a file that is not there yet, less keys and, as asked, contents.

    Args:
        recorded: Lines, in order; those of several streams may stand between each other.
        path: The file; it is made for its owner's eyes only.
        contents: What becomes of prompts and outputs.
        side: Who recorded.
        note: What a person should know.
        started_at: Seconds since the epoch at their time 0; None: the last line is of now.
        salt: See `Recorder`.

    Raises:
        FileExistsError: If the file is there already.
        OSError: If it cannot be written.
    """
    file = LineFile(path)
    try:
        for line in masked_lines(
            recorded, contents=contents, side=side, note=note, started_at=started_at, salt=salt
        ):
            file.write(encode_line(line))
        if file.failed is not None:
            raise file.failed
    finally:
        file.close()


def masked_lines(
    recorded: Iterable[Line],
    *,
    contents: Contents = "removed",
    side: str = "",
    note: str = "",
    started_at: float | None = None,
    salt: bytes | None = None,
) -> Iterator[Line]:
    """Yield a recording of lines, its opening first; see `save_recording`."""
    kept = [line for line in recorded if not isinstance(line, Opening)]
    if started_at is None:
        started_at = time.time() - max((line.at_s for line in kept), default=0.0)
    key = salted(salt)
    known: dict[int, Secrets] = {}
    first: dict[int, LineMask] = {}
    for line in kept:  # once for the keys: one that comes late is masked where it came before, too
        secrets = known.setdefault(line.stream, Secrets())
        first.setdefault(line.stream, LineMask("kept", secrets=secrets)).put(copy(line))
    for mask in first.values():
        mask.finish()
    masks: dict[int, LineMask] = {}
    yield opening(contents, side, note, started_at=started_at)
    for line in kept:
        if line.stream not in masks:
            masks[line.stream] = LineMask(contents, salt=key, secrets=known[line.stream])
        mask = masks[line.stream]
        yield from mask.put(copy(line))  # it writes into what it is given
    for mask in masks.values():
        yield from mask.finish()
