"""What is dealt out between a real server's stream and its client."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
import zlib

import pytest

from tests.lab.proxy.rig import BODY, FRAMES, ask, entries, request_bytes, until
from tests.relay.raw import CHUNKED, CLOSE, chunk, length, raw_server, sends
from unbroken.lab.injectors import INJECTORS
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.proxy.app import FaultProxy
from unbroken.lab.server.app import LabServer

WHOLE_BODY = sends(*map(chunk, FRAMES), b"0\r\n\r\n")
WHOLE = sends(CHUNKED, *map(chunk, FRAMES), b"0\r\n\r\n")


@pytest.fixture
def server():
    with raw_server(WHOLE) as running:
        yield running


@pytest.mark.parametrize(
    ("plan", "body", "closed", "ending"),
    [
        ("cut@3t", b"".join(FRAMES[:3]), True, "fin"),
        ("cut.fin@3f", b"".join(FRAMES[:3]), False, "fin"),
        ("cut.rst@3t", b"".join(FRAMES[:3]), False, "rst"),
        ("cut@0t", b"", True, "fin"),
        ("cut.fin@100b", BODY[:100], False, "fin"),
        ("cut@9999999b", BODY, True, "fin"),
        ("duplicate@3t", b"".join([*FRAMES[:4], *FRAMES[3:]]), True, "fin"),
        # In the order of their stages, however they are written.
        ("crlf+cut@300b", BODY[:300].replace(b"\n", b"\r\n"), True, "fin"),
    ],
)
def test_frame_and_byte_faults(server, plan, body, closed, ending) -> None:
    with FaultProxy(server.url, plan) as proxy:
        seen = ask(proxy.port)
        [entry] = entries(proxy)
    assert (seen.body, seen.closed, seen.ending) == (body, closed, ending)
    assert (entry.plan, entry.faults, entry.attempt) == (plan, plan, 0)
    assert entry.sent_bytes == len(body)
    if plan != "cut@9999999b":
        struck = {what.partition(":")[0] for _, what in entry.strikes}
        assert struck == set(plan.split("+"))
        assert entry.went == (
            "whole"
            if "duplicate" in plan
            else {"cut@3t": "clean", "cut@0t": "clean", "crlf+cut@300b": "clean"}.get(
                plan, "rst" if ending == "rst" else "fin"
            )
        )
    else:
        assert (entry.strikes, entry.went) == ([], "whole")


def test_a_stall_is_as_long_as_it_says(server) -> None:
    with FaultProxy(server.url, "stall@3t@300ms") as proxy:
        began = time.monotonic()
        seen = ask(proxy.port)
        took_s = time.monotonic() - began
    assert seen.body == BODY
    assert 0.3 <= took_s < 1.5


def test_a_silence_is_as_long_as_it_says_also_behind_a_slow_start() -> None:
    def slow(connection) -> None:
        connection.sendall(CHUNKED)
        time.sleep(0.3)
        WHOLE_BODY(connection)

    with raw_server(slow) as server, FaultProxy(server.url, "stall@3t@300ms") as proxy:
        began = time.monotonic()
        assert ask(proxy.port).body == BODY
        assert time.monotonic() - began >= 0.6


def test_the_log_has_the_real_models_path(server) -> None:
    with FaultProxy(server.url) as proxy:
        ask(proxy.port, "/v1beta/models/lab/ok/m:streamGenerateContent?alt=sse&key=SECRET")
        [entry] = entries(proxy)
    assert entry.path == "/v1beta/models/m:streamGenerateContent"
    assert server.requests[0].startswith(
        b"POST /v1beta/models/m:streamGenerateContent?alt=sse&key=SECRET "
    )


def test_attempts_are_counted_and_begin_anew(server) -> None:
    with FaultProxy(server.url, "cut@1t,cut@2t") as proxy:
        counts = [ask(proxy.port).body.count(b'"content"') for _ in range(6)]
    assert counts == [1, 2, 20, 1, 2, 20]


def test_names_and_headers_have_counts_of_their_own(server) -> None:
    def words(model: str, **headers: str) -> int:
        return ask(proxy.port, body={"model": model}, headers=headers).body.count(b'"content"')

    with FaultProxy(server.url, scenarios={"flaky": "cut@4t,cut@5t"}) as proxy:
        assert [words("lab/cut@1t;id=a/m"), words("lab/cut@1t;id=b/m")] == [1, 1]
        assert words("lab/cut@1t;id=a/m") == 20
        assert [words("lab/flaky/m") for _ in range(3)] == [4, 5, 20]
        assert words("m") == 20
        assert words("m", **{"x-lab-plan": "cut@7t"}) == 7


def test_requests_that_ask_no_model_are_not_broken(server) -> None:
    with FaultProxy(server.url, "cut@1t*") as proxy:
        assert ask(proxy.port, "/v1/models", method="GET").body == BODY
        assert ask(proxy.port).body == FRAMES[0]
        assert ask(proxy.port, "/v1/stream?conv_id=1&from=9", method="GET").body == FRAMES[0]
        assert (
            ask(proxy.port, "/v1/models", method="GET", headers={"x-lab-plan": "cut@5"}).body
            == (BODY[:5])
        )


def test_a_plan_that_cannot_be_is_a_400_and_nobody_is_asked(server) -> None:
    with FaultProxy(server.url) as proxy:
        seen = [ask(proxy.port, body={"model": f"lab/{plan}/m"}) for plan in ("cut", "nope@3")]
        log = entries(proxy, 2)
    assert [one.status for one in seen] == [400, 400]
    assert "does not know how long" in json.loads(seen[0].body)["error"]["message"]
    assert [entry.went for entry in log] == ["refused", "refused"]
    assert server.requests == []


def test_faults_that_leave_nothing_of_an_answer_ask_nobody(server) -> None:
    with FaultProxy(server.url, "http.503") as proxy:
        seen = [ask(proxy.port), ask(proxy.port)]
        log = entries(proxy, 2)
    assert [one.status for one in seen] == [503, 200]
    assert "error" in json.loads(seen[0].body)
    assert [entry.status for entry in log] == [503, 200]
    assert len(server.requests) == 1


def test_answers_that_are_no_streams_break_at_bytes() -> None:
    answer = b'{"choices": [{"message": {"content": "hello"}}]}'
    head = length(len(answer)).replace(b"OK\r\n", b"OK\r\nContent-Type: application/json\r\n")
    with raw_server(sends(head, answer)) as server, FaultProxy(server.url) as proxy:

        def body(plan: str) -> bytes:
            return ask(proxy.port, headers={"x-lab-plan": plan}).body

        assert [body("cut@10"), body("cut@2t"), body("cut@99")] == [answer[:10], answer, answer]


def test_a_stream_without_a_known_path_is_known_by_its_frames() -> None:
    with raw_server(WHOLE) as server, FaultProxy(server.url, "cut@4t") as proxy:
        assert ask(proxy.port, "/relay/my-own").body == b"".join(FRAMES[:4])
        assert entries(proxy)[0].dialect == "openai-chat"


def test_a_body_that_is_no_frames_still_passes_whole() -> None:
    odd = b"data: {\xff\xfe\n\n" + bytes(range(256)) + b"\r\rdata: x"
    with raw_server(sends(CLOSE, odd)) as server, FaultProxy(server.url, "cut@50t") as proxy:
        assert ask(proxy.port).body == odd


def test_compressed_is_read_where_a_fault_is_planned() -> None:
    packed = gzip.compress(BODY)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\n"
    with raw_server(sends(head, packed)) as server, FaultProxy(server.url, "cut@3t") as proxy:
        seen = ask(proxy.port)
    assert (seen.body, seen.header("content-encoding")) == (b"".join(FRAMES[:3]), [])


def coded(coding: str, body: bytes) -> bytes:
    kind = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    length_line = f"Content-Length: {len(body)}\r\n"
    return f"{kind}Content-Encoding: {coding}\r\n{length_line}\r\n".encode() + body


@pytest.mark.parametrize("split", [1, 11, 400])
def test_gzip_of_several_members_is_read_whole(split: int) -> None:
    packed = gzip.compress(BODY[:300]) + gzip.compress(BODY[300:]) + b"\0\0\0"
    wire = coded("gzip", packed)
    parts = [wire[at : at + split] for at in range(0, len(wire), split)]
    with raw_server(sends(*parts)) as server, FaultProxy(server.url, "cut@19t") as proxy:
        assert ask(proxy.port).body == b"".join(FRAMES[:19])


@pytest.mark.parametrize("damaged", [lambda b: b[:-9], lambda b: b[:60] + b"\xff" * 99])
def test_gzip_that_is_cut_or_damaged_has_no_clean_end(damaged) -> None:
    wire = coded("gzip", damaged(gzip.compress(BODY)))
    with raw_server(sends(wire)) as server, FaultProxy(server.url, "cut@99t") as proxy:
        seen = ask(proxy.port)
        [entry] = entries(proxy)
    assert (seen.closed, seen.ending, entry.went) == (False, "rst", "upstream-incomplete")
    assert BODY.startswith(seen.body)


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("coding", "body"), [("gzip", BODY), ("deflate", _raw_deflate(BODY)), ("gzip", b"x")]
)
def test_what_is_not_coded_as_it_says_passes_as_it_is(coding: str, body: bytes) -> None:
    with raw_server(sends(coded(coding, body))) as server:
        with FaultProxy(server.url, "cut@3t") as proxy:
            seen = ask(proxy.port)
            assert (seen.body, seen.header("content-encoding")) == (body, [coding])
        with FaultProxy(server.url, "cut@40b") as proxy:
            assert ask(proxy.port).body == body[:40]


@pytest.mark.parametrize(
    "plan", ["", "ok", "cut@3t", "cut.rst@3t", "cut.fin@3f", "http.503", "cut"]
)
def test_the_entry_is_settled_before_the_client_sees_the_end(server, plan: str) -> None:
    with FaultProxy(server.url, plan if plan != "cut" else "") as proxy:
        for _ in range(20):
            ask(proxy.port, headers={"x-lab-plan": plan} if plan else {})
            entry = proxy.log.entries()[-1]
            assert entry.went != "open"
            assert entry.lasted_s is not None


def test_the_entry_is_settled_at_the_last_byte_of_a_known_length() -> None:
    wire = length(len(BODY)) + BODY
    with raw_server(sends(wire)) as server, FaultProxy(server.url) as proxy:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as connection:
                connection.sendall(request_bytes())
                received = b""
                while not received.endswith(FRAMES[-1]):
                    received += connection.recv(65536)
                entry = proxy.log.entries()[-1]
                assert (entry.went, entry.sent_bytes) == ("whole", len(BODY))


@pytest.mark.parametrize("plan", ["cut@" + "9" * 5000, "stall@3t@" + "9" * 400 + "s"])
def test_numbers_beyond_all_measure_are_a_400(server, plan: str) -> None:
    with FaultProxy(server.url, "ok") as proxy:
        assert ask(proxy.port, headers={"x-lab-plan": plan}).status == 400
        assert ask(proxy.port, "/_lab/plan", method="PUT", body=plan.encode()).status == 400
        assert proxy.plan == "ok"


def test_what_a_dead_upstream_had_sent_is_broken_too() -> None:
    half = FRAMES[0] + FRAMES[1][:20]
    go = threading.Event()

    def script(connection) -> None:
        connection.sendall(CHUNKED + chunk(half))
        go.wait(0.2)

    with raw_server(script) as server, FaultProxy(server.url, "cut@9t") as proxy:
        seen = ask(proxy.port)
        [entry] = entries(proxy)
    assert (seen.body, seen.closed, entry.went) == (half, False, "upstream-incomplete")


TURNS = [{"role": "user", "content": "hi"}]
CONTENTS = {"contents": [{"parts": [{"text": "hi"}]}]}
ASKS = {
    "openai-chat": ("/v1/chat/completions", {"model": "m", "stream": True, "messages": TURNS}),
    "openai-responses": ("/v1/responses", {"model": "m", "stream": True, "input": "hi"}),
    "anthropic-messages": (
        "/v1/messages",
        {"model": "m", "stream": True, "max_tokens": 900, "messages": TURNS},
    ),
    "gemini": ("/v1beta/models/m:streamGenerateContent?alt=sse", CONTENTS),
    "gemini-array": ("/v1beta/models/m:streamGenerateContent", CONTENTS),
    "ollama": ("/api/chat", {"model": "m", "messages": TURNS}),
}


@pytest.fixture(scope="module")
def lab():
    with LabServer(settings=AnswerSettings(tokens=60)) as running:
        yield running


_SLOW = {"bandwidth": "bandwidth@x900k", "drip": "drip@10t@2ms"}
_NEEDS_THE_WHOLE = {"length"}
_NEVER_ENDS = {"endless"}


@pytest.mark.parametrize("dialect", ASKS)
@pytest.mark.parametrize("name", sorted(set(INJECTORS) - _NEVER_ENDS))
def test_every_fault_of_the_lab_works_here(lab, name: str, dialect: str) -> None:
    injector = INJECTORS[name]
    if not injector.hows_in(dialect):
        pytest.skip(f"{name} cannot be done in {dialect}")
    plan = name
    if "place" in injector.takes:
        plan += "@10t"
    if "seconds" in injector.takes:
        plan += "@100ms"
    path, body = ASKS[dialect]
    with FaultProxy(lab.url, _SLOW.get(name, plan)) as proxy:
        broken = ask(proxy.port, path, body=body)
        [entry] = entries(proxy)
        whole = ask(proxy.port, path, body=body)
    if name in _NEEDS_THE_WHOLE:
        assert (entry.went, broken.status) == ("refused", 400)
        assert "not known" in entry.failure
    else:
        assert entry.went in ("whole", "clean", "fin", "rst"), entry
        assert entry.strikes, entry
    assert dialect.startswith(entry.dialect)  # without a body Gemini's array is not seen
    assert (whole.status, whole.closed, whole.ending) == (200, True, "fin")


def test_an_endless_fault_ends_when_the_client_leaves(lab) -> None:
    path, body = ASKS["openai-chat"]
    with FaultProxy(lab.url, "endless@10t") as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as connection:
            connection.sendall(request_bytes(path, body=body))
            received = 0
            while received < 100_000:
                received += len(connection.recv(65536))
            assert ask(proxy.port, path, body=body).closed  # others have their turn
        assert until(lambda: proxy.log.entries()[0].went == "left")
