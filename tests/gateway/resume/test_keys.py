from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.gateway.resume import InvalidKeyError, body_hash, lease_of, parse_key

three = st.tuples(*[st.text(max_size=6)] * 3)


@given(three, three)
def test_only_the_same_request_has_the_same_hash(one, other):
    hashes = [body_hash(method, target, body.encode()) for method, target, body in (one, other)]
    assert (hashes[0] == hashes[1]) == (one == other)


def test_a_lease_is_of_one_secret_scope_and_key_and_shows_none_of_them():
    leases = {lease_of(s, c, k) for s in (b"1", b"2") for c in ("ab", "a") for k in ("c", "bc")}
    assert len(leases) == 8
    assert all(len(lease) == 43 for lease in leases)


@pytest.mark.parametrize(
    ("header", "key"), [("abc", "abc"), (' "abc" ', "abc"), ('"', '"'), ("a" * 255, "a" * 255)]
)
def test_keys_as_they_are_sent(header, key):
    assert parse_key(header) == key


@pytest.mark.parametrize("header", ["", "  ", '""', "a b", "a" * 256, "sch\u00f6n", "a\nb"])
def test_what_is_no_key(header):
    with pytest.raises(InvalidKeyError):
        parse_key(header)
