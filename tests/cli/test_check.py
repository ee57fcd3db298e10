"""`unbroken check`: verdict, exit code, JSON, and input of every bad kind."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Command, environment
from tests.support.bodies import Answer, body, content_type, tokens_of
from tests.support.faultserver import FaultServer, Pause, Reply, unused_url
from unbroken.cli.verdict_view import ADVICE
from unbroken.core.faults import FaultKind

TEXT = "A token stream is a promise in many small parts."
FRAMES = body("openai-chat", Answer(tokens=tokens_of(TEXT)))
WHOLE = b"".join(FRAMES)
HALF = b"".join(FRAMES[: len(FRAMES) // 2])
KEYS = ["dialect", "status", "complete", "recoverable", "stop_reason", "text", "reasoning",
        "tool_calls", "usage", "faults", "frames", "bytes"]  # fmt: skip


def reply(pieces: list[bytes], **more: object) -> Reply:
    return Reply(headers={"content-type": content_type("openai-chat")}, pieces=pieces, **more)  # type: ignore[arg-type]


@pytest.mark.seed("001-truncated-message")
def test_whole_answer_is_0_and_a_cut_one_1(unbroken: Command, tmp_path: Path) -> None:
    path = tmp_path / "answer.sse"
    path.write_bytes(WHOLE)
    ran = unbroken("check", path)
    assert ran.code == 0
    assert ran.text.startswith("✓ complete")
    assert "48 characters" in ran.text
    assert TEXT not in ran.text
    path.write_bytes(HALF)
    ran = unbroken("check", path)
    assert ran.code == 1
    fatal = next(line for line in ran.text.splitlines() if "fatal" in line)
    assert f"truncated-between-events at byte {len(HALF):,}: " in fatal
    assert "→" in fatal


@pytest.mark.parametrize("sent", [WHOLE, HALF], ids=["whole", "half"])
def test_json_is_one_line_with_the_promised_keys(unbroken: Command, sent: bytes) -> None:
    ran = unbroken("check", "--json", "-", stdin=sent)
    assert ran.code == (sent is HALF)
    assert ran.out.endswith(b"\n")
    assert ran.out.count(b"\n") == 1
    told = json.loads(ran.out)
    assert list(told) == KEYS
    assert TEXT.startswith(told["text"])
    assert told["bytes"] == len(sent)
    for fault in told["faults"]:
        assert list(fault) == ["kind", "severity", "at_byte", "frame", "detail", "records"]


def test_text_is_shown_only_when_asked_for(unbroken: Command) -> None:
    assert TEXT in unbroken("check", "-", "--text", stdin=WHOLE).text


def test_reset_is_another_fault_than_a_clean_end(unbroken: Command) -> None:
    ran = unbroken("check", "-", "--end", "reset", "--json", stdin=HALF)
    assert json.loads(ran.out)["faults"][0]["kind"] == "connection-reset"


def test_options_come_from_the_environment_too(unbroken: Command) -> None:
    ran = unbroken("check", "-", env={"UNBROKEN_JSON": "1", "UNBROKEN_END": "reset"}, stdin=HALF)
    assert json.loads(ran.out)["faults"][0]["kind"] == "connection-reset"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-file"], "cannot read no-such-file: no such file"),
        (["."], "cannot read .: is a directory"),
        (["-", "--dialect", "morse"], "no dialect is called 'morse'; the dialects are openai-chat"),
        (["-", "--end", "sudden"], "--end"),
        (["-", "-H", "a: b"], "-X, -H and -d are for an address"),
        (["http://127.0.0.1:1/", "-H", "no colon"], "a header is written 'Name: value'"),
        (["http://[half"], "cannot reach"),
        (["http://127.0.0.1:1/", "--timeout", "-3"], "--timeout"),
        (["http://127.0.0.1:1/", "-d", "@no-such-file"], "cannot read no-such-file"),
        ([], "missing argument"),
        (["--no-such-option"], "no such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_2(unbroken: Command, arguments: list[str], said: str) -> None:
    ran = unbroken("check", *arguments)
    assert ran.code == 2
    assert said in ran.error_line
    assert not ran.out


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"", "empty-stream"),
        (bytes(range(256)) * 64, None),
        (b"<html>502 Bad Gateway</html>", "not-a-stream"),
        (b'{"error":{"message":"no"}}', None),
        (b"\x1f\x8b" + b"\xff" * 1000, None),
    ],
    ids=["empty", "binary", "html", "json", "gzip"],
)
def test_garbage_is_a_named_fault(unbroken: Command, sent: bytes, kind: str | None) -> None:
    ran = unbroken("check", "-", "--json", stdin=sent)
    told = json.loads(ran.out)
    assert (ran.code, told["status"]) == (1, "failed")
    assert kind in (None, told["faults"][0]["kind"])


def test_a_line_of_100_mb_is_a_named_fault(unbroken: Command) -> None:
    ran = unbroken("check", "-", stdin=b"data: " + b"x" * 100_000_000)
    assert ran.code == 1
    assert "oversized-event" in ran.text
    assert len(ran.text) < 1000


def test_control_characters_do_not_reach_the_terminal(unbroken: Command, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[2Jb"
    path.write_bytes(HALF)
    assert "\x1b" not in unbroken("check", path).text


def test_url_is_read_like_a_file(unbroken: Command) -> None:
    with FaultServer(reply(FRAMES)) as server:
        ran = unbroken("check", f"{server.url}/v1/chat/completions?key=secret")
        assert server.requests[0].method == "GET"
    assert ran.code == 0
    assert "secret" not in ran.text


def test_method_headers_and_data_mean_what_they_mean_to_curl(
    unbroken: Command, tmp_path: Path
) -> None:
    (tmp_path / "ask.json").write_text('{"stream":\ntrue}')
    with FaultServer(reply(FRAMES)) as server:
        url = f"{server.url}/x"
        unbroken("check", url, "-d", f"@{tmp_path}/ask.json", "-H", "X-One: 1", "-H", "Accept: a/b")
        unbroken("check", url, "-d", "a=1", "-d", "b=2", "-X", "PUT")
        first, second = server.requests
    assert (first.method, first.body) == ("POST", b'{"stream":true}')
    assert (first.headers["x-one"], first.headers["accept"]) == ("1", "a/b")
    assert first.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (second.method, second.body) == ("PUT", b"a=1&b=2")


@pytest.mark.parametrize(
    ("end", "kind"), [("clean", "truncated-between-events"), ("fin", "connection-reset"),
                      ("rst", "connection-reset")],
)  # fmt: skip
def test_url_that_is_cut_says_how(unbroken: Command, end: str, kind: str) -> None:
    with FaultServer(reply([HALF], end=end)) as server:
        ran = unbroken("check", "--json", server.url)
    told = json.loads(ran.out)
    assert ran.code == 1
    assert told["faults"][0]["kind"] == kind
    assert TEXT.startswith(told["text"])
    assert told["text"]


def test_http_error_is_a_fault(unbroken: Command) -> None:
    with FaultServer(Reply(status=401, pieces=[b'{"error":{"message":"no"}}'])) as server:
        ran = unbroken("check", "--json", server.url)
    fault = json.loads(ran.out)["faults"][0]
    assert (ran.code, fault["kind"]) == (1, "http-error")
    assert "401" in fault["detail"]


def test_unreachable_host_is_2(unbroken: Command) -> None:
    ran = unbroken("check", unused_url())
    assert ran.code == 2
    assert "cannot reach 127.0.0.1:" in ran.error_line


def test_deadline_ends_a_url_that_does_not(unbroken: Command) -> None:
    with FaultServer([reply([HALF], end="stall"), reply([HALF, Pause(60)], delay_s=60)]) as server:
        ran = unbroken("check", "--json", server.url, "--timeout", "1", timeout_s=10)
        assert ran.code == 1
        assert json.loads(ran.out)["faults"][0]["kind"] == "stalled"
        ran = unbroken("check", server.url, "--timeout", "1", timeout_s=10)
        assert ran.code == 2
        assert "no answer from 127.0.0.1" in ran.error_line
        assert server.wait_for_open(0)


def test_ctrl_c_leaves_a_url_at_once(unbroken: Command) -> None:
    with FaultServer(reply([HALF], end="stall")) as server:
        running = subprocess.Popen(
            [*COMMAND, "check", server.url], env=environment(), stderr=subprocess.PIPE
        )
        assert server.wait_for(lambda: server.bytes_written >= len(HALF), within_s=20)
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=10)
        assert running.returncode == 130
        assert time.monotonic() - began < 3
        assert b"Traceback" not in said
        assert server.wait_for_open(0)


def test_there_is_advice_for_every_kind() -> None:
    assert set(ADVICE) == set(FaultKind)
