"""Several choices (``n`` > 1): each is repeated, and gone on with, by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.core.scripted import Reply, Run, ask, play
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import by_name
from unbroken.core.received import Received

ONE = "Because rivers carry minerals from the rocks of the land into the sea."
TWO = "Since salt stays behind when the water leaves."
END = b"data: [DONE]\n\n"


def frame(*choices: dict[str, Any], **more: Any) -> bytes:
    payload = {"id": "answer-1", "object": "chat.completion.chunk", "created": 1,
               "model": "a-model", "choices": list(choices), **more}  # fmt: skip
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def piece(index: int, text: str = "", finish: str | None = None, **delta: Any) -> dict[str, Any]:
    content = {"content": text} if text else {}
    return {"index": index, "delta": {**content, **delta}, "finish_reason": finish}


def call(index: int, at: int, arguments: str, **named: Any) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": named["name"]} if named else {})}
    entry = {"index": at, "function": function, **({"id": named["id"]} if named else {})}
    return piece(index, tool_calls=[entry])


def answer(
    *texts: str, size: int = 5, together: bool = False, order: Sequence[int] = (), id: str = ""
) -> list[bytes]:
    """Frames of one answer with a choice for each text.

    Args:
        texts: What each choice says.
        size: Characters of each piece.
        together: One frame holds a piece of each choice; else a frame each, in turn.
        order: The choices one after the other, instead.
    """
    pieces = [[text[at : at + size] for at in range(0, len(text), size)] for text in texts]
    opening = [piece(n, role="assistant", content="") for n in range(len(texts))]
    said = [
        [piece(n, text) for text in own] + [piece(n, finish="stop")]
        for n, own in enumerate(pieces)
    ]  # fmt: skip
    rows = [[row[at] for row in said if at < len(row)] for at in range(max(map(len, said)))]
    if order:
        rows = [[each] for n in order for each in said[n]]
    elif not together:
        rows = [[each] for row in rows for each in row]
    more = {"id": id} if id else {}
    sent = [frame(each, **more) for each in opening] + [frame(*row, **more) for row in rows]
    usage = {"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}
    return [*sent, frame(usage=usage, **more), END]


REPEATS = {"temperature": 0, "n": 2}


def read(run: Run) -> Received:
    """Read what the consumer got as a reader of its own would."""
    attempt, received = Attempt(by_name("openai-chat"), choices=2), Received()
    for step in attempt.receive(run.delivered):
        received.add(step.frame, step.events)
    attempt.close("eof")
    assert attempt.faults == []
    return received


def payloads(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in data.split(b"\n") if line.startswith(b"data: {")]


def is_whole(run: Run) -> None:
    received = read(run)
    assert received.texts == run.outcome.texts == {0: ONE, 1: TWO}
    assert (run.outcome.status, run.outcome.complete, run.raised) == ("complete", True, None)
    assert run.outcome.finished_choices == [0, 1]
    finishes = [c["index"] for p in payloads(run.delivered) for c in p["choices"]
                if c["finish_reason"]]  # fmt: skip
    assert sorted(finishes) == [0, 1], "a finish came twice"
    assert len({p["id"] for p in payloads(run.delivered)}) == 1
    assert sum(not p["choices"] for p in payloads(run.delivered)) == 1, "an extra empty frame"
    roles = [c["index"] for p in payloads(run.delivered) for c in p["choices"]
             if "role" in c["delta"]]  # fmt: skip
    assert sorted(roles) == [0, 1]
    parts = run.outcome.provenance
    assert [part.start for part in parts] == [0, *(part.end for part in parts[:-1])]
    assert parts[-1].end == len(ONE), "provenance counts the characters of choice 0"


SHAPES = {
    "in turn": {}, "together": {"together": True}, "one after the other": {"order": (0, 1)},
    "the second first": {"order": (1, 0)},
}  # fmt: skip


@pytest.mark.parametrize("later", SHAPES)
@pytest.mark.parametrize("first", SHAPES)
def test_every_cut_is_healed_choice_by_choice(first, later):
    sent = answer(ONE, TWO, **SHAPES[first])
    again = answer(ONE, TWO, size=7, id="answer-2", **SHAPES[later])
    for cut in range(3, len(sent) - 2):
        run = play([Reply(sent[:cut], end="reset"), Reply(again)], request=ask(**REPEATS))
        assert run.rungs == ["first", "replay"]
        assert run.delivered.startswith(b"".join(sent[:cut]))
        is_whole(run)


def test_finished_choice_is_compared_and_not_delivered_again():
    sent = answer(ONE, TWO, order=(1, 0))
    cut = len(sent) - 6
    run = play([Reply(sent[:cut], end="reset"), Reply(answer(ONE, TWO))],
               request=ask(**REPEATS))  # fmt: skip
    new = payloads(run.delivered[len(b"".join(sent[:cut])) :])
    assert {choice["index"] for p in new for choice in p["choices"]} == {0}
    is_whole(run)


DIVERGES = {
    "the finished one says something else": (ONE, TWO.replace("stays", "rests")),
    "the finished one says more": (ONE, TWO + " And so it is."),
    "the finished one says less": (ONE, TWO[:-9]),
    "the open one says something else": (ONE.replace("rivers", "clouds"), TWO),
}


@pytest.mark.parametrize("name", DIVERGES)
@pytest.mark.parametrize("shape", SHAPES)
def test_choice_that_is_not_the_same_ends_the_rung_and_nothing_wrong_is_delivered(name, shape):
    sent = answer(ONE, TWO, order=(1, 0))
    cut = len(sent) - 6
    run = play([Reply(sent[:cut], end="reset"), Reply(answer(*DIVERGES[name], **SHAPES[shape]))],
               request=ask(**REPEATS))  # fmt: skip
    assert run.outcome.status == "failed"
    assert ONE.startswith(run.outcome.texts[0])
    assert run.outcome.texts[1] == TWO
    assert 1 in run.outcome.finished_choices
    assert b"[DONE]" not in run.delivered


def test_another_reason_for_the_end_is_another_answer():
    sent = answer(ONE, TWO, order=(1, 0))
    limited = [raw.replace(b'"stop"', b'"length"') if b'"index": 1' in raw else raw
               for raw in answer(ONE, TWO)]  # fmt: skip
    run = play([Reply(sent[:-6], end="reset"), Reply(limited)], request=ask(**REPEATS))
    assert run.outcome.status == "failed"
    assert run.outcome.texts[1] == TWO


def test_failure_names_the_choices_that_are_whole():
    sent = answer(ONE, TWO, order=(1, 0))
    run = play([Reply(sent[:-6], end="reset")], request=ask(n=2))
    assert (run.outcome.status, run.outcome.complete) == ("failed", False)
    assert run.outcome.finished_choices == [1]
    assert run.outcome.texts[1] == TWO
    assert ONE.startswith(run.outcome.texts[0])
    assert "not known to repeat" in run.skipped("replay")
    for rung in ("prefill", "user-turn"):
        assert "more than one choice" in run.skipped(rung)


def test_sampled_choices_are_not_replayed_however_little_was_delivered():
    run = play([Reply(answer(ONE, TWO)[:4], end="reset")], request=ask(n=2))
    assert "not known to repeat" in run.skipped("replay")


def test_usage_in_every_frame_makes_no_frame_without_a_choice():
    def counted(size: int) -> list[bytes]:
        sent = answer(ONE, TWO, size=size)
        usage = b'"usage": {"prompt_tokens": 5, "completion_tokens": 1}, "choices": [{'
        return [raw.replace(b'"choices": [{', usage) for raw in sent]

    sent = counted(5)
    for cut in range(3, len(sent) - 2):
        run = play([Reply(sent[:cut], end="reset"), Reply(counted(7))], request=ask(**REPEATS))
        is_whole(run)


def test_all_choices_finished_is_an_end_without_its_marker():
    sent = answer(ONE, TWO)
    run = play([Reply(sent[:-2])], request=ask(**REPEATS))
    assert run.kinds == ["missing-terminator"]
    assert run.outcome.finished_choices == [0, 1]


def test_choice_that_had_not_begun_begins_once():
    sent = answer(ONE, TWO, order=(0, 1))
    only_one = [raw for raw in sent[:9] if b'"index": 1' not in raw]
    run = play([Reply(only_one, end="reset"), Reply(answer(ONE, TWO))], request=ask(**REPEATS))
    assert run.rungs == ["first", "replay"]
    is_whole(run)


def test_calls_are_compared_by_choice_and_an_open_one_is_issued_again():
    def with_calls(id: str) -> list[bytes]:
        return [
            frame(call(0, 0, "", id=f"{id}-a", name="add")), frame(call(0, 0, '{"a": 1}')),
            frame(piece(0, finish="tool_calls")),
            frame(call(1, 0, "", id=f"{id}-b", name="mul")), frame(call(1, 0, '{"b":')),
            frame(call(1, 0, " 2}")), frame(piece(1, finish="tool_calls")), END,
        ]  # fmt: skip

    for cut in (3, 4, 5):
        run = play([Reply(with_calls("one")[:cut], end="reset"), Reply(with_calls("two"))],
                   request=ask(**REPEATS))  # fmt: skip
        assert run.rungs == ["first", "replay"]
        calls = {c.name: (c.id, c.arguments, c.complete) for c in run.outcome.tool_calls}
        assert calls == {"add": ("one-a", '{"a": 1}', True), "mul": ("two-b", '{"b": 2}', True)}
        read(run)
    other = [raw.replace(b'"add"', b'"sub"') for raw in with_calls("two")]
    run = play([Reply(with_calls("one")[:4], end="reset"), Reply(other)], request=ask(**REPEATS))
    assert run.outcome.status == "failed"
    assert [call.name for call in run.outcome.tool_calls] == ["add"]


def test_gemini_candidates_are_not_continued():
    def of(index: int, text: str) -> bytes:
        part = {"candidates": [{"index": index, "content": {"parts": [{"text": text}]}}]}
        return b"data: " + json.dumps(part).encode() + b"\r\n\r\n"

    request = ask("gemini", generationConfig={"candidateCount": 2, "temperature": 0})
    run = play([Reply([of(0, ONE[:9]), of(1, TWO[:9])], end="reset")],
               request=request, dialect="gemini")  # fmt: skip
    assert run.outcome.status == "failed"
    assert "cannot be continued in this API" in run.skipped("replay")
