"""One address, asked and recorded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="recording needs aiohttp")

from unbroken.core.recording import End, Line, Read, RequestSent, decode_line
from unbroken.debugger.recording.asking import record_url
from unbroken.lab.server.app import LabServer
from unbroken.telemetry.recording import Recorder


def lines_of(path: Path) -> list[Line]:
    found = [decode_line(raw) for raw in path.read_bytes().splitlines()]
    return [line for line in found if line is not None]


def body(model: str) -> bytes:
    return json.dumps({"model": model, "stream": True, "messages": []}).encode()


def test_each_read_is_the_sockets_and_is_handed_on(tmp_path: Path) -> None:
    got: list[bytes] = []
    path = tmp_path / "a.jsonl"
    with LabServer() as lab, Recorder(path) as recorder:
        result = asyncio.run(
            record_url(
                f"{lab.url}/v1/chat/completions?beta=true#part",
                recorder,
                method="post",
                body=body("lab/ok;tokens=10;tps=200"),
                on_data=got.append,
            )
        )
    lines = lines_of(path)
    assert (result.status, result.how) == (200, "eof")
    assert [line.data for line in lines if isinstance(line, Read)] == got
    assert len(got) > 3
    (request,) = [line for line in lines if isinstance(line, RequestSent)]
    assert request.method == "POST"
    assert request.url.endswith("/v1/chat/completions?beta=true")


def test_patience_ends_it_and_what_came_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with LabServer() as lab, Recorder(path) as recorder:
        result = asyncio.run(
            record_url(
                f"{lab.url}/v1/chat/completions",
                recorder,
                method="POST",
                body=body("lab/stall@2t"),
                timeout_s=0.5,
            )
        )
    assert (result.status, result.how) == (200, "deadline")
    lines = lines_of(path)
    assert any(isinstance(line, Read) for line in lines)
    end = lines[-1]
    assert isinstance(end, End)
    assert (end.how, end.detail) == ("deadline", "not over after 0.5 s")


def test_a_password_in_the_address_is_sent_and_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with LabServer() as lab, Recorder(path) as recorder:
        address = lab.url.replace("://", "://me:pass-word-1@")
        result = asyncio.run(record_url(f"{address}/v1/models", recorder))
    assert result.status == 200
    assert "pass-word-1" not in path.read_text()
    assert '["Authorization","[removed]"]' in path.read_text()


@pytest.mark.parametrize("address", ["http://h:99999/", "http:///x"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with (
        Recorder(tmp_path / "a") as recorder,
        pytest.raises(ValueError, match=r"no upstream|out of range"),
    ):
        asyncio.run(record_url(address, recorder))
