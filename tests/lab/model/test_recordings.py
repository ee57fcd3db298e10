"""Recorded bodies, played as answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import unbroken
from tests.core.recorded import CORPUS, OWN, corpus_bodies
from tests.lab.model.asking import ask
from unbroken.lab.injectors.base import FaultError
from unbroken.lab.model import AnswerSettings, Memory, Recordings, reply_to
from unbroken.lab.model.answers import Reply

FAST = AnswerSettings()


def played(way: str, replay: Recordings, settings: AnswerSettings = FAST) -> Reply:
    return reply_to(ask(way), settings, Memory(), 0, replay)


def body_of(answered: Reply) -> bytes:
    return b"".join(piece.data for piece in answered.pieces)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for dialect in ("openai-chat", "gemini"):
        (tmp_path / dialect).mkdir()
    for name, way, text in (("b", "openai-chat", "two"), ("a", "openai-chat", "one"),
                            ("c", "gemini", "three")):  # fmt: skip
        answered = reply_to(ask(way), AnswerSettings(text=text), Memory())
        (tmp_path / way / f"{name}.sse").write_bytes(body_of(answered))
    (tmp_path / "notes.txt").write_text("not a body")
    (tmp_path / "other.json").write_text('{"not": "an array of ours"}')
    return tmp_path


def test_folder_without_an_index_is_told_by_its_frames(folder: Path) -> None:
    replay = Recordings(folder)
    assert [(r.name, r.dialect) for r in replay.all] == [
        ("c", "gemini"), ("a", "openai-chat"), ("b", "openai-chat"),
    ]  # fmt: skip


def test_recordings_of_a_dialect_take_turns(folder: Path) -> None:
    replay = Recordings(folder)
    texts = [unbroken.check(body_of(played("openai-chat", replay))).text for _ in range(3)]
    assert texts == ["one", "two", "one"]
    assert unbroken.check(body_of(played("gemini", replay))).text == "three"


def test_recording_is_chosen_by_its_name(folder: Path) -> None:
    replay = Recordings(folder)
    settings = AnswerSettings(recording="b", tps=10.0)
    answered = played("openai-chat", replay, settings)
    assert unbroken.check(body_of(answered)).text == "two"
    assert answered.head.headers["content-type"] == "text/event-stream; charset=utf-8"


def test_absent_recordings_are_refused_by_name(folder: Path) -> None:
    replay = Recordings(folder)
    for way, settings, why in (
        ("cohere", FAST, "no recording of cohere"),
        ("gemini", AnswerSettings(recording="b"), "no recording of gemini is called 'b'"),
    ):
        answered = played(way, replay, settings)
        assert (answered.way, answered.head.status) == ("refused", 404)
        assert why in body_of(answered).decode()


@pytest.mark.parametrize("index", ["[1]", "{", '{"a": 1}'])
def test_folders_that_cannot_be_played(tmp_path: Path, index: str) -> None:
    with pytest.raises(FaultError, match="no recorded stream"):
        Recordings(tmp_path)
    with pytest.raises(FaultError, match="no such folder"):
        Recordings(tmp_path / "absent")
    (tmp_path / "index.json").write_text(index)
    with pytest.raises(FaultError, match="no index"):
        Recordings(tmp_path)


def test_index_gives_status_and_content_type(tmp_path: Path) -> None:
    (tmp_path / "x.sse").write_bytes(b"data: [DONE]\n\n")
    row = {"file": "x.sse", "wire": "openai-chat", "status": 503, "content_type": "text/x"}
    (tmp_path / "index.jsonl").write_text(json.dumps(row) + "\n")
    head = played("openai-chat", Recordings(tmp_path)).head
    assert (head.status, head.headers["content-type"]) == (503, "text/x")


def test_own_bodies_are_played_byte_for_byte() -> None:
    replay = Recordings(OWN)
    for each in replay.all:
        assert b"".join(p.data for p in each.pieces(FAST)) == each.body, each.name


WAYS = {"gemini": "gemini"}


@pytest.mark.corpus
@pytest.mark.parametrize("row", corpus_bodies())
def test_corpus_says_what_its_index_says(row: dict[str, Any], corpus: Recordings) -> None:
    stem = Path(row["file"]).stem
    (mine,) = [each for each in corpus.all if each.name == stem]
    answered = played(mine.dialect, corpus, AnswerSettings(recording=stem, tps=20.0))
    body = body_of(answered)
    assert body == (CORPUS / row["file"]).read_bytes()
    host = row.get("provider_host") or ""
    seen = unbroken.check(body, dialect=mine.dialect, host=host)
    if not any(fault.kind == "truncated-mid-event" for fault in seen.faults):
        assert seen.text == row["text"]
    assert answered.head.status == (row["status"] or 200)


@pytest.fixture(scope="module")
def corpus() -> Recordings:
    return Recordings(CORPUS)
