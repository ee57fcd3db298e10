"""What differs between two recordings: see `diff`.

`meaning` says what counts as the same, `side` reads one attempt, `compare` walks both in step,
`between` says what follows for a middlebox between the two.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

import msgspec

from unbroken.core.recording import RecordingError
from unbroken.debugger.comparing.between import said_between
from unbroken.debugger.comparing.compare import AttemptDiff, Difference, Place, compare
from unbroken.debugger.comparing.side import Figures
from unbroken.debugger.index import RecordingIndex

__all__ = ["AttemptDiff", "Diff", "Difference", "Figures", "Place", "diff"]

_BY_CHANCE = 4
_OTHER_KEYS = (
    "the contents of both recordings are hashed, each with a key of its own (Recorder(salt=...)"
    " gives two recorders one key)"
)


class Diff(msgspec.Struct, kw_only=True):
    """How two recorded streams differ.

    Attributes:
        version: Of this object's form.
        equal: They say the same, attempt by attempt, and ended in the same way.
        a: The first file's name.
        b: The second's.
        stream_a: The stream of the first.
        stream_b: The stream of the second.
        attempts_a: How many attempts the first stream had.
        attempts_b: How many the second had.
        attempts: The attempts of both, pair by pair.
        between: What follows if A was taken before a middlebox and B behind it.
        texts: Texts were compared; else only structure, sizes and pace, and `equal` says no more.
        why_no_texts: Why they were not, or ``""``.
        notes: What a reader should know of the recordings.
    """

    version: int = 1
    equal: bool
    a: str
    b: str
    stream_a: int
    stream_b: int
    attempts_a: int
    attempts_b: int
    attempts: list[AttemptDiff] = []
    between: list[str] = []
    texts: bool = True
    why_no_texts: str = ""
    notes: list[str] = []


def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str] | None = None,
    *,
    stream_a: int | None = None,
    stream_b: int | None = None,
    exact: bool = False,
    contents: bool = False,
) -> Diff:
    """Say how two recorded streams differ, in bounded memory.

    Ids, times and padding are left out of account, and so is how the bytes were cut into reads.
    Where a recording has no contents, or each has a hash's key of its own, texts count by their
    sizes alone.

    Args:
        a: A recording or HAR; on the provider's side of a middlebox, if one is asked about.
        b: Another; None: another stream of the same.
        stream_a: Which stream of it; None takes the first.
        stream_b: Which of the other; None takes the first, and of the same file the next one.
        exact: Compare byte for byte as well.
        contents: Let a few characters of what differs stand in the result.

    Raises:
        OSError: If a file cannot be read.
        RecordingError: If one is no recording, or has no such stream.
    """
    with ExitStack() as stack:
        left = stack.enter_context(RecordingIndex(a))
        right = left if b is None else stack.enter_context(RecordingIndex(b))
        first = left.stream(_first(left) if stream_a is None else stream_a)
        if stream_b is None and b is None:
            others = [number for number in left.streams if number != first.number]
            if not others:
                msg = f"{left.name} holds one stream: give a second recording to compare it with"
                raise RecordingError(msg)
            stream_b = others[0]
        second = right.stream(_first(right) if stream_b is None else stream_b)
        attempts = list(zip(first.attempts, second.attempts, strict=False))
        why = _why_bare(left, right)
        found: list[AttemptDiff] = []
        if not why:
            found = [
                compare((left, x), (right, y), exact=exact, contents=contents) for x, y in attempts
            ]
        if not why and left is not right and _by_other_keys(left, right, found):
            why = _OTHER_KEYS
        if why:
            found = [compare((left, x), (right, y), bare=True) for x, y in attempts]
        notes = [f"{index.name}: {note}" for index in {left, right} for note in _notes(index)]
        for index, asked in ((left, stream_a), (right, stream_b)):
            if asked is None and len(index.streams) > 1:
                notes.append(
                    f"{index.name} holds {len(index.streams):,} streams; the first is taken"
                )
        paced = "har" not in (left.opening.side, right.opening.side)
    same_count = len(first.attempts) == len(second.attempts)
    return Diff(
        equal=same_count and all(pair.equal for pair in found),
        a=left.name,
        b=right.name,
        stream_a=first.number,
        stream_b=second.number,
        attempts_a=len(first.attempts),
        attempts_b=len(second.attempts),
        attempts=found,
        texts=not why,
        why_no_texts=why,
        between=[said for pair in found for said in said_between(pair, paced=paced)],
        notes=notes,
    )


def _why_bare(left: RecordingIndex, right: RecordingIndex) -> str:
    a, b = left.opening.contents, right.opening.contents
    if "removed" in (a, b):
        who = "both recordings" if a == b else "recording A" if a == "removed" else "recording B"
        return f"the contents of {who} are removed"
    if a != b:
        return f"the contents of recording {'A' if a == 'hashed' else 'B'} are hashed"
    return ""


def _by_other_keys(left: RecordingIndex, right: RecordingIndex, found: list[AttemptDiff]) -> bool:
    """Whether two recordings were hashed with two keys, or have no text in common anyway.

    Letters of one key begin alike where texts do; those of two keys do so by chance alone.
    """
    if left.opening.contents != "hashed" or right.opening.contents != "hashed":
        return False
    differs = any(pair.meaning is not None or pair.bytes is not None for pair in found)
    return differs and all(sum(pair.common.values()) < _BY_CHANCE for pair in found)


def _first(index: RecordingIndex) -> int:
    return next(iter(index.streams))


def _notes(index: RecordingIndex) -> list[str]:
    notes = list(index.notes)
    if index.opening.contents != "kept":
        notes.append(f"its contents are {index.opening.contents}, so texts are not the real ones")
    if index.opening.side == "har":
        notes.append("it is from a HAR, which knows no single reads: its pace says nothing")
    return notes
