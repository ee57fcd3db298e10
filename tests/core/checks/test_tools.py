"""Tool arguments: told when a finished call is not JSON, and only then."""

from __future__ import annotations

import pytest

from unbroken.core.checks.tools import arguments_valid, judge_calls
from unbroken.core.events import Finish, Meaning, ToolCall
from unbroken.core.received import Call, Received

VALID = ["{}", '{"a": 1}', "", "  ", "null", "[1]", '"text"', '{"a": {"b": []}}\n']
INVALID = ['{"a": ', "oops", "{'a': 1}", '{"a": 1}{"b": 2}', "{} {}", "NaN", "[" * 10_000]


@pytest.mark.parametrize("arguments", VALID)
def test_valid(arguments):
    assert arguments_valid(Call(index=0, pieces=[arguments]))


@pytest.mark.parametrize("arguments", INVALID, ids=lambda text: text[:20])
def test_invalid(arguments):
    assert not arguments_valid(Call(index=0, pieces=[arguments]))
    assert arguments_valid(Call(index=0, pieces=[arguments], kind="custom"))


def received(arguments: str, meaning: Meaning | None = "tool-calls", **more) -> Received:
    got = Received()
    got.add(None, [ToolCall(0, arguments, id="c", name="f", **more)])
    if meaning is not None:
        got.add(None, [Finish("x", meaning)])
    return got


@pytest.mark.parametrize(
    ("meaning", "told"),
    [("tool-calls", True), ("stop", True), ("limit", False), ("filter", False), (None, False)],
)
def test_only_a_finished_call_that_nothing_cut_is_told(meaning, told):
    faults = judge_calls(received('{"a": ', meaning))
    assert bool(faults) == told
    for fault in faults:
        assert (fault.kind, fault.severity) == ("invalid-tool-arguments", "fatal")
        assert not fault.retryable
        assert '{"a"' not in fault.detail


@pytest.mark.parametrize("meaning", ["limit", "filter"])
def test_call_whose_block_is_closed_although_the_limit_cut_it_is_no_fault(meaning):
    assert judge_calls(received('{"a": ', meaning, whole=True, block=1)) == []


def test_call_whose_block_was_closed_is_finished():
    assert judge_calls(received("oops", None, whole=True, block=1))


def test_server_tools_and_custom_tools_are_not_judged():
    assert judge_calls(received("oops", kind="server")) == []
    assert judge_calls(received("oops", kind="custom")) == []


def test_each_bad_call_is_told():
    got = Received()
    for index, arguments in enumerate(("{}", "oops", "{")):
        got.add(None, [ToolCall(index, arguments, name="f")])
    got.add(None, [Finish("tool_calls", "tool-calls")])
    assert [fault.detail.split()[2] for fault in judge_calls(got)] == ["1", "2"]
