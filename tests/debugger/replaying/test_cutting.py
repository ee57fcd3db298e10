"""A body cut into other reads is the same body, and nothing goes out before its time."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.debugger.recordings import DONE, PING, delta
from unbroken.core.recording import Read
from unbroken.debugger.replaying.cutting import Cut, pieces_of, read_cut

FRAMES = [delta("one"), PING, delta("two"), DONE]
BODY = b"".join(FRAMES)
CUTS: list[Cut] = ["reads", "frames", "bytes", 1, 7, 10_000]


def reads(*datas: bytes | str) -> list[Read]:
    texts = [data if isinstance(data, str) else data.decode() for data in datas]
    return [Read(at_s=float(n), text=text) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        ("reads", [(0.0, BODY[:5]), (1.0, BODY[5:])]),
        ("frames", [(1.0, frame) for frame in FRAMES]),
        (len(BODY) - 3, [(1.0, BODY[:-3]), (1.0, BODY[-3:])]),
    ],
    ids=str,
)
def test_cuts(cut: Cut, expected: list[tuple[float, bytes]]) -> None:
    assert list(pieces_of(reads(BODY[:5], BODY[5:]), cut)) == expected


def test_bytes_are_sent_one_by_one_at_their_own_times() -> None:
    pieces = list(pieces_of(reads(b"ab", b"c"), "bytes"))
    assert pieces == [(0.0, b"a"), (0.0, b"b"), (1.0, b"c")]


@given(st.lists(st.integers(1, len(BODY) - 1), max_size=8), st.sampled_from(CUTS))
def test_any_cut_gives_the_body_at_times_that_were_reached(places: list[int], cut: Cut) -> None:
    edges = [0, *sorted(set(places)), len(BODY)]
    came = reads(*(BODY[a:b] for a, b in pairwise(edges)))
    sent = 0
    for at_s, piece in pieces_of(came, cut):
        assert piece
        sent += len(piece)
        there = sum(len(read.data or b"") for read in came if read.at_s <= at_s)
        assert sent <= there, "a byte went out before it had come"
    assert b"".join(piece for _, piece in pieces_of(came, cut)) == BODY


def test_what_is_no_stream_passes_as_well() -> None:
    page = b"\x00\x01<html>" * 50
    for wire in ("sse", "ndjson", "json-array", "aws-event-stream"):
        came = [Read(at_s=0.0, text=page.decode())]
        assert b"".join(x for _, x in pieces_of(came, "frames", wire)) == page  # type: ignore[arg-type]


def test_once_decoding_was_given_up_reads_go_out_as_they_come() -> None:
    came = reads("\x01" * 40, "rest", "end")
    found = list(pieces_of(came, "frames", "aws-event-stream"))
    assert [at_s for at_s, _ in found] == [0.0, 1.0, 2.0]


def test_reads_of_which_only_the_size_is_known_have_no_pieces() -> None:
    assert list(pieces_of([Read(at_s=0.0, size=10)], "reads")) == []


@pytest.mark.parametrize("word", ["reads", "frames", "bytes"])
def test_words(word: str) -> None:
    assert read_cut(word) == word


def test_numbers_and_what_is_none() -> None:
    assert read_cut("100") == 100
    for wrong in ("0", "-1", "1.5", "lines", ""):
        with pytest.raises(ValueError, match="a cut is reads, frames, bytes"):
            read_cut(wrong)
