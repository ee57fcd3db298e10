"""From what a client did to one word for it. Pure: no process, socket or clock.

How the client ended is looked at first, then what it had printed:

    still running when patience ended          hung
    ended by a signal, or by a bug of its own  crashed
    printed what was never said so             corrupted
    exit 0, whole                              healed
    exit 0, short                              truncated silently
    exit not 0, a clean prefix                 honest error
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from unbroken.lab.oracle import Numbered, Report, examine, examine_arguments

__all__ = [
    "VERDICTS",
    "Facts",
    "Found",
    "Ran",
    "Request",
    "Verdict",
    "examine_output",
    "judge",
    "last_line",
    "programming_error",
]

Verdict = Literal["healed", "honest error", "truncated silently", "corrupted", "hung", "crashed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
"""All verdicts; the first two are what one may hope for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a client did, as seen from outside.

    Attributes:
        exit_code: Of its process; None where a signal ended it, ours included.
        signal: The signal that ended it; None where none did.
        hung: Whether it was still running when patience ended, so that we ended it.
        stdout: All that it printed.
        stderr: The last of what it complained.
        started_s: When it started, by a monotonic clock, in seconds.
        ended_s: When it ended.
        printed_s: When bytes arrived on its standard output, ascending.
        more: What else was seen of it; goes into the facts.
    """

    exit_code: int | None = 0
    signal: int | None = None
    hung: bool = False
    stdout: str = ""
    stderr: str = ""
    started_s: float = 0.0
    ended_s: float = 0.0
    printed_s: Sequence[float] = ()
    more: Mapping[str, str | float | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request that reached the lab; times are seconds since the client's start.

    Attributes:
        at_s: When it came.
        dialect: What it was written in.
        asked: For the ``whole`` answer, or for the rest by ``prefill``, ``anchor``, ``cursor``.
        faults: What the plan had in store for it.
        strikes: When a fault struck, and which.
        sent_bytes: How much of a body it was sent.
        sent_tokens: How many tokens of the answer were in it.
        ended: ``whole``, ``clean``, ``fin``, ``rst``, ``left`` (the client went), ``refused``.
        ended_s: When; None where it had not ended.
    """

    at_s: float
    dialect: str = ""
    asked: str = "whole"
    faults: str = ""
    strikes: list[tuple[float, str]] = field(default_factory=list)
    sent_bytes: int = 0
    sent_tokens: int = 0
    ended: str = ""
    ended_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One kind of damage: how often, and where first.

    Attributes:
        count: How many tokens; of invented text how many pieces.
        first: The first token's number; of invented text its place in characters.
    """

    count: int = 0
    first: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What stands behind a verdict.

    Attributes:
        tokens: How many tokens the answer has.
        got: How many of them were printed, each counted once.
        lost, repeated, reordered, invented: Damage; what a short answer lacks at its end is
            not counted as lost.
        told: The same in the oracle's words.
        laundered: Whether less than the answer was given out as the whole of it.
        whole: Whether the whole answer was printed, once and in order.
        harmless: Healed with one request: the client had to heal nothing.
        broken_json: The printed tool arguments are no JSON.
        unprovoked: The client failed although nothing had gone wrong.
        requests: How many requests it made; ``attempts`` of them were answered with a body.
        tokens_bought: How many content frames were sent to it in all.
        first_token_s: Start to the first byte printed.
        time_to_detect_s: Strike to the next request, or to an end with an error; the longest.
        time_to_heal_s: Strike to the first byte printed after the next request, or to the end.
        duration_s: Start to end.
        error: The last line of standard error.
        more: What only some runs have, such as a gateway's transparency.
    """

    tokens: int = 0
    got: int = 0
    lost: Found = Found()
    repeated: Found = Found()
    reordered: Found = Found()
    invented: Found = Found()
    told: str = ""
    laundered: bool = False
    whole: bool = False
    harmless: bool = False
    broken_json: bool = False
    unprovoked: bool = False
    requests: int = 0
    attempts: int = 0
    tokens_bought: int = 0
    first_token_s: float | None = None
    time_to_detect_s: float | None = None
    time_to_heal_s: float | None = None
    duration_s: float = 0.0
    error: str = ""
    more: dict[str, str | float | bool | None] = field(default_factory=dict)


def examine_output(stdout: str, answer: Numbered, *, say: str, ended_well: bool) -> Report:
    """Return the oracle's report of what a client printed: text, or a tool's arguments."""
    if say == "tool":
        return examine_arguments(stdout, answer, ended_well=ended_well)
    return examine(stdout, answer, ended_well=ended_well)


# ---------------------------------------------------------------- how it ended

