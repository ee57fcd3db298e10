"""Reading a recording: any size, a torn end, and files that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.debugger.recordings import attempt, delta, recording, whole
from unbroken.core.recording import (
    End,
    FaultSeen,
    Opening,
    OutcomeSeen,
    Read,
    RecordingError,
    RequestSent,
    ResponseHead,
    Sent,
    encode_line,
)
from unbroken.debugger import report
from unbroken.debugger.reading import read_lines


def test_a_torn_last_line_is_a_note(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.jsonl", attempt(whole("a", "b")))
    everything = list(read_lines(path))
    path.write_bytes(path.read_bytes()[:-9])
    notes: list[str] = []
    torn = list(read_lines(path, on_note=notes.append))
    assert len(torn) == len(everything) - 1
    assert len(notes) == 1
    assert "torn off" in notes[0]


def test_a_last_line_without_a_line_feed_counts(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.jsonl", attempt(whole("a")))
    path.write_bytes(path.read_bytes()[:-1])
    notes: list[str] = []
    assert len(list(read_lines(path, on_note=notes.append))) == 8
    assert notes == []


FOREIGN = [
    (b"", "it is empty"),
    (b"\n\n", "it is empty"),
    (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not JSON"),
    (b"data: {}\n\n", "not JSON"),
    (b'{"a": 1}\n', "it has no type"),
    (b"[1, 2]\n", ""),
    (b'{"type":"read","at_s":1,"text":"x"}\n', "does not say that it is one"),
    (b'{"type":"unheard-of"}\n', "does not say that it is one"),
    (b'{"type":"recording","version":99}\n', "format version 99"),
    (b"x" * 2_000_000, "more than"),
]


@pytest.mark.parametrize(("content", "words"), FOREIGN, ids=range(len(FOREIGN)))
def test_a_foreign_file_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "foreign.bin"
    path.write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        list(read_lines(path))
    said = str(caught.value)
    assert "\n" not in said
    assert str(path) in said
    assert words in said


def test_a_broken_line_is_named_by_its_number_and_never_quoted(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.jsonl", attempt([delta("a")] * 3))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = b'{"type":"read","at_s":"my secret prompt"}\n'
    path.write_bytes(b"".join(lines))
    with pytest.raises(RecordingError, match="line 5 is broken") as caught:
        list(read_lines(path))
    assert "secret" not in str(caught.value)


def test_unknown_types_are_left_out(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.jsonl", attempt([delta("a")]))
    with path.open("ab") as file:
        file.write(b'{"type":"of-a-later-version","at_s":1}\n')
    kinds = [type(line) for line in read_lines(path)]
    assert kinds[0] is Opening
    assert kinds.count(Read) == 1


def test_progress_is_told(tmp_path: Path) -> None:
    path = recording(tmp_path / "r.jsonl", attempt([delta("a")] * 9000))
    seen: list[tuple[int, int]] = []
    list(read_lines(path, on_progress=lambda read, size: seen.append((read, size))))
    assert len(seen) == 2
    assert seen[0][0] < seen[1][0] < seen[1][1] == path.stat().st_size


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_lines(tmp_path / "none.jsonl"))


HAR = '{"log": {"version": "1.2", "creator": {"name": "x", "version": "1"}, "entries": []}}'


@pytest.mark.parametrize("before", ["", "\n ", "\ufeff"])
def test_a_browsers_export_is_known_by_its_beginning(tmp_path: Path, before: str) -> None:
    pytest.importorskip("unbroken.debugger.har")
    path = tmp_path / "export.har"
    path.write_text(before + HAR, "utf-8")
    with pytest.raises(RecordingError, match="HAR holds no request") as caught:
        list(read_lines(path))
    assert str(caught.value).startswith(str(path))


def test_what_was_recorded_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    bad = "gpt\x1b]0;pwned\x07\x1b[2J\u202e"
    body = {"id": "c", "object": "chat.completion.chunk", "model": bad, "choices": []}
    lines = [
        Opening(version=1, side="x\x1b[31m"),
        RequestSent(at_s=0, url="http://h/v1/chat/completions", dialect="openai-chat"),
        Sent(at_s=0, text=json.dumps({"model": bad, "stream": True})),
        ResponseHead(at_s=0.1, headers=[("server", "\x1b[31mx")]),
        Read(at_s=0.2, text=f"data: {json.dumps(body)}\n\n"),
        End(at_s=0.3, how="reset", detail="\x1b[31m"),
        OutcomeSeen(
            at_s=0.3,
            status="bad\x1b[31m",
            faults=[FaultSeen(kind="new-fault-of-v2", detail="\x1b[5m")],
        ),
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(map(encode_line, lines)))
    text = report(path).text()
    assert "gpt" in text
    assert not set(text) & set("\x1b\x07\u202e")


@pytest.mark.parametrize("at_s", [-1e308, 1e308, 1e12])
def test_a_time_that_cannot_be_is_one_clear_line(tmp_path: Path, at_s: float) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(encode_line(Opening(version=1)) + encode_line(Read(at_s=at_s, text="x")))
    with pytest.raises(RecordingError, match="its time cannot be"):
        list(read_lines(path))
