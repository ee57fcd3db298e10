"""``unbroken explain`` as its users run it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.debugger.recordings import PING, attempt, recording, whole

PEER = "peer closed connection without sending complete message body (incomplete chunked read)"
HAN = re.compile("[\u3400-\u9fff]")


def test_dead_ends_come_first_then_what_helps(unbroken: Command) -> None:
    ran = unbroken("explain", PEER)
    assert ran.code == 0
    assert ran.error == ""
    first, *rest = ran.text.splitlines()
    assert "sdk/httpx-incomplete-chunked-read" in first
    labels = [line[2:14].strip() for line in rest if line[:2] == "  " and line[2:3].strip()]
    order = ["cause", "do not", "do", "leads to", "repeat it", "read", "found by", "sure"]
    places = [labels.index(label) for label in order if label in labels]
    assert places == sorted(places)
    assert {"sure", "cause", "do not", "do"} <= set(labels)
    assert "because" in ran.text
    assert re.search(r"(fails in \d+ % of cases|failed \d+ of \d+ times)", ran.text)
    assert "last confirmed 2026-" in ran.text
    assert "unbroken lab serve" in ran.text


def test_what_a_person_in_trouble_needs_fits_the_screen(unbroken: Command) -> None:
    """The seeds' history, and what they once claimed, is for those who keep the records."""
    short = unbroken("explain", "llm/truncated-response-in-streaming-mode")
    full = unbroken("explain", "llm/truncated-response-in-streaming-mode", "--all")
    shown = unbroken("knowledge", "show", "llm/truncated-response-in-streaming-mode")
    assert "written by a model" not in short.text
    assert "written by a model" in full.text
    assert "written by a model" in shown.text
    assert short.text.count("\n  do not ") == 3
    assert shown.text.count("\n  do not ") > 3
    assert re.search(r"\n +\d more: --all shows them\n", short.text)
    assert "more: --all" not in full.text
    assert len(short.text) < 0.8 * len(shown.text)


