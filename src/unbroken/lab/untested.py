"""Ways in which a test of a stream passes and has tested nothing, each in a line.

    no request came, or none for this stream    a URL or a model's name is hard-coded
    the lab refused the plan                    it cannot be done to this answer
    the fault never struck                      its turn did not come
    what came back is no text                   nothing that the oracle could look at
    a bug was raised                            it says nothing of the stream

`unbroken.lab.testing` asks here before it calls anything survived.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unbroken.lab.server.sessions import AttemptLog, Session

__all__ = ["BUGS", "Untested", "bug_in", "no_text", "untested"]

# The scorecard knows the same by their names (score/verdict.py); what cannot be imported or
# compiled is a bug too, which only a test can tell from a client's own words.
BUGS = (
    AssertionError, AttributeError, ImportError, IndexError, KeyError, MemoryError, NameError,
    RecursionError, ReferenceError, SyntaxError, TypeError,
)  # fmt: skip
"""Errors of a program, as opposed to those of a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Untested:
    """Why nothing was tested.

    Attributes:
        why: In a line.
        refused: Whether the lab refused the plan: known only once a request told the dialect.
    """

    why: str
    refused: bool = False


def untested(
    session: Session, *, others: Sequence[AttemptLog], whole: bool = False
) -> Untested | None:
    """Return why a session tested nothing; None where it did, or where nothing was planned.

    Args:
        session: What the application should have asked for.
        others: Requests that came meanwhile and were not for it.
        whole: Whether the application ended with the whole answer.
    """
    attempts = list(session.attempts)
    if not attempts:
        return Untested(why=_not_reached(session, others))
    for attempt in attempts:
        if attempt.error:
            why = f"the lab refused the plan, asked in {attempt.dialect}: {attempt.error}"
            return Untested(why=why, refused=True)
    if not any(session.plan.attempts) or any(attempt.strikes for attempt in attempts):
        return None
    session.wait_idle(0.5)  # the fault may come behind what the client has read
    if any(attempt.strikes for attempt in attempts):
        return None
    if whole and any(attempt.ended in ("", "left") for attempt in attempts):
        return None  # it had all that it wanted, and did not wait for what came behind
    return Untested(why=f"the fault never struck: {_not_struck(session, attempts)}")


def _not_reached(session: Session, others: Sequence[AttemptLog]) -> str:
    if not others:
        return (
            "no request reached the lab: is the base URL hard-coded? Or was the client made before"
            " the variables were set?"
        )
    last = others[-1]
    if last.model and last.model != session.model:
        return (
            f"the client asked for {last.model!r}, not for fault.model: is the model's name"
            " hard-coded?"
        )
    return f"the lab refused the request ({last.status}): {last.error}"


def _not_struck(session: Session, attempts: Sequence[AttemptLog]) -> str:
    turn = next(number for number, faults in enumerate(session.plan.attempts) if faults)
    if turn >= len(attempts):
        came = f"{len(attempts)} came"
        return f"{session.plan} is for request {turn + 1}, and only {came}"
    attempt = attempts[turn]
    if attempt.way == "refused":
        return f"the model refused the request itself, with status {attempt.status}"
    if attempt.ended == "left":
        return "the client left before its turn came"
    return "its turn did not come"


def no_text(value: object, *, whose: str) -> str:
    """Return the line that says what came in place of a text, and what is wanted; "" for a text.

    Args:
        value: What came.
        whose: Who gave it, such as ``ask() returned``.
    """
    if isinstance(value, str):
        return ""
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that it was never awaited; that is what we say
    if inspect.isawaitable(value):
        kind = type(value).__name__
        return f"{whose} a {kind} that nobody awaited: await it, or wrap it in asyncio.run(...)"
    if inspect.isasyncgen(value) or inspect.isgenerator(value):
        return f"{whose} a {type(value).__name__}: join its pieces, and return the whole answer"
    what = "None" if value is None else f"something of type {type(value).__name__}"
    return f"{whose} {what}, and not the whole answer as text (a str)"


def bug_in(error: BaseException) -> BaseException | None:
    """Return the error of a program that an exception is, or that is in its group."""
    if isinstance(error, BUGS):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(bug_in, error.exceptions)), None)
    return None
