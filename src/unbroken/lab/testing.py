"""What the pytest plugin hands to a test: a lab, and faults that can be asserted on.

Nothing here needs pytest; a helper that fails raises `AssertionError` with a timeline: which
requests came, which faults struck and when, what was sent, how the application ended, and what
the oracle says of its text. A helper also fails where nothing was tested: see
`unbroken.lab.untested`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from unbroken.lab.oracle import Numbered, Report, examine, examine_arguments
from unbroken.lab.server.app import LabServer
from unbroken.lab.untested import bug_in, no_text, untested

if TYPE_CHECKING:
    from unbroken.lab.score.suite import Scenario
    from unbroken.lab.server.sessions import AttemptLog, Session

__all__ = ["Fault", "Lab"]

_PROMPT = "Write a story of about two hundred words."
_PATIENCE_S = 30.0
_MOST_TURNED_AWAY = 100  # requests that are remembered of those that no session was found for


class Lab:
    """A mock server of every provider on a free port of this machine; starts when needed."""

    def __init__(self) -> None:
        self._server: LabServer | None = None
        self._healthy: Session | None = None
        self._turned_away: deque[AttemptLog] = deque(maxlen=_MOST_TURNED_AWAY)

    @property
    def server(self) -> LabServer:
        """The server itself."""
        if self._server is None:
            self._server = LabServer(on_attempt=self._note)
            self._server.start()
        return self._server

    @property
    def url(self) -> str:
        """Its root, for SDKs that add the version themselves, such as anthropic."""
        return self.server.url

    @property
    def openai_url(self) -> str:
        """The base URL that openai and its like take, with ``/v1``."""
        return f"{self.server.url}/v1"

    @property
    def model(self) -> str:
        """A model whose answers are whole."""
        return self._whole().model

    def session(self, plan: str = "", **settings: Any) -> Session:
        """Return a stream that goes wrong by a plan, such as ``cut@0.5``.

        Args:
            plan: In the fault grammar, with or without ``lab/`` before it.
            settings: Of the answer, by their names there: ``tokens=100``, ``say="tool"``.
        """
        return self.server.session(_with_settings(plan, settings))

    def environment(self, session: Session | None = None) -> dict[str, str]:
        """Return the variables by which clients find the lab, and a session's model."""
        return self.server.environment(session or self._whole())

    def others(self, session: Session, *, since_s: float) -> list[AttemptLog]:
        """Return the requests that were not for a session, since a time of `time.monotonic`."""
        logs = list(self._turned_away)
        for one in list(self.server.sessions.values()):
            if one is not session:
                logs += one.attempts
        return sorted((log for log in logs if log.at_s >= since_s), key=lambda log: log.at_s)

    def close(self) -> None:
        """Stop the server, if it was started."""
        if self._server is not None:
            self._server.close()

    def _whole(self) -> Session:
        if self._healthy is None:
            self._healthy = self.server.session()
        return self._healthy

    def _note(self, session: Session | None, log: AttemptLog) -> None:
        if session is None:
            self._turned_away.append(log)


