"""`unbroken.stream(resume=True)` in front of a gateway that keeps its streams."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

import unbroken
from tests.direct.helpers import asking, options
from tests.support.bodies import DIALECTS, Answer, body, content_type
from tests.support.faults import STORY
from tests.support.faultserver import End, FaultServer, Reply, Request, Script
from unbroken.core.kept_stream import KeptStream, asks_to_resume, kept_stream
from unbroken.core.request import Request as CoreRequest

pytestmark = pytest.mark.usefixtures("no_waits")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
SMALL = Answer(tokens=(*STORY.tokens[:5], " café 🗼"), reasoning=("Hm.",))


class Gateway:
    """The protocol of one kept stream, and a break in its first connections.

    Args:
        cuts: After how many bytes each connection breaks; one more than there are is whole.
        positions: Whether blocks carry their position.
        refuses: The status with which reading on is refused.
    """

    def __init__(
        self,
        dialect: str,
        *cuts: int,
        end: End = "rst",
        answer: Answer = SMALL,
        positions: bool = True,
        refuses: int = 0,
    ) -> None:
        self.frames = body(dialect, answer)
        self.dialect, self.cuts, self.end, self.refuses = dialect, cuts, end, refuses
        self.is_sse = "event-stream" in content_type(dialect)
        self.positions = positions and self.is_sse
        self.connections = 0

    def __call__(self, request: Request) -> Reply:
        position = request.headers.get("last-event-id", "")
        if request.method == "GET" and self.refuses:
            return Reply(status=self.refuses, framing="length")
        rest = self.rest(int(position.partition("-")[2] or 0))
        cut = self.cuts[self.connections] if self.connections < len(self.cuts) else None
        self.connections += 1
        headers = {
            "content-type": content_type(self.dialect),
            "x-unbroken-resume": "1",
            "x-unbroken-stream": "s_1",
            "x-unbroken-token": "1.2.mac",
        }
        if cut is None:
            return Reply(headers=headers, pieces=[rest])
        return Reply(headers=headers, pieces=[rest[:cut]], end=self.end)

    def rest(self, offset: int) -> bytes:
        """Return the body from an offset on, with ids and heartbeats."""
        at, pieces = 0, []
        for frame in self.frames:
            at += len(frame)
            if at <= offset:
                continue
            beat = (b": hb\n" if self.is_sse else b" ") if len(pieces) % 2 else b""
            name = f"id: 0-{at}\n".encode() if self.positions else b""
            pieces.append(beat + name + frame)
        assert offset in {sum(map(len, self.frames[:n])) for n in range(len(self.frames) + 1)}
        return b"".join(pieces)


def run(gateway: Script, dialect: str, **more: Any) -> tuple[Any, FaultServer]:
    with FaultServer(gateway) as server:
        stream = unbroken.stream(**asking(server, dialect, **{"resume": True, **more}))
        stream.text()
        return stream, server


@every_dialect
@pytest.mark.parametrize("end", ["rst", "fin"])
def test_a_lost_connection_is_read_on(dialect: str, end: End) -> None:
    size = len(Gateway(dialect).rest(0))
    for cut in range(1, size, max(1, size // 25)):
        gateway = Gateway(dialect, cut, end=end)
        stream, server = run(gateway, dialect)
        assert stream.outcome.text == SMALL.text, f"cut at {cut}"
        assert stream.outcome.status == "complete"
        for later in server.requests[1:]:
            assert (later.method, later.path) == ("GET", "/streams/s_1")
            assert later.headers["x-unbroken-token"] == "1.2.mac"
            assert "idempotency-key" not in later.headers
            assert not later.body
        if len(server.requests) > 1:
            assert [each.rung for each in stream.outcome.attempts[1:]] == ["cursor"]
            assert stream.outcome.provenance[-1].guarantee == "byte-exact"


@every_dialect
def test_one_connection_after_another_breaks(dialect: str) -> None:
    size = len(Gateway(dialect).rest(0))
    gateway = Gateway(dialect, *(size // 3 for _ in range(4)))
    stream, server = run(gateway, dialect, options=options(max_attempts=20))
    assert stream.outcome.text == SMALL.text
    assert len(server.requests) >= 3
    positions = [each.headers.get("last-event-id") for each in server.requests[1:]]
    assert positions == sorted(positions, key=lambda each: int((each or "0-0").split("-")[1]))


def test_astream_does_too() -> None:
    async def read(server: FaultServer) -> str:
        async with unbroken.astream(**asking(server, resume=True)) as stream:
            return await stream.text()

    with FaultServer(Gateway("openai-chat", 700)) as server:
        assert asyncio.run(read(server)) == SMALL.text
        assert [each.method for each in server.requests] == ["POST", "GET"]


def test_it_asks_only_when_it_was_asked_to() -> None:
    with FaultServer(Reply(headers={"content-type": content_type("openai-chat")},
                           pieces=body("openai-chat", SMALL))) as server:  # fmt: skip
        unbroken.stream(**asking(server)).text()
        unbroken.stream(**asking(server, resume=True)).text()
        mine = {"Idempotency-Key": "mine"}
        unbroken.stream(**asking(server, resume=True, headers=mine)).text()
        plain, asked, own = (each.headers for each in server.requests)
    assert "x-unbroken-resume" not in plain
    assert "idempotency-key" not in plain
    assert asked["x-unbroken-resume"] == "1"
    assert len(asked["idempotency-key"]) == 36
    assert own["idempotency-key"] == "mine"


def test_a_provider_that_offers_nothing_is_healed_as_ever() -> None:
    frames = b"".join(body("openai-chat", SMALL))
    whole = Reply(headers={"content-type": "text/event-stream"}, pieces=[frames])
    cut = Reply(headers={"content-type": "text/event-stream"}, pieces=[frames[:700]], end="rst")
    stream, server = run([cut, whole], "openai-chat", temperature=0)
    assert stream.outcome.text == SMALL.text
    assert [each.method for each in server.requests] == ["POST", "POST"]
    keys = {each.headers["idempotency-key"] for each in server.requests}
    assert len(keys) == 1  # the same request: a gateway would know it again


@pytest.mark.parametrize("status", [404, 410])
def test_a_stream_that_is_gone_is_healed_by_other_rungs(status: int) -> None:
    gateway = Gateway("openai-chat", 700, refuses=status)
    stream, server = run(gateway, "openai-chat", temperature=0)
    assert stream.outcome.text == SMALL.text
    assert [each.method for each in server.requests] == ["POST", "GET", "POST"]


def test_no_position_no_cursor() -> None:
    gateway = Gateway("openai-chat", 700, positions=False)
    stream, server = run(gateway, "openai-chat", temperature=0)
    assert stream.outcome.text == SMALL.text
    assert [each.method for each in server.requests] == ["POST", "POST"]
    skipped = [skip for skip in stream.outcome.skipped if skip.rung == "cursor"]
    assert "no position" in skipped[0].why


def test_another_body_has_no_key_of_the_first() -> None:
    asked = asks_to_resume(CoreRequest(method="POST", url="http://h/", body=b"{}"), "k")
    assert asked.header("idempotency-key") == "k"
    assert asked.with_json({"a": 1}).header("idempotency-key") is None
    assert asked.with_json({"a": 1}).header("x-unbroken-resume") == "1"


LINES = b'{"a":1}\n  {"b":"\xc3\xa9 x"}\r\n\n {"c":'


def test_lines_are_counted_whole_and_without_heartbeats_over_any_cut() -> None:
    request = CoreRequest(method="POST", url="http://h/api/chat?x=1", body=b"{}")
    expected = len(re.sub(rb"(?m)^ +", b"", LINES[: LINES.rindex(b"\n") + 1]))
    for cut in range(len(LINES) + 1):
        kept = KeptStream("s", "", "ndjson")
        kept.receive(LINES[:cut])
        kept.receive(LINES[cut:])
        cursor = kept.cursor(request, event_id="", frames=2)
        assert not isinstance(cursor, str)
        assert cursor.request.header("last-event-id") == f"0-{expected}"
        assert cursor.request.url == "http://h/streams/s"
        kept.reopen()  # the half line comes again
        kept.receive(b'{"c":3}\n')
        again = kept.cursor(request, event_id="", frames=0)
        assert not isinstance(again, str)
        assert again.request.header("last-event-id") == f"0-{expected + 8}"


@pytest.mark.parametrize(
    ("headers", "wire", "offered"),
    [
        ({"x-unbroken-resume": "1", "x-unbroken-stream": "s"}, "sse", True),
        ({"x-unbroken-resume": "1", "x-unbroken-stream": "s"}, "json-array", False),
        ({"x-unbroken-resume": "1"}, "sse", False),
        ({"x-unbroken-stream": "s"}, "sse", False),
        ({}, "ndjson", False),
    ],
)
def test_what_a_head_offers(headers: dict[str, str], wire: Any, offered: bool) -> None:
    assert (kept_stream(headers, wire) is not None) is offered


def test_an_id_that_is_no_position_is_not_sent() -> None:
    kept = KeptStream("s", "", "sse")
    request = CoreRequest(method="POST", url="http://h/v1/x", body=b"{}")
    assert isinstance(kept.cursor(request, event_id="abc\r\nx: y", frames=1), str)
