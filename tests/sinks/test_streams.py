"""Sinks under streams: with and without an SDK, failing ones, and processes that are killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx2
import openai
import pytest

import unbroken
from tests.direct.helpers import asking, good, options
from tests.support.bodies import Answer, body, tokens_of
from tests.support.faultserver import FaultServer, Gate, Reply
from unbroken.sinks import EventsFile, SQLiteFile, TextFile
from unbroken.sinks.base import GuardedSink

TEXT = "The keeper of the lighthouse wrote every ship into his book, and the weather too. "
ANSWER = Answer(tokens=tokens_of(TEXT))
FRAMES = body("openai-chat", ANSWER)


class Failing:
    """A sink that fails at its n-th call."""

    def __init__(self, at: int, error: Exception) -> None:
        self.left, self.error = at, error
        self.closed: list[object] = []

    def write(self, events) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error

    def close(self, outcome) -> None:
        self.closed.append(outcome)


def test_direct_stream_is_written_while_it_comes(tmp_path):
    gate = Gate()
    with FaultServer(Reply(pieces=[*FRAMES[:4], gate, *FRAMES[4:]])) as server:
        with unbroken.stream(sink=TextFile(tmp_path / "a.txt"), **asking(server)) as stream:
            pieces = stream.iter_text()
            seen = next(pieces)
            assert (tmp_path / "a.txt.partial").read_text().startswith(seen)
            gate.open()
            seen += "".join(pieces)
        assert (tmp_path / "a.txt").read_text() == seen == TEXT
        assert stream.outcome.sink_error == ""


@pytest.mark.seed("003-memory-disk")
def test_healed_stream_is_written_once(tmp_path):
    replies = [Reply(pieces=FRAMES[:8], end="rst"), good(answer=ANSWER)]
    with FaultServer(replies) as server:
        sink = EventsFile(tmp_path / "a.jsonl")
        with unbroken.stream(sink=sink, temperature=0, **asking(server)) as stream:
            assert stream.text() == TEXT
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert "".join(line["text"] for line in lines if line["type"] == "text") == TEXT
    assert [line["attempt"] for line in lines[-1]["provenance"]] == [1, 2]
    assert lines[-1]["type"] == "outcome"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("library", ["httpx2", "httpx"])
def test_each_stream_under_an_sdk_has_a_sink_of_its_own(tmp_path, library, asynchronous):
    made: list[Path] = []

    def make() -> TextFile:
        made.append(tmp_path / f"{len(made)}.txt")
        return TextFile(made[-1])

    with FaultServer(good(answer=ANSWER)) as server:
        if asynchronous:
            ask_async(server.url, library, make)
        else:
            with unbroken.http_client(library=library, sink=make) as http:
                for _ in range(2):
                    with http.stream("POST", f"{server.url}/v1/chat/completions",
                                     json={"model": "m", "stream": True}) as response:  # fmt: skip
                        response.read()
    assert [path.read_text() for path in made] == [TEXT, TEXT]


def ask_async(url: str, library: str, make) -> None:
    import asyncio

    body = {"model": "m", "stream": True}
    url = f"{url}/v1/chat/completions"

    async def run() -> None:
        async with unbroken.async_http_client(library=library, sink=make) as http:
            for _ in range(2):
                async with http.stream("POST", url, json=body) as response:
                    await response.aread()

    asyncio.run(run())


def test_wrapped_client_has_sinks_too(tmp_path):
    with FaultServer(good(answer=ANSWER)) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="k")
        unbroken.wrap(client, sink=lambda: SQLiteFile(tmp_path / "a.db"))
        for _ in client.chat.completions.create(model="m", messages=[], stream=True):
            pass
        client.close()
    with closing(sqlite3.connect(tmp_path / "a.db")) as base:
        assert base.execute("SELECT status FROM streams").fetchall() == [("complete",)]
        (text,) = base.execute("SELECT group_concat(text, '') FROM events").fetchone()
    assert text == TEXT


def test_async_stream_is_written(tmp_path):
    import asyncio

    async def run(url: str) -> None:
        async with unbroken.astream(sink=TextFile(tmp_path / "a.txt"), **asking(url)) as stream:
            assert await stream.text() == TEXT

    with FaultServer(good(answer=ANSWER)) as server:
        asyncio.run(run(server.url))
    assert (tmp_path / "a.txt").read_text() == TEXT


def test_error_frame_of_the_provider_and_a_failure_are_written(tmp_path):
    error = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
    with FaultServer(Reply(pieces=[*FRAMES[:4], error])) as server:
        sink = EventsFile(tmp_path / "a.jsonl")
        given = asking(server) | {"options": options(mode="raise")}
        with pytest.raises(unbroken.StreamingError), unbroken.stream(sink=sink, **given) as stream:
            stream.text()
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines[-2:]] == ["provider-error", "outcome"]
    assert lines[-1]["status"] == "failed"


def test_stream_that_was_left_is_not_whole(tmp_path):
    sink = TextFile(tmp_path / "a.txt")
    with (
        FaultServer(good(answer=ANSWER)) as server,
        unbroken.stream(sink=sink, **asking(server)) as stream,
    ):
        next(stream.iter_text())
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt.partial"]


def test_stream_that_never_began_closes_its_sink(tmp_path):
    sink = Failing(9, ValueError())
    unbroken.stream(sink=sink, **asking("http://127.0.0.1:9")).close()
    assert sink.closed == [None]


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(28, "No space left on device"), "OSError: No space left on device"),
        (RuntimeError("holds the answer"), "RuntimeError"),
        (sqlite3.OperationalError("database or disk is full"), "database or disk is full"),
    ],
)
def test_sink_that_fails_is_told_once_and_the_stream_goes_on(at, error, words, caplog):
    sink, outcomes = Failing(at, error), []
    with (
        FaultServer(good(answer=ANSWER)) as server,
        caplog.at_level(logging.WARNING, "unbroken"),
        unbroken.stream(sink=sink, on_outcome=outcomes.append, **asking(server)) as stream,
    ):
        assert stream.text() == TEXT
    assert caplog.text.count("the sink of a stream failed") == 1
    assert words in outcomes[0].sink_error
    assert "holds the answer" not in caplog.text + outcomes[0].sink_error
    assert sink.closed == [None]
    assert outcomes[0].status == "complete"


def test_factory_that_fails_costs_the_sink_and_not_the_stream(tmp_path):
    outcomes = []
    with FaultServer(good(answer=ANSWER)) as server:
        make = lambda: TextFile(tmp_path / "missing" / "a.txt")  # noqa: E731
        with unbroken.http_client(sink=make, on_outcome=outcomes.append) as http:
            answer = http.post(f"{server.url}/v1/chat/completions", json={"stream": True})
    assert answer.content == b"".join(FRAMES)
    assert outcomes[0].sink_error == "FileNotFoundError: No such file or directory"


def test_error_at_the_end_is_in_the_outcome_too(tmp_path):
    sink = TextFile(tmp_path / "a.txt")
    (tmp_path / "a.txt").write_text("came meanwhile")
    with (
        FaultServer(good(answer=ANSWER)) as server,
        unbroken.stream(sink=sink, **asking(server)) as stream,
    ):
        stream.text()
    assert stream.outcome.sink_error.startswith("FileExistsError")


@pytest.mark.parametrize("wrong", ["a.txt", Failing(0, ValueError()), 7])
def test_client_takes_a_factory_and_says_so(wrong):
    for make in (unbroken.http_client, unbroken.async_http_client):
        with pytest.raises(TypeError, match="each stream has its own"):
            make(sink=wrong)
    with pytest.raises(TypeError, match="each stream has its own"), httpx2.Client() as client:
        unbroken.wrap(client, sink=wrong)


def test_bug_of_ours_leaves_the_sink_and_says_so(monkeypatch):
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("unbroken.core.outlet.Outlet._deliver", broken)
    sinks: list[Failing] = []

    def make() -> Failing:
        sinks.append(Failing(99, ValueError()))
        return sinks[0]

    with FaultServer(good(answer=ANSWER)) as server, unbroken.http_client(sink=make) as http:
        answer = http.post(f"{server.url}/v1/chat/completions", json={"stream": True})
    assert answer.content == b"".join(FRAMES)
    assert sinks[0].closed == [None]


def test_guard_keeps_the_first_reason():
    guard = GuardedSink(Failing(0, OSError(28, "No space left on device")))
    guard.write([])
    guard.abandon("later")
    assert guard.error == "OSError: No space left on device"


# The process is killed ------------------------------------------------------------------------

KILLED = """
import sys, unbroken
from unbroken.sinks import for_path
with unbroken.stream("Q", model="m", base_url=sys.argv[1], sink=for_path(sys.argv[2])) as stream:
    for text in stream.iter_text():
        print(text, end="", flush=True)
