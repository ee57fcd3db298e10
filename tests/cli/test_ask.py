"""`unbroken ask`: text on standard output, account on standard error, honest exit codes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Command, environment
from tests.support.bodies import Answer, body, content_type, tokens_of
from tests.support.faultserver import FaultServer, Reply, Request, unused_url

TEXT = "A token stream is a promise in many small parts, and each of them arrives once."
DIALECTS = {
    "openai-chat": ("OPENAI_BASE_URL", "/v1", "authorization", "OPENAI_API_KEY"),
    "openai-responses": ("OPENAI_BASE_URL", "/v1", "authorization", "OPENAI_API_KEY"),
    "anthropic-messages": ("ANTHROPIC_BASE_URL", "", "x-api-key", "ANTHROPIC_API_KEY"),
    "gemini": ("GOOGLE_GEMINI_BASE_URL", "", "x-goog-api-key", "GEMINI_API_KEY"),
    "ollama": ("OLLAMA_HOST", "", None, "UNUSED"),
}


def answer(dialect: str = "openai-chat", *, part: float = 1.0, end: str = "clean") -> Reply:
    frames = body(dialect, Answer(tokens=tokens_of(TEXT)))
    return Reply(
        headers={"content-type": content_type(dialect)},
        pieces=frames[: round(len(frames) * part)],
        end=end,  # type: ignore[arg-type]
    )


def is_account(line: str) -> bool:
    return re.fullmatch(r"[✓✗?] \w+ .*", line) is not None


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_is_asked_as_its_sdk_is_told(unbroken: Command, dialect: str) -> None:
    variable, path, key_header, key_variable = DIALECTS[dialect]
    with FaultServer(answer(dialect)) as server:
        env = {variable: server.url + path, key_variable: "a-key"}
        ran = unbroken("ask", "Hello", "--dialect", dialect, "--model", "m", env=env)
        request = server.requests[0]
    assert (ran.code, ran.text) == (0, TEXT + "\n")
    assert is_account(ran.error_line)
    assert "complete" in ran.error_line
    assert "first token" in ran.error_line
    assert "not interrupted" in ran.error_line
    assert key_header is None or request.headers[key_header].endswith("a-key")
    assert "a-key" not in ran.error


def test_settings_reach_the_request(unbroken: Command) -> None:
    with FaultServer(answer()) as server:
        unbroken("ask", "Q", "--base-url", f"{server.url}/v1", "--system", "S", "--seed", "3",
                 "--max-tokens", "9", "--temperature", "0.5", "-m", "m")  # fmt: skip
        sent = server.requests[0].json
    assert [m["role"] for m in sent["messages"]] == ["system", "user"]
    assert (sent["max_tokens"], sent["temperature"], sent["seed"]) == (9, 0.5, 3)
    assert sent["stream_options"] == {"include_usage": True}


def test_broken_answer_is_healed_and_the_account_says_how(unbroken: Command) -> None:
    with FaultServer([answer(part=0.5), answer()]) as server:
        ran = unbroken("ask", "Q", "--base-url", f"{server.url}/v1", "--temperature", "0")
    assert (ran.code, ran.text) == (0, TEXT + "\n")
    notice, account = ran.error.strip().splitlines()
    assert "truncated-between-events: attempt 2" in notice
    assert is_account(account)
    assert "healed once (replay: prefix-verified)" in account


def test_failed_answer_keeps_its_text_and_is_1(unbroken: Command) -> None:
    with FaultServer(answer(part=0.5)) as server:
        ran = unbroken("ask", "Q", "--base-url", f"{server.url}/v1", "--mode", "raise")
    assert ran.code == 1
    assert TEXT.startswith(ran.text.strip())
    assert ran.text.strip()
    assert ran.error_line.startswith("✗ failed (truncated-between-events: ")


def test_observe_is_not_fooled_either(unbroken: Command) -> None:
    with FaultServer(answer(part=0.5)) as server:
        ran = unbroken("ask", "Q", "--base-url", server.url, env={"UNBROKEN_MODE": "observe"})
    assert ran.code == 1


def test_json_is_one_line_in_place_of_the_text(unbroken: Command) -> None:
    with FaultServer(answer()) as server:
        ran = unbroken("ask", "Q", "--base-url", server.url, "--json")
    assert ran.out.count(b"\n") == 1
    told = json.loads(ran.out)
    assert (told["text"], told["status"], told["attempts"]) == (TEXT, "complete", 1)


def test_question_comes_from_a_file_or_from_stdin(unbroken: Command, tmp_path: Path) -> None:
    def echo(request: Request) -> Reply:
        tokens = tokens_of(request.json["messages"][-1]["content"])
        frames = body("openai-chat", Answer(tokens=tokens))
        return Reply(headers={"content-type": content_type("openai-chat")}, pieces=frames)

    path = tmp_path / "question"
    path.write_text("from a file")
    with FaultServer(echo) as server:
        assert unbroken("ask", "-f", path, "--base-url", server.url).text == "from a file\n"
        ran = unbroken("ask", "-", "--base-url", server.url, stdin=b"from stdin")
        assert ran.text == "from stdin\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "ask one question"),
        (["a", "-f", "b"], "ask one question"),
        (["Q"], "name a model"),
        (["", "-m", "m"], "the question is empty"),
        (["-f", "no-such-file", "-m", "m"], "cannot read no-such-file"),
        (["Q", "-m", "m", "--dialect", "morse"], "no dialect is called 'morse'"),
        (["Q", "-m", "m", "--mode", "hope"], "--mode"),
        (["Q", "-m", "m", "--max-tokens", "0"], "--max-tokens"),
        (["Q", "-m", "m", "--dialect", "anthropic-messages", "--seed", "1"], "no setting for --s"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_2(unbroken: Command, arguments: list[str], said: str) -> None:
    ran = unbroken("ask", *arguments)
    assert ran.code == 2
    assert said in ran.error_line


def test_key_that_cannot_be_sent_is_not_shown(unbroken: Command) -> None:
    ran = unbroken("ask", "Q", "-m", "m", env={"OPENAI_API_KEY": "sk-1\nx: y"})
    assert ran.code == 2
    assert "sk-1" not in ran.error_line


def test_refused_key_and_unreachable_host_are_1(unbroken: Command) -> None:
    refusal = Reply(status=401, pieces=[b'{"error":{"message":"bad key sk-1","type":"auth"}}'])
    with FaultServer(refusal) as server:
        ran = unbroken("ask", "Q", "--base-url", server.url)
    assert ran.code == 1
    assert "401" in ran.error_line
    ran = unbroken("ask", "Q", "--base-url", unused_url(), "--total-timeout", "0.8")
    assert ran.code == 1
    assert "✗ failed (" in ran.error
    assert "Traceback" not in ran.error


def test_total_timeout_ends_it(unbroken: Command) -> None:
    with FaultServer(answer(part=0.5, end="stall")) as server:
        ran = unbroken("ask", "Q", "--base-url", server.url, "--total-timeout", "1")
        assert ran.code == 1
        assert "stalled" in ran.error.splitlines()[-1]
        assert server.wait_for_open(0)


def test_ctrl_c_is_130_and_closes_the_connection() -> None:
    with FaultServer(answer(part=0.5, end="stall")) as server:
        running = subprocess.Popen(
            [*COMMAND, "ask", "Q", "--base-url", server.url],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert running.stdout is not None
        began_with = running.stdout.read(len("A token stream"))
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=10)
        assert running.returncode == 130
        assert time.monotonic() - began < 3
        assert began_with == b"A token stream"
        assert b"cancelled" in said
        assert b"Traceback" not in said
        assert server.wait_for_open(0)


def test_reader_that_leaves_closes_the_connection() -> None:
    frames = body("openai-chat", Answer(tokens=tokens_of(TEXT * 99)))
    slow = Reply(headers=answer().headers, pieces=frames, pace_s=0.01)
    with FaultServer(slow) as server:
        with subprocess.Popen(
            [*COMMAND, "ask", "Q", "--base-url", server.url],
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as running:  # fmt: skip
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.read(5)
            running.stdout.close()
            said = running.stderr.read()
            assert running.wait(timeout=10) == 141
        assert b"Traceback" not in said
        assert server.wait_for_open(0)
