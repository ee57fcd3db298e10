"""What a caller may do, with time as an argument."""

from __future__ import annotations

import pytest

from unbroken.gateway.callers import Caller
from unbroken.gateway.config import CallerLimits
from unbroken.gateway.limits import Admission, Allowance, Limits, Refusal


def caller(team="a", **limits):
    return Caller(team=team, scope=None, limits=CallerLimits(**limits))


def test_streams_at_once():
    limits, one = Limits(), caller(streams=2)
    first, second = limits.admit(one, 0, 0.0), limits.admit(one, 0, 0.0)
    refused = limits.admit(one, 0, 0.0)
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.retry_after) == (429, "1")
    assert "2 requests" in refused.reason
    assert isinstance(limits.admit(caller("b", streams=2), 0, 0.0), Admission)
    first.release(0, 1.0)
    first.release(0, 1.0)  # once is enough
    assert limits.running("a") == 1
    assert isinstance(limits.admit(one, 0, 1.0), Admission)
    assert isinstance(limits.admit(one, 0, 1.0), Refusal)
    second.release(0, 1.0)
    assert limits.running("a") == 1


def test_requests_a_minute_come_back_evenly():
    limits, one = Limits(), caller(requests_per_minute=6)
    for _ in range(6):
        limits.admit(one, 0, 0.0).release(0, 0.0)
    refused = limits.admit(one, 0, 1.0)
    assert refused.retry_after_s == pytest.approx(9.0)
    assert isinstance(limits.admit(one, 0, 1.0 + refused.retry_after_s), Admission)
    assert isinstance(limits.admit(one, 0, 10.5), Refusal)
    # And never more than a minute's worth, however long it was quiet.
    assert sum(isinstance(limits.admit(one, 0, 9999.0), Admission) for _ in range(20)) == 6


def test_a_refused_request_costs_nothing():
    limits, one = Limits(), caller(requests_per_minute=1, bytes_per_minute=100)
    limits.admit(one, 0, 0.0)
    for _ in range(9):
        assert isinstance(limits.admit(one, 50, 0.0), Refusal)
    assert isinstance(limits.admit(one, 100, 60.0), Admission)


def test_bytes_of_requests_and_answers():
    limits, one = Limits(), caller(bytes_per_minute=600)
    running = limits.admit(one, 100, 0.0)
    running.release(1100, 0.0)  # 600 more than there were
    refused = limits.admit(one, 10, 0.0)
    assert refused.retry_after_s == pytest.approx(61.0)
    assert isinstance(limits.admit(one, 10, 60.9), Refusal)
    assert isinstance(limits.admit(one, 10, 61.0), Admission)


def test_a_request_larger_than_a_minute_waits_for_a_full_bucket_not_for_ever():
    limits, one = Limits(), caller(bytes_per_minute=60)
    limits.admit(one, 1, 0.0).release(0, 0.0)
    refused = limits.admit(one, 1000, 0.0)
    assert refused.retry_after_s == pytest.approx(1.0)
    assert isinstance(limits.admit(one, 1000, 1.0), Admission)


def test_a_clock_that_steps_back_gives_nothing():
    limits, one = Limits(), caller(requests_per_minute=1)
    limits.admit(one, 0, 100.0)
    assert isinstance(limits.admit(one, 0, 50.0), Refusal)
    assert isinstance(limits.admit(one, 0, 159.0), Refusal)
    assert isinstance(limits.admit(one, 0, 160.0), Admission)


def test_without_limits_nothing_is_refused():
    limits = Limits()
    assert all(isinstance(limits.admit(caller(), 10**9, 0.0), Admission) for _ in range(1000))


def test_an_allowance_is_never_more_than_it_is():
    memory = Allowance(10)
    assert memory.take(6)
    assert not memory.take(5)
    assert memory.take(4)
    memory.give(10)
    assert (memory.used, memory.peak) == (0, 10)