# What an error in a program looks like, as opposed to one in a stream. Node prints the place
# and its version around the message, so there any line counts. `TypeError: terminated` and
# `TypeError: fetch failed` are how fetch tells of a broken stream: honest errors.
_PYTHON = re.compile(
    r"(?:builtins\.)?(?:AttributeError|TypeError|IndexError|KeyError|AssertionError|NameError"
    r"|UnboundLocalError|RecursionError|MemoryError)(?::|$)"
)
_SCRIPT = re.compile(
    r"TypeError: (?:Cannot (?:read|set) propert|Cannot destructure|.* is not (?:a function|iterable"
    r"|a constructor|an object|defined)|undefined is not|null is not|Cannot convert undefined)"
    r"|ReferenceError: |RangeError: Maximum call stack|FATAL ERROR: .*heap out of memory"
)
_NATIVE = re.compile(r"thread '.*' .*panicked at|^panic: |^fatal error: |Segmentation fault")
_FETCH = re.compile(r"TypeError: (?:terminated|fetch failed|Failed to fetch|network error)")
_SHELLS_SIGNALS = {128 + number for number in (4, 6, 7, 8, 9, 11)}  # ILL ABRT BUS FPE KILL SEGV


def last_line(stderr: str) -> str:
    """Return the last line that says something."""
    return next((line.strip() for line in reversed(stderr.splitlines()) if line.strip()), "")


def programming_error(stderr: str) -> str:
    """Return the line that tells of a bug in the client; "" where its error is the stream's."""
    last = last_line(stderr)
    if _PYTHON.match(last) and not _FETCH.match(last):
        return last
    for line in stderr.splitlines():
        if _SCRIPT.search(line) or _NATIVE.search(line):
            return line.strip()
    return ""


def judge(
    ran: Ran,
    report: Report,
    requests: Sequence[Request],
    *,
    tokens: int,
) -> tuple[Verdict, Facts]:
    """Return the verdict and what stands behind it.

    Args:
        ran: What the client did.
        report: `examine_output` of what it printed.
        requests: What reached the lab, in order.
        tokens: How many tokens the whole answer has.
    """
    ended_well = ran.exit_code == 0 and not ran.hung
    crash = _crash(ran)
    broken_json = report.whole_object is False and report.verdict != "empty"
    whole = report.verdict == "whole" and not broken_json
    verdict: Verdict
    if ran.hung:
        verdict = "hung"
    elif crash:
        verdict = "crashed"
    elif report.verdict == "corrupted" or (broken_json and ended_well):
        verdict = "corrupted"
    elif not ended_well:
        verdict = "honest error"
    else:
        verdict = "healed" if whole else "truncated silently"
    bodies = [request for request in requests if request.ended != "refused"]
    struck = any(request.strikes for request in requests)
    detect_s, heal_s = _times(ran, requests)
    facts = Facts(
        tokens=tokens,
        got=report.got,
        lost=_numbers(report.lost),
        repeated=_numbers(report.repeated),
        reordered=_numbers(report.reordered),
        invented=_invented(report),
        told=report.describe(),
        laundered=ended_well and report.laundered,
        whole=whole,
        harmless=verdict == "healed" and len(requests) <= 1,
        broken_json=broken_json,
        unprovoked=verdict != "healed" and not struck,
        requests=len(requests),
        attempts=len(bodies),
        tokens_bought=sum(request.sent_tokens for request in requests),
        first_token_s=_rounded(ran.printed_s[0] - ran.started_s) if ran.printed_s else None,
        time_to_detect_s=detect_s,
        time_to_heal_s=heal_s if verdict == "healed" else None,
        duration_s=round(ran.ended_s - ran.started_s, 3),
        error="" if ended_well else crash or last_line(ran.stderr)[:500],
    )
    return verdict, facts


def _crash(ran: Ran) -> str:
    """Return what a client crashed of; "" if it did not."""
    if ran.hung or ran.exit_code == 0:
        return ""
    if ran.signal is not None:
        return f"ended by signal {ran.signal}"
    if ran.exit_code in _SHELLS_SIGNALS:
        return f"ended by signal {ran.exit_code - 128}"
    return programming_error(ran.stderr)[:500]


def _times(ran: Ran, requests: Sequence[Request]) -> tuple[float | None, float | None]:
    """Return how long the client took to notice, and to go on; of several strikes the longest."""
    ended_s = ran.ended_s - ran.started_s
    noticed: list[float] = []
    healed: list[float] = []
    for number, request in enumerate(requests):
        if not request.strikes:
            continue
        strike_s = request.strikes[0][0]
        later = [other.at_s for other in requests[number + 1 :] if other.at_s >= strike_s]
        if later:
            noticed.append(later[0] - strike_s)
            at = bisect.bisect_left(ran.printed_s, later[0] + ran.started_s)
            on = ran.printed_s[at] - ran.started_s if at < len(ran.printed_s) else ended_s
            healed.append(on - strike_s)
        elif not ran.hung and ran.exit_code != 0:
            noticed.append(ended_s - strike_s)
    return (
        _rounded(max(noticed)) if noticed else None,
        _rounded(max(healed)) if healed else None,
    )


def _numbers(tokens: Sequence[int]) -> Found:
    return Found(count=len(tokens), first=tokens[0]) if tokens else Found()


def _invented(report: Report) -> Found:
    pieces = len(report.invented) + report.invented_more + report.glued
    return Found(count=pieces, first=report.invented[0].at if report.invented else None)


def _rounded(seconds: float) -> float:
    return round(max(seconds, 0.0), 3)
