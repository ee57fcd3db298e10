"""SSE: the vectors, a second decoder written straight from the standard, the encoder."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.core.wire.helpers import (
    body_of,
    check,
    check_tiles,
    cuts_of,
    fed,
    finish,
    options_of,
    see,
    vectors,
)
from unbroken.core.wire import SSEDecoder, encode_sse

VECTORS = vectors("sse")
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])


@pytest.mark.seed("003-malformed-parser", "003-do-parsers")
@each_vector
def test_vector(vector):
    body = body_of(vector)
    seen = see(SSEDecoder(**options_of(vector)), [body])
    check(vector, seen)
    check_tiles(body, seen)


@pytest.mark.seed("003-malformed-lines", "003-handler-split-lines")
@each_vector
def test_cuts_change_nothing(vector):
    body = body_of(vector)
    whole = see(SSEDecoder(**options_of(vector)), [body])
    for reads in cuts_of(body):
        assert see(SSEDecoder(**options_of(vector)), reads) == whole, reads
    by_block = [b.raw for b in whole.blocks]
    at = sum(map(len, by_block))
    assert see(SSEDecoder(**options_of(vector)), [*by_block, body[at:]]) == whole


@each_vector
def test_feed_gives_only_what_is_dispatched(vector):
    for reads in cuts_of(body_of(vector)):
        frames = fed(SSEDecoder(**options_of(vector)), reads)
        assert [[f.event, f.data, f.id, f.retry] for f in frames] == vector["frames"]
        assert all(f.dispatched for f in frames)


@each_vector
def test_fork_at_every_byte_finishes_as_a_body_cut_there(vector):
    body = body_of(vector)
    decoder, blocks = SSEDecoder(**options_of(vector)), []
    for at in range(len(body)):
        blocks += decoder.blocks(body[at : at + 1])
        forked = finish(decoder.fork(), blocks)
        assert forked == see(SSEDecoder(**options_of(vector)), [body[: at + 1]]), at
    assert finish(decoder, blocks) == see(SSEDecoder(**options_of(vector)), [body])


@pytest.mark.parametrize("blank", ["\n\n", "\r\n\r\n", "\r\r"], ids=repr)
def test_a_frame_is_delivered_with_its_last_byte(blank):
    body = f"data: a{blank}event: x{blank[: len(blank) // 2]}data: b{blank}".encode()
    ends, decoder = [], SSEDecoder()
    for at in range(len(body)):
        ends += [at + 1] * len(decoder.feed(body[at : at + 1]))
    assert ends == [len(f"data: a{blank}"), len(body)]


# --- a second decoder, written from the standard, line by line and with no thought of speed ---


def by_the_standard(body: bytes) -> list[list[str | int | None]]:
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]
    frames: list[list[str | int | None]] = []
    data = event = last_id = ""
    retry = None
    for line in lines:
        if line == "":
            if data != "":
                frames.append([event or "message", data.removesuffix("\n"), last_id, retry])
            data = event = ""
            retry = None
            continue
        if line.startswith(":"):
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            retry = int(value)
    return frames


PARTS = [
    *(b"data: ", b"data:", b"data", b"event: ", b"event:", b"id: ", b"id", b"retry: ", b": "),
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\n", b"\n\n"),
    *(b"data: a\n\n", b"data: b\r\n\r\n", b"event: e\ndata: c\n\n", b"data:d\n\n"),
    *(b"\xef\xbb\xbf", b"\xe6\xb5\x81", b"\xe6", b"\xb5", b"\xff", b"\0", b" ", b":", b"x", b"12"),
]
BODIES = st.lists(st.sampled_from(PARTS) | st.binary(max_size=3), max_size=30).map(b"".join)
CUTS = st.lists(st.integers(min_value=1, max_value=12), max_size=40)


def cut(body: bytes, sizes: list[int]) -> list[bytes]:
    reads, at = [], 0
    for size in sizes:
        reads.append(body[at : at + size])
        at += size
    return [*reads, body[at:]]


@given(BODIES)
@example(b"data: x\r\r\n\ndata: y\n\n")
def test_the_frames_are_those_of_the_standard(body):
    assert see(SSEDecoder(), [body]).frames == by_the_standard(body)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_the_second_decoder_agrees_with_the_vectors(vector):
    if "max_frame_bytes" in vector or vector["id"] == "retry-beyond-all-clocks":
        pytest.skip("limits of ours, which the standard does not know")
    assert by_the_standard(body_of(vector)) == vector["frames"]


@given(BODIES, CUTS, st.sampled_from([5, 20, 1000]))
def test_slicing_does_not_matter(body, sizes, limit):
    whole = see(SSEDecoder(max_frame_bytes=limit), [body])
    check_tiles(body, whole)
    assert see(SSEDecoder(max_frame_bytes=limit), cut(body, sizes)) == whole


# --- encoder ---------------------------------------------------------------------------------

LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))


@given(
    LINES,
    st.none() | NAMES.filter(bool),
    st.none() | NAMES,
    st.none() | st.integers(min_value=0, max_value=10**12),
    st.none() | LINES,
)
def test_what_is_encoded_decodes_to_itself(data, event, id, retry, comment):
    body = encode_sse(data, event=event, id=id, retry=retry, comment=comment)
    seen = see(SSEDecoder(), [body])
    assert seen.frames == [[event or "message", data, id or "", retry]]
    assert [b.raw for b in seen.blocks] == [body]
    assert body == encode_sse(data.encode(), event=event, id=id, retry=retry, comment=comment)


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        ({"data": b"{}"}, b"data: {}\n\n"),
        ({"data": ""}, b"data: \n\n"),
        ({"data": "a\nb"}, b"data: a\ndata: b\n\n"),
        (
            {"data": "a", "event": "e", "id": "7", "retry": 5, "comment": "c\nd"},
            b": c\n: d\nevent: e\nid: 7\nretry: 5\ndata: a\n\n",
        ),
    ],
    ids=["bytes", "empty", "lines", "all"],
)
def test_encoded_bytes(arguments, body):
    assert encode_sse(**arguments) == body


@pytest.mark.parametrize("name", ["event", "id"])
@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"], ids=repr)
def test_names_that_no_stream_can_carry_are_refused(name, bad):
    with pytest.raises(ValueError, match=f"{name} must not hold"):
        encode_sse("x", **{name: bad})


@pytest.mark.parametrize(
    "arguments",
    [
        {"data": "a\rb"},
        {"data": b"a\r\nb"},
        {"data": "", "comment": "\r"},
        {"data": "", "retry": -1},
    ],
    ids=str,
)
def test_values_that_would_change_are_refused(arguments):
    with pytest.raises(ValueError, match="must"):
        encode_sse(**arguments)
