"""Healing, rung by rung: what is delivered is the answer, once, with its seam verified."""

from __future__ import annotations

import json

import pytest

from tests.core.scripted import SPLICED, Reply, Run, ask, frames, play, until
from unbroken.core.attempt import Attempt
from unbroken.core.dialects import DIALECTS, by_name
from unbroken.core.dialects.base import AnswerCall
from unbroken.core.options import Options
from unbroken.core.received import Received
from unbroken.core.request import Request

TEXT = (
    "The sea is salt because rivers carry minerals from the rocks of the land into it, and"
    " water alone leaves it again."
)
CUT_AT = 72
HOSTED = "https://api.openai.com/v1/chat/completions"
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def partial(dialect: str = "openai-chat", text: str = TEXT, at: int = CUT_AT) -> list[bytes]:
    return until(frames(text, dialect=dialect), text[:at], dialect=dialect)


def begun_turn(request: Request) -> str:
    """Return the text of the last turn, in any dialect."""
    body = request.json
    if "contents" in body:
        return body["contents"][-1]["parts"][-1]["text"]
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def obeys(dialect: str = "openai-chat", text: str = TEXT):
    """A model that goes on with its begun turn, or after the words it was asked to repeat."""

    def answer(request: Request) -> list[bytes]:
        said = begun_turn(request)
        if "Begin with exactly: " in said:
            anchor = said.split("Begin with exactly: ")[1].split("\n")[0]
            return frames(text[text.index(anchor) :], dialect=dialect, id="answer-2")
        return frames(text[len(said) :], dialect=dialect, id="answer-2")

    return answer


def is_whole(run: Run, dialect: str = "openai-chat", text: str = TEXT) -> None:
    """The consumer has one valid stream with the whole text, and the outcome says so."""
    attempt, received = Attempt(by_name(dialect)), Received()
    for step in attempt.receive(run.delivered):
        received.add(step.frame, step.events)
    attempt.close("eof")
    assert attempt.faults == []
    assert received.text == run.outcome.text == text
    assert attempt.completeness.finished
    assert (run.outcome.status, run.outcome.complete, run.raised) == ("complete", True, None)
    parts = run.outcome.provenance
    assert [part.start for part in parts] == [0, *(part.end for part in parts[:-1])]
    assert parts[-1].end == len(text)


CONTINUES = {
    "openai-chat": {}, "anthropic-messages": {"model": "claude-sonnet-4-5"}, "gemini": {},
    "ollama": {},
}  # fmt: skip


@pytest.mark.seed("003-handler-resume", "003-drop-buffer")
@pytest.mark.parametrize("dialect", CONTINUES)
@pytest.mark.parametrize("end", ["reset", "eof"])
def test_prefill_continues_at_a_verified_seam(dialect, end):
    request = ask(dialect, **CONTINUES[dialect])
    first = partial(dialect)
    run = play([Reply(first, end=end), Reply(obeys(dialect))], request=request, dialect=dialect)
    assert run.rungs == ["first", "prefill"]
    assert run.delivered.startswith(b"".join(first))
    is_whole(run, dialect)
    one, two = run.outcome.provenance
    assert (one.rung, one.guarantee, one.end) == ("first", "byte-exact", two.start)
    assert (two.attempt, two.guarantee) == (2, "seam-verified")
    assert two.anchor >= 8