"""


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.db"])
def test_kill_9_loses_nothing_that_the_application_had(tmp_path, name):
    path = tmp_path / name
    gate = Gate()
    pieces = [*FRAMES[:9], gate, *FRAMES[9:]]
    with FaultServer(Reply(pieces=pieces)) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, f"{server.url}/v1", str(path)],
            stdout=subprocess.PIPE, env={**os.environ, "OPENAI_API_KEY": "k"},
        )  # fmt: skip
        assert process.stdout is not None
        said = b""
        while len(said) < 20:
            said += os.read(process.stdout.fileno(), 1000)
        assert gate.reached.wait(20)
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read()
        process.wait()
        gate.open()
    assert 20 <= len(said) < len(TEXT)
    got = reads[name](path)
    assert TEXT.startswith(got)
    assert got.encode().startswith(said)


def _text(path: Path) -> str:
    assert not path.exists()
    return path.with_name(path.name + ".partial").read_text()


def _events(path: Path) -> str:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[-1]["type"] != "outcome"
    return "".join(line["text"] for line in lines if line["type"] == "text")


def _rows(path: Path) -> str:
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT status, outcome FROM streams").fetchall() == [(None, None)]
        rows = base.execute("SELECT text FROM events WHERE type = 'text' ORDER BY number")
        return "".join(text for (text,) in rows)


reads = {"a.txt": _text, "a.jsonl": _events, "a.db": _rows}

FULL = """
import resource, sys, unbroken
from unbroken.sinks import for_path
sink = for_path(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
with unbroken.stream("Q", model="m", base_url=sys.argv[1], sink=sink) as stream:
    said = stream.text()
print(stream.outcome.status, len(said), stream.outcome.sink_error)
"""


@pytest.mark.parametrize(("name", "limit"), [("a.txt", 900), ("a.jsonl", 900), ("a.db", 120_000)])
def test_full_disk_keeps_what_was_written_and_the_stream_goes_on(tmp_path, name, limit):
    """Stood for by the limit on a file's size, which fails writes in their middle, too."""
    path = tmp_path / name
    text = TEXT * 60
    answer = Answer(tokens=tokens_of(text))
    with FaultServer(good(answer=answer)) as server:
        ran = subprocess.run(
            [sys.executable, "-c", FULL, f"{server.url}/v1", str(path), str(limit)],
            capture_output=True, text=True, check=False, env={**os.environ, "OPENAI_API_KEY": "k"},
        )  # fmt: skip
    status, length, *error = ran.stdout.split()
    assert (status, int(length)) == ("complete", len(text)), ran.stderr
    assert error
    assert ran.stderr.count("the sink of a stream failed") == 1
    if name == "a.jsonl":
        whole = path.read_text().rpartition("\n")[0]
        path.write_text(whole + "\n")
    got = reads[name](path)
    assert 30 < len(got) < len(text)
    assert text.startswith(got)
