"""`unbroken record`: an address, a proxy, or a command, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("aiohttp", reason="recording needs aiohttp")

from tests.cli.conftest import COMMAND, Command, environment
from unbroken.core.recording import (
    End,
    Line,
    NoticeSeen,
    Opening,
    OutcomeSeen,
    Read,
    RequestSent,
    decode_line,
)
from unbroken.lab.server.app import LabServer
from unbroken.relay.environment import BASE_URLS

KEY = "sk-test-1234567890abcdefghij"
curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")


@pytest.fixture
def lab() -> Iterator[LabServer]:
    with LabServer() as lab:
        yield lab


def lines_of(path: Path) -> list[Line]:
    found = [decode_line(raw) for raw in path.read_bytes().splitlines()]
    return [line for line in found if line is not None]


def body_of(path: Path) -> bytes:
    return b"".join(line.data or b"" for line in lines_of(path) if isinstance(line, Read))


def ends_of(path: Path) -> list[str]:
    return [line.how for line in lines_of(path) if isinstance(line, End)]


def ask(model: str) -> str:
    messages = [{"role": "user", "content": "my own prompt"}]
    return json.dumps({"model": model, "stream": True, "messages": messages})


def test_an_address_is_asked_and_recorded(
    unbroken: Command, lab: LabServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    ran = unbroken(
        "record", f"{lab.url}/v1/chat/completions", "-d", ask("lab/ok"), "-o", path,
        "-H", f"Authorization: Bearer {KEY}", "--print",
    )  # fmt: skip
    assert ran.code == 0
    assert ran.out == body_of(path)
    assert ran.out.endswith(b"data: [DONE]\n\n")
    first, *_, last = ran.error.splitlines()
    assert first == (
        f"recording to {path}: prompts and outputs are in it (--contents removed leaves them out)"
    )
    assert re.match(
        r"recorded 1 stream, [\d,]+ bytes of answers, in .*; next: unbroken report", last
    )
    raw = path.read_text()
    assert KEY not in raw
    assert "my own prompt" in raw
    assert path.stat().st_mode & 0o777 == 0o600
    assert isinstance(lines_of(path)[0], Opening)


def test_prompts_and_outputs_are_left_out_where_asked(
    unbroken: Command, lab: LabServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    ran = unbroken(
        "record", f"{lab.url}/v1/chat/completions", "-d", ask("lab/ok"), "-o", path,
        "--contents", "removed", "--quiet",
    )  # fmt: skip
    assert (ran.code, ran.out, ran.error) == (0, b"", "")
    assert "my own prompt" not in path.read_text()
    judged = unbroken("check", "-", "--json", stdin=body_of(path))
    verdict = json.loads(judged.text)
    assert verdict["status"] == "complete"
    assert set(verdict["text"]) == {"x"}


@pytest.mark.parametrize(
    ("model", "ended"), [("lab/cut.rst@4t", "reset"), ("lab/stall@2t", "deadline")]
)
def test_an_answer_that_breaks_is_exit_code_1(
    unbroken: Command, lab: LabServer, tmp_path: Path, model: str, ended: str
) -> None:
    path = tmp_path / "a.jsonl"
    ran = unbroken(
        "record", f"{lab.url}/v1/chat/completions", "-d", ask(model), "-o", path,
        "--timeout", "1", "--json",
    )  # fmt: skip
    assert ran.code == 1
    assert ends_of(path) == [ended]
    said = json.loads(ran.text)
    assert (said["status"], said["ended"], said["streams"]) == (200, ended, 1)
    assert said["file_bytes"] == path.stat().st_size


def test_nobody_there_is_recorded_too(unbroken: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ran = unbroken("record", "http://127.0.0.1:9/v1?key=query-value-1", "-o", path)
    assert ran.code == 1
    assert "unanswered: connection refused" in ran.error
    assert "query-value-1" not in ran.error + path.read_text()


def test_standard_output_may_be_the_file(unbroken: Command, lab: LabServer) -> None:
    ran = unbroken("record", f"{lab.url}/v1/models", "-o", "-", "-q")
    lines = [decode_line(raw) for raw in ran.out.splitlines()]
    assert isinstance(lines[0], Opening)
    assert isinstance(lines[-1], End)


def test_a_name_is_found_where_none_is_given(
    unbroken: Command, lab: LabServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert unbroken("record", f"{lab.url}/v1/models", "-q").code == 0
    (path,) = tmp_path.iterdir()
    assert re.fullmatch(r"recording-\d{8}-\d{6}\.jsonl", path.name)


@curl
def test_a_command_with_an_address_just_works(
    unbroken: Command, lab: LabServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    ran = unbroken(
        "record", "-o", path, "--", "curl", "-sN", f"{lab.url}/v1/chat/completions",
        "-H", f"Authorization: Bearer {KEY}", "-d", ask("lab/ok"),
    )  # fmt: skip
    assert ran.code == 0
    assert ran.out == body_of(path)
    assert ran.out.endswith(b"data: [DONE]\n\n")
    assert KEY not in path.read_text()
    (request,) = [line for line in lines_of(path) if isinstance(line, RequestSent)]
    assert request.url == f"{lab.url}/v1/chat/completions"
    assert request.dialect == "openai-chat"


@curl
def test_a_commands_failure_is_its_own(unbroken: Command, lab: LabServer, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ran = unbroken(
        "record", "-o", path, "--", "curl", "-sN", f"{lab.url}/v1/chat/completions",
        "-d", ask("lab/cut.rst@4t"),
    )  # fmt: skip
    assert ran.code == 56  # curl's, for a connection that was reset
    assert ends_of(path) == ["reset"]


_SDK = """
import openai
client = openai.OpenAI(api_key="%s", max_retries=0)
for event in client.chat.completions.create(
    model="lab/ok", messages=[{"role": "user", "content": "x"}], stream=True
):
    if event.choices:
        print(event.choices[0].delta.content or "", end="")
