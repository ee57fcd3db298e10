"""Frames that cannot be read, by each rule."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.core.checks.completeness import Completeness
from unbroken.core.checks.findings import Findings
from unbroken.core.checks.malformed import Malformed
from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import MalformedPayloadError
from unbroken.core.events import Close, Event, Finish, Refusal, Start, Text, ToolCall, Whole
from unbroken.core.frames import Frame

DIALECT = by_name("openai-chat")
FRAME = Frame(event="message", payload=b"{", id="", retry=None, raw=b"data: {\n\n", offset=40)


def judge(rule: Any) -> tuple[Malformed, Findings, Completeness]:
    findings, completeness = Findings(lenient=True), Completeness(DIALECT)
    return Malformed(rule, findings, completeness), findings, completeness


def add(malformed: Malformed) -> None:
    malformed.add(FRAME, MalformedPayloadError("input ended"), number=3)


def call(**fields: Any) -> ToolCall:
    return ToolCall(**{"index": 0, "name": None, "arguments": "", **fields})


@pytest.mark.parametrize(
    ("rule", "severity", "retryable", "left_out_bytes"),
    [("recover", "fatal", True, 0), ("raise", "fatal", False, 0), ("skip", "warning", True, 9)],
)
def test_the_rule_decides(rule: str, severity: str, retryable: bool, left_out_bytes: int) -> None:
    malformed, findings, _ = judge(rule)
    add(malformed)
    (fault,) = findings.faults
    assert (fault.severity, fault.retryable) == (severity, retryable)
    assert (fault.at_byte, fault.frame) == (40, 3)
    assert malformed.left_out_bytes == left_out_bytes


@pytest.mark.parametrize(("rule", "fatal"), [("recover", False), ("skip", False), ("raise", True)])
def test_after_the_finish_it_is_left_out_unless_it_must_raise(rule: str, fatal: bool) -> None:
    malformed, findings, completeness = judge(rule)
    completeness.add(Finish("stop", "stop"))
    add(malformed)
    assert findings.faults[0].fatal is fatal


@pytest.mark.parametrize("end", [call(whole=True), Close(block=None), Finish("stop", "stop")])
def test_nothing_is_left_out_inside_a_function_call(end: Any) -> None:
    malformed, findings, _ = judge("skip")
    malformed.watch(call(name="f"), number=1, at_byte=8)
    add(malformed)
    malformed.watch(end, number=4, at_byte=60)
    add(malformed)
    assert [fault.severity for fault in findings.faults] == ["fatal", "warning"]


def test_a_call_whose_beginning_was_left_out_has_no_name() -> None:
    malformed, findings, completeness = judge("skip")
    malformed.watch(call(), number=1, at_byte=8)
    assert not findings.faults, "nothing was left out: the provider's own way"
    malformed, findings, completeness = judge("skip")
    malformed.watch(known := call(index=1, name="f", whole=True), number=1, at_byte=8)
    completeness.add(known)
    add(malformed)
    malformed.watch(call(index=1), number=4, at_byte=60)
    assert len(findings.faults) == 1
    malformed.watch(call(index=2), number=5, at_byte=70)
    assert findings.faults[1].detail.startswith("a tool call began without its name")


def test_a_fork_is_independent() -> None:
    malformed, findings, completeness = judge("skip")
    twin = malformed.fork(Findings(), completeness)
    twin.watch(call(name="f"), number=1, at_byte=8)
    add(twin)
    add(malformed)
    assert [fault.severity for fault in findings.faults] == ["warning"]
    assert (twin.left_out_bytes, malformed.left_out_bytes) == (0, 9)


# Bytes that are no UTF-8 ---------------------------------------------------------------------

SPOILT = Frame("message", b"{}", "", None, b"data: \xff\n\n", 40, undecodable_at=46)
TEXT = Text("\ufffd")


def passes(malformed: Malformed, *events: Event) -> bool:
    return malformed.judge_bytes(SPOILT, list(events), number=3)


@pytest.mark.parametrize("rule", ["recover", "raise"])
@pytest.mark.parametrize(
    "event", [TEXT, Refusal("no"), call(), call(kind="custom"), Whole("text", "a")]
)
def test_content_with_undecodable_bytes_is_judged_as_what_is_no_json(rule: str, event: Any) -> None:
    malformed, findings, _ = judge(rule)
    assert not passes(malformed, Start(), event)
    (fault,) = findings.faults
    assert (fault.kind.value, fault.severity) == ("invalid-utf8", "fatal")
    assert (fault.at_byte, fault.frame) == (46, 3)
    assert fault.retryable is (rule == "recover")
    assert malformed.left_out_bytes == 0


@pytest.mark.parametrize("rule", ["recover", "raise", "skip"])
@pytest.mark.parametrize("event", [Start(), Text(""), Finish("stop", "stop"), call(kind="server")])
def test_without_content_it_passes_and_the_wires_warning_is_enough(rule: str, event: Any) -> None:
    malformed, findings, _ = judge(rule)
    assert passes(malformed)
    assert passes(malformed, event)
    assert not findings.faults


def test_skip_lets_a_text_pass_and_no_function_call() -> None:
    malformed, findings, _ = judge("skip")
    assert passes(malformed, TEXT)
    assert passes(malformed, call(kind="custom"))
    assert not findings.faults
    assert not passes(malformed, call(whole=True))
    assert findings.faults[0].fatal
    assert findings.faults[0].retryable


@pytest.mark.parametrize("rule", ["recover", "skip", "raise"])
def test_behind_the_finish_it_is_left_out_unless_it_must_raise(rule: str) -> None:
    malformed, findings, completeness = judge(rule)
    completeness.add(Finish("stop", "stop"))
    assert not passes(malformed, TEXT)
    (fault,) = findings.faults
    assert fault.fatal is (rule == "raise")
    assert malformed.left_out_bytes == (0 if rule == "raise" else len(SPOILT.raw))
