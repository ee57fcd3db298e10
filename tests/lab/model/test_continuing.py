"""Answers that go on: after a prefill, from a quoted anchor, and the same again for a seed."""

from __future__ import annotations

import json
from typing import Any

import pytest

import unbroken
from tests.lab.model.asking import (
    HELLO,
    MODEL,
    PATHS,
    PREFILLED,
    WAYS,
    ask,
    body_of,
    dialect_of,
    limited,
    offered,
)
from unbroken.core.dialects import DIALECTS
from unbroken.core.recovery.ladder import _instruction
from unbroken.core.request import Request
from unbroken.lab.model import AnswerSettings, Asked, Memory, numbered_for, read_request, reply_to
from unbroken.lab.model.script import Script, write_script

SMALL = AnswerSettings(tokens=9)
TEXT = numbered_for(SMALL).text
OTHER = numbered_for(SMALL, 3).text
CONTINUE = "Your answer was cut off. Continue. Begin with exactly: {}\nNo greeting, no apology."


def said(
    way: str, *turns: tuple[str, str], settings: AnswerSettings = SMALL, **more: Any
) -> Script:
    return write_script(ask(way, *turns, **more), settings, 1)


@pytest.mark.parametrize("way", PREFILLED)
def test_prefill_at_every_cut_goes_on_exactly_there(way: str) -> None:
    least = 4 if way == "openai-completions" else 1  # a prompt's end must be told from its text
    for cut in range(least, len(TEXT) + 1):
        script = said(way, ("user", HELLO), ("assistant", TEXT[:cut]))
        assert script.way == "prefill", cut
        text = "".join(script.tokens)
        if script.variant == 0:
            assert TEXT[:cut] + text == TEXT
        else:  # the first letters of another variant's answer are the same
            assert cut < 6
            assert TEXT[:cut] + text == numbered_for(SMALL, script.variant).text


@pytest.mark.parametrize("way", PREFILLED)
def test_body_of_a_continuation_is_whole(way: str) -> None:
    asked = ask(way, ("user", HELLO), ("assistant", TEXT[:40]))
    answered = reply_to(asked, SMALL, Memory(), 1)
    body = b"".join(piece.data for piece in answered.pieces)
    seen = unbroken.check(body, dialect=dialect_of(way))
    assert seen.complete
    assert TEXT[:40] + seen.text == TEXT
    assert (answered.start, answered.said) == (40, TEXT[40:])


@pytest.mark.parametrize("way", PREFILLED)
def test_prefill_as_unbroken_writes_it(way: str) -> None:
    dialect = DIALECTS[dialect_of(way)]
    body = json.dumps(body_of(way)).encode()
    request = Request(method="POST", url="http://lab" + PATHS[way], body=body)
    for cut in (7, 20, 41, len(TEXT) - 1):
        again = dialect.prefill(request, TEXT[:cut], {"message": {"prefix": True}})
        assert again is not None
        asked = read_request("POST", PATHS[way], {}, again.body)
        assert isinstance(asked, Asked)
        script = write_script(asked, SMALL, 1)
        assert (script.way, script.start, script.text) == ("prefill", cut, TEXT)
        assert asked.prefill.endswith(TEXT[:cut])


@pytest.mark.parametrize(
    "way", [way for way in PREFILLED if way != "openai-completions"]
)  # fmt: skip
def test_user_turn_as_unbroken_writes_it(way: str) -> None:
    dialect = DIALECTS[dialect_of(way)]
    body = json.dumps(body_of(way)).encode()
    request = Request(method="POST", url="http://lab" + PATHS[way], body=body)
    for begin in range(1, len(TEXT) - 30):  # an anchor of 24 characters holds a whole token
        cut = begin + 24
        anchor = TEXT[begin:cut].strip()
        again = dialect.user_turn(request, TEXT[:cut], _instruction(anchor))
        assert again is not None
        asked = read_request("POST", PATHS[way], {}, again.body)
        assert isinstance(asked, Asked)
        script = write_script(asked, SMALL, 1)
        assert script.way == "anchor", (begin, anchor)
        assert "".join(script.tokens) == TEXT[TEXT.index(anchor) :]
        assert asked.anchor


