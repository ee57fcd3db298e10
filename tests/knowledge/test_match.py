"""Which record wins, and that a wrong one never does."""

from __future__ import annotations

import pytest

from tests.knowledge.make import bare, known, record
from unbroken.core.faults import Fault, FaultKind
from unbroken.knowledge import explain
from unbroken.knowledge.load import Base


def ids(what: object, records: Base, **more: str) -> list[str]:
    return [m.record.id for m in explain(what, records=records, limit=None, **more).matches]  # type: ignore[arg-type]


class OverloadedError(Exception):
    def __init__(self, message: str, status_code: int) -> None:
        super().__init__(message)
        self.status_code = status_code


OverloadedError.__module__ = "anthropic._exceptions"

STRUCTURED = known(
    bare("llm/provider-error", structure={"fault_kinds": ["provider-error"]}),
    bare(
        "provider/overloaded",
        structure={"classes": ["OverloadedError"], "statuses": [529], "providers": ["anthropic"]},
    ),
    bare("provider/other-529", structure={"statuses": [529], "providers": ["elsewhere"]}),
    bare("proxy/bad-gateway", structure={"statuses": [502]}, regex="bad gateway"),
    bare("llm/stalled", structure={"fault_kinds": ["stalled"]}),
    bare("llm/stalled-tool", structure={"fault_kinds": ["stalled"], "phases": ["tool"]}),
    bare(
        "llm/stalled-ping",
        structure={"fault_kinds": ["stalled"], "details": ["pings went on"]},
    ),
)


def test_a_specific_structure_beats_a_fault_kind() -> None:
    error = OverloadedError("provider-error: too much", 529)
    assert ids(error, STRUCTURED)[0] == "provider/overloaded"


def test_a_status_that_contradicts_rules_out() -> None:
    assert ids(OverloadedError("bad gateway", 529), STRUCTURED)[0] == "provider/overloaded"
    assert "proxy/bad-gateway" not in ids(OverloadedError("bad gateway", 529), STRUCTURED)


@pytest.mark.parametrize(
    ("detail", "best"),
    [
        ("no content moved for 20.0 s in phase text (clock progress)", "llm/stalled"),
        ("no content moved for 20.0 s in phase tool-input (clock progress)", "llm/stalled-tool"),
        ("nothing, but pings went on", "llm/stalled-ping"),
    ],
)
def test_phase_and_detail_tell_faults_of_a_kind_apart(detail: str, best: str) -> None:
    fault = Fault.of(FaultKind.STALLED, detail)
    assert ids(fault, STRUCTURED)[0] == best
    assert STRUCTURED.fault_index.find(fault, phase=explain_phase(detail))[0].id == best


def test_a_note_of_our_own_says_which_record_it_is() -> None:
    text = "APIConnectionError: Connection error.\nwhy: x\nmore: unbroken explain llm/stalled-tool"
    assert ids(text, STRUCTURED)[0] == "llm/stalled-tool"


def explain_phase(detail: str) -> str:
    from unbroken.knowledge.query import phase_of

    return phase_of(detail)


def test_kinds_are_asked_for_by_name_too() -> None:
    assert ids(FaultKind.STALLED, STRUCTURED)[0] == "llm/stalled"
    assert ids("stalled", STRUCTURED)[0] == "llm/stalled"
    assert ids("app: stream failed: stalled: no content moved", STRUCTURED)[0] == "llm/stalled"


def test_a_word_of_every_day_is_no_kind() -> None:
    assert ids("the deployment stalled because of a review", STRUCTURED) == []


TOLD = known(
    bare("sdk/connection-error", regex="connection error", aliases=["Connection error."],
         structure={"classes": ["APIConnectionError"]}),
    bare("sdk/peer", regex="peer closed connection without sending complete message body",
         aliases=["peer closed connection without sending complete message body"]),
    bare("sdk/reset", regex="connection reset by peer", error_code="ECONNRESET",
         aliases=["[Errno 104] Connection reset by peer", "read ECONNRESET"]),
    bare("sdk/key", regex="KeyError: 'content'", structure={"classes": ["KeyError"]}),
    bare("sdk/words", aliases=["the quick gateway jumped over the lazy upstream"]),
    *(bare(f"sdk/filler-{n}", aliases=[f"connection filler{n} error stream closed timeout"])
      for n in range(20)),
)  # fmt: skip


def wrapped(outer: str, inner: str) -> Exception:
    class APIConnectionError(Exception):
        pass

    try:
        try:
            raise OSError(104, inner)
        except OSError as error:
            raise APIConnectionError(outer) from error
    except APIConnectionError as error:
        return error


