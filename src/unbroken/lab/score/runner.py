"""Plays a client through the scenarios of a suite, several at a time.

First it is asked for a healthy answer. A client that cannot read that one would be "honest" about
every fault, since it never gets as far as to meet one; so the run ends there, with the reason.
The same request tells which dialect the client speaks.
"""

from __future__ import annotations

import asyncio
import difflib
import time
import zlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypeVar

from unbroken.core.dialects import DIALECTS
from unbroken.lab.oracle import Numbered
from unbroken.lab.score.player import CannotPlayError, Kind, Player, Turn
from unbroken.lab.score.results import Card, Result, Skipped, kept
from unbroken.lab.score.strays import Strays
from unbroken.lab.score.suite import Scenario, Suite, choose
from unbroken.lab.score.verdict import Ran, Request, examine_output, judge

__all__ = ["Lab", "Options", "Played", "score_suite"]

PROMPT = "Write the numbered answer."
_IDLE_S = 2.0
_LATE_S = 0.5
_TOLD_S = 0.2  # for the lab to tell of a request that the client has done with
_SEEDS, _MOST_COPIES = 10_000, 100
_PREFLIGHT = Scenario(name="before-the-suite", plan="ok", settings={"tokens": "30"})

T = TypeVar("T")


class Lab(Protocol):
    """What is needed of a `LabServer`."""

    def session(self, plan: str = "") -> Any: ...

    def forget(self, id: str) -> bool: ...

    def environment(self, session: Any) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run a suite.

    Attributes:
        label: What to call the client.
        command: How it is run, for the record.
        only: Names, globs or ``tag:`` to choose scenarios by; none takes all.
        dialect: What the client speaks; None finds out from its first request.
        jobs: How many scenarios at the same time.
        patience_s: Instead of the scenarios' own; None keeps those.
        tokens: How long answers are, instead of the scenarios' own; None keeps those.
        seed: Of the answers and of their faults.
        keep_going: Run the suite also where the client cannot read a healthy answer.
    """

    label: str
    command: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    dialect: str | None = None
    jobs: int = 4
    patience_s: float | None = None
    tokens: int | None = None
    seed: int = 0
    keep_going: bool = False

    def __post_init__(self) -> None:
        if self.jobs < 1:
            msg = f"jobs must be at least 1, not {self.jobs}"
            raise ValueError(msg)
        if self.patience_s is not None and self.patience_s <= 0:
            msg = f"patience_s must be above 0, not {self.patience_s:g}"
            raise ValueError(msg)
        if self.tokens is not None and self.tokens < 1:
            msg = f"tokens must be at least 1, not {self.tokens}"
            raise ValueError(msg)
        if self.dialect is not None and self.dialect not in DIALECTS:
            close = difflib.get_close_matches(self.dialect, DIALECTS, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            msg = f"no dialect is called {self.dialect!r}: {hint}there are {', '.join(DIALECTS)}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """How far a run is: what has just ended, and how many have of how many."""

    result: Result | Skipped
    done: int
    total: int


async def score_suite(
    player: Player,
    suite: Suite,
    lab: Lab,
    options: Options,
    on_played: Callable[[Played], None] = lambda _: None,
    *,
    on_stopped: Callable[[Card], None] = lambda _: None,
    strays: Strays | None = None,
) -> Card:
    """Play a suite and return the card; cancelling it ends all that it started.

    Args:
        player: What is scored.
        suite: The scenarios.
        lab: Where their streams come from.
        options: How to run it.
        on_played: Called when a scenario has ended.
        on_stopped: Called when it is cancelled, with the card of what had ended by then.
        strays: The lab's ``on_attempt``, to tell what a client asked for instead.

    Raises:
        CannotPlayError: If the client cannot read a healthy answer, or speaks another dialect
            than the options say.
        SuiteError: If nothing can be chosen from the suite.
    """
    started_at, started_s = datetime.now(UTC), time.monotonic()
    choose(suite, only=options.only)  # a wrong name is told before anything runs
    first = await _play(player, lab, _PREFLIGHT, options)
    if isinstance(first, Skipped):
        raise CannotPlayError(first.why)
    seen = first.requests[0].dialect if first.requests else ""
    # A gateway may speak another dialect with its upstream than with its clients.
    if player.kind == "command" and options.dialect and seen and seen != options.dialect:
        msg = f"the command speaks {seen}, not {options.dialect}: leave --dialect out"
        raise CannotPlayError(msg)
    if first.verdict != "healed" and not options.keep_going:
        raise CannotPlayError(await _cannot(first, player.kind, started_s, strays))
    dialect = options.dialect or seen
    chosen, left = choose(suite, only=options.only, dialect=dialect or None)
    skipped = [Skipped(scenario=scenario.name, why=why) for scenario, why in left]
    done: dict[int, Result | Skipped] = {}

    def card(*, complete: bool) -> Card:
        outcomes = [done[place] for place in sorted(done)]
        results = [outcome for outcome in outcomes if isinstance(outcome, Result)]
        more = [outcome for outcome in outcomes if isinstance(outcome, Skipped)]
        if not complete:
            why = "the run was stopped before"
            more += [
                Skipped(scenario=scenario.name, why=why)
                for place, scenario in enumerate(chosen)
                if place not in done
            ]
        return Card(
            label=options.label,
            suite=suite.name,
            dialect=dialect,
            command=options.command,
            results=results,
            skipped=[*skipped, *more],
            seed=options.seed,
            started_at=started_at.isoformat(timespec="seconds"),
            duration_s=round(time.monotonic() - started_s, 1),
            unbroken=_version(),
            complete=complete,
        )

    try:
        chosen, unsaid = await _sayable(player, lab, chosen, options)
        skipped += unsaid
        await _play_all(player, lab, chosen, options, on_played, done, bool(suite.file))
    except asyncio.CancelledError:
        on_stopped(card(complete=False))
        raise
    return card(complete=True)


async def _sayable(
    player: Player, lab: Lab, chosen: list[Scenario], options: Options
) -> tuple[list[Scenario], list[Skipped]]:
    """Leave out what the client cannot be asked for at all, such as a tool call."""
    skipped: list[Skipped] = []
    for say in sorted({scenario.say for scenario in chosen} - {"text"}):
        healthy = replace(_PREFLIGHT, settings={**_PREFLIGHT.settings, "say": say})
        if options.keep_going:
            continue
        played = await _play(player, lab, healthy, options)
        if isinstance(played, Result) and played.verdict == "healed":
            continue
        why = (
            f"the {player.kind} does not {_GIVES[player.kind]} a healthy answer with LAB_SAY={say}"
        )
        skipped += [Skipped(scenario=s.name, why=why) for s in chosen if s.say == say]
        chosen = [scenario for scenario in chosen if scenario.say != say]
    return chosen, skipped


async def _play_all(
    player: Player,
    lab: Lab,
    chosen: list[Scenario],
    options: Options,
    on_played: Callable[[Played], None],
    done: dict[int, Result | Skipped],
    own: bool,
) -> None:
    """Play scenarios; what came of each is put into ``done`` at its place as soon as it ends."""
    waiting = iter(enumerate(chosen))  # the jobs share it, so that each scenario is taken once

    async def work() -> None:
        for place, scenario in waiting:
            result = await _play(player, lab, scenario, options)
            if own and isinstance(result, Skipped):
                result = replace(result, mistake=True)
            done[place] = result
            on_played(Played(result=result, done=len(done), total=len(chosen)))

    await _together(work() for _ in range(min(options.jobs, len(chosen))))


async def _together(running: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Wait for all of them; the first error, or being cancelled, ends the others too.

    Not a TaskGroup: the error is raised as it is, not in a group of one. Not `asyncio.gather`: it
    returns while those that it cancelled still end their clients, and to cancel these again would
    end that in the middle.
    """
    tasks = [asyncio.create_task(one) for one in running]
    if not tasks:
        return []
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
    return [task.result() for task in tasks]


