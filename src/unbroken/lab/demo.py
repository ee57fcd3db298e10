"""The demo: one answer that breaks again and again, without Unbroken and with it.

A model server, what breaks its answers (one a side, so that each side meets its own faults
and no other's), and two threads that run the same application code. What shows it polls:
`Demo.wait` for a moment, then look at the sides.

The lab imports nothing of Unbroken's client side, so the caller brings what heals: a
function that makes an HTTP client which tells a `Side` what it does.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

from unbroken.lab.demo_client import Application, application
from unbroken.lab.demo_parts import Breaker, Dealt, start_upstream
from unbroken.lab.demo_report import DemoReport, FaultMet, SideReport
from unbroken.lab.demo_script import told, write_script

__all__ = ["DEADLINE_S", "Demo", "Note", "Protect", "Recovery", "Side"]

DEADLINE_S = 90.0
_TOKENS = 96
_TOKENS_PER_SECOND = 24.0
_JOIN_S = 1.0

State = Literal["waiting", "streaming", "recovering", "ended", "raised"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that a viewer should hear of.

    Attributes:
        at_s: Seconds since both sides began.
        kind: ``fault`` dealt out, ``stall`` noticed, ``recovery``, ``end``.
        text: One line.
    """

    at_s: float
    kind: Literal["fault", "stall", "recovery", "end"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """One further attempt: number, the fault's kind that made it necessary, and the way."""

    attempt: int
    kind: str
    rung: str


class Side:
    """One side of the demo: an application that asks, and what became of its answer.

    `reconnecting`, `stalled` and `ended_as` are for the client that heals.

    Args:
        name: What it is called.
        breaker: Where it asks.

    Attributes:
        text: The answer so far.
        state: What it is doing.
        faults: What was dealt out to it so far.
        notes: What happened, in order.
        breaks: Where the answer broke, in characters.
        recoveries: What the client did about it.
        guarantees: What each attempt's text is worth, by attempt.
        status: How the healing client says the stream ended.
        finish_reason: As the application saw it.
        error: What was raised in the application, or None.
        seconds: How long it took.
    """

    def __init__(self, name: str, breaker: Breaker) -> None:
        self.name = name
        self.breaker = breaker
        self.text = ""
        self.state: State = "waiting"
        self.faults: list[Dealt] = []
        self.notes: list[Note] = []
        self.breaks: list[int] = []
        self.recoveries: list[Recovery] = []
        self.guarantees: dict[int, str] = {}
        self.status = ""
        self.finish_reason: str | None = None
        self.error: Exception | None = None
        self.seconds = 0.0
        self._began = time.monotonic()
        self._looking = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, ask: Callable[[Callable[[str], None]], str | None]) -> None:
        """Let the application ask, in a thread of its own."""
        self._began = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, args=(ask,), name=f"demo-{self.name}", daemon=True
        )
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether the application's loop has ended."""
        return self.state in ("ended", "raised")

    @property
    def words(self) -> int:
        """Words received."""
        return len(self.text.split())

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self.seconds if self.over else time.monotonic() - self._began

    def reconnecting(self, *, attempt: int, kind: str, rung: str) -> None:
        """The client makes a further attempt."""
        self.look_for_faults()
        self.state = "recovering"
        self.recoveries.append(Recovery(attempt=attempt, kind=kind, rung=rung))
        self.note("recovery", f"seen as {kind}; attempt {attempt}, by {rung}")

    def stalled(self, *, silent_s: float) -> None:
        """The client notices that nothing moves."""
        self.look_for_faults()
        self.note("stall", f"no token for {silent_s:.1f} s (pings are no progress)")

    def ended_as(self, *, status: str, guarantees: dict[int, str]) -> None:
        """The client says how the stream ended."""
        self.status = status
        self.guarantees = guarantees

    def note(self, kind: Literal["fault", "stall", "recovery", "end"], text: str) -> None:
        """Put something on record for the viewer."""
        self.notes.append(Note(at_s=self.elapsed_s, kind=kind, text=text))

    def look_for_faults(self) -> None:
        """Put on record what was dealt out since the last look."""
        with self._looking:  # whoever polls and the side's own thread may come together
            for one in self.breaker.dealt()[len(self.faults) :]:
                self.note("fault", f"{told(one.fault)}, after {one.words} words")
                self.faults.append(one)

    def join(self) -> None:
        """Wait a moment for the thread."""
        if self._thread is not None:
            self._thread.join(_JOIN_S)

    def _run(self, ask: Callable[[Callable[[str], None]], str | None]) -> None:
        try:
            self.finish_reason = ask(self._receive)
            ended: State = "ended"
        except Exception as error:  # noqa: BLE001 - whatever the application gets to see
            self.error = error
            ended = "raised"
        self.seconds = time.monotonic() - self._began
        self.look_for_faults()
        how = "ended" if self.error is None else f"raised {type(self.error).__name__}"
        self.note("end", f"{how} after {self.words} words")
        self.state = ended

    def _receive(self, text: str) -> None:
        if text:
            if self.state == "recovering":
                self.breaks.append(len(self.text))
            self.state = "streaming"
            self.text += text


