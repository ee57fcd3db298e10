"""AWS event-stream: messages at every cut, every corruption, every type of header."""

from __future__ import annotations

import json
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.wire.helpers import check_tiles, cuts_of, fed, finish, see
from unbroken.core.wire import AWSEventStreamDecoder, encode_aws_event_stream
from unbroken.core.wire.aws_event_stream import headers_of

# Written down by hand from the format: no header, no payload; then one of each.
EMPTY = bytes.fromhex("000000100000000005c248eb7d98c8ff")
HELLO = encode_aws_event_stream(b'{"text":"Hi"}', event="delta")
OTHER = encode_aws_event_stream('{"p":"ä"}'.encode(), event="metadata")
FAILED = encode_aws_event_stream(b'{"message":"slow down"}', event="throttlingException",
                                 failure=True)  # fmt: skip
BODY = HELLO + OTHER + FAILED


def message(payload: bytes, headers: bytes = b"", *, total: int | None = None) -> bytes:
    """Return a message with headers as they are given, and checksums that are right."""
    size = len(payload) + len(headers) + 16 if total is None else total
    lengths = struct.pack(">II", size, len(headers))
    raw = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return raw + struct.pack(">I", zlib.crc32(raw))


def header(name: str, kind: int, value: bytes = b"") -> bytes:
    return bytes([len(name)]) + name.encode() + bytes([kind]) + value


def word(value: str) -> bytes:
    return struct.pack(">H", len(value.encode())) + value.encode()


def shown(*reads: bytes, **options: Any) -> Any:
    return see(AWSEventStreamDecoder(**options), reads)


def test_an_empty_message():
    seen = shown(EMPTY)
    assert [(f.event, f.payload, f.raw) for f in seen.blocks] == [("message", b"", EMPTY)]
    assert encode_aws_event_stream(b"", headers={}) == EMPTY
    assert headers_of(EMPTY) == {}


def test_messages_have_their_names_and_payloads():
    seen = shown(BODY)
    assert [(f.event, f.data, f.failure) for f in seen.blocks] == [
        ("delta", '{"text":"Hi"}', False),
        ("metadata", '{"p":"ä"}', False),
        ("throttlingException", '{"message":"slow down"}', True),
    ]
    assert [f.raw for f in seen.blocks] == [HELLO, OTHER, FAILED]
    assert (seen.pending, seen.mid_event, seen.faults) == (b"", False, [])
    check_tiles(BODY, seen)


@pytest.mark.parametrize("body", [BODY, EMPTY * 3, BODY[:-1], BODY[:5]], ids=range(4))
def test_cuts_change_nothing(body):
    whole = shown(body)
    for reads in cuts_of(body):
        assert shown(*reads) == whole, reads


def test_fork_at_every_byte_finishes_as_a_body_cut_there():
    decoder, blocks = AWSEventStreamDecoder(), []
    for at in range(len(BODY)):
        blocks += decoder.blocks(BODY[at : at + 1])
        cut = shown(BODY[: at + 1])
        assert finish(decoder.fork(), blocks) == cut, at
        assert cut.mid_event == (at + 1 not in (len(HELLO), len(HELLO + OTHER), len(BODY)))


def test_a_message_is_delivered_with_its_last_byte():
    decoder = AWSEventStreamDecoder()
    assert decoder.feed(HELLO[:-1]) == []
    assert len(decoder.feed(HELLO[-1:])) == 1


def test_an_error_brings_its_words_in_headers():
    raw = encode_aws_event_stream(
        b"",
        headers={":message-type": "error", ":error-code": "InternalError",
                 ":error-message": 'it "broke"'},
    )  # fmt: skip
    (frame,) = shown(raw).blocks
    assert (frame.event, frame.failure) == ("InternalError", True)
    assert json.loads(frame.payload) == {"message": 'it "broke"'}


@pytest.mark.parametrize(
    ("headers", "event", "failure"),
    [
        ({}, "message", False),
        ({":event-type": "x"}, "x", False),
        ({":event-type": 7}, "message", False),
        ({":message-type": "exception"}, "exception", True),
        ({":message-type": "error", ":event-type": "x"}, "error", True),
        ({":message-type": "news", ":event-type": "x"}, "x", False),
        ({":message-type": "exception", ":exception-type": ""}, "exception", True),
    ],
)
def test_a_name_is_found_whatever_headers_there_are(headers, event, failure):
    (frame,) = shown(encode_aws_event_stream(b"{}", headers=headers)).blocks
    assert (frame.event, frame.failure) == (event, failure)