def test_anchor_between_tags_quotes_and_from_another_variant() -> None:
    for quoted in ("<cut>{}</cut>", '"{}"', "`{}`", "“{}”"):
        anchor = OTHER[14:40].strip()
        turn = CONTINUE.format(quoted.format(anchor))
        script = said("openai-chat", ("user", HELLO), ("assistant", OTHER[:40]), ("user", turn))
        assert (script.way, script.variant) == ("anchor", 3)
        assert "".join(script.tokens) == OTHER[OTHER.index(anchor) :]


def test_anchor_needs_a_partial_answer_before_it() -> None:
    assert said("openai-chat", ("user", CONTINUE.format(TEXT[10:40]))).way == "whole"
    turns = (("user", TEXT[:40]), ("user", CONTINUE.format(TEXT[10:40])))
    assert said("openai-chat", *turns).way == "whole"
    turns = (("user", HELLO), ("assistant", TEXT[:40]), ("user", "Go on, please."))
    assert said("openai-chat", *turns).way == "whole"


@pytest.mark.parametrize(
    "turn",
    [
        "Your previous response was interrupted and ended with [{}]. Continue where you left off.",
        'Please go on from "{}" without repeating anything.',
        "{}\n\nResume the text above.",
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_turn_that_asks_to_continue_is_not_answered_with_the_words_again(
    turn: str, before: bool
) -> None:
    for cut in range(8, len(TEXT)):
        begun = (("user", HELLO), ("assistant", TEXT[:cut])) if before else ()
        script = said("openai-chat", *begun, ("user", turn.format(TEXT[:cut])))
        assert (script.way, script.start) == ("anchor", cut), TEXT[:cut]


def test_last_words_quoted_are_the_anchor() -> None:
    turn = f"You said: {TEXT[:30]}. " + CONTINUE.format(TEXT[40:66])
    script = said("cohere", ("user", HELLO), ("assistant", TEXT[:66]), ("user", turn))
    assert "".join(script.tokens) == TEXT[40:].lstrip()


@pytest.mark.parametrize("blank", ["", " ", "\n", "  \n\t"])
def test_white_space_at_the_end_is_forgiven(blank: str) -> None:
    stem = " ".join(TEXT.split(" ")[:3])
    script = said("anthropic-messages", ("user", HELLO), ("assistant", stem + blank))
    assert script.way == "prefill"
    assert (stem + " ").rstrip() + " " + "".join(script.tokens).lstrip() == TEXT


def test_words_of_the_application_may_stand_before() -> None:
    script = said("openai-chat", ("user", HELLO), ("assistant", "Of course: " + TEXT[:33]))
    assert (script.way, script.start) == ("prefill", 33)


@pytest.mark.parametrize("begun", ["Once upon a time", TEXT[1:30], TEXT[:20] + "x", "   "])
def test_what_is_not_recognised_is_answered_anew(begun: str) -> None:
    script = said("openai-chat", ("user", HELLO), ("assistant", begun))
    assert (script.way, script.start, script.variant) == ("whole", 0, 1)


def test_whole_answer_as_a_prefill_leaves_nothing_to_say() -> None:
    script = said("openai-chat", ("user", HELLO), ("assistant", TEXT))
    assert (script.way, script.tokens) == ("prefill", ())


def test_limit_counts_what_is_new() -> None:
    begun = " ".join(TEXT.split(" ")[:4])
    asked = ask("cohere", ("user", HELLO), ("assistant", begun), **limited("cohere", 2))
    answered = reply_to(asked, SMALL, Memory(), 1)
    assert begun + answered.said == " ".join(TEXT.split(" ")[:6])


def test_latest_attempt_is_looked_at_first() -> None:
    """One letter may begin several variants; what broke last is the likeliest."""
    first = [numbered_for(SMALL, v).text[0] for v in range(12)]
    twice = next((v, w) for v in range(12) for w in range(v) if first[v] == first[w])
    later, _ = twice
    asked = ask("openai-chat", ("user", HELLO), ("assistant", first[later]))
    assert write_script(asked, SMALL, later + 1).variant == later


def test_partial_arguments_are_never_gone_on_with() -> None:
    settings = AnswerSettings(tokens=9, say="tool")
    begun = '{"text": "' + TEXT[:40]
    script = said("openai-chat", ("user", HELLO), ("assistant", begun), settings=settings,
                  **offered("openai-chat"))  # fmt: skip
    assert (script.way, script.start) == ("whole", 0)


def test_turn_that_called_a_tool_is_no_prefill() -> None:
    message = {"role": "assistant", "content": TEXT[:40], "tool_calls": [{"id": "c"}]}
    body = {"model": MODEL, "messages": [{"role": "user", "content": HELLO}, message]}
    asked = read_request("POST", "/v1/chat/completions", {}, json.dumps(body).encode())
    assert isinstance(asked, Asked)
    assert asked.prefill == ""


def test_what_is_switched_off_is_not_honoured() -> None:
    prefilled = ask("openai-chat", ("user", HELLO), ("assistant", TEXT[:40]))
    turn = CONTINUE.format(TEXT[14:40].strip())
    anchored = ask("openai-chat", ("user", HELLO), ("assistant", TEXT[:40]), ("user", turn))
    seeded = ask("openai-chat", seed=5)
    off = AnswerSettings.from_plan({"no": "prefill-anchor-seed"}, SMALL)
    for asked in (prefilled, anchored):
        assert write_script(asked, SMALL, 2).way != "whole"
        assert write_script(asked, off, 2).way == "whole"
    assert write_script(seeded, SMALL, 2).variant == 0
    assert write_script(seeded, off, 2).variant == 2


@pytest.mark.parametrize(
    ("more", "variant"),
    [({}, 4), ({"temperature": 0}, 0), ({"temperature": 0.7}, 4), ({"seed": 11}, 0),
     ({"random_seed": 1}, 0)],
)  # fmt: skip
def test_seed_and_temperature_repeat_the_answer(more: dict[str, Any], variant: int) -> None:
    assert write_script(ask("openai-chat", **more), SMALL, 4).variant == variant


def test_session_with_a_variant_of_its_own_keeps_it() -> None:
    settings = AnswerSettings(tokens=9, variant=3)
    assert write_script(ask("openai-chat", temperature=0), settings, 1).text == OTHER
    asked = ask("openai-chat", ("user", HELLO), ("assistant", OTHER[:25]))
    assert write_script(asked, settings, 1).start == 25


def test_given_text_is_gone_on_with_too() -> None:
    settings = AnswerSettings(text="An answer  of somebody's\nown, in two lines.")
    assert settings.text is not None
    for cut in range(1, len(settings.text)):
        asked = ask("gemini", ("user", HELLO), ("assistant", settings.text[:cut]))
        script = write_script(asked, settings, 5)
        if settings.text[:cut].strip():
            assert settings.text[:cut].rstrip() == settings.text[: script.start].rstrip()


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("ollama")])
def test_ollama_loads_a_model_when_nothing_is_asked(way: str) -> None:
    body = {"model": MODEL, "keep_alive": 0}
    asked = read_request("POST", PATHS[way], {}, json.dumps(body).encode())
    assert isinstance(asked, Asked)
    answered = reply_to(asked, SMALL, Memory())
    line = json.loads(b"".join(piece.data for piece in answered.pieces))
    assert (line["done"], line["done_reason"]) == (True, "unload")
