"""What all decoders share: options, limits, memory, linear work, faults, fork, close."""

from __future__ import annotations

import tracemalloc

import pytest

from unbroken.core.wire import Decoder, JSONArrayDecoder, NDJSONDecoder, SSEDecoder, sse

KINDS = {
    "sse": (SSEDecoder, b"data: ", b"\n\n"),
    "ndjson": (NDJSONDecoder, b'"', b'"\n'),
    "json-array": (JSONArrayDecoder, b'{"', b'"}'),
}
each_kind = pytest.mark.parametrize(("decoder", "head", "tail"), KINDS.values(), ids=KINDS)


@each_kind
@pytest.mark.parametrize(
    ("limit", "error"), [(0, ValueError), (-1, ValueError), ("9", TypeError), (True, TypeError)]
)
def test_a_wrong_limit_is_refused(decoder, head, tail, limit, error):
    with pytest.raises(error, match="max_frame_bytes must be"):
        decoder(max_frame_bytes=limit)


@each_kind
def test_options_are_keyword_only(decoder, head, tail):
    with pytest.raises(TypeError):
        decoder(100)


@each_kind
def test_a_breach_is_one_fatal_fault_and_later_data_is_ignored(decoder, head, tail):
    d = decoder(max_frame_bytes=100)
    assert len(d.feed(head + b"ok" + tail)) == 1
    for _ in range(50):
        assert d.feed(head + b"x" * 1000) == []
    assert d.feed(tail + head + b"late" + tail) == []
    assert d.close() == []
    (fault,) = d.take_faults()
    assert (fault.kind, fault.fatal, fault.frame) == ("oversized-event", True, 1)
    assert "max_frame_bytes (100)" in fault.detail
    assert d.stopped
    assert len(d.pending) == 100
    assert d.mid_event


@pytest.mark.seed("003-memory-limits", "003-dont-accumulate")
@each_kind
def test_memory_is_bounded_whatever_comes(decoder, head, tail):
    limit = 256 * 1024
    d = decoder(max_frame_bytes=limit)
    read = b"x" * 16
    tracemalloc.start()
    try:
        d.feed(head)
        for _ in range(4 * limit // len(read)):
            d.feed(read)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * limit


@each_kind
@pytest.mark.parametrize("text", ["x", "流", "x" * 4095 + "😀"], ids=["ascii", "cjk", "emoji"])
def test_memory_for_the_largest_frame_is_what_the_docstring_says(decoder, head, tail, text):
    limit = 1024 * 1024
    payload = text.encode() * ((limit - 20) // len(text.encode()))
    d = decoder(max_frame_bytes=limit)
    tracemalloc.start()
    try:
        d.feed(head)
        for at in range(0, len(payload), 4096):
            d.feed(payload[at : at + 4096])
        (frame,) = d.feed(tail)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(frame.raw) > 0.99 * limit
    assert peak < 6 * limit


@pytest.mark.parametrize("read", [1, 16, 1000])
@pytest.mark.parametrize("eol", [b"\n", b"\r\n", b"\r"], ids=repr)
def test_one_huge_event_is_looked_at_once(monkeypatch, read, eol):
    """Counts the bytes that every stage is handed, so that no clock is needed."""
    looked_at = {"scan": 0, "block": 0}
    scan, block = sse.SSEDecoder._scan, sse.SSEDecoder._block

    def counting_scan(self, data):
        looked_at["scan"] += len(data) + 1
        return scan(self, data)

    def counting_block(self, raw):
        looked_at["block"] += len(raw)
        return block(self, raw)

    monkeypatch.setattr(sse.SSEDecoder, "_scan", counting_scan)
    monkeypatch.setattr(sse.SSEDecoder, "_block", counting_block)
    joined = CountingJoin()
    monkeypatch.setattr(sse, "uniform_frames", joined)

    lines = 2000
    body = (b"data: " + b"x" * 50 + eol) * lines + eol
    decoder, frames = SSEDecoder(), []
    for at in range(0, len(body), read):
        frames += decoder.feed(body[at : at + read])
    frames += decoder.close()
    assert [len(f.payload) for f in frames] == [51 * lines - 1]
    assert looked_at["scan"] <= 2 * len(body)
    assert looked_at["block"] == len(body)
    assert joined.bytes <= 2 * len(body)


class CountingJoin:
    """Stands for the fast path: takes nothing, counts what it was offered."""

    def __init__(self) -> None:
        self.bytes = 0

    def __call__(self, body, offset, last_id):
        self.bytes += len(body)


def test_a_read_leaves_the_buffer_in_place():
    """The unfinished frame grows in place: it is never rebuilt from its parts."""
    decoder = SSEDecoder()
    decoder.feed(b"data: ")
    buffer = decoder._pending
    for _ in range(1000):
        decoder.feed(b"x" * 16)
        decoder.feed(b"\ndata: ")
    assert decoder._pending is buffer


@each_kind
def test_faults_that_nobody_takes_do_not_grow_without_end(decoder, head, tail):
    d = decoder(max_frame_bytes=50)
    for _ in range(250):
        d.feed(head + b"\xff" + tail)
    assert len(d.faults) == 100
    assert d.faults_dropped == 150
    d.feed(head + b"x" * 100)
    assert [f.fatal for f in d.faults][-2:] == [False, True]


@each_kind
def test_a_fault_tells_where_and_how_often(decoder, head, tail):
    d = decoder()
    first = head + b"ok" + tail
    d.feed(first + head + b"a\xffb\xfe" + "\ufffd".encode() + tail)
    (fault,) = d.take_faults()
    assert (fault.kind, fault.severity) == ("invalid-utf8", "warning")
    assert fault.at_byte == len(first + head) + 1
    assert fault.frame == 1
    assert "2 invalid" in fault.detail
    assert d.take_faults() == []


@each_kind
def test_a_fork_is_independent(decoder, head, tail):
    d = decoder()
    d.feed(head + b"a")
    twin = d.fork()
    twin.feed(b"\xff" + tail)
    twin.close()
    assert (len(twin.faults), d.faults) == (1, [])
    (frame,) = d.feed(b"b" + tail)
    assert b"ab" in frame.payload


@each_kind
def test_a_fork_of_a_subclass_keeps_its_own_state(decoder, head, tail):
    class Named(decoder):
        __slots__ = ("name",)

    named = Named()
    named.name = "n"
    assert named.fork().name == "n"


@each_kind
def test_closing_twice_gives_nothing_and_feeding_a_closed_one_is_our_bug(decoder, head, tail):
    d = decoder()
    d.feed(head + b"half")
    assert d.close() == []
    assert d.close() == []
    assert d.pending == head + b"half"
    for data in (b"x", b"\n", b""):
        with pytest.raises(ValueError, match="closed"):
            d.feed(data)


@each_kind
def test_it_is_a_decoder(decoder, head, tail):
    d: Decoder = decoder()
    assert (d.feed(b""), d.pending, d.mid_event, d.faults) == ([], b"", False, [])
