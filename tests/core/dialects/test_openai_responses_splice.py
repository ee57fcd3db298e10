"""Responses, continued: the openai SDK takes a spliced body for one valid stream."""

from __future__ import annotations

import pytest

from tests.core.dialects.helpers import calls_of, decode, proven, read, request, splice
from tests.core.dialects.responses_kit import (
    CALLS,
    DIALECT,
    URL,
    WORDS,
    answer,
    calls,
    check,
    deltas,
    final,
    frame,
    index_of,
    payloads,
)
from tests.support import bodies
from unbroken.core.dialects.base import RequestFacts
from unbroken.core.events import Finish, Number, Reasoning, Start, Text
from unbroken.core.recovery.seam import AnchorMatch
from unbroken.core.recovery.situation import Plan
from unbroken.core.recovery.splice import Splice

STORED = RequestFacts(server_state=True)


def test_an_encoded_answer_is_what_the_sdk_expects():
    body = b"".join(answer("a", reasoning=("hm",), calls=CALLS))
    check(body)
    response = final(body)
    assert response.output_text == "".join(WORDS)
    assert calls(response) == [("call_a", "weather", '{"city":"Paris"}'), ("call_b", "clock", "{}")]


@pytest.mark.parametrize("reasoning", [(), ("Let me", " see")], ids=["plain", "thought"])
@pytest.mark.parametrize("tools", [(), CALLS], ids=["text", "calls"])
@pytest.mark.parametrize("rung", ["prefill", "user-turn"])
@pytest.mark.parametrize("anchor", ["", "tail "])
def test_a_continuation_anywhere_in_or_after_the_text(rung, tools, reasoning, anchor):
    first = answer("a", reasoning=reasoning, calls=tools)
    text = "".join(WORDS)
    start = index_of(first, b"event: response.output_text.delta") + 1
    stop = index_of(first, b'"type":"function_call"') if tools else len(first) - 1
    for cut in range(start, stop + 1):
        delivered = first[:cut]
        said = read(DIALECT, delivered).received.text
        rest = text[len(said) :]
        pieces = tuple(piece for piece in (anchor, rest[:3], rest[3:]) if piece)
        later = answer("b", text=pieces, reasoning=("again",), calls=tools)
        body = splice(DIALECT, delivered, later, rung=rung, repeated=len(anchor))
        check(body)
        response = final(body)
        assert response.output_text == text == deltas(body), f"cut at {cut}"
        assert response.id == "resp_a"
        assert calls(response) == [(c.id, c.name, "".join(c.arguments)) for c in tools]
        assert b"again" not in body
        seen = read(DIALECT, body)
        assert proven(DIALECT, seen.events)
        assert seen.received.open_blocks == {}


@pytest.mark.parametrize("stored", [False, True])
def test_a_replay_cut_anywhere(stored):
    first = answer("a", reasoning=("Let me", " see"), calls=CALLS)
    text = "".join(WORDS)
    later = answer("b", text=tuple(text), calls=CALLS)  # no reasoning, other pieces
    facts = STORED if stored else RequestFacts()
    start = index_of(first, b"event: response.output_text.delta") + 1
    held = [i for i, raw in enumerate(first) if b"function_call" in raw and b"s.done" not in raw]
    for cut in range(start, len(first)):
        if cut - 1 in held and b"output_item.done" not in first[cut - 1]:
            continue  # an open call is held, so such a prefix is never delivered
        said = len(read(DIALECT, first[:cut]).received.text)
        body = splice(DIALECT, first[:cut], later, rung="replay", repeated=said, facts=facts)
        check(body, same_ids=not stored)
        assert deltas(body) == text, f"cut at {cut}"
        if stored:  # what is sent back is what the provider keeps: the later attempt's
            assert payloads(body)[-1]["response"] == payloads(later[-1])[0]["response"]
        else:
            response = final(body)
            assert response.output_text == text
            assert calls(response) == [(c.id, c.name, "".join(c.arguments)) for c in CALLS]


def test_a_call_cut_in_its_arguments_is_issued_again():
    first = answer("a", calls=CALLS)
    delivered = first[: index_of(first, b'"type":"function_call"')]  # the rest is held
    later = answer("b", text=(), calls=CALLS)
    body = splice(DIALECT, delivered, later, rung="prefill")
    check(body)
    assert final(body).output_text == "".join(WORDS)
    assert [name for _, name, _ in calls(final(body))] == ["weather", "clock"]


def test_a_call_before_a_cut_message_is_closed_first():
    """The attempt goes on with a call alone: the open message ends before it begins."""
    first = answer("a")
    delivered = first[: index_of(first, b'"three')]
    later = answer("b", text=(), calls=CALLS)
    body = splice(DIALECT, delivered, later, rung="user-turn")
    check(body)
    kinds = [p["type"] for p in payloads(body)]
    second = [i for i, k in enumerate(kinds) if k == "response.output_item.added"][1]
    assert kinds[second - 1] == "response.output_item.done"
    assert final(body).output_text == "One two "


