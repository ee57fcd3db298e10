"""The answer as put together from events."""

from __future__ import annotations

from copy import deepcopy

import pytest

from unbroken.core.events import (
    Close,
    Finish,
    Number,
    Open,
    Other,
    Ping,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.frames import Frame
from unbroken.core.received import Received, Usage, join_pieces, merge_usage


def frame(payload: bytes = b"{}") -> Frame:
    return Frame("message", payload, "", None, payload, 0)


def received(*events, **how) -> Received:
    got = Received(**how)
    for event in events:
        got.add(frame(), [event])
    return got


def test_texts_are_kept_by_choice():
    got = received(Text("a"), Text("x", 1), Text("b"), Text(""))
    assert got.texts == {0: "ab", 1: "x"}
    assert (got.text, got.text_of(1), got.text_of(7)) == ("ab", "x", "")
    assert got.characters == 3


def test_refusal_and_reasoning_are_kept_apart_from_text():
    got = received(Reasoning("r"), Refusal("no"), Reasoning("", sealed=True), Text("t"))
    assert (got.text, got.reasoning, got.refusal) == ("t", "r", "no")


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([], ""),
        (["a", "b"], "ab"),
        (["Go \ud83d", "\ude80!"], "Go 🚀!"),
        (["Go \ud83d"], "Go "),
        (["\ude80!"], "\ufffd!"),
        (["a\ud83db"], "a\ufffdb"),
        (["\ud83d", "\ud83d", "\ude80"], "\ufffd🚀"),
        (["e", "\u0301"], "e\u0301"),
    ],
)
def test_pieces_are_joined_and_cut_pairs_mended(pieces, text):
    assert join_pieces(list(pieces)) == text
    again = list(pieces)
    assert join_pieces(again) == join_pieces(again)


def test_half_a_pair_is_text_once_its_other_half_came():
    got = received(Text("Go \ud83d"))
    assert got.text == "Go "
    got.add(frame(), [Text("\ude80")])
    assert got.text == "Go 🚀"
    assert got.characters == len("Go 🚀")


def test_characters_count_pairs_over_any_cut():
    pieces = ["a\ud83d", "\ude80", "\ud83d", "\ude80b", "c"]
    assert received(*map(Text, pieces)).characters == len("a🚀🚀bc")
    run = Received()
    run.add_texts(pieces, 0)
    assert run.characters == len(run.text) == len("a🚀🚀bc")


def test_calls_are_put_together_by_choice_and_index():
    got = received(
        ToolCall(0, '{"a"', id="c1", name="f"), ToolCall(0, ":1}"), ToolCall(1, id="c2", name="g"),
        ToolCall(0, "x", choice=1, name="h"),
    )  # fmt: skip
    assert [(c.id, c.name, c.arguments) for c in got.calls.values()] == [
        ("c1", "f", '{"a":1}'), ("c2", "g", ""), ("", "h", "x"),
    ]  # fmt: skip
    assert [call.complete for call in got.calls.values()] == [True, False, False]


def test_name_and_id_are_taken_once():
    got = received(ToolCall(0, id="c1", name="f"), ToolCall(0, id="c2", name="g"))
    (call,) = got.calls.values()
    assert (call.id, call.name) == ("c1", "f")


@pytest.mark.parametrize(
    ("meaning", "complete"),
    [
        ("tool-calls", [True, True]),
        ("stop", [True, True]),
        ("limit", [True, False]),
        ("filter", [True, False]),
        ("fault", [True, False]),
    ],
)
def test_finish_makes_calls_complete_but_the_one_that_it_cut(meaning, complete):
    got = received(ToolCall(0, "{}"), ToolCall(1, "{"), Finish("x", meaning))
    assert [call.complete for call in got.calls.values()] == complete


def test_calls_in_blocks_are_complete_when_they_say_so():
    got = received(
        ToolCall(0, "{}", block=0), ToolCall(1, "{}", block=1), ToolCall(0, whole=True, block=0)
    )
    assert [call.complete for call in got.calls.values()] == [True, False]


def test_usage_is_cumulative():
    usage = Usage()
    for report in (UsageReport(3, 1), UsageReport(None, 5, reasoning=2), UsageReport(4)):
        merge_usage(usage, report)
    assert (usage.input, usage.output, usage.reasoning, usage.cached_input) == (4, 5, 2, None)


