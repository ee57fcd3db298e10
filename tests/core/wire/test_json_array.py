"""JSON arrays: elements at every cut, random bytes, what is no JSON, the encoder."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.wire.helpers import check_tiles, cuts_of, fed, finish, see
from unbroken.core.wire import JSONArrayDecoder, encode_json_array, json_array

# name: (body, payloads of the frames, pending)
ARRAYS = {
    "as Google writes it": (
        '[{\n  "a": "x"\n}\n,\r\n{\n  "a": "y"\n}\n]',
        ['{\n  "a": "x"\n}', '{\n  "a": "y"\n}', "]"], "",
    ),
    "on one line": ('[{"a":1},{"b":2}]', ['{"a":1}', '{"b":2}', "]"], ""),
    "empty": ("[]", ["]"], ""),
    "nothing in it": (" [ \n ] \n", ["]"], ""),
    "nothing at all": ("", [], ""),
    "only begun": (" [\n", [], " [\n"),
    "brackets and quotes in strings": (
        r'[{"a":"]}[{\"","\\":"\\"},{"b":"\\\""}]',
        [r'{"a":"]}[{\"","\\":"\\"}', r'{"b":"\\\""}', "]"], "",
    ),
    "no end of the array": ('[{"a":1}\n', ['{"a":1}'], "\n"),
    "no end of an element": ('[{"a":1},{"b":[{', ['{"a":1}'], ',{"b":[{'),
    "no end of a string": (r'[{"a":"}]\"', [], r'[{"a":"}]\"'),
    "half an escape": ('[{"a":"\\', [], '[{"a":"\\'),
    "other values": (
        '[1, "a\\"]" ,true,[[2],{}],null]', ["1", '"a\\"]"', "true", "[[2],{}]", "null", "]"], "",
    ),
    "a number at the end": ("[12", [], "[12"),
    "no JSON": ("[{},nonsense}}, {}]", ["{}", "nonsense}}", "{}", "]"], ""),
    "no commas": ('[{"a":1} {"b":2}"c"d]', ['{"a":1}', '{"b":2}', '"c"', "d", "]"], ""),
    "two arrays": ('[{"a":1}]\n[{"b":2}]', ['{"a":1}', "]", '{"b":2}', "]"], ""),
    "behind an element": (',\r\n{"b":2}\n]', ['{"b":2}', "]"], ""),
    "byte order mark": ("\ufeff[{}]", ["{}", "]"], ""),
    "no ASCII": ('[{"ä":"世\u2028🌍"}]', ['{"ä":"世\u2028🌍"}', "]"], ""),
}  # fmt: skip
each_array = pytest.mark.parametrize("name", ARRAYS)


@each_array
def test_elements_of_an_array(name):
    text, payloads, pending = ARRAYS[name]
    body = text.encode()
    seen = see(JSONArrayDecoder(), [body])
    assert [frame.data for frame in seen.blocks if frame.dispatched] == payloads
    assert [frame.event == "end" for frame in seen.blocks if frame.dispatched] == [
        payload == "]" for payload in payloads
    ]
    assert (seen.pending, seen.faults) == (pending.encode(), [])
    assert seen.mid_event == bool(pending.strip(" [,\n"))
    check_tiles(body, seen)


@each_array
def test_cuts_change_nothing(name):
    body = ARRAYS[name][0].encode()
    whole = see(JSONArrayDecoder(), [body])
    for reads in cuts_of(body):
        assert see(JSONArrayDecoder(), reads) == whole, reads


@each_array
def test_fork_at_every_byte_finishes_as_a_body_cut_there(name):
    body = ARRAYS[name][0].encode()
    decoder, blocks = JSONArrayDecoder(), []
    for at in range(len(body)):
        blocks += decoder.blocks(body[at : at + 1])
        assert finish(decoder.fork(), blocks) == see(JSONArrayDecoder(), [body[: at + 1]]), at


def test_an_element_is_delivered_with_its_last_byte():
    decoder = JSONArrayDecoder()
    assert decoder.feed(b'[{"a":{}') == []
    assert [f.data for f in decoder.feed(b"}")] == ['{"a":{}}']
    assert [f.data for f in decoder.feed(b"\n]")] == ["]"]


PARTS = [b"{", b"}", b"[", b"]", b'"', b"\\", b",", b" ", b"\n", b"1", b'"a":', b"\xef\xbb\xbf",
         b"\xe6\xb5", b"true"]  # fmt: skip
BODIES = st.lists(st.sampled_from(PARTS) | st.binary(max_size=3), max_size=30).map(b"".join)


@given(BODIES, st.lists(st.integers(1, 12), max_size=30), st.sampled_from([5, 20, 1000]))
def test_slicing_does_not_matter(body, sizes, limit):
    whole = see(JSONArrayDecoder(max_frame_bytes=limit), [body])
    check_tiles(body, whole)
    reads, at = [], 0
    for size in sizes:
        reads.append(body[at : at + size])
        at += size
    assert see(JSONArrayDecoder(max_frame_bytes=limit), [*reads, body[at:]]) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.lists(JSON, max_size=5), st.sampled_from([None, 2]))
def test_what_is_encoded_is_an_array_and_decodes_to_itself(values, indent):
    payloads = [json.dumps(value, indent=indent).encode() for value in values]
    raws = encode_json_array([*payloads, json_array.END])
    assert json.loads(b"".join(raws)) == values
    frames = fed(JSONArrayDecoder(), [b"".join(raws)])
    assert [frame.payload for frame in frames] == [*payloads, b"]"]
    assert [frame.raw for frame in frames] == raws


def test_an_array_is_gone_on_with():
    assert b"".join(
        [*encode_json_array([b"1"]), *encode_json_array([b"2", b"]"], begun=True)]
    ) == b"[1\n,\r\n2\n]"  # fmt: skip


def test_an_empty_value_is_refused():
    with pytest.raises(ValueError, match="payload must hold a value"):
        encode_json_array([b"{}", b" \n"])


@pytest.mark.parametrize("size", [1, 16, 1000])
@pytest.mark.parametrize("piece", [b'\\"}', b"{}", b'"a",', b"\\\\"], ids=repr)
def test_one_huge_element_is_looked_at_once(monkeypatch, size, piece):
    """Counts the bytes that the scan passes, so that no clock is needed."""
    passed = 0

    class Counting:
        def __init__(self, pattern):
            self.pattern = pattern

        def match(self, data, at):
            nonlocal passed
            found = self.pattern.match(data, at)
            passed += found.end() - at + 1
            return found

    for name in ("_BETWEEN", "_LEVEL", "_STRING", "_BARE"):
        monkeypatch.setattr(json_array, name, Counting(getattr(json_array, name)))
    inside = piece * 1000
    body = b'[["' + inside + b'"]]' if b"\\" in piece else b"[[" + inside + b"]]"
    decoder, frames = JSONArrayDecoder(), []
    for at in range(0, len(body), size):
        frames += decoder.feed(body[at : at + size])
    assert len(frames) == 2
    assert passed <= 4 * len(body)
