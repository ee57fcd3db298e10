"""Responses: lost frames are written anew from what the provider repeats, or nothing is."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.core.dialects import responses_kit as kit
from tests.core.scripted import Reply, Run, play
from unbroken.core.dialects.payloads import sse
from unbroken.core.options import Options
from unbroken.core.request import Request
from unbroken.core.verdict import check

SEED = 20_261_121
HALVES = ("Go ", "\ud83d", "\ude80 up", "\n", "\n", "!")


def emitted(*payloads: dict[str, Any]) -> list[bytes]:
    frames = []
    for number, payload in enumerate(payloads):
        kind = payload["type"]
        frames.append(sse({"sequence_number": number, **payload}, event=kind))
    return frames


def response(status: str, output: list[Any]) -> dict[str, Any]:
    whole = json.loads(kit.answer("hand")[0].partition(b"data: ")[2])["response"]
    usage = {
        "input_tokens": 7, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 16,
    }  # fmt: skip
    done = {"output": output, "usage": usage} if output else {}
    now = "completed" if output else "in_progress"
    return {"type": f"response.{status}", "response": {**whole, "status": now, **done}}


def two_parts() -> list[bytes]:
    """One message with a text, a refusal and another text; then a custom call."""
    parts = [
        ("output_text", "text", HALVES), ("refusal", "refusal", ("I ", "will ", "not.")),
        ("output_text", "text", ("aaa", "a", "aa")),
    ]  # fmt: skip
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress"}
    added = "response.output_item.added"
    payloads: list[dict[str, Any]] = [response("created", []), response("in_progress", [])]
    payloads.append({"type": added, "output_index": 0, "item": {**item, "content": []}})
    content = []
    for place, (kind, key, pieces) in enumerate(parts):
        where = {"item_id": "msg_1", "output_index": 0, "content_index": place}
        extra: dict[str, Any] = {"annotations": [], "logprobs": []} if key == "text" else {}
        logprobs: dict[str, Any] = {"logprobs": []} if key == "text" else {}
        text = "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16")
        content.append({"type": kind, key: text, **extra})
        payloads += [
            {"type": "response.content_part.added", **where,
             "part": {"type": kind, key: "", **extra}},
            *({"type": f"response.{kind}.delta", **where, "delta": p, **logprobs} for p in pieces),
            {"type": f"response.{kind}.done", **where, key: text, **logprobs},
            {"type": "response.content_part.done", **where, "part": content[-1]},
        ]  # fmt: skip
    done = "response.output_item.done"
    whole = {**item, "status": "completed", "content": content}
    call = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_c", "name": "shell"}
    opened = {**call, "status": "in_progress", "input": ""}
    called = {**call, "status": "completed", "input": "ls -l"}
    of_call = {"item_id": "ctc_1", "output_index": 1}
    stem = "response.custom_tool_call_input"
    payloads += [
        {"type": done, "output_index": 0, "item": whole},
        {"type": added, "output_index": 1, "item": opened},
        {"type": f"{stem}.delta", **of_call, "delta": "ls "},
        {"type": f"{stem}.delta", **of_call, "delta": "-l"},
        {"type": f"{stem}.done", **of_call, "input": "ls -l"},
        {"type": done, "output_index": 1, "item": called},
        response("completed", [whole, called]),
    ]
    return emitted(*payloads)


def thinking() -> list[bytes]:
    """A reasoning item whose text is shown, with signs of life between its frames."""
    item = {"id": "rs_1", "type": "reasoning", "summary": []}
    where = {"item_id": "rs_1", "output_index": 0, "content_index": 0}
    part = {"type": "reasoning_text", "text": "So it is."}
    added, done = "response.output_item.added", "response.output_item.done"
    whole = {**item, "content": [part]}
    alive = {"type": "keepalive"}
    delta = {"type": "response.reasoning_text.delta", **where}
    said = [{**delta, "delta": piece} for piece in ("So ", "it is.")]
    return emitted(
        response("created", []), alive, {"type": added, "output_index": 0, "item": item}, alive,
        {"type": "response.content_part.added", **where, "part": {**part, "text": ""}}, alive,
        said[0], alive, said[1], alive,
        {"type": "response.reasoning_text.done", **where, "text": "So it is."}, alive,
        {"type": "response.content_part.done", **where, "part": part}, alive,
        {"type": done, "output_index": 0, "item": whole}, response("completed", [whole]),
    )  # fmt: skip


STREAMS = {
    "text": kit.answer("a"),
    "everything": kit.answer(
        "b", reasoning=("Let ", "me ", "think."), calls=kit.CALLS, finish="tool-calls"
    ),
    "parts": two_parts(),
    "limit": kit.answer("c", finish="limit"),
    "thinking": thinking(),
}
SIGNS = ("response.in_progress", "keepalive")
"""Frames that carry nothing of the answer: they are not made up."""


def lose(name: str, gone: set[int]) -> Run:
    """Lose frames; what is known when a gap is given up must make no difference."""
    body = [raw for number, raw in enumerate(STREAMS[name]) if number not in gone]
    at_once, late = (
        play(
            [Reply(body)],
            dialect="openai-responses",
            options=Options(max_attempts=1, reorder_window=window),
        )
        for window in (1, 64)
    )
    assert at_once.delivered == late.delivered
    return late


def kind_of(raw: bytes) -> str:
    return str(json.loads(raw.partition(b"data: ")[2])["type"])


def is_whole(name: str, run: Run) -> None:
    """What the user sees equals what the provider said, to the last field."""
    sent = b"".join(STREAMS[name])
    assert run.raised is None
    assert run.outcome.status in ("complete", "limited")
    got = kit.payloads(run.delivered)
    numbers = [payload["sequence_number"] for payload in got]
    assert numbers == sorted(set(numbers))
    final = helped if name != "limit" else last_response
    assert final(run.delivered).model_dump() == final(sent).model_dump()
    assert joined(got) == joined(kit.payloads(sent))


def helped(body: bytes) -> Any:
    """What the SDK's helper puts together; it refuses a stream with a hole in its lifecycle."""
    with kit.sdk(body).responses.stream(model="m", input="hi") as stream:
        return stream.get_final_response()


