"""The seam: what is proven to continue the answer, letter by letter, however it is cut."""

from __future__ import annotations

import pytest

from unbroken.core.recovery.seam import AnchorMatch, NoMatch, ReplayMatch

SENT, ANCHOR = "The sea is salt because ", "rivers carry"
WHOLE = SENT + ANCHOR


def result(matcher, text, size):
    """Feed text in pieces; return what is new, or None if it diverged."""
    new = "".join(matcher.feed(text[at : at + size]) for at in range(0, len(text), size))
    before = matcher.matched
    new += matcher.finish()
    assert before or not new or matcher.matched
    return None if matcher.diverged else new


ANCHORED = {
    # name: (what the model writes, what of it is new; None: refused)
    "goes on": ("rivers carry minerals", " minerals"),
    "goes on without a space": ("rivers carrying", "ing"),
    "only the anchor": ("rivers carry", ""),
    "the prefix is echoed": (WHOLE + " minerals", " minerals"),
    "the prefix is echoed and no more": (WHOLE, ""),
    "white space in front": ("\n\n rivers carry minerals", " minerals"),
    "white space in front of an echo": ("  " + WHOLE + " it", " it"),
    "white space behind is kept": ("rivers carry\n\n- minerals", "\n\n- minerals"),
    "white space behind is not doubled": ("rivers carry  two", "  two"),
    "anchor twice: the second is new": ("rivers carry rivers carry", " rivers carry"),
    "paraphrase": ("rivers bring minerals", None),
    "paraphrase by one letter": ("Rivers carry minerals", None),
    "other white space inside": ("rivers  carry minerals", None),
    "line end for a space": ("rivers\ncarry minerals", None),
    "apology": ("Sorry about that! rivers carry minerals", None),
    "quotation marks": ('"rivers carry minerals', None),
    "from the start in other words": ("The sea is salty since rivers", None),
    "goes on behind the anchor": (" minerals from the rocks", None),
    "part of the anchor": ("rivers car", None),
    "part of the echo": ("The sea is salt bec", None),
    "nothing": ("", None),
    "only white space": ("  \n", None),
}


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize("name", ANCHORED)
def test_anchored(name, size):
    written, new = ANCHORED[name]
    assert result(AnchorMatch(sent=SENT, anchor=ANCHOR), written, size) == new


def test_anchored_echo_and_first_new_token_in_one_delta():
    matcher = AnchorMatch(sent=SENT, anchor=ANCHOR)
    assert matcher.feed("The sea is salt") == ""
    assert matcher.feed(" because rivers carry miner") == " miner"
    assert matcher.feed("als") == "als"


def test_anchored_gives_nothing_before_the_proof_and_everything_after():
    matcher = AnchorMatch(sent=SENT, anchor=ANCHOR)
    assert [matcher.feed(piece) for piece in ("rivers", " ", "carr", "y", " on")] == [
        "", "", "", "", " on",
    ]  # fmt: skip


AMBIGUOUS = [
    # The answer repeats itself: its beginning is its anchor as well.
    ("ha ha ha ", "ha ha", "ha ha ha ha ha!", "!"),
    ("ha ha ha ", "ha ha", "ha ha!", "!"),
    ("a b a b ", "a b", "a b a b a b c", " c"),
    ("a b a b ", "a b", "a b c", " c"),
]


@pytest.mark.parametrize(("sent", "anchor", "written", "new"), AMBIGUOUS)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_where_the_echo_is_still_possible_it_is_waited_for(sent, anchor, written, new, size):
    assert result(AnchorMatch(sent=sent, anchor=anchor), written, size) == new


@pytest.mark.parametrize(
    ("sent", "anchor", "written"),
    [
        ("Caf", "e\u0301s are open", "e\u0301s are open now"),
        ("Go ", "to the 👩‍🚀 base", "to the 👩‍🚀 base now"),
        ("为什么", "海水很咸", "海水很咸 now"),
        ("line one\n", "\tindented code", "\tindented code now"),
        ("x", " " * 40 + "deep indentation", "deep indentation now"),
    ],
)
@pytest.mark.parametrize("size", [1, 4, 100])
def test_anchored_text_of_any_script(sent, anchor, written, size):
    assert result(AnchorMatch(sent=sent, anchor=anchor), written, size) == " now"


REPLAYED = {
    "the same and more": ("Hello wor", "Hello world", "ld"),
    "the same": ("Hello", "Hello", ""),
    "other": ("Hello", "Hi there", None),
    "other at the last letter": ("Hello", "Hella", None),
    "white space counts": ("Hello", " Hello", None),
    "shorter": ("Hello", "Hel", None),
    "nothing": ("Hello", "", None),
    "nothing was delivered": ("", "Hello", "Hello"),
    "longer echo does not matter": ("ha", "hahaha", "haha"),
}


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("name", REPLAYED)
def test_replayed(name, size):
    delivered, written, new = REPLAYED[name]
    assert result(ReplayMatch(delivered), written, size) == new


def test_nothing_more_is_given_back_after_a_divergence():
    for matcher in (ReplayMatch("Hello"), AnchorMatch(sent="a ", anchor="Hello")):
        assert matcher.feed("Hex") == ""
        assert matcher.diverged
        assert matcher.feed("Hello") == matcher.feed("a Hello") == matcher.finish() == ""
        assert not matcher.matched


def test_without_delivered_text_all_is_new():
    assert result(NoMatch(), "Hello", 2) == "Hello"


def test_work_is_linear_in_the_text():
    text = "word " * 40_000
    matcher = ReplayMatch(text)
    assert result(matcher, text + "end", 5) == "end"
    assert result(AnchorMatch(sent=text, anchor="the end"), text + "the end.", 5) == "."