def test_headers_of_every_type():
    raw = message(
        b"",
        header("yes", 0) + header("no", 1) + header("byte", 2, b"\xfe")
        + header("short", 3, struct.pack(">h", -300)) + header("int", 4, struct.pack(">i", -70000))
        + header("long", 5, struct.pack(">q", -(1 << 40))) + header("bytes", 6, b"\x00\x02\xff\x00")
        + header("word", 7, word("ä")) + header("time", 8, struct.pack(">q", 1_700_000_000_123))
        + header("id", 9, bytes(range(16))),
    )  # fmt: skip
    assert shown(raw).faults == []
    assert headers_of(raw) == {
        "yes": True, "no": False, "byte": -2, "short": -300, "int": -70000, "long": -(1 << 40),
        "bytes": b"\xff\x00", "word": "ä", "time": 1_700_000_000_123, "id": bytes(range(16)),
    }  # fmt: skip


# Corruption ---------------------------------------------------------------------------------


@pytest.mark.parametrize("at", range(len(OTHER)))
def test_one_changed_byte_ends_the_decoding_and_is_never_delivered(at):
    broken = bytearray(OTHER)
    broken[at] ^= 0x20
    body = HELLO + broken + HELLO
    whole = shown(body)
    assert [f.raw for f in whole.blocks] == [HELLO]
    assert whole.faults == [("protocol-violation", len(HELLO), 1)]
    assert whole.pending == bytes(broken[: 12 if at < 12 else len(OTHER)])
    for reads in ([body[:cut], body[cut:]] for cut in range(0, len(body), 7)):
        assert shown(*reads) == whole


IMPOSSIBLE = {
    "shorter than its parts": message(b"", total=15),
    "headers beyond the end": message(b"", header("a", 0), total=18),
    "too many headers": message(b"", b"\x01a\x00" * 50_000),
    "too large a payload": message(b"", total=16 + 24 * 1024 * 1024 + 1),
    "a header without a type": message(b"", b"\x01a"),
    "a header of an unknown type": message(b"", header("a", 10)),
    "a header that is cut": message(b"", header("a", 7, b"\x00\x05abc")),
    "a number that is cut": message(b"", header("a", 5, b"\x00")),
    "a name beyond the headers": message(b"", b"\x09a"),
    "a word that is no UTF-8": message(b"", header("a", 7, b"\x00\x01\xff")),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_message_that_cannot_be_is_a_violation(name):
    decoder = AWSEventStreamDecoder()
    assert decoder.feed(HELLO + IMPOSSIBLE[name] + HELLO)[1:] == []
    (fault,) = decoder.take_faults()
    assert (fault.kind, fault.fatal, fault.at_byte) == ("protocol-violation", True, len(HELLO))
    assert decoder.stopped
    assert decoder.feed(HELLO) == []


def test_text_instead_of_messages_is_told_by_its_first_bytes():
    seen = shown(b"data: {}\n\n" * 9)
    assert seen.faults == [("protocol-violation", 0, 0)]
    assert len(seen.pending) == 12


def test_a_payload_that_is_no_utf8_is_mended_and_told():
    raw = encode_aws_event_stream(b'{"a":"\xff"}', event="x")
    seen = shown(HELLO + raw)
    assert seen.blocks[1].data == '{"a":"\ufffd"}'
    assert seen.blocks[1].raw == raw
    assert seen.faults == [("invalid-utf8", len(HELLO) + raw.index(b"\xff"), 1)]


# Limits -------------------------------------------------------------------------------------


def test_too_large_a_message_is_told_by_its_prelude():
    limit = len(HELLO)
    large = encode_aws_event_stream(b"x" * 100, event="x")
    seen = shown(HELLO + large[:12], max_frame_bytes=limit)
    assert seen.faults == [("oversized-event", limit, 1)]
    assert f"({limit})" in seen.fault_texts[0]
    assert seen == shown(HELLO + large + HELLO, max_frame_bytes=limit)
    assert shown(HELLO, max_frame_bytes=limit).faults == []


def test_memory_for_the_largest_message_is_what_the_docstring_says():
    raw = encode_aws_event_stream(b"x" * (1 << 20), event="x")
    decoder = AWSEventStreamDecoder()
    tracemalloc.start()
    try:
        for at in range(0, len(raw), 4096):
            frames = decoder.feed(raw[at : at + 4096])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [frame.raw for frame in frames] == [raw]
    assert peak < 4.5 * len(raw)


def test_a_read_leaves_the_buffer_in_place_and_is_looked_at_once(monkeypatch):
    looks: list[int] = []
    look = AWSEventStreamDecoder._wrong_prelude

    def counting(self, *args):
        looks.append(len(self._pending))
        return look(self, *args)

    monkeypatch.setattr(AWSEventStreamDecoder, "_wrong_prelude", counting)
    raw = encode_aws_event_stream(b"x" * 10_000, event="x")
    decoder = AWSEventStreamDecoder()
    decoder.feed(raw[:20])
    buffer = decoder._pending
    for at in range(20, len(raw) - 1, 16):
        decoder.feed(raw[at : min(at + 16, len(raw) - 1)])
    assert decoder._pending is buffer
    assert len(buffer) == len(raw) - 1
    assert len(decoder.feed(raw[-1:])) == 1
    assert len(looks) == 2  # at its prelude, and when it was whole


@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), ("9", TypeError), (True, TypeError)])
def test_a_wrong_limit_is_refused(limit, error):
    with pytest.raises(error, match="max_frame_bytes must be"):
        AWSEventStreamDecoder(max_frame_bytes=limit)


