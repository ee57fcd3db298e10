"""Head, framing and end of an attempt that is said again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.debugger.recordings import attempt, recording
from unbroken.debugger.index import AttemptEntry, RecordingIndex
from unbroken.debugger.replaying.script import end_of, head_of

TYPE = ("content-type", "text/event-stream")


def entry(tmp_path: Path, **more: Any) -> AttemptEntry:
    with RecordingIndex(recording(tmp_path / "a.jsonl", attempt([b"12345"], **more))) as index:
        return index.streams[1].attempts[0]


@pytest.mark.parametrize(
    ("how", "framing", "expected"),
    [
        ("eof", "chunked", "end"),
        ("eof", "close", "end"),
        ("incomplete", "chunked", "fin"),
        ("incomplete", "length", "fin"),
        ("incomplete", "close", "rst"),
        ("reset", "chunked", "rst"),
        ("silent", "chunked", "hold"),
        ("deadline", "chunked", "hold"),
        ("left", "chunked", "fin"),
        ("given-up", "close", "rst"),
        (None, "chunked", "fin"),
        (None, "close", "rst"),
    ],
)
def test_ends(tmp_path: Path, how: str | None, framing: str, expected: str) -> None:
    assert end_of(entry(tmp_path, how=how, framing=framing)) == expected


def test_an_attempt_without_a_response_is_closed(tmp_path: Path) -> None:
    found = entry(tmp_path, status=None, how="unanswered")
    assert head_of(found) is None
    assert end_of(found) == "fin"


@pytest.mark.parametrize(
    ("framing", "length", "how", "expected"),
    [
        ("chunked", None, "eof", ("chunked", None)),
        ("length", "5", "eof", ("length", "5")),
        ("length", "99", "eof", ("length", "5")),
        ("length", "99", "incomplete", ("length", "99")),
        ("length", None, "incomplete", ("length", "6")),
        ("close", None, "eof", ("close", None)),
        ("", None, "eof", ("chunked", None)),
        ("", "5", "eof", ("length", "5")),
        ("", "99", "eof", ("chunked", None)),
        ("", "99", "incomplete", ("length", "99")),
    ],
)
def test_framings(
    tmp_path: Path, framing: str, length: str | None, how: str, expected: tuple[str, str | None]
) -> None:
    headers = [TYPE, *([("content-length", length)] if length else [])]
    head = head_of(entry(tmp_path, framing=framing, headers=headers, how=how))
    assert head is not None
    assert (head.framing, head.header("content-length")) == expected


def test_headers_of_the_connection_stay_behind(tmp_path: Path) -> None:
    headers = [TYPE, ("Connection", "close, x-hop"), ("X-Hop", "1"), ("X-Kept", "2")]
    head = head_of(entry(tmp_path, headers=headers))
    assert head is not None
    assert head.headers == [TYPE, ("X-Kept", "2")]
    assert head.status == 200


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body(tmp_path: Path, status: int) -> None:
    head = head_of(entry(tmp_path, status=status, framing=""))
    assert head is not None
    assert head.framing == "none"
