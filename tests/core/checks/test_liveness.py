"""The clocks: their defaults, what counts as progress, notices, and whose time counts."""

from __future__ import annotations

import pytest

from tests.core.scripted import Reply, frames, play
from unbroken.core.checks.liveness import Liveness, StallNotice
from unbroken.core.events import (
    Close,
    End,
    Event,
    Finish,
    Number,
    Open,
    Other,
    Ping,
    Reasoning,
    Refusal,
    Start,
    Text,
    ToolCall,
    UsageReport,
)
from unbroken.core.faults import Fault
from unbroken.core.options import Clocks, Options

TEXT, THINKING, CALL = Text("a"), Reasoning("a"), ToolCall(0, '{"a"')


class Watch:
    """A `Liveness` at work: what it says, and when."""

    def __init__(self, clocks: Clocks | None = None) -> None:
        self.liveness = Liveness(clocks or Clocks(), now=0.0)
        self.now = 0.0

    def came(self, *events: Event, at: float) -> None:
        self.now = at
        self.liveness.receive(at)
        for event in events:
            self.liveness.event(event, at)

    def wait(self, until: float) -> list[tuple[float, str, str]]:
        """Let time pass; return (when, clock, notice or the fault's kind)."""
        said = []
        while (due := self.liveness.next_timer()) is not None and due <= until:
            assert self.liveness.handle_timer(due - 0.001) is None, "spoke too early"
            match self.liveness.handle_timer(due):
                case StallNotice(clock=clock):
                    said.append((due, clock, "notice"))
                case Fault(kind=kind, detail=detail):
                    said.append((due, detail.split("clock ")[1].split(",")[0], kind.value))
                    return said
        return said


def test_first_event_is_awaited_for_ten_minutes_while_pings_come():
    watch = Watch()
    said = []
    for at in range(50, 600, 50):
        said += watch.wait(at)
        watch.came(at=at)  # bytes, such as comments, but no event
    said += watch.wait(1000)
    assert said == [
        (200.0, "first-event", "notice"),
        (600.0, "first-event", "stalled"),
    ]


@pytest.mark.seed("003-handler-read-timeout", "003-quick-no-data")
def test_silence_is_ended_after_five_minutes():
    watch = Watch()
    watch.came(Start(), at=0.0)
    assert watch.wait(1000) == [
        (10.0, "progress", "notice"), (100.0, "silence", "notice"), (300.0, "silence", "stalled"),
    ]  # fmt: skip


PHASES = {
    # what came -> seconds without content until the attempt is given up, pings coming
    "text": ((Text("a"),), 120.0),
    "refusal": ((Refusal("a"),), 120.0),
    "before the first content": ((Start(),), 600.0),
    "thinking": ((Reasoning("a"),), 600.0),
    "a thinking block opened": ((Text("a"), Open("reasoning", 0, 1)), 600.0),
    "tool input": ((ToolCall(0, '{"a"'),), 600.0),
    "a tool block opened": ((Text("a"), Open("tool", 0, 1)), 600.0),
    "text after thinking": ((Reasoning("a"), Text("a")), 120.0),
    "after the finish": ((Text("a"), Finish("stop", "stop")), 120.0),
}


@pytest.mark.parametrize("name", PHASES)
def test_progress_is_awaited_by_phase_and_pings_are_none(name):
    events, limit = PHASES[name]
    watch = Watch()
    watch.came(*events, at=0.0)
    said = []
    for at in range(5, 700, 5):
        said += watch.wait(at)
        if said and said[-1][2] == "stalled":
            break
        watch.came(Ping(), at=at)
    assert said == [(10.0, "progress", "notice"), (limit, "progress", "stalled")]


NO_PROGRESS = [
    Ping(), Start(), Text(""), Number(3), Other("x"), UsageReport(1), Open("text", 0, 1),
    Close(0, 1), End("[DONE]"), ToolCall(0),
]  # fmt: skip
PROGRESS = [
    TEXT, THINKING, CALL, Refusal("a"), Other("image", content=True), ToolCall(0, name="f"),
    ToolCall(0, whole=True), Finish("stop", "stop"), Reasoning("", sealed=True),
]  # fmt: skip


@pytest.mark.parametrize("event", NO_PROGRESS, ids=str)
def test_no_progress(event):
    watch = Watch()
    watch.came(TEXT, at=0.0)
    watch.came(event, at=8.0)
    assert watch.wait(15.0) == [(10.0, "progress", "notice")]


@pytest.mark.parametrize("event", PROGRESS, ids=str)
def test_progress(event):
    watch = Watch()
    watch.came(TEXT, at=0.0)
    watch.came(event, at=8.0)
    assert watch.wait(17.9) == []
    assert watch.wait(18.0) == [(18.0, "progress", "notice")]


def test_notice_comes_once_and_again_after_progress():
    watch = Watch()
    watch.came(TEXT, at=0.0)
    assert watch.wait(30.0) == [(10.0, "progress", "notice")]
    watch.came(TEXT, at=30.0)
    assert watch.wait(60.0) == [(40.0, "progress", "notice")]


def test_notice_of_silence_is_taken_back_by_a_byte():
    watch = Watch(Clocks(silence_s=30.0, notice_s=None, progress_text_s=None))
    watch.came(TEXT, at=0.0)
    assert watch.wait(12.0) == [(10.0, "silence", "notice")]
    watch.came(at=12.0)
    assert watch.wait(25.0) == [(22.0, "silence", "notice")]


