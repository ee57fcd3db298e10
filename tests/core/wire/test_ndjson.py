"""NDJSON: the vectors at every cut, random bytes, the encoder."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
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
from unbroken.core.wire import NDJSONDecoder, encode_ndjson

VECTORS = vectors("ndjson")
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])


@each_vector
def test_vector(vector):
    body = body_of(vector)
    seen = see(NDJSONDecoder(**options_of(vector)), [body])
    check(vector, seen)
    check_tiles(body, seen)


@each_vector
def test_cuts_change_nothing(vector):
    body = body_of(vector)
    whole = see(NDJSONDecoder(**options_of(vector)), [body])
    for reads in cuts_of(body) if len(body) < 200 else [[body[:99], body[99:]]]:
        assert see(NDJSONDecoder(**options_of(vector)), reads) == whole, reads
    by_block = [b.raw for b in whole.blocks]
    at = sum(map(len, by_block))
    assert see(NDJSONDecoder(**options_of(vector)), [*by_block, body[at:]]) == whole


@each_vector
def test_feed_gives_only_what_is_dispatched(vector):
    body = body_of(vector)
    frames = fed(NDJSONDecoder(**options_of(vector)), [body])
    assert [[f.event, f.data, f.id, f.retry] for f in frames] == vector["frames"]


@each_vector
def test_fork_at_every_byte_finishes_as_a_body_cut_there(vector):
    body = body_of(vector)[:200]
    decoder, blocks = NDJSONDecoder(**options_of(vector)), []
    for at in range(len(body)):
        blocks += decoder.blocks(body[at : at + 1])
        forked = finish(decoder.fork(), blocks)
        assert forked == see(NDJSONDecoder(**options_of(vector)), [body[: at + 1]]), at


def test_a_line_is_delivered_with_its_last_byte():
    decoder = NDJSONDecoder()
    assert decoder.feed(b'{"a":1}') == []
    assert [f.data for f in decoder.feed(b"\n")] == ['{"a":1}']


def test_a_last_line_nested_too_deeply_to_prove_is_kept():
    decoder = NDJSONDecoder()
    body = b"[" * 200_000 + b"]" * 200_000
    assert decoder.feed(body) == []
    assert decoder.close() == []
    assert decoder.pending == body


PARTS = [b"{}", b'{"a":"', b'"}', b"\n", b"\r\n", b"\r", b" ", b"\xef\xbb\xbf", b"\xe6\xb5", b"1"]
BODIES = st.lists(st.sampled_from(PARTS) | st.binary(max_size=3), max_size=30).map(b"".join)


@given(BODIES, st.lists(st.integers(1, 12), max_size=30), st.sampled_from([5, 20, 1000]))
def test_slicing_does_not_matter(body, sizes, limit):
    whole = see(NDJSONDecoder(max_frame_bytes=limit), [body])
    check_tiles(body, whole)
    reads, at = [], 0
    for size in sizes:
        reads.append(body[at : at + size])
        at += size
    assert see(NDJSONDecoder(max_frame_bytes=limit), [*reads, body[at:]]) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(JSON, max_size=5))
def test_what_is_encoded_decodes_to_itself(values):
    payloads = [json.dumps(value).encode() for value in values]
    frames = fed(NDJSONDecoder(), [b"".join(map(encode_ndjson, payloads))])
    assert [frame.payload for frame in frames] == payloads


@pytest.mark.parametrize("bad", [b'{"a":\n1}', b"{}\n", b"", b" \t\r"], ids=repr)
def test_what_is_not_one_line_is_refused(bad):
    with pytest.raises(ValueError, match="payload must"):
        encode_ndjson(bad)
