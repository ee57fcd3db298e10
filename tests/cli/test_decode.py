"""`unbroken decode`: frames as JSON lines, as they come."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Command, environment
from unbroken.core.wire import encode_aws_event_stream

SSE = b"id: 7\nevent: greeting\nretry: 50\ndata: hel\ndata: lo\n\n: ping\n\ndata: [DONE]\n\n"
DECODED = [
    {"event": "greeting", "data": "hel\nlo", "id": "7", "retry": 50},
    {"event": "message", "data": "[DONE]", "id": "7", "retry": None},
]

AWS = encode_aws_event_stream(b'{"p":"a"}', event="metadata") + encode_aws_event_stream(
    b"{}", event="throttlingException", failure=True
)


def lines_of(out: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("how", [[], ["--wire", "sse"]], ids=["auto", "told"])
def test_sse(unbroken: Command, how: list[str]) -> None:
    ran = unbroken("decode", "-", *how, stdin=SSE)
    assert (ran.code, ran.error) == (0, "")
    assert lines_of(ran.out) == DECODED
    assert list(json.loads(ran.out.splitlines()[0])) == ["event", "data", "id", "retry"]


def test_ndjson_is_told_by_its_first_byte(unbroken: Command, tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b'\xef\xbb\xbf\n {"a":1}\n\n{"b":2}')
    ran = unbroken("decode", path)
    assert ran.code == 0
    assert [json.loads(str(line["data"])) for line in lines_of(ran.out)] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("how", [[], ["--wire", "json-array"]], ids=["auto", "told"])
def test_json_array_is_told_by_its_bracket(unbroken: Command, how: list[str]) -> None:
    ran = unbroken("decode", "-", *how, stdin=b' [{"a":"]"}\n,\r\n{"b":2}]\n')
    assert (ran.code, ran.error) == (0, "")
    assert [(line["event"], line["data"]) for line in lines_of(ran.out)] == [
        ("message", '{"a":"]"}'), ("message", '{"b":2}'), ("end", "]"),
    ]  # fmt: skip


@pytest.mark.parametrize("how", [[], ["--wire", "aws-event-stream"]], ids=["auto", "told"])
def test_aws_event_stream(unbroken: Command, how: list[str]) -> None:
    ran = unbroken("decode", "-", *how, stdin=AWS)
    assert (ran.code, ran.error) == (0, "")
    assert [(line["event"], line["data"]) for line in lines_of(ran.out)] == [
        ("metadata", '{"p":"a"}'), ("throttlingException", "{}"),
    ]  # fmt: skip


def test_message_whose_bytes_were_changed_is_not_shown(unbroken: Command) -> None:
    ran = unbroken("decode", "-", stdin=AWS[:-9] + b"X" + AWS[-8:])
    assert ran.code == 1
    assert len(lines_of(ran.out)) == 1
    assert "fatal: protocol-violation" in ran.error_line


def test_cut_frame_is_told_on_stderr_and_1(unbroken: Command) -> None:
    ran = unbroken("decode", "-", stdin=SSE + b"data: ha")
    assert ran.code == 1
    assert lines_of(ran.out) == DECODED
    assert "truncated-mid-event" in ran.error_line


def test_bad_utf8_is_a_warning(unbroken: Command) -> None:
    ran = unbroken("decode", "-", stdin=b"data: \xff\n\n")
    assert ran.code == 0
    assert lines_of(ran.out)[0]["data"] == "\ufffd"
    assert "warning: invalid-utf8" in ran.error_line


def test_nothing_is_nothing(unbroken: Command) -> None:
    assert unbroken("decode", "-").out == b""


def test_missing_file_is_2(unbroken: Command) -> None:
    ran = unbroken("decode", "no-such-file")
    assert ran.code == 2
    assert "cannot read no-such-file" in ran.error_line


def test_frames_come_while_stdin_is_still_open() -> None:
    with subprocess.Popen(
        [*COMMAND, "decode", "-"], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"data: one\n\ndata: tw")
        running.stdin.flush()
        assert json.loads(running.stdout.readline())["data"] == "one"  # or the test's time is up
        running.stdin.write(b"o\n\n")
        running.stdin.close()
        assert json.loads(running.stdout.readline())["data"] == "two"


def test_reader_that_leaves_is_no_news() -> None:
    with subprocess.Popen(
        [*COMMAND, "decode", "-"], env=environment(),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        running.stdout.close()
        assert _feed(running) == b""
        assert running.returncode == 141


def _feed(running: subprocess.Popen[bytes]) -> bytes:
    assert running.stdin is not None
    assert running.stderr is not None
    try:
        running.stdin.write(SSE * 10_000)
        running.stdin.close()
    except BrokenPipeError:
        pass
    said = running.stderr.read()
    running.wait(timeout=20)
    return said
