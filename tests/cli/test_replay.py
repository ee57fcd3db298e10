"""`unbroken replay`: it says where it listens, serves, and passes a command's exit code on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Command, environment
from tests.debugger.recordings import attempt, recording, whole

FRAMES = whole("a", "b", "c")
ASK = (
    "import os, sys, urllib.request as u;"
    "print(u.urlopen(os.environ['OPENAI_BASE_URL'] + '/chat/completions', b'{}').read().decode());"
    "sys.exit(7)"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return recording(tmp_path / "a.jsonl", attempt(FRAMES))


def test_a_command_gets_the_stream_and_its_code_is_ours(unbroken: Command, path: Path) -> None:
    ran = unbroken("replay", path, "--speed", "0", "--", sys.executable, "-c", ASK)
    assert ran.code == 7
    assert ran.out == b"".join(FRAMES) + b"\n"
    first, route, served = ran.error.splitlines()
    assert first.startswith("unbroken replay: http://127.0.0.1:")
    assert route == "  POST /v1/chat/completions  1 answer"
    assert "200 attempt 1 of stream 1: " in served
    assert served.endswith("eof")


def test_a_command_that_a_signal_ends(unbroken: Command, path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert unbroken("replay", path, "-q", "--", sys.executable, "-c", code).code == 137


def test_it_serves_until_ctrl_c(path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "replay", path, "--json", "--speed", "0"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["routes"] == [{"method": "POST", "path": "/v1/chat/completions", "attempts": 1}]
        assert told["bases"]["OPENAI_BASE_URL"] == told["url"] + "/v1"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for again in (False, True):
            with opener.open(told["url"] + "/v1/chat/completions", b"{}", timeout=10) as answer:
                assert answer.read() == b"".join(FRAMES)
            served = json.loads(process.stdout.readline())
            assert (served["ended"], served["again"]) == ("eof", again)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert error.strip() == "replay: stopped after 2 requests"


def test_it_says_what_to_point_a_client_at(path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "replay", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        url = lines[0].split()[-1]
        assert f"point a client at it: OPENAI_BASE_URL={url}/v1" in lines[2]
        assert lines[3] == "Ctrl-C ends it\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["/no/such"], "cannot read /no/such: no such file or directory"),
        (["{path}", "--cut", "lines"], "a cut is reads, frames, bytes, or a number"),
        (["{path}", "--stream", "3"], "has no stream 3; it has 1"),
        (["{path}", "--all", "--stream", "1"], "--all and --stream contradict each other"),
        (["{path}", "--host", "192.0.2.1"], "cannot listen on 192.0.2.1 port 0"),
        (["{path}", "--speed", "-1"], "speed"),
        (["{text}"], "is no recording"),
    ],
)
def test_bad_input_is_one_line(
    unbroken: Command, path: Path, tmp_path: Path, arguments: list[str], why: str
) -> None:
    text = tmp_path / "text"
    text.write_text("hello\n")
    ran = unbroken("replay", *(word.format(path=path, text=text) for word in arguments))
    assert ran.code == 2
    assert why in ran.error_line


def test_a_command_that_is_none(unbroken: Command, path: Path) -> None:
    ran = unbroken("replay", path, "--", "no-such-command")
    assert ran.code == 2
    assert "cannot run no-such-command: no such file or directory" in ran.error


def test_a_recording_on_standard_input(unbroken: Command, path: Path) -> None:
    ran = unbroken(
        "replay", "-", "-q", "--", sys.executable, "-c", ASK, stdin=path.read_bytes(),
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert (ran.code, ran.out) == (7, b"".join(FRAMES) + b"\n")
