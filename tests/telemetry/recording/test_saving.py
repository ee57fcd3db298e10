"""Lines that are there already, written to a file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from unbroken.core.recording import Opening, Read, RequestSent, decode_line
from unbroken.telemetry.recording import save_recording

LINES = [
    Opening(version=1, side="proxy"),
    RequestSent(at_s=0, stream=1, headers=[("x-api-key", "first-value-1")]),
    RequestSent(at_s=0, stream=2, headers=[("x-api-key", "other-value-2")]),
    Read(at_s=5, stream=1, text="first-value-1 and other-val"),
    Read(at_s=5, stream=2, text="other-value-2 "),
]


def test_each_stream_is_masked_by_itself_and_the_lines_stay_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    save_recording(LINES, path, contents="kept", side="flight-recorder")
    opening, *rest = [decode_line(raw) for raw in path.read_bytes().splitlines()]
    assert isinstance(opening, Opening)
    assert opening.started_at == pytest.approx(time.time() - 5, abs=2)
    texts = {line.stream: line.text for line in rest if isinstance(line, Read)}
    assert texts == {1: "xxxxxxxxxxxxx and other-val", 2: "xxxxxxxxxxxxx "}
    first = LINES[3]
    assert isinstance(first, Read)
    assert first.text == "first-value-1 and other-val"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(FileExistsError):
        save_recording(LINES, tmp_path / "a")
