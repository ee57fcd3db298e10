"""What is checked while a stream runs. Nothing is taken from the machine's own account."""

from __future__ import annotations

from copy import deepcopy
from urllib.parse import urlsplit

from tests.simulation.reading import BadFrame, Reading, mend
from tests.simulation.replies import Reply
from tests.simulation.seen import parsed
from tests.simulation.settings import HOME_KEY
from tests.simulation.tried import Tried
from tests.simulation.world import World
from unbroken.core.actions import Connect, Notice
from unbroken.core.events import Event, Text
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.outcome import Outcome
from unbroken.core.request import Request
from unbroken.core.stream import Stream

__all__ = ["Tried", "Watch"]

_SLACK_S = 0.01


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
        kept = (world.kept or world.keeps) and world.dialect.name == "openai-responses"
        self.consumer = Reading(world.dialect.name, same_ids=not kept, choices=world.choices)
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
        world = self.world
        self._known(action.request)
        upstream = Reading(reply.dialect or world.dialect.name, choices=world.choices)
        tried = Tried(
            action.attempt, action.request, reply, upstream,
            self.text, len(self.consumer.calls), self.consumer.contents,
            len(self.consumer.thoughts), now, now, now, now, home=world.dialect.name,
            texts_before=[self.consumer.text_of(at) for at in range(world.choices)],
            renumbered=reply.renumbered, asked_before=len(world.asked_blocked),
        )  # fmt: skip
        tried.root = tried
        self.tries.append(tried)
        manner = reply.truth.manner if reply.truth else "-"
        self.log(
            f"attempt {action.attempt}: {len(action.request.body)} bytes sent;"
            f" fault {reply.fault}, model {manner}"
        )

    def _goes_on(self, tried: Tried) -> None:
        """The body of an earlier attempt goes on over this one."""
        begun = [each for each in self.tries[:-1] if each.answered and each.reply.status == 200]
        if not begun:
            self.problem("a resume was asked for, and nothing had begun")
            return
        before = begun[-1]
        # A last frame that lacked only its line ends comes again.
        upstream = before.upstream if before.unclosed is None else before.unclosed
        tried.root, tried.upstream = before.root, upstream
        tried.renumbered = tried.renumbered or before.renumbered
        tried.delivered, tried.opening = before.delivered, before.opening
        mid_frame = tried.reply.mid_frame
        tried.body = before.body
        if not mid_frame:
            del tried.body[tried.upstream.consumed :]
        tried.upstream.reopen(mid_frame=mid_frame)

    def _known(self, request: Request) -> None:
        """Does the request go where it may, with the key that belongs there?"""
        world = self.world
        home = urlsplit(world.target.url).netloc
        host = urlsplit(request.url).netloc
        shown = repr(request.headers) + request.url + request.body.decode()
        if host != home and HOME_KEY in shown:
            self.problem(f"the key of {home} was sent to {host}")
        for each in world.targets:
            if each.key != HOME_KEY and each.key in shown and host != urlsplit(each.url).netloc:
                self.problem(f"the key of {each.url} was sent to {host}")
        if request.method != "GET" and world.place_of(request) is None:
            self.problem(f"a request went to {request.url}, which nobody asked for")

    def _may_go_on(self, before: Tried, request: Request) -> None:
        reply = before.reply
        if not before.answered:
            return
        same_place = request.url == before.request.url or request.method == "GET"
        due = max(reply.again_at, (before.ended_at or 0.0) + reply.wait_s)
        if self.now < due - _SLACK_S and same_place:
            self.problem(f"a request was sent {due - self.now:.2f} s before the server wants it")
        # Another text than was expected comes before an error behind it.
        told = before.upstream.errors and not self.spliced(before)
        same = request == before.request
        if reply.hopeless and same and (reply.status != 200 or told):
            self.problem("a request was sent again that would fail again")
        if reply.fault == "safety" and told:
            self.problem("a safety block was healed around")

    def head(self, reply: Reply) -> None:
        self.connected = True
        tried = self.last
        # The clocks of the first attempt run from its request.
        tried.byte_at = tried.progress_at = tried.opened_at = self.now
        tried.answered = True
        if reply.resumes and reply.status == 200:
            self._goes_on(tried)
        self.left_at = None
        self.log(f"upstream: {reply.status} {reply.headers}")

    def disconnected(self, number: int) -> None:
        tried = self.last
        if number != tried.number:
            self.problem(f"attempt {number} was closed while {tried.number} ran")
        if tried.ended_at is not None and not self.cancelled:
            self.problem(f"attempt {number} was closed twice")
        tried.ended_at = self.now
        self._close(tried)
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
        tried.body += data
        tried.longest_read = max(tried.longest_read, len(data))
        moves, contents = tried.upstream.moves, tried.upstream.contents
        tried.upstream.feed(data)
        if not contents:
            tried.opening = len(tried.body)
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
        if self.spliced(tried) or tried.renumbered or tried.reply.fault == "no-stream":
            return
        eased = self.heal and self.eased(tried)
        held = self.heal and options.tool_calls == "hold" and up.calls  # see `delivered`
        if self.heal and not up.contents:
            if out and not up.terminals and not eased:
                self.problem("frames before the first content were not held")
        elif eased or held or self._half_a_pair(up):
            pass
        elif up.consumed - self.left_out(tried) - out > 4:  # line ends, or a comma
            missing = up.consumed - self.left_out(tried) - out
            self.problem(f"{missing} bytes of whole frames were not delivered at once")

    def _left_out(self, tried: Tried) -> list[BadFrame]:
        """Frames that are not JSON, and are left out by the user's rule or after the finish."""
        rule, out = self.options.malformed, []
        if not tried.upstream.bad:
            return []
        for bad in tried.upstream.bad:
            after = bad.finished and rule != "raise" and self.world.dialect.name != "gemini"
            if self.world.dialect.name == "gemini-array":
                after = False
            if not (after or (rule == "skip" and not bad.calling)):
                break
            out.append(bad)
        return out

    def left_out(self, tried: Tried) -> int:
        """How many bytes of whole frames are left out."""
        return sum(bad.end - bad.start for bad in self._left_out(tried))

    def due(self, tried: Tried) -> bytes:
        """What of the body may be delivered."""
        body = tried.body
        for bad in reversed(self._left_out(tried)):
            body = body[: bad.start] + body[bad.end :]
        return bytes(body)

    def eased(self, tried: Tried) -> bool:
        """Whether so much came before the first content that it may not all be held."""
        return tried.opening > self.options.max_held_bytes

    def _half_a_pair(self, up: Reading) -> bool:
        said = (up.pieces, *up.others.values())
        return any(pieces and "\ud800" <= pieces[-1][-1:] <= "\udbff" for pieces in said)

    def spliced(self, tried: Tried) -> bool:
        """Whether the attempt goes on where another was delivered in part, in other words."""
        root = tried.root
        return (root.number > 1 and root.contents_before > 0) or tried.translated

    def delivered(self, data: bytes, events: list[Event]) -> None:
        consumer, options = self.consumer, self.options
        self.log(f"delivered: {data!r}")
        if self.outcome is not None:
            self.problem("bytes were delivered after the end")
        if not data and self.options.mode != "observe":
            self.problem("nothing was delivered, as if it were something")
        self.data += data
        contents, errors = consumer.contents + len(consumer.finishes), consumer.errors
        consumer.feed(data)
        if self.tries and consumer.errors > errors and options.mode != "observe":
            # What was held of a call is left out before the provider's own error frame.
            if data.strip(b"[,\r\n ") not in self.last.body:  # its place in an array is ours
                self.problem("another error frame than the provider's was delivered")
        elif self.tries:
            self.last.delivered += data
        self._pieces += [
            event.text for event in events if type(event) is Text and event.choice == 0
        ]
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
            tried = tried.root
            held = len(tried.body) >= options.max_held_bytes
            if not held and self.now - tried.opened_at < options.max_held_s - _SLACK_S:
                self.problem("part of a tool call was delivered")
        moved = consumer.contents + len(consumer.finishes) > contents
        if moved and self.tries and self.last.renumbered:
            self.last.progress_at = self.now  # what waited for a lost frame
        if moved and self.recovering_since is not None:
            self.recovered_s += self.now - self.recovering_since
            self.recovering_since = None
        tried = self.last
        if not (self.spliced(tried) or tried.renumbered or self.eased(tried)):
            # A last frame that lacks only its line ends gets them.
            got, due = bytes(tried.delivered), self.due(tried)
            if self.world.dialect.name == "gemini-array" and self._left_out(tried):
                got, due = (each.strip(b"[,\r\n ") for each in (got, due))
            if not due.startswith(got) and not due.startswith(got.rstrip(b"\n")):
                self.problem("bytes were delivered that the provider did not send so")
        if tried.translated and consumer.terminals:
            up = tried.upstream
            silent = self.now - tried.byte_at > 0.9  # what does not come is not awaited for ever
            if not up.finishes or not (up.ends or tried.over or silent):
                self.problem("the end was told before the target told its own")

    def _partial_calls(self) -> bool:
        """Whether the consumer has a call that is not whole, whatever follows it."""
        seen = [call for tried in self.tries for call in tried.upstream.calls]
        whole = [(c.name, parsed(c.arguments)) for c in seen if c.whole]
        return any((c.name, parsed(c.arguments)) not in whole for c in self.consumer.open_calls)

    def ended(self, how: str) -> None:
        self._close(self.last)
        self.log(f"upstream: {how}")

    def _close(self, tried: Tried) -> None:
        if self.world.keeps and tried.unclosed is None:
            tried.unclosed = deepcopy(tried.upstream)
        tried.over = True
        tried.upstream.close()

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
        waiting = sum(len(piece.raw) for piece in stream._outlet._delivery.held)
        longest = self.last.longest_read if self.tries else 0
        frame = self.last.reply.longest_frame if self.tries else 0
        limit = options.max_held_bytes + longest + frame
        if stream._outlet._delivery._half_pair:  # waits for its other half, whatever the limit
            limit += 64 * 1024
        if waiting > limit:
            self.problem(f"{waiting} bytes are held, more than {limit}")
        attempt = stream._course.attempt
        pending = 0 if attempt is None else len(attempt.pending)
        if pending > options.max_frame_bytes + longest:
            self.problem(f"{pending} bytes of one frame are kept")

    # The end --------------------------------------------------------------------------------

    def finished(self, outcome: Outcome, fault: Fault | None) -> None:
        """The stream is over."""
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
