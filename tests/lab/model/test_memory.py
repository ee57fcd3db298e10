"""Reading on by a cursor, from every place there is; idempotency keys; and their limits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

import unbroken
from tests.lab.model.asking import MODEL, ask
from unbroken.lab.model import AnswerSettings, Asked, Memory, Reply, read_request, reply_to
from unbroken.lab.model.memory import Kept
from unbroken.lab.model.script import Script
from unbroken.lab.parts import Piece

SMALL = AnswerSettings(tokens=6, tps=10.0)


def body_of(answered: Reply) -> bytes:
    return b"".join(piece.data for piece in answered.pieces)


def get(memory: Memory, path: str, method: str = "GET", settings: Any = SMALL) -> Reply:
    asked = read_request(method, path, {}, b"")
    assert isinstance(asked, Asked), asked
    assert asked.streams_answer is (method == "GET" and "stream" in path)
    return reply_to(asked, settings, memory)


def first_id(answered: Reply) -> str:
    payload = next(p.data for p in answered.pieces if p.event).split(b"data: ", 1)[1]
    value = json.loads(payload)
    return str(value.get("response", value.get("interaction"))["id"])


def test_responses_from_every_number() -> None:
    memory = Memory()
    asked = ask("openai-responses", background=True)
    made = reply_to(asked, replace(SMALL, comments=2), memory)
    id = first_id(made)
    whole, events = body_of(made), [piece for piece in made.pieces if piece.event]
    assert body_of(get(memory, f"/v1/responses/{id}?stream=true")) == whole
    for number in range(len(events)):
        rest = get(memory, f"/v1/responses/{id}?stream=true&starting_after={number}")
        assert rest.way == "cursor"
        assert body_of(rest) == b"".join(piece.data for piece in events[number + 1 :])
        assert [piece.frame for piece in rest.pieces] == list(range(len(rest.pieces)))
    seen = unbroken.check(whole, dialect="openai-responses")
    assert seen.complete


def test_interactions_from_every_event() -> None:
    memory = Memory()
    made = reply_to(ask("gemini-interactions"), SMALL, memory)
    id, whole = first_id(made), body_of(made)
    assert unbroken.check(whole, dialect="gemini-interactions").complete
    for number, piece in enumerate(made.pieces[:-1]):
        event = json.loads(piece.data.split(b"data: ", 1)[1])["event_id"]
        rest = get(memory, f"/v1beta/interactions/{id}?stream=true&last_event_id={event}")
        assert body_of(rest) == b"".join(p.data for p in made.pieces[number + 1 :])
    refused = get(memory, f"/v1beta/interactions/{id}?stream=true&last_event_id=none")
    assert (refused.way, refused.head.status) == ("refused", 400)


def test_llamas_stream_from_every_byte() -> None:
    memory = Memory()
    headers = {"X-Conversation-Id": "c/1"}
    made = reply_to(ask("openai-chat", headers=headers), SMALL, memory)
    whole = body_of(made)
    for begin in range(len(whole) + 1):
        rest = get(memory, f"/v1/stream?conv_id=c%2F1&from={begin}")
        assert body_of(rest) == whole[begin:]
        assert [p.at_byte for p in rest.pieces[:1]] in ([0], [])
    assert get(memory, f"/v1/stream?conv_id=c%2F1&from={len(whole) + 1}").head.status == 400
    assert get(memory, "/v1/stream?conv_id=c%2F1", "DELETE").head.status == 200
    assert get(memory, "/v1/stream?conv_id=c%2F1&from=0").head.status == 404


@pytest.mark.parametrize(
    ("way", "more", "path"),
    [
        ("openai-responses", {"background": True}, "/v1/responses/{}?stream=true"),
        ("gemini-interactions", {}, "/v1beta/interactions/{}?stream=true"),
    ],
)
def test_pace_goes_on_behind_a_cursor(way: str, more: dict[str, Any], path: str) -> None:
    memory = Memory()
    made = reply_to(ask(way, **more), SMALL, memory)
    rest = get(memory, path.format(first_id(made)))
    assert [p.pace_s for p in rest.pieces] == [p.pace_s for p in made.pieces]
    assert [p.role for p in rest.pieces] == [p.role for p in made.pieces]


@pytest.mark.parametrize(
    ("way", "more"),
    [("openai-responses", {}), ("gemini-interactions", {"store": False}),
     ("openai-responses", {"background": True, "switched": "off"})],
)  # fmt: skip
def test_what_is_not_kept_is_not_found(way: str, more: dict[str, Any]) -> None:
    memory, settings = Memory(), SMALL
    if more.pop("switched", None):
        settings = AnswerSettings.from_plan({"no": "cursor"}, SMALL)
    id = first_id(reply_to(ask(way, **more), settings, memory))
    collection = "/v1/responses" if way == "openai-responses" else "/v1beta/interactions"
    refused = get(memory, f"{collection}/{id}?stream=true", settings=settings)
    assert (refused.way, refused.head.status) == ("refused", 404)
    assert json.loads(body_of(refused))


def test_kept_response_is_given_whole_cancelled_and_deleted() -> None:
    memory = Memory()
    made = reply_to(ask("openai-responses", background=True), SMALL, memory)
    path = f"/v1/responses/{first_id(made)}"
    whole = json.loads(body_of(get(memory, path)))
    assert whole["output"][0]["content"][0]["text"] == made.said
    assert json.loads(body_of(get(memory, path + "/cancel", "POST")))["status"] == "completed"
    assert json.loads(body_of(get(memory, path, "DELETE")))["deleted"] is True
    assert get(memory, path).head.status == 404


def test_model_of_a_cursor_is_that_of_its_answer() -> None:
    memory = Memory()
    made = reply_to(ask("openai-responses", background=True), SMALL, memory)
    path = f"/v1/responses/{first_id(made)}?stream=true"
    asked = read_request("GET", path, {}, b"")
    assert isinstance(asked, Asked)
    assert asked.model == ""
    assert memory.model_of(asked) == MODEL
    assert Memory().model_of(asked) == ""


# Idempotency ---------------------------------------------------------------------------------


def test_same_key_gives_the_same_answer_with_the_same_ids() -> None:
    memory = Memory()
    one = ask("anthropic-messages", headers={"Idempotency-Key": "k"})
    first, again = reply_to(one, SMALL, memory, 0), reply_to(one, SMALL, memory, 1)
    assert again.way == "repeat"
    assert body_of(again) == body_of(first)
    assert again.variant == first.variant == 0


def test_pieces_of_what_is_remembered_are_nobodys_to_change() -> None:
    memory = Memory()
    asked = ask("openai-responses", headers={"Idempotency-Key": "k"}, background=True)
    first = reply_to(asked, SMALL, memory)
    whole, path = body_of(first), f"/v1/responses/{first_id(first)}?stream=true"
    for answered in (first, reply_to(asked, SMALL, memory), get(memory, path)):
        assert body_of(answered) == whole
        for piece in answered.pieces:
            piece.data = b""
    assert body_of(get(memory, path)) == body_of(reply_to(asked, SMALL, memory)) == whole


def test_another_key_body_or_no_key_is_another_answer() -> None:
    memory = Memory()
    keyed = {"Idempotency-Key": "k"}
    first = reply_to(ask("anthropic-messages", headers=keyed), SMALL, memory)
    for asked in (
        ask("anthropic-messages", headers=keyed, temperature=1),
        ask("anthropic-messages", headers={"Idempotency-Key": "l"}),
        ask("anthropic-messages"),
    ):
        assert body_of(reply_to(asked, SMALL, memory)) != body_of(first)


def test_keys_can_be_switched_off() -> None:
    memory, off = Memory(), AnswerSettings.from_plan({"honours": "none"}, SMALL)
    asked = ask("anthropic-messages", headers={"Idempotency-Key": "k"})
    first = reply_to(asked, off, memory)
    assert body_of(reply_to(asked, off, memory)) != body_of(first)


# Limits --------------------------------------------------------------------------------------


def kept(size: int = 1) -> Kept:
    return Kept(
        asked=Asked(dialect="openai-chat", idempotency_key="k"),
        settings=SMALL,
        script=Script(text=""),
        id="lab00000001",
        pieces=(Piece(b"x" * size),),
    )


def known(memory: Memory, *ids: str) -> list[bool]:
    paths = (f"/v1/responses/{id}?stream=true" for id in ids)
    asks = [read_request("GET", path, {}, b"") for path in paths]
    return [
        isinstance(a, Asked) and a.cursor is not None and memory.kept_at(a.cursor) is not None
        for a in asks
    ]


def test_longest_unused_goes_first() -> None:
    memory = Memory(most=2)
    memory.keep("responses", "a", kept())
    memory.keep("responses", "b", kept())
    assert known(memory, "a") == [True]
    memory.keep("responses", "c", kept())
    assert known(memory, "a", "b", "c") == [True, False, True]


def test_bytes_are_bounded() -> None:
    memory = Memory(most_bytes=100)
    memory.keep("responses", "a", kept(60))
    memory.keep("responses", "b", kept(60))
    assert known(memory, "a", "b") == [False, True]
    memory.keep("responses", "huge", kept(101))
    assert known(memory, "b", "huge") == [False, False]
    memory.keep("responses", "c", kept(100))  # all of the room is there again
    assert known(memory, "c") == [True]