@pytest.mark.parametrize("columns", [60, 100])
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_lines_are_wrapped_with_hanging_indents(unbroken: Command, columns: int, lang: str) -> None:
    from rich.cells import cell_len

    env = {"COLUMNS": str(columns)}
    lines = unbroken("explain", PEER, "--lang", lang, env=env).text.splitlines()
    texts = [line for line in lines if not re.search(r"[=(]|grep", line)]  # code is kept as it is
    assert max(cell_len(line) for line in texts) <= columns
    first = next(n for n, line in enumerate(lines) if re.match(r"  \S+ +1\. ", line))
    indent = cell_len(lines[first][: lines[first].index("1. ")]) + 3
    assert len(lines[first + 1]) - len(lines[first + 1].lstrip()) == indent


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("nofile.log", "there is no file or record nofile.log"),
        ("ap.log", "there is no file or record ap.log; near: app.log"),
        ("./ap.log", "near: ./app.log"),
        ("./nope/app.log", "there is no file or record ./nope/app.log; near: app.log"),
        ("timeout.log", "there is no file or record timeout.log"),
        ("nope/whatever", "there is no file or record nope/whatever"),
        ("llm/nope", "there is no record llm/nope; there are: unbroken knowledge list --area llm"),
        ("llm/stream-stalld", "there is no record llm/stream-stalld; near: llm/stream-stalled"),
        ("logs", "cannot read logs: it is a folder"),
    ],
)
def test_a_name_of_nothing_is_not_taken_for_a_message(
    word: str, told: str, unbroken: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.log").write_text("x")
    (tmp_path / "logs").mkdir()
    monkeypatch.chdir(tmp_path)
    ran = unbroken("explain", word)
    assert ran.code == 2
    assert told in ran.error_line


@pytest.mark.parametrize("message", ["text/event-stream", "stalled"])
def test_a_message_of_one_word_is_one(unbroken: Command, message: str) -> None:
    assert unbroken("explain", message).code == 0


def test_a_file_for_another_command_is_named_with_it(
    unbroken: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recording(tmp_path / "answer.jsonl", attempt(whole("a")[:1]))
    (tmp_path / "x.sse").write_bytes(b"".join([PING, *whole("a")]))
    (tmp_path / "chat.ndjson").write_bytes(
        b'{"model":"m","message":{"content":"a"},"done":false}\n' * 2
    )
    (tmp_path / "x.har").write_text('{"log": {"version": "1.2", "entries": []}}')
    (tmp_path / "mixed.log").write_bytes(b"".join(whole("a")) + f"ERROR {PEER}\n".encode())
    for name, command in (
        ("answer.jsonl", "report answer.jsonl"),
        ("x.har", "report x.har"),
        ("x.sse", "check x.sse"),
        ("chat.ndjson", "check chat.ndjson"),
    ):
        ran = unbroken("explain", name)
        assert ran.code == 2
        assert ran.error_line.endswith(f": unbroken {command}")
    assert unbroken("explain", "mixed.log").code == 0
    for name in ("answer.jsonl", "x.har"):
        ran = unbroken("check", name)
        assert ran.code == 2
        assert ran.error_line.endswith(f": unbroken report {name}")
    assert unbroken("check", "x.sse").code == 0


def test_help_says_that_ids_are_taken(unbroken: Command) -> None:
    assert "llm/stream-stalled" in unbroken("explain", "--help").text


def test_the_next_two_get_a_line_each(unbroken: Command) -> None:
    ran = unbroken("explain", "stalled")
    assert "\n  also" in ran.text
    also = ran.text.rpartition("\n\n")[2].splitlines()
    assert 1 <= len(also) <= 3
    everything = unbroken("explain", "stalled", "--all")
    assert everything.text.count("\n  cause") > 2


def test_in_chinese_all_of_it_is(unbroken: Command) -> None:
    ran = unbroken("explain", "stalled", "--lang", "zh")
    assert ran.code == 0
    english = [
        line
        for line in ran.text.splitlines()
        # ids, code, addresses and names of versions need no translation
        if re.search("[a-z]{3,} [a-z]{3,} [a-z]{3,}", line) and not HAN.search(line)
    ]
    assert [line for line in english if "=" not in line and "async" not in line] == []
    for label in ("可信度", "原因", "不要", "建议", "因为"):
        assert label in ran.text


def test_the_language_comes_from_the_environment_too(unbroken: Command) -> None:
    assert "原因" in unbroken("explain", "stalled", env={"UNBROKEN_LANG": "zh"}).text


def test_json_is_one_object_on_one_line(unbroken: Command) -> None:
    ran = unbroken("explain", "--json", "--limit", "2", PEER)
    assert ran.code == 0
    assert ran.text.count("\n") == 1
    told = json.loads(ran.out)
    assert told["matches"][0]["id"] == "sdk/httpx-incomplete-chunked-read"
    assert len(told["matches"]) <= 2
    assert told["matches"][0]["record"]["workarounds"]


@pytest.mark.parametrize("way", ["file", "stdin", "words"])
def test_a_text_comes_by_any_way(way: str, unbroken: Command, tmp_path: Path) -> None:
    log = "\n".join([*(f"INFO {n} served" for n in range(5000)), f"ERROR {PEER}", "INFO bye"])
    if way == "file":
        path = tmp_path / "app.log"
        path.write_text(log)
        ran = unbroken("explain", path)
    elif way == "stdin":
        ran = unbroken("explain", "-", stdin=log.encode())
    else:
        ran = unbroken("explain", *PEER.split())
    assert ran.code == 0
    assert "sdk/httpx-incomplete-chunked-read" in ran.text.splitlines()[0]
    if way != "words":
        assert "(line 5,001)" in ran.text


def test_bytes_that_are_no_text_are_read_all_the_same(unbroken: Command) -> None:
    stdin = b"\xff\xfe\x00 ERROR " + PEER.encode() + b"\x1b[31m\n"
    ran = unbroken("explain", "-", stdin=stdin)
    assert ran.code == 0
    assert "\x1b" not in ran.text


def test_nothing_known_says_what_to_do(unbroken: Command) -> None:
    ran = unbroken("explain", "the cat sat upon the mat")
    assert ran.code == 1
    assert ran.out == b""
    assert "nothing is known" in ran.error
    assert "unbroken knowledge" in ran.error
    assert json.loads(unbroken("explain", "--json", "the cat sat").out)["matches"] == []
    assert HAN.search(unbroken("explain", "the cat sat", "--lang", "zh").error)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["explain"], "missing argument"),
        (["explain", "  "], "nothing to explain"),
        (["explain", "-"], "nothing to explain in standard input"),
        (["explain", "x", "--lang", "fr"], "--lang"),
        (["explain", "x", "--limit", "0"], "--limit"),
        (["explain", "."], "cannot read ."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_2(arguments: list[str], told: str, unbroken: Command) -> None:
    ran = unbroken(*arguments)
    assert ran.code == 2
    assert told in ran.error_line


def test_what_was_healed_here_is_told(unbroken: Command, tmp_path: Path) -> None:
    from tests.knowledge.test_evidence import CUT, Evidence, outcome

    path = tmp_path / "evidence.db"
    Evidence(path).outcome(outcome(("first", CUT), ("retry", None)))
    ran = unbroken("explain", "truncated-between-events", env={"UNBROKEN_EVIDENCE": str(path)})
    assert "healed 1 of 1 times" in ran.text