Protect = Callable[[Side, str], Any]
"""Makes an HTTP client that heals, of the library named, and tells the side what it does."""


class Demo:
    """Run the demo, as a context manager: everything it started ends with it.

    Args:
        protect: Makes the client that heals.
        seed: Chooses prompt and faults.
        tokens: Length of the answer.
        tokens_per_second: The pace of both sides, for people to watch.
        prefer_llama: Take the real llama.cpp server where it is installed.
        app: The application; None takes the openai SDK, or the loop by hand.
    """

    def __init__(
        self,
        protect: Protect,
        *,
        seed: int = 1,
        tokens: int = _TOKENS,
        tokens_per_second: float = _TOKENS_PER_SECOND,
        prefer_llama: bool = True,
        app: Application | None = None,
    ) -> None:
        self.seed = seed
        self._protect = protect
        self._tokens = tokens
        self._pace = tokens_per_second
        self._prefer_llama = prefer_llama
        self._app = app
        self._stack = contextlib.ExitStack()
        self._deadline = 0.0

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_own_environment())
            self.upstream = start_upstream(
                prefer_llama=self._prefer_llama, words=self._tokens, seed=self.seed
            )
            stack.callback(self.upstream.close)
            self.app = self._app or application()
            pieces: list[str] = []
            self._request = self._make_request()
            self.app.ask(self.upstream.base_url, self._request, pieces.append)
            self.truth = "".join(pieces)
            self.script = write_script(seed=self.seed, tokens=sum(map(bool, pieces)))
            self.plain = self._side("plain", self.script.plain, stack)
            self.healed = self._side("healed", self.script.healed, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        for side in (self.plain, self.healed):
            side.join()

    def start(self) -> None:
        """Let both sides ask."""
        self._deadline = time.monotonic() + DEADLINE_S
        app, request = self.app, self._request

        def ask(side: Side, client: Any) -> None:
            side.start(lambda show: app.ask(side.breaker.base_url, request, show, client))

        ask(self.plain, None)
        ask(self.healed, self._protect(self.healed, app.library))

    def wait(self, seconds: float) -> bool:
        """Wait a moment; return whether both sides are over, or the time is."""
        until = min(time.monotonic() + seconds, self._deadline)
        while not self._over and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.02))
        for side in (self.plain, self.healed):
            if not side.over:  # else its own thread has looked, for the last time
                side.look_for_faults()
        return self._over or time.monotonic() >= self._deadline

    @property
    def _over(self) -> bool:
        return self.plain.over and self.healed.over

    @property
    def truth_words(self) -> int:
        """Words of the whole answer."""
        return len(self.truth.split())

    def report(self) -> DemoReport:
        """Return the account; once both sides are over it does not change."""
        recoveries = {recovery.attempt: recovery for recovery in self.healed.recoveries}
        faults = []
        for one in self.healed.faults:
            by = recoveries.get(one.attempt + 1)
            faults.append(
                FaultMet(
                    dealt=told(one.fault),
                    after_words=one.words,
                    kind=by.kind if by else "",
                    rung=by.rung if by else "",
                    guarantee=self.healed.guarantees.get(one.attempt + 1, ""),
                )
            )
        return DemoReport(
            seed=self.seed,
            server=self.upstream.name,
            client=self.app.name,
            truth_words=self.truth_words,
            truth_bytes=len(self.truth.encode()),
            plain=self._side_report(self.plain),
            healed=self._side_report(self.healed),
            status=self.healed.status,
            faults=faults,
        )

    def _side_report(self, side: Side) -> SideReport:
        return SideReport(
            words=side.words,
            bytes=len(side.text.encode()),
            equal=side.text == self.truth,
            over=side.over,
            raised=type(side.error).__name__ if side.error is not None else None,
            finish_reason=side.finish_reason,
            seconds=round(side.elapsed_s, 2),
        )

    def _side(self, name: str, plan: str, stack: contextlib.ExitStack) -> Side:
        breaking = self.upstream.breaking(plan, tokens_per_second=self._pace)
        return Side(name, stack.enter_context(breaking))

    def _make_request(self) -> dict[str, Any]:
        prompt = f"Tell me a long story, please. (story {self.seed})"
        return {
            "model": self.upstream.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": self._tokens,
        }


@contextlib.contextmanager
def _own_environment() -> Iterator[None]:
    """Keep the user's proxies and our own switches out of a demo on this machine alone."""
    changed = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "UNBROKEN_MODE": None}
    before = {name: os.environ.get(name) for name in changed}
    _set_environment(changed)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