class Fault:
    """One stream that goes wrong, and what the application must make of it.

    Args:
        lab: Where it is to go wrong.
        plan: What goes wrong.
        scenario: In place of a plan, one of a suite.
        name: The test's, for the timeline.
        refused: Called with the reason where the lab refused the plan, which it can say only once
            a request has told it the dialect; without it that is a failure.
        settings: Of the answer.

    Attributes:
        session: The lab's session.
        scenario: The scenario of a suite; None where a plan was given.
        patience_s: How long `assert_survives` waits until it calls the application hung.
        shown: Whether its timeline was already shown in an error.
    """

    def __init__(
        self,
        lab: Lab,
        plan: str = "",
        *,
        scenario: Scenario | None = None,
        name: str = "",
        refused: Callable[[str], object] | None = None,
        **settings: Any,
    ) -> None:
        if scenario is not None:
            plan = scenario.full_plan({key: _said(value) for key, value in settings.items()})
            settings = {}
        self.session = lab.session(plan, **settings)
        self.scenario = scenario
        self.patience_s = scenario.patience_s if scenario is not None else _PATIENCE_S
        self.shown = False
        self._lab = lab
        self._name = name
        self._refused = refused
        self._began_s = time.monotonic()
        self._ended: tuple[float, str, str] | None = None  # when, how, and the oracle's line

    # ------------------------------------------------------------ what a client needs

    @property
    def model(self) -> str:
        """The model's name to ask for; it leads to this stream."""
        return self.session.model

    @property
    def plan(self) -> str:
        """What goes wrong, in the fault grammar."""
        return str(self.session.plan)

    @property
    def prompt(self) -> str:
        """Something to ask; the lab's model does not mind what."""
        return _PROMPT

    def environment(self) -> dict[str, str]:
        """Return the variables that were set for the test."""
        return {"LAB_PROMPT": _PROMPT, **self._lab.environment(self.session)}

    # ------------------------------------------------------------ what is known of it

    @property
    def answer(self) -> Numbered:
        """The whole answer, as the oracle wants it."""
        return self.session.numbered

    @property
    def expected(self) -> str:
        """The text of the whole answer."""
        return self.answer.text

    @property
    def say(self) -> str:
        """What the model answers with: ``text``, ``tool`` or ``thinking``."""
        return self.session.settings.say

    @property
    def attempts(self) -> list[AttemptLog]:
        """The requests that came, oldest first."""
        return self.session.attempts

    @property
    def struck(self) -> bool:
        """Whether a fault was really dealt out."""
        return any(attempt.strikes for attempt in self.attempts)

    def report(self, text: str, *, ended_well: bool = True) -> Report:
        """Return what the oracle says of a text (or of a tool call's arguments)."""
        look = examine_arguments if self.say == "tool" else examine
        return look(text, self.answer, ended_well=ended_well)

    # ------------------------------------------------------------ assertions

    def assert_whole(self, text: str) -> None:
        """Fail unless a text is the whole answer: every token once, in order, nothing else.

        Of a tool call, give the arguments as they came. It fails too where nothing was tested,
        such as by a fault that never struck.

        Raises:
            AssertionError: With the timeline.
        """
        __tracebackhide__ = True
        self._want_text(text, "assert_whole was given")
        self._assert_whole(text, self._began_s)

    def assert_honest(self, ending: str | BaseException, *, said: str = "") -> None:
        """Fail if a text that is not the whole answer was taken for it.

        It fails too where nothing was tested, such as by a fault that never struck.

        Args:
            ending: What the application ended with: the final text, or an exception. An exception
                is honest, unless it is an error of the program, such as a `TypeError`, or nothing
                had gone wrong.
            said: With an exception, what had been shown before; nothing in it may be lost,
                repeated or invented.

        Raises:
            AssertionError: With the timeline.
        """
        __tracebackhide__ = True
        if not isinstance(ending, BaseException):
            self._want_text(ending, "assert_honest was given, in place of an exception,")
        self._want_text(said, "as said, assert_honest was given")
        self._assert_honest(ending, said, self._began_s)

    def assert_survives(
        self, ask: Callable[[], str], *, patience_s: float | None = None
    ) -> str | None:
        """Ask, and fail unless the answer is whole, or an honest exception comes in time.

        It fails too where nothing was tested: no request for `model` came, or no fault struck.

        Args:
            ask: Asks and returns the final text (or a tool call's arguments). It runs in a
                thread of its own; for asyncio give ``lambda: asyncio.run(...)``.
            patience_s: How long to wait, in seconds, before it is called hung.

        Returns:
            The whole answer, or None where an exception was raised.

        Raises:
            AssertionError: With the timeline.
        """
        __tracebackhide__ = True
        if not callable(ask):
            no_text(ask, whose="")  # closes a coroutine
            self._fail(
                f"assert_survives was given a {type(ask).__name__}, and not a function that asks:"
                " write assert_survives(lambda: ...)"
            )
        patience_s = self.patience_s if patience_s is None else patience_s
        since_s = time.monotonic()
        ended: list[object] = []
        raised: list[BaseException] = []

        def run() -> None:
            try:
                ended.append(ask())
            except BaseException as error:  # noqa: BLE001  whatever it is, it is told of
                raised.append(error)

        thread = threading.Thread(target=run, name="llm_fault", daemon=True)
        thread.start()
        thread.join(patience_s)
        if raised:
            if not isinstance(raised[0], Exception):
                raise raised[0]
            self._assert_honest(raised[0], "", since_s)
            return None
        if not ended:
            self._ended = (time.monotonic(), "nothing: it still waits", "")
            self._fail(f"the application hung: nothing after {patience_s:g} s")
        text = self._want_text(ended[0], "ask() returned")
        self._assert_whole(text, since_s)
        return text

    def _assert_whole(self, text: str, since_s: float) -> None:
        __tracebackhide__ = True
        report = self.note(text)
        self._assert_tested(since_s, whole=report.whole)
        if not report.whole:
            self._fail("the answer is not whole")

    def _assert_honest(self, ending: str | BaseException, said: str, since_s: float) -> None:
        __tracebackhide__ = True
        if isinstance(ending, str):
            self._assert_whole(ending, since_s)
            return
        report = self.note(said, error=ending)
        if bug_in(ending) is not None:
            self._fail("the application crashed: that is an error of the program", ending)
        self._assert_tested(since_s, cause=ending)
        if report.verdict == "corrupted":
            self._fail("what was shown before the error is corrupted", ending)
        if not self.struck:
            self._fail("nothing went wrong, and the application raised an error", ending)

    def _assert_tested(
        self, since_s: float, *, whole: bool = False, cause: BaseException | None = None
    ) -> None:
        """Fail if nothing was tested; where that is the plan's fault, say so to who gave it."""
        __tracebackhide__ = True
        others = self._lab.others(self.session, since_s=since_s)
        found = untested(self.session, others=others, whole=whole)
        if found is None:
            return
        if found.refused and self._refused is not None:
            self._refused(found.why)
        self._fail(found.why, cause)

    def _want_text(self, value: object, whose: str) -> str:
        __tracebackhide__ = True
        if not isinstance(value, str):
            self._ended = (time.monotonic(), f"no text: {type(value).__name__}", "")
            self._fail(no_text(value, whose=whose))
        return value

    # ------------------------------------------------------------ the timeline

    def timeline(self) -> str:
        """Return what happened, in order of time."""
        settings = self.session.settings
        rows: list[tuple[float, str, str]] = []
        for attempt in list(self.attempts):
            rows += _rows_of(attempt)
        lines = [f"test      {self._name}"] if self._name else []
        if self.scenario is not None:
            lines.append(f"scenario  {self.scenario.name}: {self.scenario.life}".rstrip(": "))
        lines.append(f"plan      {self.plan}; {settings.tokens:,} tokens, seed {settings.seed}")
        told = ""
        if self._ended is not None:
            at_s, how, told = self._ended
            rows.append((at_s, "application", f"ended with {how}"))
        if not self.attempts:
            lines.append(f"          no request for this stream reached the lab at {self._lab.url}")
        for at_s, who, what in sorted(rows, key=lambda row: row[0]):
            lines.append(f"{at_s - self._began_s:8.3f}  {who:<12} {what}")
        if told:
            lines.append(f"oracle    {told}")
        return "\n".join(lines)

    def note(self, text: str, *, error: BaseException | None = None) -> Report:
        """Note for the timeline how the application ended; return what the oracle says."""
        report = self.report(text, ended_well=error is None)
        how = f"{len(text):,} characters of text"
        if error is not None:
            first = str(error).partition("\n")[0][:300]
            how = f"{type(error).__name__}: {first}" + (f", after {how}" if text else "")
        self._ended = (time.monotonic(), how, report.describe())
        return report

    def _fail(self, why: str, cause: BaseException | None = None) -> NoReturn:
        __tracebackhide__ = True
        self.session.wait_idle(0.5)  # so that the last lines say how the lab's side ended
        self.shown = True
        msg = f"{why}\n{self.timeline()}"
        raise AssertionError(msg) from cause


