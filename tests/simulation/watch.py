"""What is checked while a stream runs. Nothing is taken from the machine's own account."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulation.reading import Reading, mend
from tests.simulation.world import Reply, World
from unbroken.core.actions import Connect, Notice
from unbroken.core.events import Event, Text
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.core.request import Request
from unbroken.core.stream import Stream

__all__ = ["Tried", "Watch"]

_SLACK_S = 0.01


@dataclass
class Tried:
    """One attempt as the watch saw it.

    Attributes:
        upstream: What its bytes say, as far as they came.
        sent: The bytes.
        delivered: What the consumer got while it ran.
        text_before: The answer text that the consumer had when it began.
        calls_before: Calls that it had.
        byte_at: When the last byte came; time in which the consumer was away left out.
        progress_at: When content last moved.
    """

    number: int
    request: Request
    reply: Reply
    upstream: Reading
    text_before: str
    calls_before: int
    contents_before: int
    thoughts_before: int
    started_at: float
    byte_at: float
    progress_at: float
    opened_at: float
    sent: bytearray = field(default_factory=bytearray)
    delivered: bytearray = field(default_factory=bytearray)
    text_after: str = ""
    ended_at: float | None = None
    longest_read: int = 0
    answered: bool = False  # its head came
    opening: int = 0  # bytes until the read that brought the first content
    over: bool = False  # no more bytes of it can come


class Watch:
    """See all that goes in and out, and say at once what must not be.

    Attributes:
        problems: What did not hold; empty when all is well.
        lines: The story, for people.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.options = world.options
        self.heal = world.options.mode == "heal"
        self.now = 0.0
        self.problems: list[str] = []
        self.lines: list[str] = []
        self.tries: list[Tried] = []
        # An answer that the provider keeps ends under the id of the attempt that finished.
        kept = world.kept and world.dialect.name == "openai-responses"
        self.consumer = Reading(world.dialect.name, same_ids=not kept)
        self.data = bytearray()
        self.outcome: Outcome | None = None
        self.fault: Fault | None = None
        self.cancelled = False
        self.connected = False
        self.recovered_s = 0.0
        self.recovering_since: float | None = None
        self.left_at: float | None = None
        self.away_s = 0.0  # the consumer's time during a recovery
        self._pieces: list[str] = []
        self._released = False

    def log(self, line: str) -> None:
        self.lines.append(f"{self.now:9.2f}  {line}")

    def problem(self, what: str) -> None:
        self.log(f"*** {what}")
        self.problems.append(what)

    @property
    def text(self) -> str:
        return self.consumer.text

    @property
    def last(self) -> Tried:
        return self.tries[-1]

    # Requests -------------------------------------------------------------------------------

    def connect(self, action: Connect, reply: Reply) -> None:
        if self.tries and self.last.ended_at is None:
            self.problem(f"attempt {action.attempt} began before the one before was closed")
        if action.attempt != len(self.tries) + 1:
            self.problem(f"attempt {len(self.tries) + 1} is called {action.attempt}")
        if self.outcome is not None:
            self.problem("a request was sent after the end")
        now = self.now
        if self.tries:
            self._may_go_on(self.last, action.request)
        self.tries.append(
            Tried(
                action.attempt, action.request, reply, Reading(self.world.dialect.name),
                self.text, len(self.consumer.calls), self.consumer.contents,
                len(self.consumer.thoughts), now, now, now, now,
            )
        )  # fmt: skip
        manner = reply.truth.manner if reply.truth else "-"
        self.log(
            f"attempt {action.attempt}: {len(action.request.body)} bytes sent;"
            f" fault {reply.fault}, model {manner}"
        )

    def _may_go_on(self, before: Tried, request: Request) -> None:
        reply = before.reply
        if not before.answered:
            return
        due = max(reply.again_at, (before.ended_at or 0.0) + reply.wait_s)
        if self.now < due - _SLACK_S:
            self.problem(f"a request was sent {due - self.now:.2f} s before the server wants it")
        # Another text than was expected comes before an error behind it.
        told = before.upstream.errors and not self.spliced(before)
        same = request.body == before.request.body
        if reply.hopeless and same and (reply.status != 200 or told):
            self.problem("a request was sent again that would fail again")

    def head(self, reply: Reply) -> None:
        self.connected = True
        tried = self.last
        # The clocks of the first attempt run from its request.
        tried.byte_at = tried.progress_at = tried.opened_at = self.now
        tried.answered = True
        self.left_at = None
        self.log(f"upstream: {reply.status} {reply.headers}")

    def disconnected(self, number: int) -> None:
        tried = self.last
        if number != tried.number:
            self.problem(f"attempt {number} was closed while {tried.number} ran")
        if tried.ended_at is not None and not self.cancelled:
            self.problem(f"attempt {number} was closed twice")
        tried.ended_at = self.now
        tried.over = True
        tried.upstream.close()
        tried.text_after = self.text
        self.connected = False
        if self.recovering_since is None:
            self.recovering_since = self.now
        self.log(f"attempt {number} is closed")

    def notice(self, notice: Notice) -> None:
        self.log(f"notice: {notice}")

    # Bytes ----------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        tried = self.last
        tried.sent += data
        tried.longest_read = max(tried.longest_read, len(data))
        moves, contents = tried.upstream.moves, tried.upstream.contents
        tried.upstream.feed(data)
        if not contents:
            tried.opening = len(tried.sent)
        tried.byte_at = self.now
        if tried.upstream.moves != moves:
            tried.progress_at = self.now
        self.left_at = self.now
        self.log(f"upstream: {data!r}")

    def after_read(self) -> None:
        """All actions of one read are done, and the attempt still runs."""
        tried, options = self.last, self.options
        out, up = len(tried.delivered), tried.upstream
        if options.mode == "observe":
            if tried.delivered != tried.sent:
                self.problem("observe: not all that came was passed on")
            return
        if self.spliced(tried) or tried.reply.renumbered:
            return
        eased = self.heal and self.eased(tried)
        held = self.heal and options.tool_calls == "hold" and up.calls  # see `delivered`
        if self.heal and not up.contents:
            if out and not up.terminals and not eased:
                self.problem("frames before the first content were not held")
        elif eased or held or self._half_a_pair(up):
            pass
        elif up.consumed - out > 2:
            self.problem(f"{up.consumed - out} bytes of whole frames were not delivered at once")

    def eased(self, tried: Tried) -> bool:
        """Whether so much came before the first content that it may not all be held."""
        return tried.opening > self.options.max_held_bytes

    def _half_a_pair(self, up: Reading) -> bool:
        return bool(up.pieces) and "\ud800" <= up.pieces[-1][-1:] <= "\udbff"

    def spliced(self, tried: Tried) -> bool:
        """Whether the attempt goes on where another was delivered in part."""
        return tried.number > 1 and tried.contents_before > 0

    def delivered(self, data: bytes, events: list[Event]) -> None:
        consumer, options = self.consumer, self.options
        self.log(f"delivered: {data!r}")
        if self.outcome is not None:
            self.problem("bytes were delivered after the end")
        if not data and self.options.mode != "observe":
            self.problem("nothing was delivered, as if it were something")
        self.data += data
        contents, errors = consumer.contents, consumer.errors
        consumer.feed(data)
        if self.tries and consumer.errors > errors and options.mode != "observe":
            # What was held of a call is left out before the provider's own error frame.
            if bytes(data) not in self.last.sent and data.strip() not in self.last.sent:
                self.problem("another error frame than the provider's was delivered")
        elif self.tries:
            self.last.delivered += data
        self._pieces += [event.text for event in events if type(event) is Text]
        self.left_at = self.now if self.left_at is None else self.left_at
        if options.mode == "observe":
            return
        if consumer.rest.endswith(b"\r") or (self.tries and self.last.over):
            consumer.close()  # a line end, or the last, is complete once nothing follows
        if consumer.rest:
            self.problem(f"part of a frame was delivered: {bytes(consumer.rest[:80])!r}")
        if mend(self._pieces) != consumer.text:
            self.problem("the events handed over say other text than the bytes")
            self._pieces = [consumer.text]
        if self.heal and options.tool_calls == "hold" and self._partial_calls():
            # A call may be released once it is too large, or was held too long.
            tried = self.last
            held = len(tried.sent) >= options.max_held_bytes
            if not held and self.now - tried.opened_at < options.max_held_s - _SLACK_S:
                self.problem("part of a tool call was delivered")
        if consumer.contents > contents and self.recovering_since is not None:
            self.recovered_s += self.now - self.recovering_since
            self.recovering_since = None
        tried = self.last
        if not (self.spliced(tried) or tried.reply.renumbered or self.eased(tried)):
            # A last frame that lacks only its line ends gets them.
            got = bytes(tried.delivered)
            if not tried.sent.startswith(got) and not tried.sent.startswith(got.rstrip(b"\n")):
                self.problem("bytes were delivered that the provider did not send so")

    def _partial_calls(self) -> bool:
        """Whether the consumer has a call that is not whole, whatever follows it."""
        whole = [(c.name, c.arguments) for c in self.last.upstream.calls if c.whole]
        return any((c.name, c.arguments) not in whole for c in self.consumer.open_calls)

    def ended(self, how: str) -> None:
        self.last.upstream.close()
        self.last.over = True
        self.log(f"upstream: {how}")

    # Time -----------------------------------------------------------------------------------

    def reading_begins(self) -> None:
        if not self.connected:
            self.problem("a read was asked for without a connection")
            return
        tried = self.last
        away = 0.0 if self.left_at is None else self.now - self.left_at
        tried.byte_at += away
        tried.progress_at += away
        tried.opened_at += away
        self.left_at = self.now

    def check_clocks(self, until: float) -> None:
        """The reader is about to wait until then: does a clock forbid it?"""
        self.left_at = until
        if self.options.mode == "observe":
            return
        clocks, tried = self.options.timing, self.last
        assert clocks.silence_s is not None
        assert clocks.progress_text_s is not None
        assert clocks.progress_slow_s is not None
        assert clocks.first_event_s is not None
        if until - tried.byte_at > clocks.silence_s + _SLACK_S:
            self.problem(f"silence of {until - tried.byte_at:.1f} s is waited out")
        limit = max(clocks.progress_text_s, clocks.progress_slow_s, clocks.first_event_s)
        if until - tried.progress_at > limit + _SLACK_S:
            self.problem(f"{until - tried.progress_at:.1f} s without progress are waited out")
        if clocks.total_s is not None and until > clocks.total_s + self._away() + _SLACK_S:
            self.problem(f"the stream runs {until:.1f} s, beyond total_s")
        if self.recovering_since is not None:
            spent = self.recovered_s + until - self.recovering_since
            if spent > self.options.max_recovery_s + _SLACK_S:
                self.problem(f"recoveries take {spent:.1f} s")

    def _away(self) -> float:
        return 500.0 if self.world.pauses else 0.0

    def memory(self, stream: Stream) -> None:
        """What waits in the machine stays within the options."""
        options = self.options
        waiting = sum(len(piece.raw) for piece in stream._delivery.held)
        longest = self.last.longest_read if self.tries else 0
        frame = self.last.reply.longest_frame if self.tries else 0
        limit = options.max_held_bytes + longest + frame
        if stream._delivery._half_pair:  # waits for its other half, whatever else is allowed
            limit += 64 * 1024
        if waiting > limit:
            self.problem(f"{waiting} bytes are held, more than {limit}")
        pending = 0 if stream._attempt is None else len(stream._attempt.pending)
        if pending > options.max_frame_bytes + longest:
            self.problem(f"{pending} bytes of one frame are kept")

    # The end --------------------------------------------------------------------------------

    def finished(self, outcome: Outcome, fault: Fault | None) -> None:
        self.outcome, self.fault = outcome, fault
        if self.tries and self.last.ended_at is None:
            if self.connected or self.cancelled:
                self.problem("the stream is over and its connection was not closed")
            self.last.ended_at = self.now
        for tried, following in zip(self.tries, [*self.tries[1:], None], strict=True):
            tried.text_after = following.text_before if following else self.text
        kind = fault.kind if fault else "no fault"
        self.log(f"over: {outcome.status}, {kind}; {outcome.skipped}")
        if fault is not None and fault.kind is FaultKind.CANCELLED:
            self.problem("cancelling raised")
