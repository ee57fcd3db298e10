"""The replay server, asked by real clients: bytes, times, ends."""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tests.debugger.capture import ask, capture, written
from tests.debugger.recordings import CHAT, CHUNKED, PING, attempt, delta, recording, whole
from tests.support.bodies import Answer, body, tokens_of
from unbroken import debugger
from unbroken.core.recording import Read, RecordingError
from unbroken.debugger.replaying import ReplayServer
from unbroken.debugger.replaying.server import _apart_s
from unbroken.lab.server.app import LabServer

TEXTS = [f"word{n} " for n in range(20)]
FRAMES = whole(*TEXTS)
BODY = b"".join(FRAMES)


class Got:
    """What a plain client sees: each read with its time, and how it ended."""

    def __init__(self, server: ReplayServer, path: str = CHAT, method: str = "POST") -> None:
        self.reads: list[tuple[float, bytes]] = []
        self.ended = "eof"
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        try:
            connection.request(method, path, b"{}")
            response = connection.getresponse()
            self.head_s = time.monotonic() - began
            self.status, self.headers = response.status, dict(response.getheaders())
            while data := response.read1(65536):
                self.reads.append((time.monotonic() - began, data))
            if response.length:  # `read1` does not tell that there was to be more
                self.ended = "incomplete"
        except http.client.IncompleteRead:
            self.ended = "incomplete"
        except http.client.RemoteDisconnected:
            self.ended = "unanswered"
        except ConnectionResetError:
            self.ended = "reset"
        finally:
            self.lasted_s = time.monotonic() - began
            connection.close()

    @property
    def body(self) -> bytes:
        return b"".join(data for _, data in self.reads)


def test_bytes_times_and_head_are_those_of_the_recording(tmp_path: Path) -> None:
    times = [0.3, 0.35, 0.8, 0.81]
    reads = [(at_s, data) for at_s, data in zip(times, FRAMES, strict=False)]
    path = recording(tmp_path / "a.jsonl", attempt(reads, gap_s=0.2))
    with debugger.replay(path) as server:
        got = Got(server)
    assert got.body == b"".join(FRAMES[:4])
    assert got.head_s == pytest.approx(0.2, abs=0.05)
    assert [at_s for at_s, _ in got.reads] == pytest.approx(times, abs=0.06)
    assert got.lasted_s == pytest.approx(1.01, abs=0.1)
    assert got.headers["x-request-id"] == "req_1"
    [served] = server.served
    assert (served.stream, served.attempt, served.ended) == (1, 1, "eof")
    assert served.sent_bytes == len(got.body)


@pytest.mark.parametrize(("speed", "lasts_s"), [(2, 0.5), (0, 0.0)])
def test_it_can_be_faster(tmp_path: Path, speed: float, lasts_s: float) -> None:
    path = recording(tmp_path / "a.jsonl", attempt([(1.0, BODY)], gap_s=0.0))
    with debugger.replay(path, speed=speed) as server:
        got = Got(server)
    assert got.body == BODY
    assert got.lasted_s == pytest.approx(lasts_s, abs=0.1)


@pytest.mark.parametrize(
    ("cut", "pieces"), [("reads", 2), ("frames", len(FRAMES)), ("bytes", len(BODY)), (100, 25)]
)
def test_it_can_be_cut_into_other_reads(tmp_path: Path, cut: Any, pieces: int) -> None:
    # Without HTTP's own framing, which keeps apart what comes together.
    path = recording(tmp_path / "a.jsonl", attempt([BODY[:333], BODY[333:]], framing="close"))
    with debugger.replay(path, speed=0, cut=cut) as server:
        got = Got(server)
    assert got.body == BODY
    assert server.served[0].pieces == pieces
    # A busy machine lets some come together; of very many a client sees that they are cut.
    assert cut != "bytes" or len(got.reads) > 2


