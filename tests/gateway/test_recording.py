"""What the gateway records: every stream where asked for, and of one that failed the last reads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.gateway import config_for, serving
from unbroken.debugger import report
from unbroken.debugger.reading import read_lines
from unbroken.gateway.config import TelemetryConfig
from unbroken.lab.server.app import LabServer

PROMPT = "Zyxophant quuxilever in the Grumblewick"
KEY = "sk-Vexillarius-Wobbegrum-Quagmirk"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer() as server:
        yield server


def _ask(url: str, model: str) -> bytes:
    """Return what came, also of a stream that fails."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]}
    headers = {"authorization": f"Bearer {KEY}"}
    came = bytearray()
    with httpx2.stream(
        "POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=20
    ) as answer:
        with contextlib.suppress(httpx2.RemoteProtocolError):
            for data in answer.iter_raw():
                came += data
    return bytes(came)


def _file(folder: Path) -> Path:
    end = time.monotonic() + 10
    while not (found := list(folder.glob("*.jsonl"))):
        assert time.monotonic() < end, "nothing was recorded"
        time.sleep(0.02)
    return found[0]


def test_a_stream_that_failed_leaves_its_last_reads_without_contents(
    lab: LabServer, tmp_path: Path
) -> None:
    telemetry = TelemetryConfig(flight_dir=str(tmp_path / "flights"))
    config = config_for(lab.url, telemetry=telemetry, mode="raise")
    with serving(config) as gateway:
        _ask(gateway.url, "lab/ok;tokens=10")
        came = _ask(gateway.url, "lab/cut.rst@20t;tokens=60")
        path = _file(tmp_path / "flights")
    assert len(list(path.parent.iterdir())) == 1, "the healthy stream leaves none"
    text = path.read_text("utf-8")
    assert KEY not in text
    assert not [word for word in PROMPT.split() if len(word) > 3 and word in text]
    assert came[200:260].decode() not in text
    (stream,) = report(path).streams
    assert stream.faults[0].kind == "connection-reset"
    assert stream.attempts[0].content > 5


def test_everything_is_recorded_where_asked_for(lab: LabServer, tmp_path: Path) -> None:
    telemetry = TelemetryConfig(record_dir=str(tmp_path / "streams"), record_contents="kept")
    with serving(config_for(lab.url, telemetry=telemetry)) as gateway:
        first = _ask(gateway.url, "lab/ok;tokens=10")
        _ask(gateway.url, "lab/cut.rst@20t,ok;tokens=60;seed=5")
        _ask(gateway.url, "lab/http.400")
    path = _file(tmp_path / "streams")
    assert KEY not in path.read_text("utf-8")
    assert PROMPT in path.read_text("utf-8"), "asked for by `kept`"
    lines = list(read_lines(path))
    read = [line for line in lines if type(line).__name__ == "Read" and line.stream == 1]  # type: ignore[union-attr]
    assert b"".join(line.data or b"" for line in read) == first  # type: ignore[union-attr]
    told = report(path)
    assert [stream.attempts[0].status for stream in told.streams] == [200, 200, 400]
    assert told.streams[0].status == "complete"
    assert told.streams[1].healed
    assert next(each.rung for each in told.streams[1].attempts) == "first"


def test_a_folder_that_cannot_be_is_said_before_it_serves(tmp_path: Path) -> None:
    from unbroken.gateway.app import Gateway
    from unbroken.gateway.config import ConfigError

    (tmp_path / "file").write_text("")
    telemetry = TelemetryConfig(record_dir=str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigError) as raised:
        Gateway(config_for("http://127.0.0.1:9", telemetry=telemetry))
    assert "telemetry.record_dir" in str(raised.value)


def test_what_failed_can_be_asked_for_by_address(lab: LabServer, tmp_path: Path) -> None:
    with serving(config_for(lab.url, mode="raise")) as gateway:
        assert httpx2.get(f"{gateway.url}/_unbroken/flights").json() == []
        for _ in range(40):
            _ask(gateway.url, "lab/cut.rst@20t*;tokens=60")
        listed = httpx2.get(f"{gateway.url}/_unbroken/flights").json()
        answer = httpx2.get(gateway.url + listed[0]["recording"])
        missing = httpx2.get(f"{gateway.url}/_unbroken/flights/none.jsonl")
    assert len(listed) == 32, "the latest, and no more"
    assert {each["fault"] for each in listed} == {"connection-reset"}
    assert {len(each["stream"]) for each in listed} == {12}
    assert all("…" in each["shown_as"] for each in listed), "as on the page"
    assert [each["ended_at"] for each in listed] == sorted(
        (each["ended_at"] for each in listed), reverse=True
    )
    assert KEY not in answer.text
    assert not [word for word in PROMPT.split() if len(word) > 3 and word in answer.text]
    (tmp_path / "one.jsonl").write_bytes(answer.content)
    (stream,) = report(tmp_path / "one.jsonl").streams
    assert stream.faults[0].kind == "connection-reset"
    assert missing.status_code == 404