def last_response(body: bytes) -> Any:
    *_, last = kit.sdk(body).responses.create(model="m", input="hi", stream=True)
    return last.response


def joined(payloads: list[dict[str, Any]]) -> Any:
    """Return the stream with the deltas of one voice joined, and without numbers."""
    said: list[Any] = []
    for each in payloads:
        if each["type"] in SIGNS:
            continue  # it says nothing that the next one does not
        bare = {key: value for key, value in each.items() if key != "sequence_number"}
        voice = {key: value for key, value in bare.items() if key != "delta"}
        if "delta" in bare and said and said[-1][0] == voice:
            said[-1][1] += bare["delta"]
        else:
            said.append([voice, bare.get("delta", "")])
    return [
        [voice, text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")]
        for voice, text in said
    ]


@pytest.mark.parametrize(
    ("name", "number"), [(name, n) for name in STREAMS for n in range(len(STREAMS[name]) - 1)]
)
def test_any_one_frame_but_the_last_is_given_back_as_it_was(name, number):
    run = lose(name, {number})
    is_whole(name, run)
    (fault,) = [fault for fault in run.outcome.faults if fault.kind == "missing-event"]
    assert fault.severity == "warning"
    assert f"expected number {number} but got {number + 1}" in fault.detail
    if kind_of(STREAMS[name][number]) in SIGNS:
        assert "nothing of the answer is missing" in fault.detail
    else:
        assert kit.payloads(run.delivered) == kit.payloads(b"".join(STREAMS[name]))
        assert "repaired from" in fault.detail


@pytest.mark.parametrize("width", [2, 3, 5, 8])
@pytest.mark.parametrize("name", STREAMS)
def test_any_run_of_frames_is_given_back(name, width):
    last = len(STREAMS[name]) - 1
    for start in range(last - width + 1):
        is_whole(name, lose(name, set(range(start, start + width))))


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("seed", range(25))
def test_any_frames_are_given_back_though_others_swap_and_repeat(name, seed):
    chance = random.Random(f"{SEED} {name} {seed}")
    sent = STREAMS[name]
    gone = set(chance.sample(range(len(sent) - 1), chance.randint(1, 5)))
    body = [raw for number, raw in enumerate(sent) if number not in gone]
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(body) - 1)
        body[at], body[at + 1] = body[at + 1], body[at]
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(body))
        body.insert(at, body[at])
    run = play([Reply(body)], dialect="openai-responses", options=Options(max_attempts=1))
    is_whole(name, run)


@pytest.mark.parametrize("name", STREAMS)
def test_without_the_terminal_event_the_answer_is_cut(name):
    run = lose(name, {len(STREAMS[name]) - 1})
    assert run.raised is not None
    assert run.raised.kind == "truncated-between-events"


def test_two_holes_beside_each_other_share_what_is_missing():
    said = [n for n, raw in enumerate(STREAMS["thinking"]) if b"reasoning_text.d" in raw]
    run = lose("thinking", {said[-2], said[-1]})
    is_whole("thinking", run)
    assert kit.payloads(run.delivered) == kit.payloads(b"".join(STREAMS["thinking"]))


def test_what_nothing_gives_back_leaves_its_number_and_no_other():
    got = kit.payloads(lose("text", {1, 2}).delivered)
    assert [payload["sequence_number"] for payload in got[:3]] == [0, 2, 3]
    got = kit.payloads(lose("text", {0, 1, 2}).delivered)
    assert [payload["sequence_number"] for payload in got[:3]] == [0, 2, 3]


def test_a_stream_that_is_read_again_gets_no_beginning():
    start = first_delta("text")
    body = [*STREAMS["text"][start : start + 2], *STREAMS["text"][start + 4 :]]
    url = "https://api.openai.com/v1/responses/resp_1?stream=true&starting_after=9"
    run = play([Reply(body)], dialect="openai-responses",
               request=Request(method="GET", url=url, body=b""))  # fmt: skip
    assert run.raised is None
    assert b"response.created" not in run.delivered
    assert joined(kit.payloads(run.delivered)) == joined(
        kit.payloads(b"".join(STREAMS["text"][start:]))
    )