def test_sequence_folds_runs():
    got = received(
        Reasoning("a"), Reasoning("b"), Text("c"), Text(""), Text("d"), ToolCall(0, name="f"),
        Other("image", content=True), Other("x"), ToolCall(9, kind="server"), Text("e"),
    )  # fmt: skip
    assert got.sequence == ["reasoning", "text", "call", "other", "text"]
    assert got.has_content
    assert not received(Start(), Text(""), Ping(), Reasoning("", sealed=True)).has_content


def test_blocks_that_are_open():
    got = received(Open("text", 0, 0), Open("tool", 0, 1), Close(0, 0), Open("other"))
    assert got.open_blocks == {1: "tool"}
    assert got.blocks_opened == 2


def test_start_and_numbers():
    got = received(Start("a", "m"), Start("b"), Number(4), Number(9))
    assert (got.id, got.model, got.last_number) == ("a", "m", 9)


def test_skeleton_holds_the_frames_that_are_more_than_deltas():
    got = Received()
    for name, event in (
        (b"start", Start()), (b"open", Open("text")), (b"text", Text("a")), (b"ping", Ping()),
        (b"call", ToolCall(0, name="f")), (b"piece", ToolCall(0, "{")), (b"usage", UsageReport(1)),
        (b"end", Finish("stop", "stop")),
    ):  # fmt: skip
        got.add(frame(name), [event])
    got.add(frame(b"both"), [Text("a"), Close()])
    assert [payload for _, payload in got.skeleton] == [b"start", b"open", b"call", b"end", b"both"]


def test_beyond_the_limit_it_counts_and_keeps_nothing_more():
    got = received(Start(), Text("a" * 90), limit_bytes=100)
    assert not got.overflowed
    got.add(frame(), [Text("b" * 90)])
    assert got.overflowed
    assert got.skeleton == []
    assert got.characters == 180
    assert got.kept_text == "a" * 90
    with pytest.raises(ValueError, match="180 characters"):
        _ = got.text
    with pytest.raises(ValueError, match="180 characters"):
        list(got.pieces())
    got.add(frame(), [Reasoning("r" * 99), ToolCall(0, "{"), Refusal("x")])
    assert (got.refusal, got.calls[0, 0].arguments) == ("", "")
    assert got.sequence == ["text", "reasoning", "call", "refusal"]


def test_run_of_texts_is_the_same_as_one_by_one():
    pieces = [f"{n} " for n in range(10_000)]
    run, single = Received(), received(*map(Text, pieces))
    run.add_texts(pieces[:7000], 0)
    run.add_texts(pieces[7000:], 0)
    assert run.text == single.text
    assert (run.characters, run.sequence) == (single.characters, single.sequence)


EVENTS = [
    Start("id", "m"), Open("text", 0, 0), Text("a", 0, 0), Reasoning("r"), Refusal("n"), Number(3),
    ToolCall(0, "{", id="c", name="f"), Close(0, 0), UsageReport(1, 2), Other("i", content=True),
    Finish("stop", "stop"),
]  # fmt: skip


def state(got: Received) -> dict:
    return {
        name: deepcopy(getattr(got, name))
        for name in (
            "id", "model", "texts", "reasoning", "refusal", "usage", "finishes", "open_blocks",
            "blocks_opened", "last_number", "sequence", "skeleton", "overflowed", "characters",
        )
    } | {"calls": [(c.arguments, c.complete) for c in got.calls.values()]}  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_fork_is_the_same_and_goes_its_own_way(event):
    got = received(*EVENTS, Text("x", 1))
    fork, before = got.fork(), state(got)
    assert state(fork) == before
    fork.add(frame(b"more"), [event])
    fork.add(frame(b"more"), [Text("more"), ToolCall(0, "more"), Open("text", 0, 9)])
    fork.add(frame(b"more"), [Finish("x", "limit", 5), UsageReport(99), Close(0, 0), Number(77)])
    assert state(got) == before
    assert state(fork) != before
    limited = received(Text("a" * 90), limit_bytes=100).fork()
    limited.add(frame(), [Text("b" * 90)])
    assert limited.overflowed