"""


def test_a_program_with_an_sdk_just_works(
    unbroken: Command, lab: LabServer, tmp_path: Path
) -> None:
    pytest.importorskip("openai")
    path = tmp_path / "a.jsonl"
    arguments = ["record", "-o", path, "--", sys.executable, "-c", _SDK % KEY]
    ran = unbroken(*arguments, env={"OPENAI_BASE_URL": f"{lab.url}/v1"})
    assert ran.code == 0, ran.error
    assert ends_of(path) == ["eof"]
    assert KEY not in path.read_text()
    told = unbroken("check", "-", "--json", stdin=body_of(path))
    assert json.loads(told.text)["text"] == ran.text


def test_an_upstream_is_whom_an_sdk_asks(unbroken: Command, lab: LabServer, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    path = tmp_path / "a.jsonl"
    arguments = ["record", "-o", path, "--upstream", lab.url, "-q", "--"]
    ran = unbroken(*arguments, sys.executable, "-c", _SDK % KEY)
    assert (ran.code, ran.error) == (0, "")
    assert ends_of(path) == ["eof"]


def test_exit_codes_and_output_of_a_command_are_passed_on(
    unbroken: Command, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    ran = unbroken("record", "-o", path, "--json", "--", "sh", "-c", "echo out; exit 7")
    assert (ran.code, ran.out) == (7, b"out\n")
    said = next(line for line in ran.error.splitlines() if line.startswith("{"))
    assert json.loads(said)["exit_code"] == 7
    assert "nothing passed" in ran.error
    for word in ("--listen PORT --upstream URL", *(variable.name for variable in BASE_URLS)):
        assert word in ran.error
    assert json.loads(said)["file"] is None
    killed = unbroken("record", "-o", tmp_path / "b", "--", "sh", "-c", "kill -9 $$")
    assert killed.code == 128 + 9
    none = unbroken("record", "-o", tmp_path / "c", "--", "no-such-command-here")
    assert none.code == 127
    assert "there is no command no-such-command-here" in none.error
    assert "nothing passed" not in none.error
    assert list(tmp_path.iterdir()) == []  # so that the same name does for the next try


def test_help_names_the_variables(unbroken: Command) -> None:
    ran = unbroken("record", "--help")
    for variable in BASE_URLS:
        assert variable.name in ran.text


@curl
@pytest.mark.parametrize(
    ("end", "said"), [("exit 3", "exit 3"), ("kill -9 $$", "signal 9 (SIGKILL)")]
)
def test_how_the_command_ended_is_in_the_recording(
    unbroken: Command, lab: LabServer, tmp_path: Path, end: str, said: str
) -> None:
    path = tmp_path / "a.jsonl"
    script = f'curl -s "$OPENAI_BASE_URL/models"; {end}'
    unbroken("record", "-o", path, "--upstream", lab.url, "--", "sh", "-c", script)
    (notice,) = [line for line in lines_of(path) if isinstance(line, NoticeSeen)]
    assert (notice.stream, notice.kind, notice.detail) == (1, "command", said)


def test_on_a_terminal_what_is_said_begins_a_line(lab: LabServer, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="no terminals here")
    main, side = pty.openpty()
    running = subprocess.Popen(
        [*COMMAND, "record", "-o", tmp_path / "a", "--", "printf", "no end"],
        env=environment(), stdin=subprocess.DEVNULL, stdout=side, stderr=side,
    )  # fmt: skip
    os.close(side)
    shown = b""
    try:
        while piece := os.read(main, 4096):
            shown += piece
    except OSError:  # how Linux ends a terminal
        pass
    running.wait(timeout=20)
    os.close(main)
    assert b"no end\r\nnothing was recorded" in shown


def test_without_contents_it_is_said_that_compression_is_not_asked_for(
    unbroken: Command, lab: LabServer, tmp_path: Path
) -> None:
    ran = unbroken("record", f"{lab.url}/v1/models", "--contents", "removed", "-o", tmp_path / "a")
    assert "without compression" in ran.error.splitlines()[1]


def started(*arguments: str | os.PathLike[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *arguments], env=environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def until(path: Path, size: int) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@curl
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_and_the_recording(
    lab: LabServer, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "a.jsonl"
    running = started(
        "record", "-o", path, "--", "curl", "-sN", f"{lab.url}/v1/chat/completions",
        "-d", ask("lab/ok;tps=5;tokens=500"),
    )  # fmt: skip
    until(path, 2_000)
    running.send_signal(number)
    out, error = running.communicate(timeout=20)
    assert running.returncode == 128 + number
    assert b"recorded 1 stream" in error
    assert b"Traceback" not in error
    assert ends_of(path) == ["left"]
    assert out
    assert body_of(path).startswith(out)


@curl
def test_a_proxy_records_until_it_is_ended(lab: LabServer, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    running = started("record", "--listen", "0", "--upstream", lab.url, "-o", path)
    assert running.stderr is not None
    running.stderr.readline()
    found = re.search(rb"(http://127\.0\.0\.1:\d+) -> ", running.stderr.readline())
    assert found is not None
    url = found[1].decode()
    for _ in range(2):
        got = subprocess.run(
            ["curl", "-sN", f"{url}/v1/chat/completions", "-d", ask("lab/ok")],
            capture_output=True, check=True, timeout=20,
        )  # fmt: skip
    running.send_signal(signal.SIGINT)
    _, error = running.communicate(timeout=20)
    assert running.returncode == 0
    assert b"recorded 2 streams" in error
    assert ends_of(path) == ["eof", "eof"]
    assert body_of(path).endswith(got.stdout)
    assert not any(isinstance(line, OutcomeSeen) for line in lines_of(path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "what shall be recorded"),
        (["--listen", "0"], "--listen PORT needs --upstream URL"),
        (["--listen", "0", "--upstream", "ftp://x"], "is no upstream"),
        (["http://h/", "http://i/"], "one address at a time"),
        (["-H", "a: b", "--", "true"], "are for an address"),
        (["http://h/", "--print", "-o", "-"], "both write to standard output"),
        (["-o", "-", "--", "true"], "standard output is the command's"),
        (["--listen", "0", "--upstream", "http://h", "--cafile", "none.pem"], "there is no file"),
        (["-o", "/no/such/folder/x", "--", "true"], "cannot write /no/such/folder/x"),
        (["http://h/", "-H", "nonsense"], "a header is written"),
        (["--", "curl", "https://me:pass-word@h/"], "user or password"),
    ],
)
def test_what_cannot_be_is_one_line(
    unbroken: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    ran = unbroken("record", "-q", *arguments)
    assert ran.code == 2
    assert said in ran.error_line
    assert "pass-word" not in ran.error
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(unbroken: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("mine")
    ran = unbroken("record", "-o", path, "--", "true")
    assert ran.code == 2
    assert "overwrites nothing" in ran.error_line
    assert path.read_text() == "mine"
