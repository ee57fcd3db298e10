"""The mock server: model, sessions, injectors and HTTP, joined.

    request -> control (the lab's own pages)
            -> model.read_request -> session -> model.reply_to -> injectors -> http

`LabServer` runs an event loop in a thread of its own, so that tests, sync or async, use it like
any server; `serve` runs it in a loop that is there already.

    with LabServer() as lab:
        session = lab.session("cut.rst@30t")
        subprocess.run([...], env={**os.environ, **lab.environment(session)})
        assert session.attempts[0].ended == "rst"
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from unbroken.lab.injectors.base import FaultError, injector_for, run
from unbroken.lab.model import Asked, Memory, Refusal, read_request, reply_to
from unbroken.lab.model.asks import clean_name
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.parts import Piece
from unbroken.lab.server.control import control, environment_of, simple
from unbroken.lab.server.http import Connection, Request
from unbroken.lab.server.sending import Answer, Ended
from unbroken.lab.server.sessions import (
    MOST_TEXT,
    Attempt,
    AttemptLog,
    Session,
    Sessions,
    TimedScene,
)
from unbroken.lab.shapes import error_body
from unbroken.relay.serving import Service

if TYPE_CHECKING:
    from unbroken.lab.model import Recordings

__all__ = ["LabServer"]

_BACKLOG = 4096
_log = logging.getLogger(__name__)

Listener = Callable[["Session | None", AttemptLog], None]


class LabServer(Service):
    """A scripted model on a port, whose streams break as their plans say.

    Use it as a context manager, or call `start` and `close`. All methods may be called from
    any thread.

    Args:
        host: Where to listen.
        port: The port; 0 takes a free one.
        plan: For models whose name does not begin with ``lab/``.
        settings: What answers are like, where a plan does not say.
        scenarios: Plans by names: ``lab/NAME`` is then the same as ``lab/PLAN``.
        replay: Recordings that are played in place of written answers.
        on_attempt: Called at the end of each attempt, in the server's thread; the session is
            None for a request that was refused before one was found.

    Raises:
        FaultError: If a plan cannot be.

    Attributes:
        port: The port, known from `start` on.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        plan: str = "",
        settings: AnswerSettings | None = None,
        scenarios: Mapping[str, str] | None = None,
        replay: Recordings | None = None,
        on_attempt: Listener | None = None,
    ) -> None:
        super().__init__(host=host, port=port, name="unbroken-lab", backlog=_BACKLOG)
        self._sessions = Sessions(plan=plan, settings=settings, scenarios=scenarios)
        self._memory = Memory()
        self._replay = replay
        self._on_attempt = on_attempt
        self._listener_failed = False

    # -- what tests and commands use -------------------------------------------------------

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The sessions by id, the one that was used last at the end."""
        return self._sessions

    @property
    def settings(self) -> AnswerSettings:
        """What answers are like, where a plan does not say."""
        return self._sessions.settings

    def session(
        self, plan: str = "", *, id: str | None = None, settings: AnswerSettings | None = None
    ) -> Session:
        """Make a session: one stream, and what happens to its attempts.

        Args:
            plan: Such as ``cut@30t,stall@3s;tokens=120``, or the name of a scenario.
            id: What it is known by; else it is numbered.
            settings: What its answer is like, where the plan does not say.

        Raises:
            FaultError: If the plan cannot be.
        """
        return self._sessions.make(plan, id=id, settings=settings)

    def forget(self, id: str) -> bool:
        """Forget a session; return whether there was one."""
        return self._sessions.forget(id)

    def environment(self, session: Session) -> dict[str, str]:
        """Return the variables by which a client under test finds a session."""
        return environment_of(self.url, session.model, say=session.settings.say)

    def connection(self) -> Connection:
        """Make the connection for a client that has come."""
        return Connection(self.respond, self._connections)

    # -- one request -----------------------------------------------------------------------

    def respond(self, request: Request) -> Answer:
        """Make the answer to a request; called in the server's loop."""
        own = control(self, request)
        if own is not None:
            return own
        asked = read_request(request.method, request.path, request.headers, request.body)
        if asked is None:
            path = request.path.partition("?")[0]
            told = f"the lab has no {request.method} {path}; GET / lists its paths"
            return self._refused(request, "openai-chat", 404, told)
        if isinstance(asked, Refusal):
            self._refused(request, asked.dialect, asked.status, asked.message)
            return simple(asked.status, asked.body, "application/json", **asked.headers)
        if not asked.streams_answer:
            beside = reply_to(asked, self.settings, self._memory)
            return Answer(head=beside.head, parts=iter(beside.pieces))
        model = self._memory.model_of(asked)
        try:
            plan = clean_name(request.headers.get("x-lab-plan", ""))
            session = self._sessions.pick(model, plan)
        except FaultError as error:
            return self._refused(request, asked.dialect, 400, f"lab: {error}", model)
        attempt = session.begin()
        _describe(attempt.log, asked, request, model)
        try:
            return self._answer(asked, session, attempt)
        except FaultError as error:
            attempt.log.status, attempt.log.error = 400, str(error)
            session.end(attempt.log, "refused")
            self._told(session, attempt.log)
            return _error(asked.dialect, 400, f"lab: {error}")
        except BaseException:
            session.end(attempt.log, "refused")
            raise

    def _answer(self, asked: Asked, session: Session, attempt: Attempt) -> Answer:
        log = attempt.log
        reply = reply_to(asked, session.settings, self._memory, log.number, self._replay)
        log.way, log.variant = reply.way, reply.variant
        scene = TimedScene(
            log,
            dialect=reply.dialect,
            random=attempt.random,
            healthy=reply.pieces,
            say_tool=session.settings.say == "tool",
        )
        # What the model refuses by itself has no answer that could be broken.
        faults = () if reply.way == "refused" else attempt.faults
        injectors = [injector_for(spec, scene) for spec in faults]
        head = replace(reply.head, headers=dict(reply.head.headers))
        for injector in injectors:
            head = injector.head(head)
        log.status = head.status
        refused = head.status is not None and head.status >= 400

        def sent(piece: Piece) -> None:
            log.sent_bytes += len(piece.data)
            if piece.role == "content" and piece.event:
                log.sent_tokens += 1

        def late(late_s: float) -> None:
            log.late_s = late_s

        def ended(how: Ended) -> None:
            session.end(log, "refused" if refused and how in ("whole", "clean") else how)
            self._told(session, log)

        return Answer(
            head=head,
            parts=run(iter(reply.pieces), injectors),
            whole_bytes=sum(len(piece.data) for piece in reply.pieces),
            sent=sent,
            late=late,
            ended=ended,
        )

    def _refused(
        self, request: Request, dialect: str, status: int, why: str, model: str = ""
    ) -> Answer:
        """Refuse what no session could be found for."""
        now = time.monotonic()
        log = AttemptLog(number=0, at_s=now, ended="refused", ended_at_s=now, status=status)
        log.dialect, log.model, log.error = dialect, model[:MOST_TEXT], why
        log.method, log.path = request.method, _shown_path(request)
        self._told(None, log)
        return _error(dialect, status, why)

    def _told(self, session: Session | None, log: AttemptLog) -> None:
        if self._on_attempt is None:
            return
        try:
            self._on_attempt(session, log)
        except Exception:  # noqa: BLE001 - a view that fails breaks no answer
            if not self._listener_failed:
                self._listener_failed = True
                _log.exception("on_attempt failed; it is called on, and this is said once")


def _describe(log: AttemptLog, asked: Asked, request: Request, model: str) -> None:
    log.dialect, log.model, log.stream = asked.dialect, model[:MOST_TEXT], asked.stream
    log.method, log.path = request.method, _shown_path(request)
    log.prefill_chars = len(asked.prefill)
    log.asked = (
        "cursor" if asked.cursor else "prefill" if asked.prefill else
        "anchor" if asked.anchor else "whole"
    )  # fmt: skip


def _shown_path(request: Request) -> str:
    """Return the path for a log, without the query: keys may stand there (Gemini's ``key=``)."""
    return request.path.partition("?")[0][:MOST_TEXT]


def _error(dialect: str, status: int, message: str) -> Answer:
    return simple(status, error_body(dialect, status, message), "application/json")
