"""The times of a whole stream."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.scripted import ask
from unbroken.core.conduct import Conduct
from unbroken.core.deadlines import Deadlines, earliest
from unbroken.core.dialects import by_name
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Clocks, Mode, Options
from unbroken.core.outcome import AttemptRecord
from unbroken.core.received import Received
from unbroken.core.recovery.machine import Recovery

CLOCKS = Clocks(total_s=50.0, first_event_s=7.0)


def made(
    clocks: Clocks = CLOCKS, *, mode: Mode = "heal", owned: bool = True, wall_time: Any = 1000.0
) -> tuple[Deadlines, Recovery]:
    options = Options(mode=mode, clocks=clocks, max_recovery_s=20.0)
    recovery = Recovery(
        ask(), by_name("openai-chat"), options, Received(limit_bytes=99),
        jitter=lambda: 0.0, permit=lambda now: True,
    )  # fmt: skip
    conduct = Conduct.of(mode, owned=owned)
    deadlines = Deadlines(options, conduct, recovery, owned=owned, now=10.0, wall_time=wall_time)
    return deadlines, recovery


def test_the_earliest_of_those_that_are_set() -> None:
    assert earliest(None, 3.0, 2.0) == 2.0
    assert earliest(0.0, None) == 0.0
    assert earliest(None) is earliest() is None


def test_wall_time_goes_with_the_clock() -> None:
    assert made()[0].wall_time(12.5) == 1002.5
    assert made(wall_time=None)[0].wall_time(12.5) is None


@pytest.mark.parametrize("mode", ["heal", "raise"])
def test_a_stream_is_over_at_its_limit(mode: Mode) -> None:
    deadlines, _ = made(mode=mode, owned=False)
    assert deadlines.total() == deadlines.overall() == 60.0
    assert deadlines.overdue(59.9) is None
    late = deadlines.overdue(60.0)
    assert late is not None
    assert late.kind is FaultKind.STALLED
    assert late.detail == "the stream took longer than 50 s (clock total)"


def test_what_is_only_observed_under_an_sdk_is_never_overdue() -> None:
    deadlines, _ = made(mode="observe", owned=False)
    assert deadlines.overall() is None
    assert deadlines.overdue(1e9) is None
    assert made(mode="observe", owned=True)[0].overdue(60.0) is not None


def test_recovering_has_a_limit_of_its_own_while_it_lasts() -> None:
    deadlines, recovery = made(Clocks())
    assert deadlines.overall() is None
    recovery.decide(
        Fault.of(FaultKind.CONNECTION_RESET, "reset"), now=30.0, attempts=1, arrived=True,
        open_call_delivered=False, polite=True, until=None,
    )  # fmt: skip
    assert deadlines.overall() == 50.0
    late = deadlines.overdue(50.0)
    assert late is not None
    assert late.detail == "recovery took longer than 20 s"
    recovery.progressed(40.0)
    assert deadlines.overall() is None


@pytest.mark.parametrize(
    ("number", "owned", "due"),
    [(1, True, 12.0), (1, False, None), (2, True, 12.0), (2, False, 12.0)],
)
def test_the_sdk_waits_for_the_head_of_its_own_request(
    number: int, owned: bool, due: float | None
) -> None:
    deadlines, _ = made(owned=owned)
    record = AttemptRecord(number=number, started_at=5.0)
    assert deadlines.head(record) == due
    assert deadlines.unanswered(record, 11.9) is None
    late = deadlines.unanswered(record, 12.5)
    assert (late is None) == (due is None)
    if late is not None:
        assert late.detail == "no response head for 7.5 s (clock first-event)"
    assert made(Clocks(first_event_s=None))[0].head(record) is None
