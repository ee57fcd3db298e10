"""One word for what a client did: how it ended first, then what it had printed."""

from __future__ import annotations

import json

import pytest

from unbroken.lab.oracle import Numbered
from unbroken.lab.score.verdict import (
    Facts,
    Ran,
    Request,
    Verdict,
    examine_output,
    judge,
    programming_error,
)

ANSWER = Numbered(tokens=40, seed=3)
TOKENS = list(ANSWER)
WHOLE = ANSWER.text
NODE = (
    "x.js:3\n  a.b.c\nTypeError: Cannot read properties of undefined (reading 'c')\n"
    "    at x.js:3\n\nNode.js v20.0.0"
)
HALF = " ".join(TOKENS[:20])
STRUCK = Request(at_s=0.0, strikes=[(1.0, "cut@50%")], sent_tokens=20, ended="clean")
AGAIN = Request(at_s=1.5, asked="prefill", sent_tokens=22, ended="whole")


def verdict_of(
    stdout: str = WHOLE,
    *,
    say: str = "text",
    requests: tuple[Request, ...] = (STRUCK,),
    **ran: object,
) -> tuple[Verdict, Facts]:
    known = {"started_s": 100.0, "ended_s": 103.0, **ran}
    one = Ran(stdout=stdout, **known)  # type: ignore[arg-type]
    report = examine_output(stdout, ANSWER, say=say, ended_well=one.exit_code == 0)
    return judge(one, report, requests, tokens=40)


@pytest.mark.parametrize(
    ("stdout", "ran", "verdict"),
    [
        (WHOLE, {}, "healed"),
        (WHOLE + "\n", {}, "healed"),
        (HALF, {}, "truncated silently"),
        ("", {}, "truncated silently"),
        (" ".join(TOKENS[:20]) + " " + TOKENS[20][:3], {}, "truncated silently"),
        (HALF, {"exit_code": 1}, "honest error"),
        ("", {"exit_code": 1}, "honest error"),
        (WHOLE, {"exit_code": 1}, "honest error"),
        (HALF + " " + WHOLE, {}, "corrupted"),
        (" ".join(TOKENS[:10] + TOKENS[12:]), {}, "corrupted"),
        (" ".join(TOKENS[:10] + TOKENS[12:]), {"exit_code": 1}, "corrupted"),
        (" ".join([*TOKENS[:10], TOKENS[11], TOKENS[10], *TOKENS[12:]]), {}, "corrupted"),
        (HALF + " Sorry, something went wrong.", {}, "corrupted"),
        (HALF, {"exit_code": None, "hung": True}, "hung"),
        (WHOLE, {"exit_code": None, "hung": True, "signal": 9}, "hung"),
        (HALF, {"exit_code": None, "signal": 11}, "crashed"),
        (HALF, {"exit_code": 139}, "crashed"),  # what a shell makes of a signal
        (HALF, {"exit_code": 1, "stderr": "Traceback\nKeyError: 'choices'\n"}, "crashed"),
        (WHOLE, {"exit_code": 0, "stderr": "KeyError: a warning\n"}, "healed"),
    ],
)
def test_the_verdict(stdout: str, ran: dict[str, object], verdict: Verdict) -> None:
    assert verdict_of(stdout, **ran)[0] == verdict


@pytest.mark.parametrize(
    ("stderr", "crash"),
    [
        ("Traceback ...\nAttributeError: 'NoneType' object has no attribute 'x'", True),
        ("IndexError: list index out of range", True),
        ("AssertionError", True),
        ("AttributeError: x\n\n", True),
        ("Caused by AttributeError: x\nunbroken.StreamTruncated: cut", False),
        ("openai.APIError: An error occurred", False),
        ("httpx.RemoteProtocolError: peer closed connection", False),
        ("json.decoder.JSONDecodeError: Expecting value", False),
        (NODE, True),
        ("TypeError: terminated\n    at Fetch.onAborted\n\nNode.js v20.0.0", False),
        ("TypeError: terminated", False),
        ("TypeError: fetch failed", False),
        ("ReferenceError: x is not defined\n    at y", True),
        ("thread 'main' (4) panicked at src/main.rs:3:5:\nindex out of bounds", True),
        ("panic: runtime error: index out of range\n\ngoroutine 1 [running]:", True),
    ],
)  # fmt: skip
def test_a_bug_is_told_from_an_error(stderr: str, crash: bool) -> None:
    assert bool(programming_error(stderr)) == crash


