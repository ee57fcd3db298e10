"""The fast path: it takes what providers send, and never differs from the slow one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.wire import SSEDecoder
from unbroken.core.wire._sse_uniform import uniform_frames


class Slow(SSEDecoder):
    """The decoder with its fast paths off."""

    def blocks(self, data):
        return self._scan(data)


TAKEN = {
    "openai": b'data: {"a":1}\n\ndata: [DONE]\n\n',
    "no space": b"data:{}\n\ndata:[DONE]\n\n",
    "gemini": b"data: {}\r\n\r\ndata: {}\r\n\r\n",
    "anthropic": b"event: ping\ndata: {}\n\nevent: delta\ndata: {}\n\n",
    "named crlf": b"event: ping\r\ndata: {}\r\n\r\n",
    "not ascii": "data: 流\n\ndata: é\n\n".encode(),
    "empty data": b"data: \n\ndata: \n\n",
}
LEFT = {
    "two data lines": b"data: a\ndata: b\n\n",
    "comment": b"data: a\n\n: hb\n\ndata: b\n\n",
    "id": b"id: 1\ndata: a\n\n",
    "mixed spaces": b"data:a\n\ndata: b\n\n",
    "lone cr": b"data: a\rb\n\n",
    "lone cr in crlf": b"data: a\rb\r\n\r\n",
    "lf in crlf": b"data: a\r\n\r\ndata: b\n\ndata: c\r\n\r\n",
    "named, without data": b"event: a\n\nevent: a\ndata: 1\n\n",
    "named, one line too many": b"event: a\n\nevent: a\ndata: 2\nid\n\n",
    "named, id before the data": b"event: a\nid: 1\ndata: 1\n\n",
    "bad utf-8": b"data: \xff\n\n",
    "bad utf-8 in a name": b"event: \xff\ndata: a\n\n",
    "bom": b"\xef\xbb\xbfdata: a\n\n",
    "extra blank line": b"data: a\n\n\ndata: b\n\n",
}


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN)
def test_taken(body):
    frames = uniform_frames(body, 0, "")
    assert frames
    assert frames == Slow().blocks(body)


@pytest.mark.parametrize("body", LEFT.values(), ids=LEFT)
def test_left_to_the_slow_path(body):
    assert uniform_frames(body, 0, "") is None


BLOCKS = [
    *(b"data: a", b"data:b", b"data", b"event: e\ndata: c", b"event: e", b": x", b"id: 1\ndata: d"),
    *(
        b"data: \xff",
        b"data: \xe6\xb5\x81",
        b"event: \ndata: x",
        b"data: a\rb",
        b"data: a\nevent: b",
    ),
]


@given(
    st.lists(st.tuples(st.sampled_from(BLOCKS), st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]))),
    st.sampled_from([b"", b"data: half", b"\r", b"\n"]),
)
def test_fast_and_slow_agree(blocks, rest):
    body = b"".join(block + blank for block, blank in blocks) + rest
    fast, slow = SSEDecoder(), Slow()
    assert fast.blocks(body) == slow.blocks(body)
    assert fast.pending == slow.pending
    assert fast.faults == slow.faults
    assert fast.feed(b"data: z\n\n") == slow.feed(b"data: z\n\n")


@given(
    st.lists(st.sampled_from(BLOCKS[:4]), min_size=1, max_size=3), st.sampled_from([b"\n", b"\r\n"])
)
def test_runs_of_few_shapes_agree(blocks, eol):
    body = b"".join(block.replace(b"\n", eol) + eol + eol for block in blocks)
    assert SSEDecoder().blocks(body) == Slow().blocks(body)
