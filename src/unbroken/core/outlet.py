"""The way out: what must wait waits, what may pass is recorded and handed to the consumer."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import cast

from unbroken.core.account import Account
from unbroken.core.actions import Action, Deliver
from unbroken.core.attempt import Attempt, Step
from unbroken.core.conduct import Conduct
from unbroken.core.dialects.base import Dialect
from unbroken.core.events import Event, Joined, TextRun, is_content
from unbroken.core.options import Options
from unbroken.core.received import Received
from unbroken.core.recovery.delivery import Delivery
from unbroken.core.recovery.machine import Recovery
from unbroken.core.recovery.situation import Plan
from unbroken.core.recovery.splice import Splice
from unbroken.core.recovery.translate import Translation
from unbroken.core.recovery.written import Piece, Rewriter
from unbroken.core.request import Request
from unbroken.core.wire.json_array import in_place

__all__ = ["Onlooker", "Outlet"]


class Outlet:
    """Let the steps of one attempt after another pass, as one stream.

    Attributes:
        splice: Writes a later attempt's frames anew; None: they pass as they come.
        bytes_out: Bytes handed to the consumer.

    Args:
        request: The first attempt's request.
        dialect: What the consumer reads.
        options: The user's.
        conduct: Whether anything is held back.
        received: Takes in what is delivered.
        account: Writes down who said it.
        recovery: Is told when something new came of a later attempt.
        actions: Where deliveries go.
    """

    def __init__(
        self,
        request: Request,
        dialect: Dialect,
        *,
        options: Options,
        conduct: Conduct,
        received: Received,
        account: Account,
        recovery: Recovery,
        actions: deque[Action],
    ) -> None:
        self.splice: Rewriter | None = None
        self.bytes_out = 0
        self._plan: Plan | None = None
        self._request = request
        self._dialect = dialect
        self._in_array = dialect.wire == "json-array"
        self._options = options
        self._heals = conduct.heals
        self._received = received
        self._account = account
        self._recovery = recovery
        self._actions = actions
        self._delivery = self._hold(first=True)

    def _hold(self, *, first: bool) -> Delivery:
        options = self._options
        return Delivery(
            hold_lifecycle=first and self._heals,
            hold_calls=self._heals and options.tool_calls == "hold",
            max_held_bytes=options.max_held_bytes,
            max_held_s=options.max_held_s,
        )

    # What is out, and what waits ------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether plain text can pass without a look."""
        return self.splice is None and self._delivery.idle and not self._recovery.active

    def kept_back(self, attempt: Attempt) -> tuple[list[bytes], int]:
        """Return the bytes that wait, and how many are left out for good: an SDK would raise."""
        held = [piece.raw for piece in self._delivery.held]
        return [*held, attempt.pending], attempt.left_out_bytes

    @property
    def open_call_delivered(self) -> bool:
        """Whether part of a tool call is with the consumer."""
        return self._delivery.open_call_delivered

    @property
    def diverged(self) -> str | None:
        """Why the running attempt does not continue the answer, or None."""
        return None if self.splice is None else self.splice.diverged

    @property
    def refused(self) -> bool:
        """Whether the provider itself will not go on with the answer."""
        return self.splice is not None and self.splice.blocked

    # Attempts -------------------------------------------------------------------------------

    def goes_on(self, plan: Plan) -> None:
        """The same body goes on over another connection: all that waits still does."""
        self._plan = plan

    def begin(self, plan: Plan, wall_time: float | None) -> None:
        """Another attempt begins: forget what was not delivered of the one before.

        Args:
            plan: How it came about.
            wall_time: Now, in seconds since the epoch, or None where it is not known.
        """
        assert not self.open_call_delivered, "the ladder is closed after part of a call"
        self._plan = plan
        self._delivery.drop()
        self._delivery = self._hold(first=not plan.spliced or plan.dialect is not None)
        self.splice = self._rewriter(plan, wall_time)

    def _rewriter(self, plan: Plan, wall_time: float | None) -> Rewriter | None:
        if plan.dialect is not None:
            return Translation(
                self._dialect,
                plan.dialect,
                asked=self._request,
                model=plan.target.model or "" if plan.target is not None else "",
                created=wall_time or 0,
                limit_bytes=self._options.max_replay_bytes,
            )
        if plan.spliced:
            facts = self._dialect.facts(self._request)
            return Splice(self._dialect, plan, self._received, facts=facts)
        return None

    def abandon(self) -> None:
        """Forget what was not delivered, for good."""
        self._delivery.drop()

    def close_calls(self) -> None:
        """The attempt failed: of its calls, those that were delivered whole are whole."""
        self._received.close_calls(but=self._delivery.open_calls)

    # Passing --------------------------------------------------------------------------------

    def texts(self, data: bytes, texts: TextRun, now: float) -> None:
        """Deliver whole frames of nothing but text, before which nothing waits.

        The common case of a healthy stream; `take` does the same the long way.
        """
        account = self._account
        if not account.settled:
            account.delivering(self._plan)
        self._received.add_texts(texts.texts, texts.choice)
        if not account.settled:
            account.delivered(now)
        self.bytes_out += len(data)
        self._actions.append(Deliver(data, texts))

    def take(self, data: bytes, steps: list[Step], now: float) -> None:
        """Let steps pass as far as they may; see `diverged` afterwards.

        Args:
            data: The read that brought them, or nothing.
            steps: What is in turn now.
            now: The driver's clock.
        """
        splice, delivery = self.splice, self._delivery
        ready: list[Piece] = []
        for step in steps:
            if splice is None:
                ready += delivery.offer(Piece(step.frame.raw, step.frame, step.events), now)
                continue
            for piece in splice.accept(step.frame, step.events):
                ready += delivery.offer(piece, now)
            if splice.diverged is not None:
                break
        self._deliver(ready, now)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Hand over in one delivery what passes inside: one read of the upstream is one write."""
        before = len(self._actions)
        yield
        parts: list[Deliver] = []
        while len(self._actions) > before and isinstance(self._actions[-1], Deliver):
            parts.insert(0, cast("Deliver", self._actions.pop()))
        if len(parts) == 1:
            self._actions.append(parts[0])
        elif parts:
            events = Joined([part.events for part in parts])
            self._actions.append(Deliver(b"".join(part.data for part in parts), events))

    def finish(self, now: float) -> None:
        """The end is proven: let all pass that waits for it; see `diverged` afterwards."""
        last = [] if self.splice is None else self.splice.finish()
        if self.diverged is None:
            ready = [each for piece in last for each in self._delivery.offer(piece, now)]
            self._deliver([*ready, *self._delivery.flush()], now)

    def next_timer(self) -> float | None:
        """Return when something is let go that was held for too long, or None."""
        return self._delivery.next_timer()

    def handle_timer(self, now: float) -> None:
        """Let go what was held for too long."""
        self._deliver(self._delivery.handle_timer(now), now)

    def _deliver(self, pieces: list[Piece], now: float) -> None:
        if not pieces:
            return
        self._account.delivering(self._plan)
        events: list[Event] = []
        for piece in pieces:
            self._received.add(piece.frame, piece.events)
            events += piece.events
        data = self._joined([piece.raw for piece in pieces])
        self.bytes_out += len(data)
        if self._recovery.active and any(is_content(event) for event in events):
            self._recovery.progressed(now)
        self._account.delivered(now)
        self._actions.append(Deliver(data, events))

    def _joined(self, raws: list[bytes]) -> bytes:
        if not self._in_array:
            return raws[0] if len(raws) == 1 else b"".join(raws)
        # Elements follow what was delivered: those before may be left out.
        begun, out = self.bytes_out > 0, []
        for raw in raws:
            out.append(in_place(raw, begun=begun))
            begun = True
        return b"".join(out)

    def error(self, step: Step) -> None:
        """Deliver the provider's own error frame: nothing else can be done."""
        self._actions.append(Deliver(self._joined([step.frame.raw]), step.events))


class Onlooker(Outlet):
    """The way out of a stream that is only observed: bytes pass at once, whatever they are.

    What they mean is recorded, as soon as it is known.
    """

    @property
    def idle(self) -> bool:
        """Never: every byte goes out with its read, the first part of a frame too."""
        return False

    def kept_back(self, attempt: Attempt) -> tuple[list[bytes], int]:
        """Nothing is, of a frame that is not whole either."""
        return [], 0

    def take(self, data: bytes, steps: list[Step], now: float) -> None:
        """Pass the read on, and record the steps."""
        events = [event for step in steps for event in step.events]
        self._account.delivering(self._plan)
        self._received.add(None, events)
        self._account.delivered(now)
        self.bytes_out += len(data)
        self._actions.append(Deliver(data, events))

    def finish(self, now: float) -> None:
        """Nothing waited for the end."""

    def close_calls(self) -> None:
        """All that came of them was delivered."""

    def error(self, step: Step) -> None:
        """It was delivered with its read."""