async def _play(player: Player, lab: Lab, scenario: Scenario, options: Options) -> Result | Skipped:
    """Play one scenario, by as many clients at once as it asks for; the worst result counts."""
    copies = await _together(
        _play_one(player, lab, scenario, options, copy) for copy in range(scenario.copies)
    )
    # A plan that cannot be in this dialect: that says nothing about the client.
    for copy in copies:
        if isinstance(copy, Skipped):
            return copy
    played = [copy for copy in copies if isinstance(copy, Result)]
    return max(played, key=lambda result: (not result.ok, result.severity))


async def _play_one(
    player: Player, lab: Lab, scenario: Scenario, options: Options, copy: int
) -> Result | Skipped:
    # Each scenario, and each copy in it, has words of its own: what comes out of another stream,
    # or out of a cache, is seen as invented.
    seed = int(scenario.settings.get("seed", 0)) + options.seed + copy
    seed += zlib.crc32(scenario.name.encode()) % _SEEDS * _MOST_COPIES
    more = {"seed": str(seed)}
    if options.tokens is not None:
        more["tokens"] = str(options.tokens)
    patience_s = options.patience_s or scenario.patience_s
    prompt = f"{PROMPT} ({scenario.name})"
    session = lab.session(scenario.full_plan(more))
    try:
        environment = {
            **lab.environment(session),
            "LAB_MODEL": session.model,
            "LAB_SAY": scenario.say,
            "LAB_PROMPT": prompt,
            "LAB_PATIENCE_S": f"{patience_s:g}",
            "LAB_SEED": str(seed),
        }
        turn = Turn(
            model=session.model,
            environment=environment,
            say=scenario.say,
            prompt=prompt,
            patience_s=patience_s,
            faultless=scenario.faultless,
        )
        ran = await player.play(turn)
        await asyncio.to_thread(session.wait_idle, _IDLE_S)
        # Only the first: a short rest may well end before the place of a later attempt's fault.
        refused = session.attempts[0].error if session.attempts else ""
        if refused:
            return Skipped(scenario=scenario.name, why=refused)
        return result_of(scenario, session.model, session.numbered, ran, session.attempts)
    finally:
        lab.forget(session.id)