@pytest.mark.parametrize(
    ("how", "framing", "seen"),
    [
        ("eof", "chunked", "eof"),
        ("eof", "close", "eof"),
        ("eof", "length", "eof"),
        ("incomplete", "chunked", "incomplete"),
        ("incomplete", "length", "incomplete"),
        ("reset", "chunked", "reset"),
        ("reset", "close", "reset"),
        ("left", "chunked", "incomplete"),
    ],
)
def test_the_end_is_that_of_the_recording(
    tmp_path: Path, how: str, framing: str, seen: str
) -> None:
    lines = attempt(FRAMES[:5], how=how, framing=framing)
    with debugger.replay(recording(tmp_path / "a.jsonl", lines), speed=0) as server:
        got = Got(server)
        assert got.body == b"".join(FRAMES[:5])
        assert got.ended == seen


def test_no_response_is_none(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt([], status=None, how="unanswered"))
    with debugger.replay(path, speed=0) as server:
        assert Got(server).ended == "unanswered"
        assert server.served[0].status is None


def test_silence_is_kept_until_the_client_leaves(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt(FRAMES[:2], how="silent"))
    with debugger.replay(path, speed=0) as server, httpx.Client(trust_env=False) as client:
        with pytest.raises(httpx.ReadTimeout):
            client.post(server.url + CHAT, json={}, timeout=httpx.Timeout(5, read=0.3))
        assert server.served[0].ended == "held"


def test_a_client_that_leaves_ends_its_own_answer_alone(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt([FRAMES[0], (5.0, FRAMES[1])]))
    with debugger.replay(path) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
            assert raw.recv(10)
        until = time.monotonic() + 3
        while server.open_connections and time.monotonic() < until:
            time.sleep(0.01)
        assert not server.open_connections
        assert server.served[0].ended == "left"


def test_attempts_answer_one_request_after_the_other(tmp_path: Path) -> None:
    path = recording(
        tmp_path / "a.jsonl",
        attempt(FRAMES[:3], how="reset"),
        attempt([b'{"error": "busy"}'], number=2, status=529, framing="length"),
        attempt(FRAMES, number=3),
    )
    with debugger.replay(path, speed=0) as server:
        found = [Got(server) for _ in range(4)]
    assert [(got.status, got.ended) for got in found] == [
        (200, "reset"), (529, "eof"), (200, "eof"), (200, "eof"),
    ]  # fmt: skip
    assert [served.again for served in server.served] == [False, False, False, True]


def test_strict_serves_nothing_twice(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt(FRAMES))
    with debugger.replay(path, speed=0, strict=True) as server:
        assert Got(server).status == 200
        got = Got(server)
    assert got.status == 404
    assert b"all that was recorded for POST /v1/chat/completions has been served" in got.body


def test_another_path_says_what_there_is(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt(FRAMES))
    with debugger.replay(path) as server:
        got = Got(server, "/v1/messages?key=secret")
    assert got.status == 404
    assert b"nothing was recorded for POST /v1/messages; it answers POST /v1/chat/comp" in got.body
    assert b"secret" not in got.body
    assert server.served[0].ended == "refused"


def test_only_some_streams(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt(FRAMES[:1]), attempt(FRAMES[:2], stream=2))
    with debugger.replay(path, streams=[2], speed=0) as server:
        assert Got(server).body == b"".join(FRAMES[:2])
    with pytest.raises(RecordingError, match="has no stream 9; it has 1, 2"):
        debugger.replay(path, streams=[9])


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (attempt(FRAMES, how=None), "stops before an attempt's end"),
        (attempt(FRAMES, how="left"), "a reader left before the end"),
        ([*attempt(FRAMES)[:-1], Read(at_s=1, size=5)], "only the size was kept"),
    ],
)
def test_what_a_replay_cannot_know_is_noted(tmp_path: Path, lines: Any, told: str) -> None:
    with debugger.replay(recording(tmp_path / "a.jsonl", lines)) as server:
        assert any(told in note for note in server.notes), server.notes