def test_nothing_is_written_before_the_seam_is_proven():
    """What a splicer returns for an unproven frame is not delivered; so it must lose nothing."""
    first = answer("a")
    delivered = first[: index_of(first, b'"four')]
    later = answer("b", text=("three, ", "four ", "five", " six."))
    splicer = DIALECT.splicer(
        read(DIALECT, delivered).received, rung="prefill", facts=RequestFacts()
    )
    frames = decode(DIALECT, b"".join(later))
    reader = DIALECT.reader()
    out: list[bytes] = []
    for each in frames:
        events = reader.read(each)
        proof = any(type(e) is Finish for e in events)
        kept = [e for e in events if type(e) not in (Start, Reasoning, Text, Number)]
        got = splicer.splice(each, kept, "four five six." if proof else "")
        assert proof or not got
        out += got
    body = b"".join([*delivered, *out])
    check(body)
    assert final(body).output_text == "One two three, four five six."


def test_text_goes_on_in_a_new_part_where_the_old_one_was_closed():
    first = answer("a")
    delivered = first[: index_of(first, b"content_part.done") + 1]
    body = splice(DIALECT, delivered, answer("b", text=(" More.",)), rung="prefill")
    check(body)
    response = final(body)
    assert [len(item.content) for item in response.output] == [2]
    assert response.output_text == "".join(WORDS) + " More."


def test_a_later_item_with_an_id_that_is_taken_gets_another():
    first = answer("same")
    delivered = first[: index_of(first, b"output_item.done") + 1]
    body = splice(DIALECT, delivered, answer("same", text=(" More.",)), rung="prefill")
    check(body)
    response = final(body)
    assert [item.id for item in response.output] == ["msg_resp_same", "msg_resp_same_2"]
    assert response.output_text == "".join(WORDS) + " More."


def test_an_end_closes_what_the_attempt_left_open():
    """Here the attempt says nothing but that it is done; and a hosted tool had begun before."""
    first = answer("a")[:-1]
    del first[index_of(first, b"output_item.done") :]
    tool = {"type": "response.output_item.added", "sequence_number": len(first),
            "output_index": 1, "item": {"type": "web_search_call", "id": "ws_1"}}  # fmt: skip
    later = [answer("b")[0], bytes(bodies.sse_frame(payloads(answer("b")[-1])[0]))]
    body = splice(DIALECT, [*first, bodies.sse_frame(tool)], later, rung="prefill")
    check(body)
    response = final(body)
    assert response.output_text == "".join(WORDS)
    assert [item.status for item in response.output] == ["completed", "incomplete"]


def test_a_cut_in_the_second_part_leaves_the_first_as_it_is():
    closed = answer("a")[: index_of(answer("a"), b"content_part.done") + 1]
    once = splice(DIALECT, closed, answer("b", text=(" And", " more")), rung="prefill")
    frames = [f.raw for f in decode(DIALECT, once)]
    cut = frames[: index_of(frames, b'" And"') + 1]
    twice = splice(DIALECT, cut, answer("c", text=(" again.",)), rung="prefill")
    check(twice)
    parts = [part.text for part in final(twice).output[0].content]
    assert parts == ["".join(WORDS), " And again."]


def test_a_second_splice_goes_on_from_the_first():
    first = answer("a")[: index_of(answer("a"), b'"three')]
    second = answer("b", text=("three, ", "four ", "five"))
    once = splice(DIALECT, first, second[: index_of(second, b'"five') - 0], rung="prefill")
    frames = [f.raw for f in decode(DIALECT, once)]
    twice = splice(DIALECT, frames, answer("c", text=("five, ", "six.")), rung="prefill")
    check(twice)
    assert final(twice).output_text == "One two three, four five, six."


def test_streams_without_numbers_or_part_openings_or_names():
    def bare(frames: list[bytes]) -> list[bytes]:
        kept = []
        for payload in payloads(b"".join(frames)):
            payload.pop("sequence_number")
            if "content_part" not in payload["type"]:
                kept.append(bodies.sse_frame(payload))
        return [*kept, b"data: [DONE]\n\n"]

    delivered = bare(answer("a")[: index_of(answer("a"), b'"four')])[:-1]
    body = splice(DIALECT, delivered, bare(answer("b", text=WORDS[3:])), rung="prefill")
    seen = payloads(body)
    assert all("sequence_number" not in p for p in seen)
    assert b"event:" not in body
    assert body.endswith(b"data: [DONE]\n\n")
    assert seen[-1]["response"]["output"][0]["content"][0]["text"] == "".join(WORDS)
    assert read(DIALECT, body).received.text == "".join(WORDS)


