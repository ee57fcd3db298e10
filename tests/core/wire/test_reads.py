from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.wire.reads import ends_apart

BLOCK = b"data: " + b"x" * 90 + b"\n\n"


@given(st.binary(max_size=20), st.integers(0, 200), st.binary(max_size=20))
def test_the_parts_are_the_read(before, blocks, after):
    data = before + BLOCK * blocks + after
    assert b"".join(ends_apart(data)) == data


def test_a_large_read_is_cut_between_blocks():
    first, middle, last = ends_apart(BLOCK * 100 + b"data: half")
    assert first == BLOCK * 4
    assert last == BLOCK * 3 + b"data: half"
    assert middle == BLOCK * 93


def test_small_reads_and_other_wires_stay_whole():
    for data in (BLOCK * 8, b"x" * 5000, b'{"a":1}\n' * 2000, b"data: x\r\n\r\n" * 2000, b""):
        assert ends_apart(data) == [data]
