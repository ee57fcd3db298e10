"""Which plan a request goes by, and the log of what was dealt out to it.

A session is one stream as a client sees it: its first request, and all that it sends again. It is
known by ``id=`` in the model's name; without one, by the model's name itself, where a new stream
cannot be told from a retry: attempts are counted together, and begin anew once an answer went out
whole after the plan was used up, or after a minute without a request.
"""

from __future__ import annotations

import random
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from unbroken.lab.injectors.base import FaultError, Scene, Spec
from unbroken.lab.model import AnswerSettings, numbered_for
from unbroken.lab.oracle.numbered import Numbered
from unbroken.lab.plan import PREFIX, Plan, parse_plan

__all__ = ["MOST_TEXT", "AttemptLog", "Attempt", "Finish", "Session", "Sessions", "TimedScene"]

_MOST_SESSIONS = 10_000
_MOST_ATTEMPTS = 1_000  # remembered of one session
_MOST_STRIKES = 100  # remembered of one attempt
_FORGET_S = 60.0  # without a request, attempts of a session without an id begin anew
MOST_TEXT = 2_000
"""Longest plan, in characters; of longer names in a log this much is kept."""

Finish: TypeAlias = Literal["", "whole", "clean", "fin", "rst", "left", "refused"]
"""How an attempt ended; ``""`` while it runs."""


@dataclass(slots=True, kw_only=True)
class AttemptLog:
    """One request, and what was done to it. Times are `time.monotonic()` of the server.

    Attributes:
        number: Counted from 0 within its session.
        at_s: When the request was whole.
        model: The model's name, as the request has it.
        asked: For the whole answer, or for its rest, and by which means.
        way: How the model came to its answer: ``whole``, or going on by what it honours.
        variant: Which of the answers of a model that samples it is.
        faults: What the plan had for it, as it is written there; ``""`` for none.
        strikes: When each fault struck, and what it did; the first hundred.
        sent_bytes: Of the body, before transfer coding.
        sent_tokens: Content frames that were written whole.
        ended: How it ended; ``refused`` where no answer began (an HTTP error).
        late_s: How far the lab fell behind its own pace, at worst; large figures mean that
            this machine was too busy for what was asked of it.
        status: The HTTP status; None where the connection was closed without one.
        path: Without the query, where keys may stand.
        error: Why the lab itself refused, such as a plan that cannot be.
    """

    number: int
    at_s: float
    dialect: str = ""
    model: str = ""
    method: str = ""
    path: str = ""
    stream: bool = False
    prefill_chars: int = 0
    asked: Literal["whole", "prefill", "anchor", "cursor"] = "whole"
    way: str = ""
    variant: int = 0
    faults: str = ""
    strikes: list[tuple[float, str]] = field(default_factory=list)
    sent_bytes: int = 0
    sent_tokens: int = 0
    ended: Finish = ""
    ended_at_s: float | None = None
    late_s: float = 0.0
    status: int | None = None
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what can be written as JSON."""
        return {name: getattr(self, name) for name in AttemptLog.__dataclass_fields__}


class TimedScene(Scene):
    """A scene that notes in the attempt's log when faults strike."""

    __slots__ = ("log",)

    def __init__(self, log: AttemptLog, **more: Any) -> None:
        Scene.__init__(self, **more)
        self.log = log

    def struck(self, what: str) -> None:
        if len(self.log.strikes) < _MOST_STRIKES:
            self.log.strikes.append((time.monotonic(), what))


@dataclass(slots=True, kw_only=True)
class Attempt:
    """What a request is to be given: its log, its faults, and its chance."""

    log: AttemptLog
    faults: tuple[Spec, ...]
    random: random.Random


