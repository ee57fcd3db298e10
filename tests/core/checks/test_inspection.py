"""One step's events through all checks; bodies through them all are in `test_attempt`."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.core.checks.beginning import Beginning
from unbroken.core.checks.completeness import Completeness
from unbroken.core.checks.findings import Findings
from unbroken.core.checks.inspection import Inspection, Step
from unbroken.core.dialects import by_name
from unbroken.core.events import End, Event, Finish, Ping, ProviderError, Start, Text, UsageReport
from unbroken.core.frames import Frame

FRAME = Frame(event="message", payload=b"{}", id="", retry=None, raw=b"data: {}\n\n", offset=40)
STOP = Finish("stop", "stop")


class Bench:
    """An inspection, and what it works with."""

    def __init__(
        self,
        dialect: str = "openai-chat",
        *,
        lenient: bool = False,
        choices: int = 1,
        empty: Any = "recover",
    ) -> None:
        self.findings = Findings(lenient=lenient)
        spoken = by_name(dialect)
        self.completeness = Completeness(spoken, choices=choices)
        self.beginning = Beginning(
            spoken, self.findings, self.completeness, host="", content_type="", never_begins=b""
        )
        self.inspection = Inspection(
            spoken,
            self.findings,
            self.completeness,
            self.beginning,
            choices=choices,
            malformed="recover",
            empty_answer=empty,
        )

    def add(self, *events: Event) -> bool:
        return self.inspection.add(Step(FRAME, list(events)), number=3, size_bytes=99)

    def close(self) -> list[str]:
        self.inspection.close("eof", pending=0, size_bytes=99, frames=4)
        return self.kinds

    @property
    def kinds(self) -> list[str]:
        return [fault.kind.value for fault in self.findings.faults]


def test_it_is_steady_after_text_until_anything_else_comes() -> None:
    bench = Bench()
    assert bench.add(Start(), Text("a", 0, None))
    assert bench.inspection.steady
    bench.add(Ping())
    assert not bench.inspection.steady
    bench.add(Text("b"))
    assert bench.inspection.steady
    bench.add(Text("c"), STOP)
    bench.add(Text("d"))
    assert not bench.inspection.steady, "the grammar has to say that it came after the finish"


@pytest.mark.parametrize("how", [{"choices": 2}, {"dialect": "openai-responses"}])
def test_it_is_never_steady_where_a_check_would_look(how: dict[str, Any]) -> None:
    bench = Bench(**how)
    bench.add(Text("a"))
    assert not bench.inspection.steady


def test_a_marker_without_a_finish_is_not_passed_on() -> None:
    bench = Bench()
    bench.add(Text("a"))
    assert not bench.add(End("[DONE]"))
    (fault,) = bench.findings.faults
    assert (fault.kind.value, fault.at_byte) == ("missing-finish", 50)
    assert "after 4 frames" in fault.detail
    lenient = Bench(lenient=True)
    lenient.add(Text("a"))
    assert lenient.add(End("[DONE]"))
    assert not lenient.kinds
    assert lenient.close() == ["missing-finish"]


def test_an_error_keeps_its_step_and_only_the_first() -> None:
    bench = Bench(lenient=True)
    assert bench.add(first := ProviderError("overloaded_error"))
    bench.add(ProviderError("other", retryable=False))
    assert bench.inspection.error_step is not None
    assert bench.inspection.error_step.events == [first]
    assert bench.kinds == ["provider-error", "provider-error"]
    assert [fault.retryable for fault in bench.findings.faults] == [True, False]


def test_a_finish_that_is_a_fault_is_told_once() -> None:
    bench = Bench(lenient=True)
    bench.add(Text("a"), ProviderError("x"), Finish("failed", "fault"))
    assert bench.kinds == ["provider-error"]
    bench = Bench(lenient=True)
    bench.add(Text("a"), Finish("failed", "fault"))
    assert bench.kinds == ["provider-error"]


@pytest.mark.parametrize(
    ("rule", "told"), [("recover", ["fatal"]), ("accept", ["warning"]), (None, [])]
)
def test_emptiness_is_told_once_by_its_rule(rule: Any, told: list[str]) -> None:
    bench = Bench(empty=rule)
    bench.add(STOP)
    bench.add(End("[DONE]"))
    bench.close()
    assert [fault.severity for fault in bench.findings.faults] == told


@pytest.mark.parametrize(
    ("meaning", "kind"), [("limit", "length-limit"), ("filter", "content-filtered")]
)
def test_an_end_that_was_cut_is_noted(meaning: Any, kind: str) -> None:
    bench = Bench()
    bench.add(Text("a"), Finish("why", meaning), End("[DONE]"))
    assert bench.close() == [kind]


def test_more_choices_than_any_model_writes_end_a_lenient_reading() -> None:
    bench = Bench(lenient=True)
    assert bench.add(*(Text("a", choice) for choice in range(1024)))
    assert not bench.kinds
    assert bench.add(Text("a", 1024)), "it was read"
    assert bench.kinds == ["protocol-violation"]
    assert bench.findings.stopped


def test_usage_and_a_fork_of_it() -> None:
    bench = Bench()
    bench.add(UsageReport(input=3))
    twin = bench.inspection.fork(bench.findings.fork(), bench.completeness.fork(), bench.beginning)
    twin.add(Step(FRAME, [UsageReport(output=5), STOP]), number=4, size_bytes=99)
    assert (bench.inspection.usage.input, bench.inspection.usage.output) == (3, None)
    assert (twin.usage.input, twin.usage.output) == (3, 5)
    assert not bench.kinds
    assert not bench.completeness.finished
