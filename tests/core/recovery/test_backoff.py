"""When to try again: what providers ask for in all its forms, else exponential with jitter."""

from __future__ import annotations

import pytest

from unbroken.core.recovery.backoff import backoff_s, may_retry, retry_after_s

NOW = 1_700_000_000.0  # Tue, 14 Nov 2023 22:13:20 GMT

ASKED = {
    "none": ({}, None),
    "seconds": ({"retry-after": "7"}, 7.0),
    "fraction": ({"retry-after": "1.5"}, 1.5),
    "zero": ({"retry-after": "0"}, 0.0),
    "negative": ({"retry-after": "-3"}, 0.0),
    "milliseconds": ({"retry-after-ms": "1500"}, 1.5),
    "milliseconds win": ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
    "broken milliseconds": ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
    "date": ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
    "date in the past": ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0.0),
    "date with an offset": ({"retry-after": "Tue, 14 Nov 2023 23:13:50 +0100"}, 30.0),
    "old date form": ({"retry-after": "Tuesday, 14-Nov-23 22:13:50 GMT"}, 30.0),
    "words": ({"retry-after": "tomorrow"}, None),
    "empty": ({"retry-after": ""}, None),
    "not a number": ({"retry-after": "nan"}, None),
    "infinite": ({"retry-after": "inf"}, None),
    "not a number of milliseconds": ({"retry-after-ms": "nan", "retry-after": "2"}, 2.0),
    "a number too large": ({"retry-after": "1e300"}, None),
}


@pytest.mark.parametrize("name", ASKED)
def test_retry_after(name):
    headers, seconds = ASKED[name]
    assert retry_after_s(headers, wall_time=NOW) == seconds


def test_date_is_ignored_where_the_time_of_day_is_not_known():
    assert retry_after_s({"retry-after": ASKED["date"][0]["retry-after"]}, wall_time=None) is None


@pytest.mark.parametrize(
    ("status", "again"),
    [
        (408, True), (409, True), (425, True), (429, True), (500, True), (502, True),
        (503, True), (504, True), (520, True), (529, True), (498, True), (499, True),
        (400, False), (401, False), (402, False), (403, False), (404, False), (413, False),
        (422, False), (501, False),
    ],
)  # fmt: skip
def test_statuses_that_are_worth_another_try(status, again):
    assert may_retry(status, {}) == again
    assert may_retry(status, {"x-should-retry": "true"})
    assert not may_retry(status, {"x-should-retry": "false"})
    assert may_retry(status, {"x-should-retry": "perhaps"}) == again


@pytest.mark.seed("003-handler-backoff")
def test_backoff_doubles_up_to_a_limit():
    assert [backoff_s(tries, jitter=0.0) for tries in range(1, 8)] == [0.5, 1, 2, 4, 8, 8, 8]


@pytest.mark.seed("003-handler-backoff")
def test_jitter_only_shortens_and_by_a_quarter_at_most():
    assert backoff_s(3, jitter=1.0) == 1.5
    assert backoff_s(3, jitter=0.5) == 1.75


def test_any_number_of_tries_has_a_wait():
    assert backoff_s(5_000, jitter=0.0) == 8