def test_damage_is_counted_with_its_first_place() -> None:
    text = " ".join([*TOKENS[:10], *TOKENS[12:20], TOKENS[15], *TOKENS[20:]])
    _, facts = verdict_of(text + " and more")
    assert (facts.lost.count, facts.lost.first) == (2, 10)
    assert (facts.repeated.count, facts.repeated.first) == (1, 15)
    assert facts.invented.count
    assert facts.invented.first == len(text) + 1
    assert not facts.whole


def test_a_short_text_taken_for_whole_is_laundered() -> None:
    assert verdict_of(HALF)[1].laundered
    assert not verdict_of(HALF, exit_code=1)[1].laundered


class TestTools:
    ARGUMENTS = json.dumps({"text": WHOLE})

    @pytest.mark.parametrize(
        ("stdout", "exit_code", "verdict"),
        [
            (ARGUMENTS, 0, "healed"),
            (ARGUMENTS + "\n", 0, "healed"),
            (json.dumps({"text": WHOLE}, ensure_ascii=False), 0, "healed"),
            (ARGUMENTS[:200], 0, "corrupted"),  # an application would choke on it, or worse
            (ARGUMENTS[:-1], 0, "corrupted"),
            (ARGUMENTS[:200], 1, "honest error"),
            (ARGUMENTS[:4], 1, "honest error"),
            (json.dumps({"text": HALF}), 0, "truncated silently"),  # "repaired" JSON
            ("", 0, "truncated silently"),
            ("", 1, "honest error"),
            (ARGUMENTS + ARGUMENTS, 0, "corrupted"),
            ("{}", 0, "corrupted"),
        ],
    )
    def test_arguments_must_be_the_json(self, stdout: str, exit_code: int, verdict: str) -> None:
        assert verdict_of(stdout, say="tool", exit_code=exit_code)[0] == verdict


class TestTimes:
    def test_healing_is_seen_on_standard_output(self) -> None:
        _, facts = verdict_of(requests=(STRUCK, AGAIN), printed_s=(100.2, 100.9, 101.2, 101.75))
        assert facts.first_token_s == 0.2
        assert facts.time_to_detect_s == 0.5
        assert facts.time_to_heal_s == 0.75  # bytes at 1.2 s came before the second request
        assert (facts.requests, facts.attempts, facts.tokens_bought) == (2, 2, 42)
        assert not facts.harmless

    def test_who_prints_at_the_end_has_healed_by_then(self) -> None:
        _, facts = verdict_of(requests=(STRUCK, AGAIN), printed_s=())
        assert facts.time_to_heal_s == 2.0

    def test_an_error_is_noticed_when_the_client_ends(self) -> None:
        _, facts = verdict_of(HALF, exit_code=1)
        assert (facts.time_to_detect_s, facts.time_to_heal_s) == (2.0, None)

    def test_who_never_notices_has_no_time_for_it(self) -> None:
        assert verdict_of(HALF)[1].time_to_detect_s is None
        assert verdict_of(HALF, exit_code=None, hung=True)[1].time_to_detect_s is None

    def test_of_several_strikes_the_longest_counts(self) -> None:
        late = Request(at_s=1.5, strikes=[(1.6, "stall")], ended="left")
        last = Request(at_s=2.5, ended="whole")
        _, facts = verdict_of(requests=(STRUCK, late, last), printed_s=(102.8,))
        assert facts.time_to_detect_s == 0.9

    def test_requests_that_were_refused_got_no_attempt(self) -> None:
        refused = Request(at_s=0.0, strikes=[(0.0, "http.503")], ended="refused")
        _, facts = verdict_of(requests=(refused, AGAIN))
        assert (facts.requests, facts.attempts) == (2, 1)


def test_one_request_that_was_enough_is_harmless() -> None:
    assert verdict_of()[1].harmless


def test_a_failure_without_a_fault_is_told_apart() -> None:
    assert verdict_of("", exit_code=1, requests=())[1].unprovoked
    assert verdict_of("", exit_code=1, requests=(AGAIN,))[1].unprovoked
    assert not verdict_of("", exit_code=1)[1].unprovoked
