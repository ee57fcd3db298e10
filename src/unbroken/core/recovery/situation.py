"""What the ladder is asked, and what it answers: a situation, and a plan for one more attempt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from unbroken.core.dialects.base import Cursor, Dialect, Place, RequestFacts
from unbroken.core.faults import Fault
from unbroken.core.options import Options, Rung
from unbroken.core.outcome import Guarantee
from unbroken.core.received import Received
from unbroken.core.recovery.capabilities import Capability, capability_for
from unbroken.core.recovery.seam import Matcher
from unbroken.core.request import Request
from unbroken.core.target import Target

__all__ = ["Broken", "Plan", "Situation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One more attempt: what to send, and what it must prove.

    Attributes:
        rung: The way.
        request: What to send.
        matcher: Decides whether its text continues what was delivered.
        guarantee: What holds once it does.
        anchor: Graphemes it must write again; 0 for none.
        spliced: Whether its frames must be written anew; False passes them as they come.
        cursor: The provider's own resume: the attempt that broke goes on over this request.
        target: Who is asked, where it is not the request's own provider and model.
        like: For another target: the rung that it goes on by.
        dialect: For another target: the dialect it speaks, where it is not the stream's.
    """

    rung: Rung
    request: Request
    matcher: Matcher
    guarantee: Guarantee
    anchor: int = 0
    spliced: bool = True
    cursor: Cursor | None = None
    target: Target | None = None
    like: Rung | None = None
    dialect: Dialect | None = None

    @property
    def way(self) -> Rung:
        """How its frames relate to what was delivered, whoever is asked."""
        return self.like or self.rung

    @property
    def key(self) -> str:
        """Under which its tries are counted: each target's by itself."""
        return self.rung if self.target is None else f"target {self.target.label}"


class Broken(NamedTuple):
    """The attempt that broke: what it speaks, what was asked, and how far it was read.

    Where another Unbroken keeps the answer, `kept` is its cursor, or why there is none.
    """

    dialect: Dialect
    request: Request
    place: Place
    kept: Cursor | str | None = None


@dataclass(slots=True, kw_only=True)
class Situation:
    """What is known when an attempt has failed.

    Attributes:
        request: The first attempt's request.
        dialect: Its dialect.
        options: The user's.
        delivered: What the consumer has.
        open_call_delivered: Part of a tool call is with the consumer.
        anything_arrived: Whether the failed attempt sent more than a status.
        fault: Why it failed.
        tries: How often each rung got an answer since something new was last delivered.
        refused: Rungs that the provider refused outright in this stream, and replay once its
            text was another.
        attempts: Upstream requests so far.
        added_bytes: Body bytes of all requests after the first.
        refusals: Requests in a row, the last ones, that got no stream.
        broken: The attempt that broke, or None where no answer began.
        wall_time: Now, in seconds since the epoch, or None where it is not known.
        blocked: Says why a target is to be left alone, or nothing (a circuit breaker).
    """

    request: Request
    dialect: Dialect
    options: Options
    delivered: Received
    fault: Fault
    open_call_delivered: bool = False
    anything_arrived: bool = True
    tries: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    attempts: int = 1
    added_bytes: int = 0
    refusals: int = 0
    broken: Broken | None = None
    wall_time: float | None = None
    blocked: Callable[[Request], str | None] = lambda request: None

    @property
    def facts(self) -> RequestFacts:
        """What the request asks for."""
        return self.dialect.facts(self.request)

    @property
    def capability(self) -> Capability:
        """What the target can do."""
        return capability_for(
            dialect=self.dialect.family or self.dialect.name,
            host=self.request.host,
            path=self.request.path,
            model=self.facts.model,
            extra=self.options.capabilities,
        )
