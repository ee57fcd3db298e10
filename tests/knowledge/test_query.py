"""What texts, exceptions, faults and outcomes say."""

from __future__ import annotations

import pytest

from unbroken.core.faults import Fault, FaultKind
from unbroken.core.verdict import check
from unbroken.knowledge.query import query_of

# text, and what must be read out of it: classes, statuses, codes, kinds, providers
TEXTS = [
    ("httpx2.RemoteProtocolError: gone", {"RemoteProtocolError"}, set(), set(), (), set()),
    ("openai.APIError: Error code: 529 - {}", {"APIError"}, {529}, set(), (), {"openai"}),
    ("HTTP/1.1 502 Bad Gateway", set(), {502}, set(), (), set()),
    ("request failed with status code 429", set(), {429}, set(), (), set()),
    ("503 Service Unavailable", set(), {503}, set(), (), set()),
    ("503", set(), {503}, set(), (), set()),
    ("took 503 ms", set(), set(), set(), (), set()),
    ("Error: read ECONNRESET", set(), set(), {"econnreset"}, (), set()),
    ("code: 'UND_ERR_SOCKET'", set(), set(), {"und_err_socket"}, (), set()),
    ("claude: overloaded_error", set(), set(), {"overloaded_error"}, (), {"anthropic"}),
    ("truncated-between-events: ended", set(), set(), set(), ("truncated-between-events",), set()),
    ("stalled: no content", set(), set(), set(), ("stalled",), set()),
    ("it stalled twice", set(), set(), set(), (), set()),
    ("RESOURCE_EXHAUSTED of Gemini", set(), set(), {"resource_exhausted"}, (), {"google"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "classes", "statuses", "codes", "kinds", "providers"), TEXTS, ids=[t[0] for t in TEXTS]
)
def test_facts_of_a_text(
    text: str,
    classes: set[str],
    statuses: set[int],
    codes: set[str],
    kinds: tuple[str, ...],
    providers: set[str],
) -> None:
    query = query_of(text)
    assert classes <= set(query.classes)
    assert query.statuses == statuses
    assert codes <= query.codes
    assert query.kinds == kinds
    assert query.providers == providers
    assert not query.live


def test_of_a_long_log_the_lines_that_tell() -> None:
    many = [f"INFO request {n} served" for n in range(50_000)]
    many[31_000] = "ERROR openai.APIStatusError: Error code: 529"
    query = query_of("\n".join(many))
    assert [line.number for line in query.lines] == [31_001]
    assert query.statuses == {529}


def test_lines_that_are_alike_are_looked_at_once() -> None:
    query = query_of("\n".join(f"ERROR number {n} failed" for n in range(10_000)))
    assert len(query.lines) == 1


class Response:
    status_code = 429


class Loud(Exception):
    response = Response()

    @property
    def body(self) -> object:
        return {"error": {"type": "rate_limit_error", "code": "slow_down"}}

    @property
    def status_code(self) -> int:
        raise RuntimeError("not for you")

    def __str__(self) -> str:
        raise RuntimeError("not for you either")


def test_an_exception_whose_parts_raise_is_read_all_the_same() -> None:
    query = query_of(Loud())
    assert query.statuses == {429}
    assert {"rate_limit_error", "slow_down"} <= query.codes
    assert query.live


def test_errno_becomes_its_name() -> None:
    assert "econnreset" in query_of(ConnectionResetError(104, "Connection reset by peer")).codes


def test_groups_and_circles_of_causes_end() -> None:
    first, second = ValueError("one"), KeyError("two")
    first.__cause__, second.__cause__ = second, first
    query = query_of(ExceptionGroup("many", [first]))
    assert {"ValueError", "KeyError"} <= set(query.classes)


def test_a_deep_chain_ends() -> None:
    error: Exception = ValueError("0")
    for number in range(1, 500):
        outer = ValueError(str(number))
        outer.__cause__ = error
        error = outer
    assert len(query_of(error).lines) <= 12


def test_a_cause_that_was_hidden_stays_hidden() -> None:
    def fail() -> None:
        try:
            raise KeyError("inner")
        except KeyError:
            raise ValueError("outer") from None

    with pytest.raises(ValueError, match="outer") as caught:
        fail()
    assert "KeyError" not in query_of(caught.value).classes


@pytest.mark.parametrize(
    ("detail", "phase"),
    [
        ("no byte for 3.0 s in phase first-event (clock silence)", "waiting"),
        ("no content moved for 3.0 s in phase text (clock progress)", "text"),
        ("x in phase tool-input (clock)", "tool"),
        ("no response head for 9.0 s (clock first-event)", "connecting"),
        ("whatever", ""),
    ],
)
def test_a_fault_says_its_phase(detail: str, phase: str) -> None:
    query = query_of(Fault.of(FaultKind.STALLED, detail))
    assert query.phases == ({phase} if phase else frozenset())


def test_an_outcome_asks_for_the_fault_that_ended_it() -> None:
    body = b'data: {"choices": [{"index": 0, "delta": {"content": "hi"}}]}\n\n'
    query = query_of(check(body, "openai-chat", "eof"))
    assert query.kinds == ("truncated-between-events",)


def test_an_http_fault_says_its_status() -> None:
    fault = Fault.of(FaultKind.HTTP_ERROR, "the provider answered 529 (overloaded_error)")
    assert query_of(fault).statuses == {529}
    assert "overloaded_error" in query_of(fault).codes


@pytest.mark.parametrize("what", [None, 1, b"bytes", ["a"], object()])
def test_anything_else_is_a_type_error(what: object) -> None:
    with pytest.raises(TypeError, match=type(what).__name__):
        query_of(what)