class Session:
    """One stream as a client sees it, over all its attempts.

    Attributes:
        id: What it is known by.
        plan: What happens to its attempts.
        settings: What its answer is like.
        attempts: The log, oldest first; the last thousand.
        named: Whether the id was given, rather than taken from the model's name.
    """

    def __init__(self, id: str, text: str, plan: Plan, settings: AnswerSettings) -> None:
        self.id = id
        self.plan = plan
        self.settings = settings
        self.attempts: list[AttemptLog] = []
        self.named = True
        self._text = text
        self._next = 0
        self._last_s = 0.0
        self._begin_anew = False
        self._open = 0
        self._changed = threading.Condition()

    @property
    def model(self) -> str:
        """The model's name that leads here."""
        return f"{PREFIX}{self._text};id={self.id}" if self.named else self.id

    @property
    def numbered(self) -> Numbered:
        """The whole answer, as the oracle wants it (of a model that does not sample)."""
        return numbered_for(self.settings, self.settings.variant or 0)

    @property
    def open_streams(self) -> int:
        """How many of its attempts run now."""
        return self._open

    def wait_idle(self, timeout_s: float = 10.0) -> bool:
        """Wait until no attempt runs; return False if one still does after that time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._open == 0, timeout_s)

    def to_dict(self) -> dict[str, Any]:
        """Return what can be written as JSON."""
        with self._changed:
            return {
                "id": self.id,
                "model": self.model,
                "plan": str(self.plan),
                "open_streams": self._open,
                "attempts": [log.to_dict() for log in self.attempts],
            }

    def begin(self) -> Attempt:
        """Count a request, and return what it is to be given."""
        now = time.monotonic()
        with self._changed:
            if not self.named and (self._begin_anew or now - self._last_s > _FORGET_S):
                self._next = 0
            self._begin_anew = False
            self._last_s = now
            number = self._next
            self._next += 1
            faults = self.plan.faults_of(number)
            log = AttemptLog(number=number, at_s=now, faults="+".join(map(str, faults)))
            self.attempts.append(log)
            if len(self.attempts) > _MOST_ATTEMPTS:
                del self.attempts[0]
            self._open += 1
        chance = random.Random(f"{self.settings.seed}/{self.id}/{number}")
        return Attempt(log=log, faults=faults, random=chance)

    def end(self, log: AttemptLog, how: Finish) -> None:
        """Note how an attempt ended."""
        with self._changed:
            log.ended, log.ended_at_s = how, time.monotonic()
            self._open -= 1
            used_up = log.number + 1 >= len(self.plan.attempts)
            if how == "whole" and used_up and not log.faults:
                self._begin_anew = True
            self._changed.notify_all()

    def goes_by(self, plan: Plan, settings: AnswerSettings) -> None:
        """Take another plan, and count from the beginning."""
        with self._changed:
            self.plan, self.settings = plan, settings
            self._next = 0


class Sessions(Mapping[str, Session]):
    """All sessions by id, of which those that were used last are remembered.

    Args:
        plan: For models whose name is no plan.
        settings: For answers of which a plan says nothing.
        scenarios: Plans by names, which may stand in a plan's place.

    Raises:
        FaultError: If a plan cannot be.
    """

    def __init__(
        self,
        *,
        plan: str = "",
        settings: AnswerSettings | None = None,
        scenarios: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = AnswerSettings() if settings is None else settings
        self.scenarios = dict(scenarios or {})
        self._known: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()
        self._made = 0
        for name, text in self.scenarios.items():
            try:
                self._read(text)
            except FaultError as error:
                msg = f"scenario {name!r}: {error}"
                raise FaultError(msg) from None
        self._read(plan)
        self.plan = plan

    def __getitem__(self, id: str) -> Session:
        with self._lock:
            return self._known[id]

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._known))

    def __len__(self) -> int:
        return len(self._known)

    def make(
        self, plan: str = "", *, id: str | None = None, settings: AnswerSettings | None = None
    ) -> Session:
        """Make a session, in place of the one that has its id.

        Raises:
            FaultError: If the plan cannot be, or the id cannot stand in a model's name.
        """
        text, read, said = self._read(plan or "ok", settings)
        id = said if id is None else id
        with self._lock:
            if not id:
                self._made += 1
                while (id := f"s{self._made}") in self._known:
                    self._made += 1
            if not _speakable(id):
                msg = f"{id!r} is no id of a session: letters, digits, . _ and - may be in it"
                raise FaultError(msg)
            return self._put(Session(id, text, *read))

    def forget(self, id: str) -> bool:
        """Forget a session; return whether there was one."""
        with self._lock:
            return self._known.pop(id, None) is not None

    def pick(self, model: str, header: str = "") -> Session:
        """Return the session of a request.

        Args:
            model: The model's name that it has.
            header: The plan in its ``x-lab-plan``, which goes before the model's name.

        Raises:
            FaultError: If the plan cannot be.
        """
        text = header or (model if model.startswith(PREFIX) else self.plan)
        text, (plan, settings), id = self._read(text)
        with self._lock:
            key = id or (f"{model} {header}" if header else model)[:MOST_TEXT]
            known = self._known.get(key)
            if known is None:
                known = Session(key, text, plan, settings)
                known.named = bool(id)
                return self._put(known)
            self._known.move_to_end(key)
            asks_nothing = not text and id
            if not asks_nothing and text != known._text:
                known._text = text
                known.goes_by(plan, settings)
            return known

    def _put(self, session: Session) -> Session:
        self._known[session.id] = session
        self._known.move_to_end(session.id)
        if len(self._known) > _MOST_SESSIONS:
            idle = (key for key, old in self._known.items() if not old.open_streams)
            self._known.pop(next(idle, session.id))
        return session

    def _read(
        self, text: str, base: AnswerSettings | None = None
    ) -> tuple[str, tuple[Plan, AnswerSettings], str]:
        """Return a plan's text without its id, what it means, and its id."""
        if len(text) > MOST_TEXT:
            msg = f"a plan of {len(text):,} characters; at most {MOST_TEXT:,}"
            raise FaultError(msg)
        text = text.strip().removeprefix(PREFIX)
        name, semicolon, more = text.partition(";")
        whole = self.scenarios.get(name, name) + semicolon + more
        plan = parse_plan(whole)
        settings = dict(plan.settings)
        id = settings.pop("id", "")
        if id and not _speakable(id):
            msg = f"id={id}: letters, digits, . _ and - may be in an id"
            raise FaultError(msg)
        read = AnswerSettings.from_plan(settings, self.settings if base is None else base)
        said = [part for part in text.split(";") if part.partition("=")[0].strip() != "id"]
        return ";".join(said), (plan, read), id


def _speakable(id: str) -> bool:
    return len(id) <= 200 and all(c.isalnum() or c in "._-" for c in id)