def result_of(
    scenario: Scenario, model: str, answer: Numbered, ran: Ran, attempts: Sequence[Any]
) -> Result:
    """Judge what a client did with one scenario."""
    requests = [_request(attempt, ran.started_s) for attempt in attempts]
    report = examine_output(
        ran.stdout, answer, say=scenario.say, ended_well=ran.exit_code == 0 and not ran.hung
    )
    verdict, facts = judge(ran, report, requests, tokens=answer.tokens)
    more = dict(ran.more)
    late_s = max((attempt.late_s for attempt in attempts), default=0.0)
    if late_s > _LATE_S:  # then this machine was too busy for times to mean much
        more["lab_late_s"] = round(late_s, 2)
    facts = replace(facts, more=more)
    # An error where nothing went wrong is honest, but no merit.
    ok = verdict == "healed" or (verdict == "honest error" and not facts.unprovoked)
    return Result(
        scenario=scenario.name,
        plan=scenario.plan,
        verdict=verdict,
        ok=ok or scenario.undetectable is not None,
        facts=facts,
        best=scenario.best,
        life=scenario.life,
        tags=scenario.tags,
        undetectable=scenario.undetectable,
        model=model,
        requests=requests,
        exit_code=ran.exit_code,
        signal=ran.signal,
        stdout_end=kept(ran.stdout),
        stderr_end=kept(ran.stderr),
        copies=scenario.copies,
    )


def _request(attempt: Any, started_s: float) -> Request:
    """Return a server's log of an attempt with times from the client's start."""

    def since(at_s: float) -> float:
        return round(at_s - started_s, 3)

    return Request(
        at_s=since(attempt.at_s),
        dialect=attempt.dialect,
        asked=attempt.asked,
        faults=attempt.faults,
        strikes=[(since(at_s), what) for at_s, what in attempt.strikes],
        sent_bytes=attempt.sent_bytes,
        sent_tokens=attempt.sent_tokens,
        ended=attempt.ended or "",
        ended_s=None if attempt.ended_at_s is None else since(attempt.ended_at_s),
    )


async def _cannot(first: Result, kind: Kind, started_s: float, strays: Strays | None) -> str:
    """Return why nothing can be learnt from a client."""
    facts = first.facts
    if not first.requests:
        how = _NO_REQUEST[kind]
        if strays is not None:
            await asyncio.sleep(_TOLD_S)
            how = strays.told_since(started_s, model=first.model, where=_ITS_MODEL[kind]) or how
    elif first.verdict == "hung":
        how = f"it was still running after {facts.duration_s:.0f} s"
    else:
        how = f"{first.verdict}, {facts.told}"
    error = f"; it said: {facts.error}" if facts.error else ""
    return (
        f"the {kind} does not {_GIVES[kind]} a healthy answer, so bad ones would teach nothing: "
        f"{how}{error} ({_MANUAL[kind]}; --keep-going runs the suite all the same)"
    )


_GIVES: dict[Kind, str] = {"command": "print", "gateway": "pass on"}
_NO_REQUEST: dict[Kind, str] = {
    "command": "it made no request",
    "gateway": "no request of it reached the lab, which its upstream must be",
}
_ITS_MODEL: dict[Kind, str] = {
    "command": "the model in LAB_MODEL",
    "gateway": "the lab's own name of the model (--gateway-model is how it wants names)",
}
_MANUAL: dict[Kind, str] = {
    "command": "what a command must do: docs/how-to/score-a-client.md",
    "gateway": "how to set one up: docs/how-to/score-a-client.md, A gateway",
}


def _version() -> str:
    try:
        return version("unbroken")
    except PackageNotFoundError:
        return ""
