from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.gateway.resume import Position, PositionError, is_stream_id, new_stream_id


def test_ids_are_new_unguessable_and_known_by_their_form():
    ids = {new_stream_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_stream_id(each) for each in ids)
    # 22 letters of base64url hold 128 bits and four more, which are nothing.
    assert all(len(each) == 24 for each in ids)


@pytest.mark.parametrize(
    "text",
    ["", "s_", "s_" + "a" * 21, "s_" + "a" * 23, "x_" + "a" * 22, "s_" + "/" * 22,
     "s_" + "a" * 22 + "\n"],
)  # fmt: skip
def test_what_is_no_id_is_not_looked_up(text):
    assert not is_stream_id(text)


@given(st.integers(0, 10**9 - 1), st.integers(0, 10**18 - 1))
def test_a_position_is_read_as_it_is_written(epoch, offset):
    assert Position.parse(str(Position(epoch, offset))) == (epoch, offset)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0-", "-1", "0-01", "00-1", "0--1", "0-1-2", "0x0-1", "0-\u0661", "1e3-1",
     "0-" + "9" * 19, "9" * 10 + "-1", "0 -1", "0-1\n", "+0-1"],
)  # fmt: skip
def test_what_is_no_position_is_refused(text):
    with pytest.raises(PositionError):
        Position.parse(text)