def test_a_cause_says_more_than_what_wraps_it() -> None:
    error = wrapped("Connection error.", "Connection reset by peer")
    assert ids(error, TOLD)[:2] == ["sdk/reset", "sdk/connection-error"]


def test_so_it_does_in_a_traceback() -> None:
    text = """Traceback (most recent call last):
  File "a.py", line 3, in read
    raise APIConnectionError(request) from error
ConnectionResetError: [Errno 104] Connection reset by peer

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "b.py", line 9, in ask
openai.APIConnectionError: Connection error.
"""
    assert ids(text, TOLD)[:2] == ["sdk/reset", "sdk/connection-error"]
    assert explain(text, records=TOLD).matches[0].line == 4


def test_code_in_a_traceback_is_not_what_happened() -> None:
    text = """Traceback (most recent call last):
  File "a.py", line 3, in read
    except KeyError: raise APIConnectionError("x")
    ~~~~~^^
ValueError: nothing that anybody knows
"""
    assert ids(text, TOLD) == []


PEER = "peer closed connection without sending complete message body"


@pytest.mark.parametrize(
    ("text", "best"),
    [
        (f"httpx.RemoteProtocolError: {PEER} (received 17 bytes, expected 900)", "sdk/peer"),
        ("peer closed connection without sending", "sdk/peer"),  # a part of it
        ("2026-11-21 ERROR the quick gateway has jumped over our lazy upstream", "sdk/words"),
        (f"it was wrapped: {PEER}".replace(" ", "\n  "), "sdk/peer"),
        ("KeyError: 'content'", "sdk/key"),
        ("sdk/words", "sdk/words"),
    ],
)
def test_what_is_told_finds_its_record(text: str, best: str) -> None:
    assert ids(text, TOLD)[0] == best


def test_a_wrapping_of_many_words_says_less_all_the_same() -> None:
    loud = "the pipeline orchestrator relinquished its subscription prematurely"
    both = known(
        bare("a/outer", regex=loud, aliases=[loud], structure={"classes": ["APIConnectionError"]}),
        bare("b/inner", regex="socket hiccup", aliases=["socket hiccup"]),
    )
    assert ids(wrapped(loud, "socket hiccup"), both) == ["b/inner", "a/outer"]


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'choices_of_mine'",
        "ValueError: invalid literal for int() with base 10: 'x'",
        "my cat sat upon the gateway",
        "AssertionError",
        "Segmentation fault (core dumped)",
        "404 page not found",
        "everything is fine",
        "TypeError: unsupported operand type(s) for +: 'int' and 'str'",
        "error",
        "\x00\x01\x02",
        "?" * 5000,
    ],
)
def test_what_nobody_knows_finds_nothing(text: str) -> None:
    assert ids(text, TOLD) == []
    assert ids(text, STRUCTURED) == []


def test_exceptions_that_anything_raises_find_nothing() -> None:
    for error in (ValueError("x"), KeyError("foo"), RuntimeError(), OSError(2, "No such file")):
        assert ids(error, TOLD) == []


def test_installed_versions_decide_between_equals() -> None:
    both = known(
        record("a/old", versions=[{"version": "pytest<1"}]),
        record("b/new", versions=[{"version": "pytest>=7"}]),
        record("a/unknown", versions=[{"version": "no-such-package>=7"}]),
    )
    assert ids("the gadget lost its thread", both) == ["b/new", "a/unknown", "a/old"]


def test_confidence_and_tier_decide_between_equals() -> None:
    both = known(
        record("a/guess", confidence=0.5, verification_tier="ai_generated"),
        record("b/seen", confidence=0.5, verification_tier="reproduced"),
        record("c/sure", confidence=0.99, verification_tier="reproduced"),
    )
    assert ids("the gadget lost its thread", both) == ["c/sure", "b/seen", "a/guess"]


def test_reasons_are_told() -> None:
    match = explain(OverloadedError("x", 529), records=STRUCTURED).matches[0]
    assert [str(reason) for reason in match.why] == [
        "class OverloadedError",
        "status 529",
        "provider anthropic",
    ]


def test_a_provider_that_is_known_rules_others_out() -> None:
    assert ids("HTTP status 529", STRUCTURED, provider="anthropic")[:1] != ["provider/other-529"]


def test_an_index_error_in_a_pattern_of_the_users_is_told_not_raised() -> None:
    made = known(record("a/bad", regex="(a+)+thread", aliases=["(a+)+thread"]), record("b/good"))
    assert ids("the gadget lost its thread", made)[0] in ("a/bad", "b/good")
    assert any("a/bad" in problem for problem in made.problems)
