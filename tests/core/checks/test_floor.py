"""The throughput floor: too slow is told at the right moment, and nothing else is."""

from __future__ import annotations

import pytest

from unbroken.core.checks.floor import Floor
from unbroken.core.checks.liveness import Liveness
from unbroken.core.events import Close, Event, Finish, Open, Reasoning, Refusal, Text, ToolCall
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Clocks

FLOOR = Clocks(floor_chars_per_s=5.0, floor_window_s=30.0)


class Watch:
    """A `Liveness` with a floor, which drivers look at twice a second."""

    def __init__(self, clocks: Clocks = FLOOR) -> None:
        self.liveness = Liveness(clocks, now=0.0)
        self.now = 0.0

    def runs(
        self, event: Event, *, every_s: float, until: float, step_s: float = 0.5
    ) -> Fault | None:
        """Let the event come again and again; return the fault that ends it."""
        due = self.now
        while self.now < until:
            if self.now >= due:
                self.liveness.receive(self.now)
                self.liveness.event(event, self.now)
                due += every_s
            self.now += step_s
            found = self.liveness.handle_timer(self.now)
            if isinstance(found, Fault):
                return found
        return None


def test_a_slow_drip_is_told_with_its_numbers() -> None:
    watch = Watch()
    fault = watch.runs(Text("slow"), every_s=1.0, until=300.0)
    assert fault is not None
    assert fault.kind is FaultKind.SLOW_DRIP
    assert fault.retryable
    assert 30.0 <= watch.now <= 31.5
    assert fault.detail == (
        "120 characters of text came in 30 s, under the floor of 5 a second"
        " (clock floor, phase text)"
    )


@pytest.mark.parametrize("event", [Text("hello"), Refusal("hello")])
def test_enough_is_enough(event: Event) -> None:
    assert Watch().runs(event, every_s=1.0, until=400.0) is None


def test_bursts_count_by_the_window() -> None:
    assert Watch().runs(Text("x" * 150), every_s=25.0, until=400.0) is None
    watch = Watch()
    fault = watch.runs(Text("x" * 149), every_s=40.0, until=400.0)
    assert fault is not None
    assert 30.0 <= watch.now <= 31.0


def test_text_that_slows_down_is_told_a_window_later() -> None:
    watch = Watch()
    assert watch.runs(Text("x" * 20), every_s=1.0, until=100.0) is None
    fault = watch.runs(Text("x"), every_s=1.0, until=300.0)
    assert fault is not None
    # 20 a second until 100; with 30 a window to come, 6 full seconds of it are too few.
    assert 122.0 <= watch.now <= 126.0


@pytest.mark.parametrize(
    ("event", "before"),
    [
        (Reasoning("a"), Open("reasoning")),
        (ToolCall(0, "{"), Open("tool")),
        (Text(""), Text("")),
        (Close(), Text("hello")),
        (Finish("stop", "stop"), Text("hello")),
    ],
    ids=["thinking", "tool input", "before content", "block closed", "finished"],
)
def test_only_text_that_is_being_written_has_a_floor(event: Event, before: Event) -> None:
    watch = Watch()
    watch.liveness.event(before, 0.0)
    watch.runs(event, every_s=1.0, until=90.0)
    assert watch.liveness._floor is not None
    assert watch.liveness._floor.due() is None


def test_the_window_begins_anew_after_thinking() -> None:
    watch = Watch()
    assert watch.runs(Text("a"), every_s=1.0, until=25.0) is None
    assert watch.runs(Reasoning("a"), every_s=1.0, until=50.0) is None
    assert watch.runs(Text("a"), every_s=1.0, until=79.0) is None
    assert watch.runs(Text("a"), every_s=1.0, until=90.0) is not None


def test_the_consumers_time_does_not_count() -> None:
    watch = Watch()
    for _ in range(12):  # it takes ten seconds over each delivery, and text came meanwhile
        watch.liveness.receive(watch.now)
        watch.liveness.event(Text("x" * 10), watch.now)
        assert watch.liveness.handle_timer(watch.now) is None
        watch.now += 10.0
        watch.liveness.resume(watch.now)
        watch.now += 1.0
        assert watch.liveness.handle_timer(watch.now) is None
    assert watch.runs(Text("x"), every_s=1.0, until=300.0) is not None


def test_timer_says_when() -> None:
    liveness = Liveness(FLOOR, now=0.0)
    liveness.receive(0.0)
    liveness.event(Text("x" * 200), 0.0)
    due = liveness.deadline()
    assert due is not None
    assert 30.0 <= due <= 31.0
    assert not isinstance(liveness.handle_timer(due - 0.01), Fault)
    assert isinstance(liveness.handle_timer(due), Fault)


@pytest.mark.parametrize("clocks", [Clocks(), Clocks(floor_chars_per_s=5.0, floor_window_s=None)])
def test_without_a_floor_nothing_is_counted(clocks: Clocks) -> None:
    liveness = Liveness(clocks, now=0.0)
    assert not liveness.counts_text
    liveness.wrote(5, 0.0)
    assert liveness._floor is None


@pytest.mark.parametrize("window_s", [0.05, 30.0, 36_000.0])
def test_memory_does_not_grow_with_the_stream(window_s: float) -> None:
    floor = Floor(chars_per_s=1.0, window_s=window_s)
    for number in range(5000):
        floor.wrote(1, number * window_s / 500)
    assert len(floor._slots) <= 34
    assert floor._sum == sum(characters for _, characters in floor._slots)
