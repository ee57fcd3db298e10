"""Event ids on a body: right where they stand, and the body otherwise untouched."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unbroken.core.wire import SSEDecoder
from unbroken.gateway.resume import Marker, ends_block

OURS = re.compile(rb"id: 0-\d+\n")

LINES = st.sampled_from(
    [b"data: x", b"data:", b"data", b"data: \xc3\xa9", b"event: e", b": c", b"id: theirs", b"id",
     b"retry: 5", b"dataset: 1", b"identity", b"error: 1", b"data:y", b"", b""]
)  # fmt: skip
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"])


@st.composite
def bodies(draw):
    ends = draw(st.sampled_from([st.just(b"\n"), st.just(b"\r\n"), st.just(b"\r"), ENDS]))
    lines = draw(st.lists(st.tuples(LINES, ends), max_size=25))
    head = draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"]))
    return head + b"".join(line + end for line, end in lines)


def cut(body: bytes, places) -> list[bytes]:
    marks = sorted({int(place * len(body)) for place in places} | {0, len(body)})
    return [body[a:b] for a, b in itertools.pairwise(marks)]


def marked(body: bytes, places=(), offset: int = 0) -> bytes:
    marker = Marker("sse", 0, offset)
    return b"".join([*[marker.mark(part) for part in cut(body, places)], marker.close()])


def events(body: bytes):
    decoder = SSEDecoder()
    return [(f.event, f.payload, f.retry) for f in decoder.feed(body) + decoder.close()]


def positions(body: bytes) -> list[str]:
    decoder = SSEDecoder()
    return [f.id for f in decoder.feed(body) + decoder.close()]


@settings(max_examples=400, deadline=None)
@given(bodies(), st.lists(st.floats(0, 1), max_size=6))
@example(b"data: a\r\r\ndata: b\r\r", [0.52])
@example(b"\xef\xbb\xbf\r\ndata: x\r\n\r\n", [])
@example(b"data: a\n\n\ndata: b\n\n", [])
@example(b"\xef\xbb\xbfdata: a\n\n", [])
@example(b"id: theirs\r\ndata: a\r\n\r\n", [])
def test_without_our_lines_the_body_is_the_log_and_each_event_has_its_end(body, places):
    wire = marked(body, places)
    assert OURS.sub(b"", wire) == body
    assert events(wire) == events(body)
    # The id in force at each event is the place after it: reading on from there gives the
    # events behind it, whatever the lines end in.
    expected = events(body)
    found = positions(wire)
    for at, position in enumerate(found):
        offset = int(position.removeprefix("0-"))
        assert events(body[offset:]) == expected[at + 1 :], (at, position)
        assert ends_block(body[max(offset - 4, 0) : offset])


@settings(max_examples=200, deadline=None)
@given(bodies(), st.lists(st.floats(0, 1), max_size=6))
def test_reads_of_any_size_are_marked_alike(body, places):
    assert events(marked(body, places)) == events(marked(body))
    assert positions(marked(body, places)) == positions(marked(body))


@settings(deadline=None)
@given(bodies())
@example(b"\xef\xbb\xbf\r\ndata: x\r\n\r\n")
@example(b"data: a\r\r\ndata: b\r\r")
@example(b"data: a\n\n\ndata: b\n\n")
def test_no_id_comes_into_force_before_its_block(body):
    # A client whose connection is lost within the wire, at any byte, has an id in force that
    # says no more than it was told.
    wire = marked(body)
    for end in range(len(wire)):
        decoder = SSEDecoder()
        told = decoder.feed(wire[:end])
        in_force = decoder.last_event_id
        if in_force.startswith("0-"):
            offset = int(in_force.removeprefix("0-"))
            assert len(events(body)) - len(events(body[offset:])) <= len(told), end


@pytest.mark.parametrize(
    ("body", "wire"),
    [
        (b"data: a\n\ndata: b\n\n", b"id: 0-9\ndata: a\n\nid: 0-18\ndata: b\n\n"),
        (b": hb\n\ndata: a\n\n", b": hb\n\nid: 0-15\ndata: a\n\n"),
        (b"event: e\n\n", b"event: e\n\n"),
        (b"event: e\ndata: {}\n\n", b"id: 0-19\nevent: e\ndata: {}\n\n"),
        (b"id: 7\ndata: a\n\n", b"id: 7\ndata: a\nid: 0-15\n\n"),
        (b"data: a\r\n\r\n", b"id: 0-11\ndata: a\r\n\r\n"),
        (b"data: a\n\ndata: ha", b"id: 0-9\ndata: a\n\ndata: ha"),
        (b"dataset: a\n\ndata\n\n", b"dataset: a\n\nid: 0-18\ndata\n\n"),
    ],
)
def test_examples(body, wire):
    assert marked(body) == wire


@pytest.mark.parametrize("wire", ["ndjson", "json-array", "aws-event-stream", ""])
def test_other_wires_pass(wire):
    marker = Marker(wire, 0, 5)
    assert marker.mark(b'data: {"a":1}\n\n') == b'data: {"a":1}\n\n'
    assert (marker.offset, marker.close()) == (20, b"")


def test_a_heartbeat_may_not_follow_half_a_block():
    marker = Marker("sse", 0, 0)
    assert marker.between_blocks
    assert marker.mark(b"data: a") == b""
    assert not marker.between_blocks
    assert marker.mark(b"\n\n") == b"id: 0-9\ndata: a\n\n"
    assert marker.between_blocks


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_place_within_a_block_is_seen(end):
    block = b"data: abc" + end + b"data: d" + end + end
    body = block * 2
    ends = [at for at in range(len(body) + 1) if ends_block(body[max(at - 4, 0) : at])]
    rest = {0, len(block), len(body)}
    if end == b"\r\n":
        # Between CR and LF of a blank line: nothing is lost or repeated there.
        rest |= {len(block) - 1, len(body) - 1}
    assert set(ends) == rest