def test_contents_that_were_removed_are_served_so(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt([delta("xxxxx")]), contents="removed")
    with debugger.replay(path, speed=0) as server:
        assert Got(server).body == delta("xxxxx")
        assert "its contents are removed, and are served so" in server.notes


def test_a_negative_speed_is_refused(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.jsonl", attempt(FRAMES))
    for speed in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="speed must be 0 or more"):
            debugger.replay(path, speed=speed)


def test_curl_sees_the_same_bytes_and_the_same_failure(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    path = recording(
        tmp_path / "a.jsonl", attempt(FRAMES), attempt(FRAMES[:4], number=2, how="incomplete")
    )
    with debugger.replay(path, speed=0) as server:
        command = ["curl", "-sSNv", "--noproxy", "*", "-d", "{}", server.url + CHAT]
        first, second = (subprocess.run(command, capture_output=True, check=False) for _ in "12")
    assert (first.returncode, first.stdout) == (0, BODY)
    assert b"< HTTP/1.1 200 OK" in first.stderr
    assert b"< x-request-id: req_1" in first.stderr
    assert (second.returncode, second.stdout) == (18, b"".join(FRAMES[:4]))


def test_the_openai_sdk_reads_a_replay_as_the_stream_itself(tmp_path: Path) -> None:
    path = recording(
        tmp_path / "a.jsonl", attempt([PING + BODY]), attempt(FRAMES[:6], number=2, how="reset")
    )
    with debugger.replay(path, speed=0, cut=7) as server:
        client = openai.OpenAI(
            base_url=server.environment["OPENAI_BASE_URL"], api_key="none", max_retries=0
        )
        text: list[str] = []

        def read() -> None:
            stream = client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            text.extend(chunk.choices[0].delta.content or "" for chunk in stream)

        read()
        assert "".join(text) == "".join(TEXTS)
        text.clear()
        with pytest.raises((openai.APIConnectionError, httpx.ReadError)):
            read()
        assert "".join(text) == "".join(TEXTS[:6])


def test_the_anthropic_sdk_reads_a_replay_as_the_stream_itself(tmp_path: Path) -> None:
    frames = body("anthropic-messages", Answer(tokens=tokens_of("A promise in many parts.")))
    path = recording(tmp_path / "a.jsonl", attempt(frames, path="/v1/messages"))
    with debugger.replay(path, speed=0) as server:
        client = anthropic.Anthropic(
            base_url=server.environment["ANTHROPIC_BASE_URL"], api_key="none"
        )
        with client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "Hi"}]
        ) as stream:
            assert "".join(stream.text_stream) == "A promise in many parts."


@pytest.mark.parametrize("plan", ["ok;tokens=30", "cut.rst@9t;tokens=30", "cut@9t;tokens=30"])
def test_a_recorded_stream_of_the_lab_is_the_same_again(tmp_path: Path, plan: str) -> None:
    with LabServer() as lab:
        lines = capture(lab.url, ask(lab.session(plan).model))
    first = written(lines, tmp_path / "first.jsonl")
    with debugger.replay(first) as server:
        again = written(capture(server.url, ask("any")), tmp_path / "again.jsonl")
    found = debugger.diff(first, again, exact=True)
    assert found.equal, found.attempts[0]
    # A slow machine may let two come together, in the recording or in the replay.
    assert abs(found.attempts[0].a.reads - found.attempts[0].b.reads) <= 5
    assert dict(CHUNKED)["content-type"] in found.attempts[0].b.content_type


@pytest.mark.parametrize("reads", [1, 100, 5_000, 20_000, 1_000_000])
def test_keeping_reads_apart_costs_half_a_second_at_most(reads: int) -> None:
    assert _apart_s(reads) * reads <= 0.5
    assert _apart_s(reads) > 0 or reads > 20_000
