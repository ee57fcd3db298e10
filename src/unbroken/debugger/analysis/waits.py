"""The clocks of live streams over a recording: which waits they would have told of."""

from __future__ import annotations

from unbroken.core.checks.liveness import Liveness, StallNotice
from unbroken.core.faults import Fault
from unbroken.core.options import Clocks
from unbroken.debugger.facts import Stall

__all__ = ["Waits"]

_MOST_STALLS = 64
_SOON_S = 0.05
_PHASES = {
    "first-event": "waiting",
    "before-content": "waiting",
    "text": "text",
    "thinking": "thinking",
    "tool-input": "tool",
    "ending": "ending",
}


class Waits:
    """Run the clocks of one attempt.

    Attributes:
        liveness: The clocks themselves; whoever reads events tells it of them.
        stalls: What they told of.

    Args:
        clocks: Whose limits.
        at_s: When the attempt began.
        attempt: Its number.
    """

    def __init__(self, clocks: Clocks, at_s: float, *, attempt: int) -> None:
        self.liveness = Liveness(clocks, now=at_s)
        self.stalls: list[Stall] = []
        self._attempt = attempt
        self._open: dict[str, Stall] = {}
        self._touched_s = at_s
        self._pings = 0  # since content came
        self._blind = False

    @property
    def phase(self) -> str:
        """What the attempt is doing, in the report's word."""
        return _PHASES[self.liveness.phase]

    def touched(self, at_s: float) -> None:
        """Something came that is no part of the body."""
        self._touched_s = at_s

    def unseen(self) -> None:
        """Something was not kept here: how long anything was waited for is not known."""
        self._blind = True

    def advance(self, at_s: float, waited_s: float | None) -> None:
        """Let the clocks run up to a moment.

        Args:
            at_s: It.
            waited_s: Since when somebody read; the time before that is not the upstream's.
        """
        liveness = self.liveness
        if self._blind:
            self._blind = False
            self._open.clear()
            self._pings = 0
            liveness.restart(at_s)
        if waited_s is not None and at_s - waited_s - self._touched_s > _SOON_S:
            liveness.resume(at_s - waited_s)
        self._touched_s = at_s
        for _ in range(_MOST_STALLS):
            due = liveness.next_timer()
            if due is None or due > at_s:
                return
            told = liveness.handle_timer(due)
            if isinstance(told, StallNotice):
                self._stall(told, due)
            elif isinstance(told, Fault):
                for stall in self._open.values():
                    stall.over = True
                liveness.restart(due)
        liveness.restart(at_s)

    def _stall(self, notice: StallNotice, now: float) -> None:
        if notice.clock in self._open or len(self.stalls) >= _MOST_STALLS:
            return
        stall = Stall(
            clock=notice.clock,
            phase=_PHASES[notice.phase],
            at_s=now - notice.waited_s,
            attempt=self._attempt,
            pings=self._pings if notice.clock == "progress" else 0,
            limit_s=notice.limit_s,
        )
        self._open[notice.clock] = stall
        self.stalls.append(stall)

    def moved(self, at_s: float, *, content: bool, pings: int) -> None:
        """Bytes came: close the waits that are over."""
        self._pings = 0 if content else self._pings + pings
        if not self._open:
            return
        for clock in list(self._open):
            stall = self._open[clock]
            stall.lasted_s = at_s - stall.at_s
            if clock != "progress" or content:
                del self._open[clock]
            else:
                stall.pings += pings

    def end(self, at_s: float) -> None:
        """The attempt is over, and so is every wait."""
        self.advance(at_s, None)
        for stall in self._open.values():
            stall.lasted_s = at_s - stall.at_s
        self._open.clear()
