"""A recording in memory: what is left out leaves the rest as it was."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.debugger.recordings import DONE, PING, attempt, delta, recording, whole
from unbroken.core.recording import Read
from unbroken.debugger.index import RecordingIndex
from unbroken.debugger.shrinking import sketch as module
from unbroken.debugger.shrinking.sketch import Frame, Part, Sketch, TooLargeError, sketch_of

FRAMES = [delta("one"), PING, delta("two"), DONE]
BODY = b"".join(FRAMES)


def sketched(tmp_path: Path, *attempts: Any) -> Sketch:
    with RecordingIndex(recording(tmp_path / "a.jsonl", *attempts)) as index:
        entries = [entry for stream in index.streams.values() for entry in stream.attempts]
        return sketch_of(index, entries)


def reads(sketch: Sketch) -> list[tuple[float, bytes]]:
    found = [line for line in sketch.lines() if isinstance(line, Read)]
    return [(round(line.at_s, 3), line.data or b"") for line in found]


def test_written_again_it_is_the_same(tmp_path: Path) -> None:
    pieces = [(0.5, BODY[:10]), (0.7, BODY[10:100]), (2.0, BODY[100:])]
    lines = attempt(pieces, at_s=3.0)
    sketch = sketched(tmp_path, lines)
    assert reads(sketch) == [(3 + at_s, data) for at_s, data in pieces]
    assert [type(line) for line in list(sketch.lines())[1:]] == [type(line) for line in lines]


def test_frames_are_found_however_they_were_read(tmp_path: Path) -> None:
    for places in ([], [5], [len(FRAMES[0]) + 2, len(BODY) - 1]):
        cut = [BODY[a:b] for a, b in pairwise([0, *places, len(BODY)])]
        [play] = sketched(tmp_path, attempt(cut)).plays
        assert [frame.raw for frame in play.frames] == FRAMES


def test_half_a_frame_and_a_page_are_frames_too(tmp_path: Path) -> None:
    [play] = sketched(tmp_path, attempt([BODY + b"data: {"])).plays
    assert [frame.raw for frame in play.frames] == [*FRAMES, b"data: {"]
    [play] = sketched(tmp_path, attempt([b"<html>\n<p>\n</html>"])).plays
    assert [frame.raw for frame in play.frames] == [b"<html>\n", b"<p>\n", b"</html>"]


def test_a_frame_that_goes_leaves_the_cuts_of_the_others(tmp_path: Path) -> None:
    sketch = sketched(tmp_path, attempt([BODY[:10], BODY[10:-3], BODY[-3:]], gap_s=1.0))
    [play] = sketch.plays
    less = msgspec.structs.replace(play, frames=(play.frames[0], play.frames[3]))
    rest = reads(msgspec.structs.replace(sketch, plays=(less,)))
    assert rest == [(2, BODY[:10]), (3, FRAMES[0][10:] + DONE[:-3]), (4, DONE[-3:])]


def test_joined_reads_come_together(tmp_path: Path) -> None:
    sketch = sketched(tmp_path, attempt([BODY[:10], BODY[10:20], BODY[20:]], gap_s=1.0))
    [play] = sketch.plays
    less = msgspec.structs.replace(play, joined=frozenset({1}))
    assert reads(msgspec.structs.replace(sketch, plays=(less,))) == [(3, BODY[:20]), (4, BODY[20:])]


@given(st.binary(min_size=1, max_size=20), st.binary(min_size=1, max_size=20), st.data())
def test_a_frame_with_other_bytes_has_them_all(old: bytes, new: bytes, data: Any) -> None:
    places = sorted(data.draw(st.sets(st.integers(1, max(1, len(old) - 1)), max_size=3)))
    places = [place for place in places if place < len(old)]
    parts = [Part(n, old[a:b]) for n, (a, b) in enumerate(pairwise([0, *places, len(old)]))]
    frame = Frame(tuple(parts)).with_raw(new)
    assert frame.raw == new
    numbers = [part.read for part in frame.parts]
    assert numbers == sorted(numbers)


def test_a_cut_stays_at_its_place_before_and_behind_what_changed() -> None:
    frame = Frame((Part(0, b"ab"), Part(1, b"cd<text>e"), Part(2, b"f")))
    assert frame.with_raw(b"abcd<>ef").parts == (
        Part(0, b"ab"), Part(1, b"cd<>e"), Part(2, b"f"),
    )  # fmt: skip


def test_what_does_not_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    with pytest.raises(TooLargeError, match=r"choose a stream \(--stream\)"):
        sketched(tmp_path, attempt(whole("a" * 200)))