def test_notice_says_clock_phase_wait_and_limit():
    watch = Watch()
    watch.came(THINKING, at=1.0)
    notice = watch.liveness.handle_timer(11.5)
    assert isinstance(notice, StallNotice)
    assert (notice.clock, notice.phase, notice.limit_s) == ("progress", "thinking", 600.0)
    assert notice.waited_s == pytest.approx(10.5)


def test_fault_says_clock_phase_wait_and_limit():
    watch = Watch()
    watch.came(TEXT, at=0.0)
    watch.came(at=100.0)
    fault = watch.liveness.handle_timer(121.0)
    assert isinstance(fault, Fault)
    assert (
        fault.detail == "no content moved for 121.0 s in phase text (clock progress, limit 120 s)"
    )
    assert fault.retryable


@pytest.mark.parametrize(
    ("clocks", "said"),
    [
        (Clocks(notice_s=None), [(40.0, "progress", "notice"), (100.0, "silence", "notice"),
                                 (120.0, "progress", "stalled")]),
        (Clocks(progress_text_s=15.0), [(5.0, "progress", "notice"),
                                        (15.0, "progress", "stalled")]),
        (Clocks(progress_text_s=None), [(10.0, "progress", "notice"), (100.0, "silence", "notice"),
                                        (300.0, "silence", "stalled")]),
        (Clocks(progress_text_s=None, silence_s=None), [(10.0, "progress", "notice")]),
        (Clocks(progress_text_s=None, silence_s=None, notice_s=None), []),
        (Options(profile="interactive").timing, [(5.0, "progress", "notice"),
                                                 (20.0, "progress", "stalled")]),
    ],
)  # fmt: skip
def test_clocks_are_options_and_none_waits_for_ever(clocks, said):
    watch = Watch(clocks)
    watch.came(TEXT, at=0.0)
    assert watch.wait(10_000) == said


@pytest.mark.seed("003-do-timeouts")
def test_defaults_are_those_of_the_design():
    clocks = Clocks()
    assert (clocks.connect_s, clocks.first_event_s, clocks.silence_s) == (10.0, 600.0, 300.0)
    assert (clocks.progress_text_s, clocks.progress_slow_s) == (120.0, 600.0)
    assert (clocks.notice_s, clocks.total_s) == (10.0, None)


def test_time_that_the_consumer_takes_does_not_count():
    watch = Watch()
    watch.came(TEXT, at=0.0)
    watch.liveness.resume(500.0)
    assert watch.wait(509.9) == []
    assert watch.wait(510.0) == [(510.0, "progress", "notice")]


def test_time_of_the_consumer_is_taken_off_once():
    watch = Watch()
    watch.came(TEXT, at=0.0)
    watch.liveness.resume(100.0)
    watch.liveness.resume(100.0)
    watch.came(Ping(), at=104.0)
    watch.liveness.resume(204.0)
    assert watch.wait(300.0)[0] == (210.0, "progress", "notice")


def test_deadline_is_the_first_time_at_which_anything_is_ended():
    watch = Watch()
    assert watch.liveness.deadline() == 300.0
    watch.came(TEXT, at=7.0)
    assert watch.liveness.deadline() == 127.0
    assert Watch(Clocks(first_event_s=None, silence_s=None)).liveness.deadline() is None


# The same, through a stream -----------------------------------------------------------------

WHOLE = frames("The sea is salt because rivers carry minerals.")
PING = b": ping\n\n"
RAISE = Options(mode="raise")


@pytest.mark.seed("003-drop-keep-alive", "001-dead-end-longer-timeout")
def test_stream_that_hangs_behind_pings_is_ended_by_the_progress_clock():
    run = play([Reply([*WHOLE[:5], *[piece for _ in range(30) for piece in (5.0, PING)]])],
               options=RAISE)  # fmt: skip
    assert run.raised is not None
    assert "clock progress" in run.raised.detail
    assert run.now == pytest.approx(120.0)
    assert [(notice.clock, notice.waited_s) for notice in run.stalls] == [("progress", 10.0)]
    assert run.stalls[0].attempt == 1


@pytest.mark.seed("003-handler-activity-warning")
def test_notices_change_nothing():
    run = play([Reply([*WHOLE[:5], 119.0, *WHOLE[5:]])])
    assert run.delivered == b"".join(WHOLE)
    assert {notice.clock for notice in run.stalls} == {"progress", "silence"}


def test_slow_consumer_is_no_stall():
    run = play([Reply([*WHOLE[:5], 1.0, *WHOLE[5:]])], consumer_s=400.0)
    assert run.outcome.status == "complete"
    assert run.stalls == []


def test_interactive_profile_gives_up_after_twenty_seconds():
    run = play([Reply(WHOLE[:5], end="silence"), Reply(WHOLE)],
               options=Options(profile="interactive"))  # fmt: skip
    assert run.outcome.status == "complete"
    assert run.kinds == ["stalled"]
    assert run.sent_at[1] == pytest.approx(20.0)
    assert run.stalls[0].waited_s == pytest.approx(5.0)


def test_stall_after_the_finish_ends_a_whole_answer():
    run = play([Reply(WHOLE[:-1], end="silence")])
    assert run.raised is None
    assert run.kinds == ["missing-terminator"]
    assert run.outcome.status == "complete"