# What cannot be told -----------------------------------------------------------------------


def changed(name: str, gone: set[int], change: Any) -> Run:
    """Lose frames, and change what is left."""
    body = []
    for number, raw in enumerate(STREAMS[name]):
        if number in gone:
            continue
        head, _, data = raw.partition(b"data: ")
        payload = change(json.loads(data))
        if payload is not None:
            body.append(head + b"data: " + json.dumps(payload).encode() + b"\n\n")
    return play([Reply(body)], dialect="openai-responses", options=Options(max_attempts=1))


def text_of(run: Run) -> str:
    return kit.deltas(run.delivered)


def first_delta(name: str) -> int:
    return next(
        n for n, raw in enumerate(STREAMS[name]) if kind_of(raw) == "response.output_text.delta"
    )


@pytest.mark.parametrize(
    "whole",
    [
        "One two three, four five six.",
        "Two two three",
        "",
        None,
        7,
        "One ",
        "X" + "".join(kit.WORDS)[1:],
    ],
)
def test_a_repeated_text_that_does_not_fit_repairs_nothing(whole):
    def change(payload):
        if payload["type"] == "response.output_text.done":
            payload["text"] = whole
        return payload

    run = changed("text", {first_delta("text") + 1}, change)
    assert run.raised is not None
    assert run.raised.kind == "missing-event"
    assert "is not what came before and behind them" in run.raised.detail
    assert b"One " in run.delivered
    assert b"three" not in run.delivered, "nothing behind the gap was delivered"


def without(*kinds: str) -> Any:
    return lambda payload: None if payload["type"] in kinds else payload


def renumbered(change: Any) -> Any:
    """Leave frames out as a relay does that numbers what it passes on."""
    seen = iter(range(10_000))
    gone: dict[str, int] = {"at": 0}

    def both(payload):
        changed = change(payload)
        if changed is None:
            gone["at"] += 1
            return None
        next(seen)
        return {**changed, "sequence_number": payload["sequence_number"] - gone["at"]}

    return both


LEFT_OUT = {
    "text done": ("response.output_text.done",),
    "text and part done": ("response.output_text.done", "response.content_part.done"),
    "all but the terminal": (
        "response.output_text.done", "response.content_part.done", "response.output_item.done",
    ),
    "openings": ("response.output_item.added", "response.content_part.added"),
    "part openings": ("response.content_part.added",),
}  # fmt: skip


@pytest.mark.parametrize("left_out", LEFT_OUT)
@pytest.mark.parametrize("nth", [0, 1, 3, 5])
def test_a_service_that_leaves_lifecycle_out_is_repaired_from_what_it_sends(left_out, nth):
    run = changed("text", {first_delta("text") + nth}, renumbered(without(*LEFT_OUT[left_out])))
    assert run.raised is None
    assert text_of(run) == "".join(kit.WORDS)
    assert run.outcome.text == "".join(kit.WORDS)


def test_a_terminal_that_lists_nothing_leaves_the_gap():
    def change(payload):
        if payload["type"] == "response.completed":
            payload["response"]["output"] = []
        return payload

    last = len(STREAMS["text"]) - 1
    run = changed("text", set(range(first_delta("text") + 2, last)), change)
    assert run.raised is not None
    assert "nothing behind them repeats what they carried" in run.raised.detail


def test_a_hosted_tool_whose_beginning_is_lost_cannot_be_rebuilt():
    added = {"type": "response.output_item.added", "output_index": 0}
    done = {"type": "response.output_item.done", "output_index": 0}
    item = {"id": "ws_1", "type": "web_search_call", "status": "completed"}
    sent = emitted(response("created", []), added, {**done, "item": item},
                   response("completed", [item]))  # fmt: skip
    run = play([Reply([sent[0], *sent[2:]])], dialect="openai-responses",
               options=Options(max_attempts=1))  # fmt: skip
    assert run.raised is not None
    assert run.raised.kind == "missing-event"


# Recordings --------------------------------------------------------------------------------


def test_verdict_on_a_recording_has_the_repaired_text_and_says_so():
    gone = {first_delta("text"), first_delta("text") + 3}
    body = b"".join(raw for n, raw in enumerate(STREAMS["text"]) if n not in gone)
    outcome = check(body)
    assert (outcome.status, outcome.complete) == ("complete", True)
    assert outcome.text == "".join(kit.WORDS)
    assert [fault.severity for fault in outcome.faults] == ["warning", "warning"]
    assert all("repaired from response.output_text.done" in f.detail for f in outcome.faults)


def test_verdict_on_a_recording_that_cannot_be_repaired_reads_on():
    body = b"".join(STREAMS["text"][: first_delta("text") + 2])
    body += b"".join(STREAMS["text"][first_delta("text") + 3 : first_delta("text") + 5])
    outcome = check(body)
    assert outcome.status == "failed"
    assert next(fault.kind.value for fault in outcome.faults) == "missing-event"
    assert outcome.text == "One two four five \N{GRINNING FACE} "
