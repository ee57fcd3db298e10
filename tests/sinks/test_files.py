"""Sinks alone: what is in the file at each moment, and what re-opening does."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing

import pytest

from unbroken.core.events import (
    Finish,
    Other,
    Start,
    Text,
    TextRun,
    ToolCall,
    UsageReport,
)
from unbroken.core.outcome import Outcome
from unbroken.sinks import EventsFile, SQLiteFile, TextFile, for_path

DONE = Outcome(dialect="openai-chat", status="complete", complete=True, text="not written again")
FAILED = Outcome(dialect="openai-chat", status="failed")


def lines_of(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def rows_of(path) -> list[tuple]:
    with closing(sqlite3.connect(path)) as base:
        return base.execute("SELECT type, choice, text, fields FROM events ORDER BY stream, number"
                            ).fetchall()  # fmt: skip


# Text ---------------------------------------------------------------------------------------


def test_text_gets_its_name_once_it_is_whole(tmp_path):
    path, partial = tmp_path / "a.txt", tmp_path / "a.txt.partial"
    sink = TextFile(path)
    sink.write([Start(), Text("Hello "), Text("other", 1)])
    assert partial.read_text() == "Hello "
    assert sink.written_to == str(partial)
    sink.write(TextRun(["wor", "ld"], 0, None))
    sink.write(TextRun(["no"], 1, None))
    assert not path.exists()
    sink.close(DONE)
    assert path.read_text() == "Hello world"
    assert not partial.exists()
    assert sink.written_to == str(path)


@pytest.mark.parametrize("outcome", [FAILED, Outcome(status="cancelled"), None,
                                     Outcome(status="unconfirmed")])  # fmt: skip
def test_text_that_is_not_whole_keeps_its_other_name(tmp_path, outcome):
    sink = TextFile(tmp_path / "a.txt")
    sink.write([Text("Hello ")])
    sink.close(outcome)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt.partial"]
    assert (tmp_path / "a.txt.partial").read_text() == "Hello "
    with pytest.raises(FileExistsError, match="not whole"):
        TextFile(tmp_path / "a.txt")
    again = TextFile(tmp_path / "a.txt", if_exists="overwrite")
    again.write([Text("Whole")])
    again.close(DONE)
    assert (tmp_path / "a.txt").read_text() == "Whole"


def test_text_of_which_nothing_came_leaves_nothing(tmp_path):
    TextFile(tmp_path / "a.txt").close(FAILED)
    assert list(tmp_path.iterdir()) == []


def test_text_is_not_overwritten_before_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileExistsError, match="overwrite"):
        TextFile(path)
    sink = TextFile(path, if_exists="overwrite")
    sink.write([Text("new")])
    assert path.read_text() == "old"
    sink.close(FAILED)
    assert path.read_text() == "old"
    sink = TextFile(path, if_exists="overwrite")
    sink.write([Text("new")])
    sink.close(DONE)
    assert path.read_text() == "new"


def test_text_that_came_meanwhile_is_not_overwritten(tmp_path):
    sink = TextFile(tmp_path / "a.txt")
    sink.write([Text("ours")])
    (tmp_path / "a.txt").write_text("theirs")
    with pytest.raises(FileExistsError):
        sink.close(DONE)
    assert (tmp_path / "a.txt").read_text() == "theirs"
    assert (tmp_path / "a.txt.partial").read_text() == "ours"


def test_appended_text_is_marked_until_it_is_whole(tmp_path):
    path, mark = tmp_path / "a.txt", tmp_path / "a.txt.unfinished"
    path.write_text("One. ")
    sink = TextFile(path, if_exists="append")
    sink.write([Text("Two")])
    assert (path.read_text(), "byte 5" in mark.read_text()) == ("One. Two", True)
    sink.close(FAILED)
    assert mark.exists()
    sink = TextFile(path, if_exists="append")
    sink.write([Text(" Three")])
    assert "byte 8" in mark.read_text()
    sink.close(DONE)
    assert path.read_text() == "One. Two Three"
    assert mark.read_text().count("\n") == 1
    assert "byte 5" in mark.read_text()


def test_pairs_cut_over_deliveries_are_put_together(tmp_path):
    for path in (tmp_path / "a.txt", tmp_path / "a.db"):
        sink = for_path(path)
        for piece in ("Go \ud83d", "\ude80!", "\ud83d", "x"):
            sink.write([Text(piece)])
        sink.close(DONE)
    assert (tmp_path / "a.txt").read_text() == "Go 🚀!\ufffdx"
    assert "".join(row[2] for row in rows_of(tmp_path / "a.db")) == "Go 🚀!\ufffdx"


# Events -------------------------------------------------------------------------------------


def test_events_are_lines_and_the_outcome_is_the_last(tmp_path):
    path = tmp_path / "a.jsonl"
    sink = EventsFile(path)
    sink.write([Start("id", "m"), Text("a"), Text("b", 1)])
    head, *events = lines_of(path)
    assert (head["type"], head["format"], head["version"]) == ("stream", "unbroken-events", 1)
    assert events == [
        {"type": "start", "id": "id", "model": "m"},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b", "choice": 1},
    ]
    sink.write(TextRun(["c", "\ud83d", "\ude80"], 0, 3))
    sink.write([ToolCall(0, "{}", name="f"), Other("image"), UsageReport(output=3),
                Finish("stop", "stop")])  # fmt: skip
    sink.write([])
    sink.close(DONE)
    *_, half, other, call, image, usage, finish, last = lines_of(path)
    assert half["text"] + other["text"] == "\ud83d\ude80"
    assert (call["type"], call["arguments"], call["name"]) == ("tool-call", "{}", "f")
    assert (image["type"], image["provider_type"]) == ("other", "image")
    assert (usage, finish["meaning"]) == ({"type": "usage-report", "output": 3}, "stop")
    assert (last["type"], last["status"], last["complete"]) == ("outcome", "complete", True)
    assert "text" not in last


def test_events_are_appended_behind_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"type":"stream"}\n{"type":"te')
    with pytest.raises(FileExistsError, match="append"):
        EventsFile(path)
    EventsFile(path, if_exists="append").close(DONE)
    lines = path.read_text().splitlines()
    assert lines[1] == '{"type":"te'
    assert [json.loads(line)["type"] for line in lines[2:]] == ["stream", "outcome"]
    EventsFile(path, if_exists="overwrite").close(None)
    assert [line["type"] for line in lines_of(path)] == ["stream"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_file_that_a_stream_is_writing_is_not_taken(tmp_path, name):
    first = for_path(tmp_path / name, if_exists="append")
    first.write([Text("x")])
    for how in ("append", "overwrite") if name != "a.txt" else ("append",):
        with pytest.raises(BlockingIOError, match="another stream"):
            for_path(tmp_path / name, if_exists=how)
    first.close(DONE)
    for_path(tmp_path / name, if_exists="append").close(DONE)
    assert "x" in (tmp_path / name).read_text()


# SQLite -------------------------------------------------------------------------------------


def test_database_has_a_row_for_each_batch_and_one_for_the_end(tmp_path):
    path = tmp_path / "a.sqlite"
    sink = SQLiteFile(path)
    sink.write([Start("id"), Text("a"), Text("b"), Text("c", 1)])
    assert [(row[0], row[1], row[2]) for row in rows_of(path)] == [
        ("start", 0, None), ("text", 0, "ab"), ("text", 1, "c"),
    ]  # fmt: skip
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT status, outcome FROM streams").fetchall() == [(None, None)]
    sink.write(TextRun(["d", "e"], 0, None))
    sink.write([ToolCall(2, "{}", choice=1, name="f")])
    sink.close(DONE)
    assert rows_of(path)[3] == ("text", 0, "de", None)
    kind, choice, text, fields = rows_of(path)[4]
    assert (kind, choice, text, json.loads(fields)["name"]) == ("tool-call", 1, None, "f")
    with closing(sqlite3.connect(path)) as base:
        status, outcome = base.execute("SELECT status, outcome FROM streams").fetchone()
        assert base.execute("PRAGMA user_version").fetchone() == (1,)
    assert (status, json.loads(outcome)["complete"]) == ("complete", True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.sqlite"]


def test_many_streams_may_share_a_database(tmp_path):
    path = tmp_path / "a.db"
    SQLiteFile(path).close(DONE)
    with pytest.raises(FileExistsError):
        SQLiteFile(path)

    def write(name: str) -> None:
        sink = SQLiteFile(path, if_exists="append")
        for _ in range(50):
            sink.write([Text(name)])
        sink.close(DONE)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with closing(sqlite3.connect(path)) as base:
        found = base.execute("SELECT stream, group_concat(text, '') FROM events GROUP BY stream")
        assert sorted(text for _, text in found) == [name * 50 for name in "abcd"]
    SQLiteFile(path, if_exists="overwrite").close(DONE)
    assert rows_of(path) == []


def test_another_file_is_not_taken_for_a_database(tmp_path):
    text, other = tmp_path / "a.db", tmp_path / "b.db"
    text.write_text("not a database, but long enough that SQLite looks at it" * 20)
    with closing(sqlite3.connect(other)) as base:
        base.execute("CREATE TABLE streams (mine)")
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(ValueError, match="not a database of Unbroken's"):
            SQLiteFile(path, if_exists="append")
        assert path == text or b"mine" in path.read_bytes()
        assert path == other or path.read_bytes() == before


def test_database_of_a_later_version_is_left_alone(tmp_path):
    SQLiteFile(tmp_path / "a.db").close(DONE)
    with closing(sqlite3.connect(tmp_path / "a.db")) as base:
        base.execute("PRAGMA user_version = 2")
    with pytest.raises(ValueError, match="version 2"):
        SQLiteFile(tmp_path / "a.db", if_exists="append")


# All ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.db"])
@pytest.mark.parametrize("how", ["fail", "append", "overwrite"])
def test_missing_folder_is_an_os_error_before_anything_is_written(tmp_path, name, how):
    with pytest.raises(FileNotFoundError):
        for_path(tmp_path / "missing" / name, if_exists=how)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.db"])
def test_closed_sink_takes_no_second_stream(tmp_path, name):
    sink = for_path(tmp_path / name)
    sink.close(DONE)
    with pytest.raises((ValueError, sqlite3.ProgrammingError)):
        sink.write([Text("x")])


def test_suffix_says_what_a_file_holds(tmp_path):
    for name, kind in {
        "a.txt": TextFile, "b.md": TextFile, "c": TextFile, "d.json": TextFile,
        "e.jsonl": EventsFile, "f.NDJSON": EventsFile,
        "g.sqlite": SQLiteFile, "h.sqlite3": SQLiteFile, "i.db": SQLiteFile,
    }.items():  # fmt: skip
        sink = for_path(tmp_path / name)
        assert type(sink) is kind, name
        sink.close(None)
    sink = for_path(tmp_path / "j.txt", format="events")
    assert type(sink) is EventsFile
    sink.close(None)
    with pytest.raises(ValueError, match="format must be one of"):
        for_path(tmp_path / "k", format="csv")
    with pytest.raises(ValueError, match="if_exists must be one of"):
        TextFile(tmp_path / "l", if_exists="replace")


# Files that cannot be made, or not be finished -----------------------------------------------


@pytest.mark.parametrize("kind", [TextFile, EventsFile, SQLiteFile])
@pytest.mark.parametrize("if_exists", ["fail", "append", "overwrite"])
def test_neither_nothing_nor_a_folder_is_a_file(tmp_path, kind, if_exists):
    with pytest.raises(ValueError, match="the path is empty"):
        kind("", if_exists=if_exists)
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        kind(tmp_path, if_exists=if_exists)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("if_exists", ["fail", "append", "overwrite"])
def test_events_that_cannot_begin_leave_no_file(tmp_path, monkeypatch, if_exists):
    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unbroken.sinks.files.LockedFile.write", full)
    with pytest.raises(OSError, match="No space"):
        EventsFile(tmp_path / "a.jsonl", if_exists=if_exists)
    assert not list(tmp_path.iterdir())
    if if_exists == "append":
        (tmp_path / "a.jsonl").write_text("{}\n")
        with pytest.raises(OSError, match="No space"):
            EventsFile(tmp_path / "a.jsonl", if_exists=if_exists)
        assert (tmp_path / "a.jsonl").read_text() == "{}\n"


def test_a_text_tells_how_much_it_holds(tmp_path, monkeypatch):
    sink = TextFile(tmp_path / "none.txt")
    sink.close(FAILED)
    assert (sink.holds, sink.written_to) == ("nothing", "")
    sink = TextFile(tmp_path / "part.txt")
    sink.write([Text("Hel")])
    sink.close(None)
    assert (sink.holds, sink.written_to) == ("part", str(tmp_path / "part.txt.partial"))
    sink = TextFile(tmp_path / "all.txt")
    sink.write([Text("Hello")])
    (tmp_path / "all.txt").mkdir()
    with pytest.raises(OSError, match="it came while the answer did"):
        sink.close(DONE)
    assert (sink.holds, sink.written_to) == ("all", str(tmp_path / "all.txt.partial"))
