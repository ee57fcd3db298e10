"""HAR files as recordings: written by hand as browsers write them, and by a real Chromium."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.debugger.recordings import DONE, delta, whole
from tests.telemetry.page.serving import chromium
from unbroken.core.recording import (
    Connected,
    End,
    Line,
    Opening,
    Read,
    RecordingError,
    RequestSent,
    ResponseHead,
    Sent,
    encode_line,
)
from unbroken.debugger.har import lines_of_har, looks_like_har
from unbroken.debugger.reading import read_lines
from unbroken.lab.server.app import LabServer

URL = "https://api.openai.com/v1/chat/completions"
BODY = b"".join(whole("Hällo", " you")).decode()


def entry(**more: Any) -> dict[str, Any]:
    """What Firefox writes of a good stream."""
    made: dict[str, Any] = {
        "startedDateTime": "2026-11-20T10:00:00.500+01:00",
        "request": {
            "method": "POST",
            "url": URL,
            "httpVersion": "HTTP/2",
            "headers": [
                {"name": "Authorization", "value": "Bearer sk-abcdefghijklmnopqrstuvwxyz"},
                {"name": "Content-Type", "value": "application/json"},
            ],
            "cookies": [], "queryString": [], "headersSize": 300, "bodySize": 20,
            "postData": {"mimeType": "application/json", "params": [], "text": '{"stream":true}'},
        },
        "response": {
            "status": 200,
            "statusText": "OK",
            "httpVersion": "HTTP/2",
            "headers": [
                {"name": "content-type", "value": "text/event-stream; charset=utf-8"},
                {"name": "content-encoding", "value": "br"},
                {"name": "set-cookie", "value": "session=abcdefghijklm"},
            ],
            "cookies": [],
            "content": {"mimeType": "text/event-stream; charset=utf-8", "size": 9, "text": BODY},
            "redirectURL": "", "headersSize": 200, "bodySize": 900,
        },
        "cache": {},
        "timings": {
            "blocked": 10, "dns": 20, "connect": 30, "ssl": 25, "send": 5, "wait": 400,
            "receive": 2000,
        },
        "time": 2490, "serverIPAddress": "10.0.0.1", "connection": "443",
    }  # fmt: skip
    for path, value in more.items():
        *parents, last = path.split("__")
        target = made
        for name in parents:
            target = target[name]
        target[last] = value
    return made


def har(path: Path, *entries: dict[str, Any], name: str = "Firefox") -> Path:
    log = {
        "version": "1.2",
        "creator": {"name": name, "version": "140.0"},
        "pages": [{"title": 'a page with "entries": [ in its title'}],
        "entries": list(entries),
    }
    path.write_text(json.dumps({"log": log}, ensure_ascii=False), "utf-8")
    return path


def of_type(lines: list[Line], kind: type) -> Any:
    found = [line for line in lines if isinstance(line, kind)]
    assert len(found) == 1, (kind, found)
    return found[0]


def body_of(lines: list[Line]) -> bytes:
    return b"".join(line.data or b"" for line in lines if isinstance(line, Read))


def test_phases_become_times(tmp_path: Path) -> None:
    lines = list(lines_of_har(har(tmp_path / "a.har", entry())))
    opening = of_type(lines, Opening)
    assert opening.side == "har"
    assert opening.started_at == pytest.approx(1795165200.5)
    assert "Firefox 140.0" in opening.note
    assert "no single reads" in opening.note
    assert of_type(lines, RequestSent).at_s == 0
    assert of_type(lines, RequestSent).dialect == "openai-chat"
    assert of_type(lines, Connected).at_s == pytest.approx(0.06)
    assert of_type(lines, Sent).at_s == pytest.approx(0.065)
    assert of_type(lines, ResponseHead).at_s == pytest.approx(0.465)
    assert of_type(lines, Read).at_s == pytest.approx(2.465)
    assert of_type(lines, End).how == "eof"
    assert body_of(lines) == BODY.encode()


def test_keys_are_removed_and_what_the_coding_said_is_left_out(tmp_path: Path) -> None:
    lines = list(lines_of_har(har(tmp_path / "a.har", entry(request__url=URL + "?key=abcdefgh"))))
    file = b"".join(map(encode_line, lines))
    for secret in (b"sk-abcdef", b"abcdefghijklm", b"key=abcdefgh"):
        assert secret not in file
    names = [name for name, _ in of_type(lines, ResponseHead).headers]
    assert names == ["content-type", "set-cookie"]


def test_a_base64_body_is_decoded(tmp_path: Path) -> None:
    content = {
        "mimeType": "text/event-stream", "size": 3, "encoding": "base64",
        "text": base64.b64encode(b"\xff\xfe" + BODY.encode()).decode(),
    }  # fmt: skip
    lines = list(lines_of_har(har(tmp_path / "a.har", entry(response__content=content))))
    assert body_of(lines) == b"\xff\xfe" + BODY.encode()


@pytest.mark.parametrize("unit", [1.0, 1000.0], ids=["seconds", "milliseconds"])
def test_events_with_times_become_reads_at_those_times(tmp_path: Path, unit: float) -> None:
    frames = [b": ping\n\n", *whole("a", "b")]
    events = [frame[6:-2].decode() for frame in frames[1:]]
    began = 1795165200.5
    messages = [
        {"time": (began + at) * unit, "eventName": "message", "eventId": "", "data": data}
        for at, data in zip((0.6, 1.0, 1.5, 1.6), events, strict=True)
    ]
    content = {"mimeType": "text/event-stream", "text": b"".join(frames).decode()}
    made = entry(_eventSourceMessages=messages, response__content=content)
    reads = [x for x in lines_of_har(har(tmp_path / "a.har", made)) if isinstance(x, Read)]
    assert [read.at_s for read in reads] == pytest.approx([0.6, 1.0, 1.5, 1.6], abs=1e-5)
    assert [read.data for read in reads] == [frames[0] + frames[1], *frames[2:]]


def test_without_a_body_the_events_are_written_anew(tmp_path: Path) -> None:
    messages = [
        {"time": 5.0, "eventName": "delta", "eventId": "7", "data": "one\ntwo"},
        {"time": 6.0, "eventName": "message", "eventId": "", "data": "three"},
    ]
    content = {"mimeType": "text/event-stream", "size": 0}
    made = entry(_eventSourceMessages=messages, response__content=content)
    reads = [x for x in lines_of_har(har(tmp_path / "a.har", made)) if isinstance(x, Read)]
    assert [read.data for read in reads] == [
        b"event: delta\nid: 7\ndata: one\ndata: two\n\n", b"data: three\n\n",
    ]  # fmt: skip
    assert reads[1].at_s - reads[0].at_s == pytest.approx(1.0 - 0.465, abs=0.01)


@pytest.mark.parametrize(
    ("said", "how"),
    [
        ("net::ERR_INCOMPLETE_CHUNKED_ENCODING", "incomplete"),
        ("net::ERR_CONTENT_LENGTH_MISMATCH", "incomplete"),
        ("net::ERR_CONNECTION_RESET", "reset"),
        ("net::ERR_HTTP2_PROTOCOL_ERROR", "reset"),
        ("net::ERR_ABORTED", "left"),
        ("NS_BINDING_ABORTED", "left"),
        ("NS_ERROR_NET_PARTIAL_TRANSFER", "incomplete"),
    ],
)
def test_failures_say_how_it_ended(tmp_path: Path, said: str, how: str) -> None:
    content = {"mimeType": "text/event-stream", "size": -1}
    made = entry(response___error=said, response__content=content)
    end = of_type(list(lines_of_har(har(tmp_path / "a.har", made))), End)
    assert (end.how, end.detail) == (how, f"{said}; the HAR does not hold what had come before")


def test_no_response_is_no_head(tmp_path: Path) -> None:
    lines = list(lines_of_har(har(tmp_path / "a.har", entry(response__status=0))))
    assert not [line for line in lines if isinstance(line, ResponseHead)]
    assert of_type(lines, End).how == "unanswered"


def test_other_requests_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    page = entry(request__url="https://example.com/app.css", request__method="GET")
    page["response"]["content"] = {"mimeType": "text/css", "text": "a {}"}
    page["request"].pop("postData")
    path = har(tmp_path / "a.har", page, entry(), entry(request__method="OPTIONS"))
    assert {x.stream for x in lines_of_har(path) if isinstance(x, RequestSent)} == {1}
    assert len([x for x in lines_of_har(path, every=True) if isinstance(x, RequestSent)]) == 3
    with pytest.raises(RecordingError, match="no request to a model's API among its 1"):
        list(lines_of_har(har(tmp_path / "b.har", page)))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"log": {"version": "1.2"}}', "no log with entries"),
        (b'{"other": {"entries": []}}', "not HAR's"),
        (b'{"log": {"entries": [{"request": 3}]}}', "entry 1 of the HAR is not as it should be"),
        (b'{"log": {"entries": [{"a": 1}, {"b"', "breaks off after entry 1"),
        (b'{"log": {"entries": [{"a"}]}}', "entry 1"),
        (b'{"log": {"entries": []}}', "no request to a model's API among its 0"),
        ((b'{"log": {"entries": [{"startedDateTime": "then", "response": {"content":'
         b' {"mimeType": "text/event-stream"}}}]}}'), "does not say when it began"),
    ],
)  # fmt: skip
def test_a_broken_har_is_one_clear_error(tmp_path: Path, raw: bytes, why: str) -> None:
    path = tmp_path / "broken.har"
    path.write_bytes(raw)
    with pytest.raises(RecordingError, match=why):
        list(lines_of_har(path))


def test_a_har_is_told_from_a_recording(tmp_path: Path) -> None:
    assert looks_like_har(har(tmp_path / "a.har", entry()).read_bytes()[:100])
    assert looks_like_har(b'\xef\xbb\xbf \n{ "log" : {')
    assert not looks_like_har(b'{"type":"recording","version":1}')
    assert not looks_like_har(b"")


def test_memory_is_bounded_by_the_largest_entry(tmp_path: Path) -> None:
    """Entries are read one at a time: 200 of 1 MB are not 200 MB."""
    import tracemalloc

    path = tmp_path / "large.har"
    content = {"mimeType": "text/event-stream", "text": "data: x\n\n" * 100_000}
    one = json.dumps(entry(response__content=content))
    with path.open("w") as file:
        file.write('{"log": {"version": "1.2", "creator": {}, "entries": [' + one)
        for _ in range(39):
            file.write("," + one)
        file.write("]}}")
    tracemalloc.start()
    try:
        count = sum(isinstance(line, End) for line in lines_of_har(path))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 40
    assert most < 16 * 1024 * 1024


def test_what_a_real_chromium_saves(tmp_path: Path) -> None:
    path = tmp_path / "real.har"
    ask = """async ([url, model]) => {
        try {
            const response = await fetch(url, {method: "POST", headers: {
                "content-type": "application/json",
                "authorization": "Bearer sk-real-1234567890abcdefgh"},
                body: JSON.stringify({model, stream: true,
                    messages: [{role: "user", content: "Hi"}]})});
            return await response.text();
        } catch (error) { return ""; } }"""
    with LabServer() as lab, chromium() as browser:
        context = browser.new_context(record_har_path=path, record_har_content="embed")
        page = context.new_page()
        page.goto(lab.url + "/")
        texts = [
            page.evaluate(ask, [f"{lab.url}/v1/chat/completions", lab.session(plan).model])
            for plan in ("ok;tokens=12", "cut@5t;tokens=12", "cut.rst@5t;tokens=12")
        ]
        context.close()
    lines = list(read_lines(path))
    assert b"sk-real" not in b"".join(map(encode_line, lines))
    bodies = [body_of([x for x in lines if getattr(x, "stream", 0) == n]) for n in (1, 2, 3)]
    assert [body.decode() for body in bodies] == texts
    assert bodies[0].endswith(DONE)
    assert delta("x")[:6] == bodies[1][:6]
    assert [x.how for x in lines if isinstance(x, End)] == ["eof", "eof", "reset"]
    assert [x.framing for x in lines if isinstance(x, ResponseHead)] == ["chunked"] * 3
    times = [x.at_s for x in lines if getattr(x, "stream", 0) == 1]
    assert times == sorted(times)