def test_feeding_a_closed_one_is_our_bug():
    decoder = AWSEventStreamDecoder()
    assert decoder.feed(HELLO[:20]) == []
    assert (decoder.close(), decoder.close()) == ([], [])
    assert decoder.pending == HELLO[:20]
    with pytest.raises(ValueError, match="closed"):
        decoder.feed(b"")


# The encoder --------------------------------------------------------------------------------

VALUES = st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text(max_size=9) | st.binary(
    max_size=9
)  # fmt: skip
HEADERS = st.dictionaries(st.text(min_size=1, max_size=9), VALUES, max_size=5)
MESSAGES = st.lists(st.tuples(st.text(max_size=30).map(str.encode), HEADERS), max_size=4)


@given(MESSAGES, st.lists(st.integers(1, 40), max_size=20))
def test_what_is_encoded_decodes_to_itself_however_it_is_cut(messages, sizes):
    raws = [encode_aws_event_stream(payload, headers=headers) for payload, headers in messages]
    body = b"".join(raws)
    whole = shown(body)
    assert [f.raw for f in whole.blocks] == raws
    assert [headers_of(f.raw) for f in whole.blocks] == [headers for _, headers in messages]
    reads, at = [], 0
    for size in sizes:
        reads.append(body[at : at + size])
        at += size
    assert shown(*reads, body[at:]) == whole


@given(st.binary(max_size=200), st.integers(0, 200))
def test_any_bytes_are_survived(noise, cut):
    body = HELLO + noise
    whole = shown(body)
    check_tiles(body[: sum(len(f.raw) for f in whole.blocks) + len(whole.pending)], whole)
    assert shown(body[:cut], body[cut:]) == whole


@pytest.mark.parametrize(
    "headers", [{"": "x"}, {"x" * 256: "y"}, {"x": "y" * 40_000}], ids=["name", "long", "value"]
)
def test_headers_that_the_format_has_no_place_for_are_refused(headers):
    with pytest.raises(ValueError, match="a header's"):
        encode_aws_event_stream(b"", headers=headers)


@given(MESSAGES)
def test_botocore_reads_the_same(messages):
    eventstream = pytest.importorskip(
        "botocore.eventstream", reason="botocore, whose parser this is compared with, is not here"
    )
    body = b"".join(encode_aws_event_stream(p, headers=h) for p, h in messages)
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(body)
    theirs = [(dict(message.headers), message.payload) for message in buffer]
    ours = [
        (headers_of(frame.raw), frame.payload) for frame in fed(AWSEventStreamDecoder(), [body])
    ]
    assert ours == theirs


@pytest.mark.parametrize("at", range(0, len(HELLO), 5))
def test_botocore_refuses_what_we_refuse(at):
    eventstream = pytest.importorskip(
        "botocore.eventstream", reason="botocore, whose parser this is compared with, is not here"
    )
    broken = bytearray(HELLO)
    broken[at] ^= 1
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(bytes(broken))
    with pytest.raises(eventstream.ParserError):
        next(iter(buffer))
    assert shown(bytes(broken)).faults
