"""Drive one stream through one world, in virtual time, and let the watch see everything."""

from __future__ import annotations

import traceback

from tests.simulation.replies import NEVER, Reply
from tests.simulation.spilling import small_spills, spill_for
from tests.simulation.watch import Watch
from tests.simulation.world import WALL_TIME, World
from unbroken.core.actions import Connect, Deliver, Disconnect, FinishStream, Receive, Wait
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.stream import Stream

__all__ = ["play"]

_MOST_STEPS = 20_000
_MOST_IDLE_TIMERS = 20
_GIVES_UP_S = 5_000.0  # a silent upstream resets after this: longer than any clock here


def play(world: World) -> Watch:
    """Return what was seen; `Watch.problems` is empty if all held."""
    watch = Watch(world)
    try:
        with small_spills():
            _Player(world, watch).run()
    except Exception:
        watch.problem("an exception escaped the machine:\n" + traceback.format_exc(limit=-6))
    return watch


class _Player:
    def __init__(self, world: World, watch: Watch) -> None:
        self.world = world
        self.watch = watch
        self.now = 0.0
        self.stream = Stream(
            world.request,
            world.dialect,
            options=world.options,
            now=0.0,
            wall_time=WALL_TIME,
            jitter=world.jitter,
            permit=lambda now: world.permits,
            blocked=world.blocked,
            sent=world.sent,
            spill=spill_for(world.spill),
        )
        self.reply: Reply | None = None
        self.at = 0  # the next read of the reply
        self.due = NEVER  # when it comes

    def run(self) -> None:
        world, watch, stream = self.world, self.watch, self.stream
        if world.sent:
            self._connect(Connect(world.request, 1))
        for step in range(_MOST_STEPS):
            watch.now = self.now
            if step == world.leaves_after:
                watch.log("the consumer leaves")
                watch.cancelled = True
                stream.cancel(self.now)
            action = stream.next_action()
            for notice in stream.take_notices():
                watch.notice(notice)
            watch.memory(stream)
            match action:
                case Connect():
                    self._connect(action)
                case Receive():
                    self._read()
                case Deliver(data=data, events=events):
                    watch.delivered(data, events)
                    if world.pauses and world.draw.random() < world.pauses:
                        self.now += world.draw.choice((0.1, 2.0, 40.0, 400.0))
                case Wait(until=until):
                    if world.draw.random() < 0.2:
                        stream.receive(b"data: late\n\n", self.now)
                        stream.receive_eof(self.now)
                    watch.log(f"waits until {until:.2f}")
                    self.now = watch.now = max(self.now, until)
                    stream.handle_timer(self.now)
                case Disconnect(attempt=number):
                    watch.disconnected(number)
                    self.reply = None
                case FinishStream(outcome=outcome, fault=fault):
                    watch.finished(outcome, fault)
                    if stream.next_action() is not None:
                        watch.problem("an action came after the end")
                    return
                case None:
                    watch.problem("the machine asks for nothing and is not over")
                    return
        watch.problem(f"not over after {_MOST_STEPS} steps")

    # Connecting -----------------------------------------------------------------------------

    def _connect(self, action: Connect) -> None:
        world, watch, stream = self.world, self.watch, self.stream
        reply = world.reply(action.attempt, action.request, watch.text)
        watch.connect(action, reply)
        self.reply, self.at = reply, 0
        answer_at = self.now + reply.head_s
        while not stream.over:
            timer = stream.next_timer()
            if timer is not None and timer < answer_at and stream.attempt_number == action.attempt:
                self.now = watch.now = max(self.now, timer)
                number = stream.attempt_number
                stream.handle_timer(self.now)
                if stream.over or stream._actions or stream.attempt_number != number:
                    watch.log("connecting was given up")
                    return
                continue
            break
        if answer_at == NEVER:
            watch.problem("connecting waits for ever")
            stream.cancel(self.now)
            return
        self.now = watch.now = max(self.now, answer_at)
        if reply.status is None:
            watch.log("connecting fails")
            stream.failed(Fault.of(FaultKind.CONNECT_FAILED, "refused"), self.now)
            return
        watch.head(reply)
        stream.connected(reply.status, reply.headers, self.now, reply.problem)
        self._schedule()

    def _schedule(self) -> None:
        """Set when the next thing comes from the upstream."""
        reply = self.reply
        assert reply is not None
        if self.at < len(reply.reads):
            self.due = self.now + reply.reads[self.at][0]
        elif reply.end == "hang":
            self.due = self.now + _GIVES_UP_S
        else:
            self.due = self.now + reply.end_s

    # Reading --------------------------------------------------------------------------------

    def _read(self) -> None:
        """Block in one read, as a driver does: until bytes, an end, or a timer that acts."""
        stream, watch, world = self.stream, self.watch, self.world
        stream.resume(self.now)
        watch.reading_begins()
        if world.draw.random() < 0.02:
            stream.handle_timer(self.now)  # woken early: harmless
            if stream._actions or stream.over:
                return
        idle = 0
        while True:
            timer = stream.next_timer()
            if timer is None or timer >= self.due:
                break
            idle = 0 if timer > self.now else idle + 1
            if idle > _MOST_IDLE_TIMERS:
                watch.problem("the same timer comes due again and again")
                stream.cancel(self.now)
                return
            watch.check_clocks(timer)
            self.now = watch.now = max(self.now, timer)
            stream.handle_timer(self.now)
            if stream.over or not stream.reading or stream._actions:
                return
        watch.check_clocks(self.due)
        self.now = watch.now = max(self.now, self.due)
        reply = self.reply
        if reply is None:
            watch.problem("a read was asked for with no connection open")
            stream.cancel(self.now)
            return
        if self.at < len(reply.reads):
            data = reply.reads[self.at][1]
            self.at += 1
            watch.received(data)
            stream.receive(data, self.now)
            if not stream.over and stream.reading:
                self._drain()
                watch.after_read()
            self._schedule()
        elif reply.end == "eof":
            watch.ended("clean end")
            stream.receive_eof(self.now)
        else:
            watch.ended("reset")
            stream.failed(Fault.of(FaultKind.CONNECTION_RESET, "reset by peer"), self.now)

    def _drain(self) -> None:
        """Deliver what one read made ready."""
        stream = self.stream
        while stream.reading and stream._actions and isinstance(stream._actions[0], Deliver):
            action = stream.next_action()
            assert isinstance(action, Deliver)
            self.watch.delivered(action.data, action.events)