def test_an_incomplete_end_says_so_of_the_joined_answer():
    first = answer("a")[: index_of(answer("a"), b'"four')]
    body = splice(DIALECT, first, answer("b", text=("four",), finish="limit"), rung="prefill")
    check(body)
    last = payloads(body)[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["output"][0]["content"][0]["text"] == "One two three, four"


def test_annotations_of_the_later_text_count_from_the_whole():
    first = answer("a")[: index_of(answer("a"), b'"three')]  # "One two "
    note = {"type": "url_citation", "start_index": 4, "end_index": 9, "url": "u", "title": "t"}
    later = []
    for payload in payloads(b"".join(answer("b", text=("two ", "three")))):
        if payload["type"] == "response.output_text.done":
            where = {k: payload[k] for k in ("item_id", "output_index", "content_index")}
            later.append({"type": "response.output_text.annotation.added", **where,
                          "annotation_index": 0, "annotation": note})  # fmt: skip
        later.append(payload)
    for number, payload in enumerate(later):
        payload["sequence_number"] = number
    frames = [bytes(bodies.sse_frame(p, event=p["type"])) for p in later]
    body = splice(DIALECT, first, frames, rung="prefill", repeated=4)
    check(body)
    part = final(body).output[0].content[0]
    assert part.text == "One two three"
    assert part.text[part.annotations[0].start_index : part.annotations[0].end_index] == "three"


def test_half_a_surrogate_pair_passes_a_splice():
    first = answer("a")[: index_of(answer("a"), b'"four')]
    later = b"".join(answer("b", text=("A", "B"))).replace(b'"delta":"A"', b'"delta":"\\ud83d"')
    later = later.replace(b'"delta":"B"', b'"delta":"\\ude00"')
    body = splice(DIALECT, first, [later], rung="prefill")
    assert read(DIALECT, body).received.text == "One two three, \N{GRINNING FACE}"
    assert payloads(body)[-1]["response"]["output"][0]["content"][0]["text"].endswith(
        "\N{GRINNING FACE}"
    )


def test_the_providers_own_error_passes_unchanged():
    delivered = answer("a")[:6]
    splicer = DIALECT.splicer(read(DIALECT, delivered).received, rung="prefill", facts=STORED)
    failed = frame({"type": "response.failed", "response": {"status": "failed", "error": None}})
    assert splicer.splice(failed, DIALECT.reader().read(failed), "") == [failed.raw]


@pytest.mark.parametrize("reasoning", [(), ("hm", "m")])
def test_bodies_written_by_hand_splice_as_well(reasoning):
    tools = (bodies.ToolCall(name="f", fragments=('{"a":', "1}"), id="call_1"),)
    first = bodies.body(
        "openai-responses", bodies.Answer(tokens=WORDS, reasoning=reasoning, tools=tools)
    )
    cut = index_of(list(first), b'"three')
    later = bodies.body(
        "openai-responses", bodies.Answer(tokens=WORDS[2:], reasoning=("x",), tools=tools, tag="2")
    )
    body = splice(DIALECT, list(first[:cut]), list(later), rung="prefill")
    check(body)
    assert final(body).output_text == "".join(WORDS)
    assert calls(final(body)) == [("call_1", "f", '{"a":1}')]


@pytest.mark.parametrize("whole", [False, True], ids=["pieces", "one delta"])
@pytest.mark.parametrize("sent_part", [True, False], ids=["anchor", "all is anchor"])
def test_with_recoverys_own_splice(whole, sent_part):
    """It throws away what a splicer writes before the seam is proven."""
    text = "".join(WORDS)
    first = answer("a", reasoning=("hm",), calls=CALLS)
    start = index_of(first, b'"two') + 1
    for cut in range(start, index_of(first, b'"type":"function_call"') + 1):
        before = read(DIALECT, first[:cut]).received
        at = len(before.text) - 4 if sent_part else 0
        sent, anchor = before.text[:at], before.text[at:]
        rest = text[at:].lstrip()
        later = answer("b", text=(rest,) if whole else tuple(rest), reasoning=("x",), calls=CALLS)
        plan = Plan(
            rung="user-turn",
            request=request(URL, {}),
            matcher=AnchorMatch(sent=sent, anchor=anchor),
            guarantee="seam-verified",
        )
        joined = Splice(DIALECT, plan, before, facts=RequestFacts())
        reader = DIALECT.reader()
        out = list(first[:cut])
        for each in decode(DIALECT, b"".join(later)):
            for piece in joined.accept(each, reader.read(each)):
                out.append(piece.raw)
                before.add(piece.frame, piece.events)
        check(b"".join(out))
        assert final(b"".join(out)).output_text == text == before.text, f"cut at {cut}"
        assert calls_of(before) == [("weather", {"city": "Paris"}), ("clock", {})]
        assert before.open_blocks == {}