SCRIPTS = {
    "emoji": "The sea 🚀🚀 is salt since rivers 👩‍🚀👩‍🚀 carry minérals from"
    " rocks 🇩🇪🇫🇷 into it all day.",
    "Chinese": "海水为什么是咸的呢？因为河流把陆地岩石中的矿物质带入了大海，而水自己又离开了，"
    "只有盐留下来越来越多，所以海水越来越咸。所有的河都是这样的啊",
    "code": "- one\n- two\n\n```python\nfor x in range(10):\n    print(x)\n```\n"
    "That is the whole program, no more.\n",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_any_cut_between_deltas_is_healed_for_any_script(text):
    sent = frames(text, size=1)
    for at in range(2, len(text) + 1):
        run = play(
            [Reply(sent[: at + 1], end="reset"), Reply(frames(text))],
            request=ask(temperature=0),
        )
        assert run.rungs == ["first", "replay"]
        is_whole(run, text=text)
        if len(text) - at > 60:
            continue
        run = play([Reply(sent[: at + 1], end="reset"), Reply(obeys(text=text))],
                   options=Options(rungs=("prefill",)))  # fmt: skip
        is_whole(run, text=text)


@pytest.mark.seed("001-retry-not-from-the-start", "003-handler-no-repeat")
@pytest.mark.parametrize("dialect", SPLICED)
def test_replay_suppresses_what_was_delivered(dialect):
    first = partial(dialect, at=40)
    run = play([Reply(first, end="reset"), Reply(frames(TEXT, dialect=dialect, size=9))],
               dialect=dialect)  # fmt: skip
    assert run.rungs == ["first", "replay"]
    assert run.delivered.startswith(b"".join(first))
    is_whole(run, dialect)
    assert run.outcome.provenance[1].guarantee == "prefix-verified"


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic-messages"])
def test_user_turn_continues_where_a_prefill_is_refused(dialect):
    request = ask(dialect, url=HOSTED if dialect == "openai-chat" else "", model="claude-sonnet-5")
    run = play([Reply(partial(dialect), end="reset"), Reply(obeys(dialect))],
               request=request, dialect=dialect)  # fmt: skip
    assert run.rungs == ["first", "user-turn"]
    assert "prefill" in run.skipped("prefill")
    is_whole(run, dialect)


def test_divergence_ends_the_replay_and_the_next_rung_is_taken():
    first = partial(at=60)[:-1]
    run = play(
        [Reply(first, end="reset"), Reply(frames("The sea is blue.")), Reply(obeys())],
        options=Options(),
    )
    assert run.rungs == ["first", "replay", "prefill"]
    assert b"blue" not in run.delivered
    is_whole(run)
    assert [part.attempt for part in run.outcome.provenance] == [1, 3]


ANSWERS_TO_A_PREFILL = {
    # name: what the model writes for the text that it was sent
    "echo": lambda sent: TEXT,
    "echo with white space": lambda sent: "\n " + TEXT,
    "goes on": lambda sent: TEXT[len(sent) :],
    "goes on without the space": lambda sent: TEXT[len(sent) :].lstrip(),
}
REFUSED = {
    "paraphrase": lambda sent: " stones" + TEXT[len(sent) :],
    "apology": lambda sent: "Sorry! " + TEXT[len(sent) :],
    "restart in other words": lambda sent: "Sea water is salty.",
    "nothing": lambda sent: "",
}


@pytest.mark.parametrize("size", [1, 5, 200])
@pytest.mark.parametrize("name", ANSWERS_TO_A_PREFILL)
def test_what_a_model_may_write_at_the_seam(name, size):
    write = ANSWERS_TO_A_PREFILL[name]
    run = play(
        [
            Reply(partial(), end="reset"),
            Reply(lambda asked: frames(write(begun_turn(asked)), size=size)),
        ]
    )
    is_whole(run)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_continuation_is_never_delivered_and_falls_to_the_next_rung(name):
    def misled(asked: Request) -> list[bytes]:
        return frames(REFUSED[name](begun_turn(asked)))

    first = partial()
    run = play([Reply(first, end="reset"), Reply(misled), Reply(misled), Reply(obeys())])
    assert run.rungs == ["first", "prefill", "prefill", "user-turn"]
    is_whole(run)
    run = play([Reply(first, end="reset"), *[Reply(misled)] * 4])
    assert run.rungs == ["first", "prefill", "prefill", "user-turn", "user-turn"]
    assert run.delivered == b"".join(first)
    assert run.raised is not None
    assert run.outcome.status == "failed"
    assert TEXT.startswith(run.outcome.text)


@pytest.mark.parametrize("status", [400, 422])
def test_refusal_of_a_prefill_falls_to_the_next_rung_for_good(status):
    run = play(
        [Reply(partial(), end="reset"), Reply(status=status),
         Reply(lambda asked: obeys()(asked)[:6], end="reset"), Reply(obeys())],
    )  # fmt: skip
    assert run.rungs == ["first", "prefill", "user-turn", "user-turn"]
    is_whole(run)


def test_tries_of_a_rung_are_counted_anew_where_something_new_was_delivered():
    def misled(asked: Request) -> list[bytes]:
        return frames("Sorry! Where was I?")

    def some(asked: Request) -> list[bytes]:
        return obeys()(asked)[:8]

    run = play([Reply(partial(at=66), end="reset"), Reply(misled), Reply(some), Reply(misled),
                Reply(obeys())], options=Options(max_added_input=20))  # fmt: skip
    assert run.rungs == ["first", *["prefill"] * 4]
    is_whole(run)


def test_stream_that_breaks_again_and_again_is_healed_each_time():
    def some(asked: Request) -> list[bytes]:
        return obeys()(asked)[:8]

    run = play([Reply(partial(at=66), end="reset"), Reply(some), Reply(some), Reply(obeys())],
               options=Options(max_added_input=20))  # fmt: skip
    assert len(run.rungs) == 4
    is_whole(run)
    assert [part.attempt for part in run.outcome.provenance] == [1, 2, 3, 4]


def test_half_a_surrogate_pair_is_not_delivered_and_comes_whole_from_the_next_attempt():
    text = TEXT[:CUT_AT] + "🚀 rockets"
    half = b'data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\n'
    first = frames(TEXT[:CUT_AT])[:-2]
    run = play([Reply([*first, half], end="reset"), Reply(obeys(text=text))])
    assert run.rungs == ["first", "prefill"]
    is_whole(run, text=text)
    assert b'ud83d"' not in run.delivered


def test_cut_inside_a_grapheme_is_continued_inside_it():
    text = TEXT[:CUT_AT] + "cafe\u0301 and 👩\u200d🚀 more"
    for at in range(CUT_AT, len(text)):
        first = frames(text, size=1)[: at + 1]
        is_whole(play([Reply(first, end="reset"), Reply(obeys(text=text))]), text=text)


def test_white_space_at_the_cut_is_neither_doubled_nor_lost():
    text = TEXT[:CUT_AT].rstrip() + " \n\n  - next, indented item\n"
    for at in range(CUT_AT - 1, len(text)):
        first = frames(text, size=1)[: at + 1]
        is_whole(play([Reply(first, end="reset"), Reply(obeys(text=text))]), text=text)


def test_last_frame_without_its_line_ends_is_delivered_with_them_if_it_proves_the_end():
    whole = b"".join(frames(TEXT)[:-1])
    run = play([Reply([whole[:-2]])])
    assert run.delivered == whole
    assert run.kinds == ["missing-terminator"]


def test_last_delta_without_its_line_ends_is_left_to_the_next_attempt():
    *before, last = partial()
    run = play([Reply([*before, last[:-2]]), Reply(obeys())])
    assert run.delivered.startswith(b"".join(before))
    is_whole(run)


# Where nothing may be continued -----------------------------------------------------------


ADD = AnswerCall(name="add", arguments=('{"a":', "1}"), id="c1")
NEVER = {
    "JSON mode": ({"response_format": {"type": "json_object"}}, partial()),
    "two choices": ({"n": 2}, partial()),
}


@pytest.mark.parametrize("name", NEVER)
def test_never_spliced(name):
    body, first = NEVER[name]
    run = play([Reply(first, end="reset")], request=ask(**body))
    assert run.raised is not None
    assert run.delivered == b"".join(first)
    assert all(skip.why for skip in run.outcome.skipped)


def test_two_choices_are_retried_before_content_only():
    sent = frames(TEXT)
    run = play([Reply(sent[:1], end="reset"), Reply([
        b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ])], request=ask(n=2))  # fmt: skip
    assert run.rungs == ["first", "retry"]
    assert run.outcome.texts == {0: "a", 1: "b"}


def test_second_choice_that_never_came_is_missed():
    one = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    run = play([Reply([one, b"data: [DONE]\n\n"])], request=ask(n=2))
    assert run.raised is not None
    assert run.raised.kind == "missing-finish"


# Reasoning --------------------------------------------------------------------------------


def test_reasoning_is_delivered_live_and_the_turn_issued_again_where_that_is_legal():
    whole = frames(TEXT, reasoning=("I see", " the sea."))
    run = play([Reply([whole[0], whole[1], 3.0, whole[2]], end="reset"),
                Reply(frames(TEXT, reasoning=("Other thoughts.",)))])  # fmt: skip
    assert run.delivered_at[0] == 0.0
    assert b"Other thoughts" not in run.delivered
    assert run.outcome.reasoning == "I see the sea."
    assert run.rungs == ["first", "retry"]
    is_whole(run)


def test_cut_inside_thinking_fails_where_the_block_cannot_be_closed_legally():
    sent = frames(TEXT, dialect="anthropic-messages", reasoning=("I see", " the sea."))
    at = next(n for n, raw in enumerate(sent) if b"the sea." in raw) + 1
    run = play([Reply(sent[:at], end="reset")], dialect="anthropic-messages")
    assert run.delivered == b"".join(sent[:at])
    assert run.raised is not None
    assert "reasoning" in run.skipped("retry")


def test_later_reasoning_never_follows_delivered_text():
    def thinks(asked: Request) -> list[bytes]:
        rest = TEXT[len(begun_turn(asked)) :]
        return frames(rest, reasoning=("Where was I?",))

    first = until(frames(TEXT, reasoning=("Hm.",)), TEXT[:CUT_AT])
    run = play([Reply(first, end="reset"), Reply(thinks)])
    assert run.outcome.reasoning == "Hm."
    assert b"Where was I" not in run.delivered
    is_whole(run)


# Ids that come back -----------------------------------------------------------------------


def test_stored_response_is_not_continued_by_another_turn():
    run = play([Reply(partial("openai-responses"), end="reset")], dialect="openai-responses")
    assert run.raised is not None
    for rung in ("prefill", "user-turn"):
        assert "id" in run.skipped(rung)


def test_replay_of_a_stored_response_ends_with_the_id_that_the_provider_holds_whole():
    request = ask("openai-responses", temperature=0)
    later = frames(TEXT, dialect="openai-responses", id="resp-2")
    run = play([Reply(partial("openai-responses"), end="reset"), Reply(later)],
               request=request, dialect="openai-responses")  # fmt: skip
    is_whole(run, "openai-responses")
    terminal = json.loads(run.delivered.rstrip().rsplit(b"data: ", 1)[1])
    assert terminal["type"] == "response.completed"
    assert terminal["response"]["id"] == "resp-2"


def test_every_done_and_terminal_object_carries_the_joined_text():
    request = ask("openai-responses", store=False)

    def answer(asked: Request) -> list[bytes]:
        said = asked.json["input"][-1]["content"]
        said = said if isinstance(said, str) else said[0]["text"]
        anchor = said.split("Begin with exactly: ")[1].split("\n")[0]
        return frames(TEXT[TEXT.index(anchor) :], dialect="openai-responses", id="resp-2")

    run = play([Reply(partial("openai-responses"), end="reset"), Reply(answer)],
               request=request, dialect="openai-responses")  # fmt: skip
    is_whole(run, "openai-responses")
    payloads = [json.loads(line[6:]) for line in run.delivered.split(b"\n") if b"data: {" in line]
    told = [p["text"] for p in payloads if p["type"] == "response.output_text.done"]
    told += [p["part"]["text"] for p in payloads if p["type"] == "response.content_part.done"]
    terminal = payloads[-1]["response"]
    told += [part["text"] for item in terminal["output"] for part in item["content"]]
    assert told == [TEXT] * 3
    assert terminal["id"] == payloads[0]["response"]["id"]