def _rows_of(attempt: AttemptLog) -> Iterable[tuple[float, str, str]]:
    who = f"request {attempt.number + 1}"
    asked = {"whole": "the whole answer", "cursor": "what came after a cursor"}.get(
        attempt.asked, f"the rest, by {attempt.asked}"
    )
    streamed = "streamed" if attempt.stream else "in one piece"
    yield attempt.at_s, who, f"{attempt.method} {attempt.path} asks for {asked}, {streamed}"
    for at_s, what in attempt.strikes:
        yield at_s, who, f"struck by {what}"
    if attempt.ended_at_s is not None:
        ended = _ENDINGS.get(attempt.ended, attempt.ended)
        if attempt.error:
            ended += f" by the lab: {attempt.error}"
        sent = f"{attempt.sent_tokens:,} content frames and {attempt.sent_bytes:,} bytes sent"
        yield attempt.ended_at_s, who, f"{ended}; {sent}"


_ENDINGS: Mapping[str, str] = {
    "whole": "ended whole",
    "clean": "ended early, as if it were done",
    "fin": "connection closed inside the answer",
    "rst": "connection reset",
    "left": "the client left",
    "refused": "refused",
}


def _with_settings(plan: str, settings: Mapping[str, object]) -> str:
    return ";".join([plan or "ok", *(f"{key}={_said(value)}" for key, value in settings.items())])


def _said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"
