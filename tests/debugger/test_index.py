"""A recording by streams and attempts."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from tests.debugger.recordings import attempt, delta, recording, whole
from unbroken.core.recording import Opening, OutcomeSeen, Read, RecordingError, encode_line
from unbroken.debugger.index import RecordingIndex


def test_streams_and_attempts_with_their_lines(tmp_path: Path) -> None:
    one, two = attempt(whole("a")), attempt([b"x"], number=2, how="reset")
    path = recording(tmp_path / "a.jsonl", one, two, [OutcomeSeen(at_s=1, attempt=2)])
    with RecordingIndex(path) as index:
        [stream] = index.streams.values()
        first, second = stream.attempts
        assert (first.reads, first.size_bytes, first.kept_bytes) == (
            3,
            *[len(b"".join(whole("a")))] * 2,
        )
        assert first.end is not None
        assert second.end is not None
        assert (first.end.how, second.end.how) == ("eof", "reset")
        assert list(index.lines_of(first)) == one
        assert [read.data for read in index.reads_of(second)] == [b"x"]
        assert stream.outcome is not None


def test_lines_of_interleaved_streams_are_kept_apart(tmp_path: Path) -> None:
    one, two = attempt([b"1"] * 50), attempt([b"2"] * 50, stream=2)
    mixed = [line for pair in zip(one, two, strict=True) for line in pair]
    with RecordingIndex(recording(tmp_path / "a.jsonl", mixed)) as index:
        assert list(index.lines_of(index.streams[1].attempts[0])) == one
        assert list(index.lines_of(index.streams[2].attempts[0])) == two


def test_a_long_line_is_read_whole(tmp_path: Path) -> None:
    big = b"x" * 3_000_000
    with RecordingIndex(recording(tmp_path / "a.jsonl", attempt([b"a", big, b"b"]))) as index:
        entry = index.streams[1].attempts[0]
        assert [read.data for read in index.reads_of(entry)] == [b"a", big, b"b"]


def test_a_torn_last_line_is_a_note(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt(whole("a")))
    path.write_bytes(path.read_bytes()[:-10])
    with RecordingIndex(path) as index:
        assert index.streams[1].attempts[0].end is None
        assert "torn off" in index.notes[0]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "holds no stream|is empty"),
        (b"hello\nworld\n", "is no recording"),
        (b'{"type":"read","at_s":1}\n', "is no recording"),
        (b'{"type":"recording","version":9}\n', "format version 9"),
        (b'{"type":"recording","version":1}\n', "holds no stream"),
        (b'{"type":"recording","version":1}\n{"type":"read"}\n{"type":"end","at_s":1}\n',
         "line 2 is broken"),
        (b'{"log": 3}', "it has no log"),
    ],
)  # fmt: skip
def test_what_is_no_recording_is_one_clear_error(tmp_path: Path, raw: bytes, why: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(raw)
    with pytest.raises(RecordingError, match=why) as failed:
        RecordingIndex(path)
    assert str(path) in str(failed.value) or "HAR" in str(failed.value)


def test_lines_of_later_versions_are_left_out(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt(whole("a")))
    path.write_bytes(path.read_bytes() + b'{"type":"weather","at_s":1}\n')
    with RecordingIndex(path) as index:
        assert list(index.streams) == [1]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    lines = attempt([], how=None)
    read = encode_line(Read(at_s=1.0, text=delta("word " * 200).decode()))
    with path.open("wb") as file:
        file.write(encode_line(Opening(version=1)))
        file.writelines(encode_line(line) for line in lines)
        for _ in range(25_000):
            file.write(read)
    assert path.stat().st_size > 25_000_000
    tracemalloc.start()
    try:
        with RecordingIndex(path) as index:
            entry = index.streams[1].attempts[0]
            assert sum(1 for _ in index.reads_of(entry)) == 25_000
            assert list(entry.spans) == [
                (len(encode_line(Opening(version=1))), path.stat().st_size)
            ]
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 6_000_000
