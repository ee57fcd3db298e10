"""Places, the order of faults, and what is refused."""

from __future__ import annotations

import pytest

from tests.lab.bodies import TEXT, pieces
from tests.lab.injectors.playing import play
from unbroken.lab.injectors import INJECTORS, FaultError, Scene, Spec, injector_for
from unbroken.lab.injectors.at_place import divided
from unbroken.lab.parts import Piece


def contents(played):
    return [piece for piece in played.sent if piece.role == "content"]


@pytest.mark.parametrize("tokens", range(len(TEXT) + 1))
def test_tokens(tokens):
    played = play(f"cut@{tokens}t")
    assert len(contents(played)) == tokens
    assert played.whole.startswith(played.body)


@pytest.mark.parametrize("frames", [0, 1, 5])
def test_frames(frames):
    assert len(play(f"cut@{frames}f").sent) == frames


def test_comments_are_no_frames():
    body = pieces("openai-chat")
    body.insert(1, Piece(b": keep-alive\n\n", "ping", frame=99, event=False))
    played = play("cut@2f", body=body)
    assert [piece.event for piece in played.sent] == [True, False, True]


def test_bytes():
    whole = play("ok").body
    for at in (*range(0, 700, 7), len(whole)):
        assert play(f"cut@{at}b").body == whole[:at]


def test_shares():
    assert len(contents(play("cut@0.5"))) == len(TEXT) // 2
    assert len(contents(play("cut@0%"))) == 0
    assert len(contents(play("cut@100%"))) == len(TEXT)


def test_rand_is_within_the_answer_and_seeded():
    cuts = [len(contents(play("cut@rand", seed=seed))) for seed in range(40)]
    assert min(cuts) >= 1
    assert max(cuts) < len(TEXT)
    assert len(set(cuts)) > 3
    assert cuts == [len(contents(play("cut@rand", seed=seed))) for seed in range(40)]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("cut@99t", "cut@99t: the answer has only 11 deltas"),
        ("cut@1M", "cut@1000000b: the answer has only "),
        ("stall@400f", "frames"),
        ("duplicate@11t", "no content frame behind that place"),
        ("reorder@10t", "no 2 content frames behind that place"),
        ("join@10t", "no two content frames"),
        ("cut.half-utf8@11t", "no letter of several bytes"),
        ("tool-cut", "no tool call; ask for one with say=tool"),
        ("stall.ping", "openai-chat has no ping; it has dead, comment, empty"),
        ("error.overloaded", "openai-chat has no overloaded; it has server"),
        ("checksum", "checksum cannot be done in openai-chat; in bedrock-converse, "),
    ],
)
def test_impossible(fault, why):
    with pytest.raises(FaultError) as caught:
        play(fault)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", ["cut@0.5", "cut", "length"])
def test_impossible_before_the_answer_is_known(fault):
    with pytest.raises(FaultError, match="not known yet"):
        play(fault, known=False)


def test_a_place_that_never_comes_does_not_strike():
    played = play("cut@99t", known=False)
    assert played.strikes == []
    assert played.body == played.whole


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("split", "cut@5t"),
        ("gzip", "duplicate"),
        ("crlf", "cut@5t"),
        ("slow-head", "drop"),
        ("burst", "stall@1s"),
        ("http.503", "retry-after"),
    ],
)
def test_the_order_in_the_plan_means_nothing(one, other):
    first, second = play(f"{one}+{other}"), play(f"{other}+{one}")
    assert first.parts == second.parts
    assert first.head == second.head


def test_each_strikes_when_it_does():
    """The strike is noted between the part before the fault and that of the fault."""
    scene = Scene(dialect="openai-chat", healthy=pieces("openai-chat"))
    injector = injector_for(Spec(name="cut"), scene)
    for piece in pieces("openai-chat"):
        for part in injector.feed(piece):
            assert bool(scene.strikes) == (not isinstance(part, Piece))
        if scene.strikes:
            return
    pytest.fail("it never struck")


def test_divided_frames_are_counted_once():
    piece = Piece(b"abcdef", "content", frame=3, at_byte=10, pace_s=0.5)
    front, rear = divided(piece, 2)
    assert (front.data, front.role, front.event, front.pace_s) == (b"ab", "other", False, 0.5)
    assert (rear.data, rear.role, rear.event, rear.pace_s) == (b"cdef", "content", True, 0.0)
    assert (front.at_byte, rear.at_byte) == (10, 12)
    assert divided(piece, 0) == (None, piece)
    assert divided(piece, 6) == (piece, None)


@pytest.mark.parametrize("fault", ["split.bytes", "drip.byte@1ms", "bandwidth@x10", "burst"])
def test_tokens_are_still_counted(fault):
    """Whoever counts content pieces that hold an event counts the answer's tokens."""
    played = play(fault)
    assert len([piece for piece in contents(played) if piece.event]) == len(TEXT)


def test_what_is_put_in_is_no_token():
    for fault in ("duplicate@x3", "stall.empty@2s", "stall.comment@2s", "after-end@x3"):
        assert len(contents(play(fault))) == len(TEXT)


def test_the_table_has_what_the_issue_lists():
    assert set(INJECTORS) >= {
        "cut", "stall", "drip", "bandwidth", "burst", "duplicate", "reorder", "drop",
        "corrupt-json", "invalid-utf8", "bom", "crlf", "split", "join", "missing", "doubled",
        "error", "http", "retry-after", "page", "wrong-type", "gzip", "oversized", "endless",
        "tool-cut", "after-end", "ids",
    }  # fmt: skip
