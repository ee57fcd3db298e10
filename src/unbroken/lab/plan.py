"""The fault grammar: what goes wrong, written in a model's name.

    lab/cut@120+stall@3s             one attempt: a stall of 3 s half-way, and a cut at byte 120
    lab/cut.rst@30t,http.503*2       the first attempt is reset, the next two are refused
    lab/stall.comment*               every attempt stalls behind comments
    lab/cut@0.5;tokens=500;seed=7    settings of the answer come after a semicolon

Attempts are joined by ``,`` and the faults of one by ``+``; after the last attempt answers are
whole. A fault is ``name.how`` with values behind ``@``, told apart by their units: ``120`` or
``120b`` bytes, ``12f`` frames, ``30t`` content frames (what a provider would call tokens),
``0.5`` or ``50%`` of the answer, ``rand`` anywhere, ``3s`` or ``250ms`` long, ``x5`` times. Bytes
and times may be ``2k`` or ``40M``. The order of faults in an attempt means nothing: those that
need whole frames have their turn before those that take frames apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from unbroken.lab.injectors.base import FaultError, Place, Spec, Unit, check

__all__ = ["PREFIX", "Attempt", "Plan", "parse_fault", "parse_plan"]

PREFIX = "lab/"
_VALUE = re.compile(r"(x?)([0-9]{1,12}(?:\.[0-9]{1,12})?)(b|f|t|s|ms|%|k|M|)")
_TIMES = re.compile(r"[0-9]{1,12}")
_NAME = re.compile(r"[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)?")
_MOST_REPEATS = 1000
_LONGEST_VALUE = 40  # characters; what is longer is not said again in an error
_UNITS: dict[str, Unit] = {"f": "frames", "t": "tokens"}
_BYTES = {"": 1, "b": 1, "k": 1000, "M": 1_000_000}

Attempt = tuple[Spec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What happens to the attempts of one stream.

    Attributes:
        attempts: The faults of each attempt, in order; an empty one lets it pass.
        for_ever: The last of them goes for all later attempts too.
        settings: What was said after the semicolon, as text.
    """

    attempts: tuple[Attempt, ...] = ()
    for_ever: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    def faults_of(self, attempt: int) -> Attempt:
        """Return the faults of an attempt, counted from 0."""
        if attempt < len(self.attempts):
            return self.attempts[attempt]
        return self.attempts[-1] if self.for_ever and self.attempts else ()

    def __str__(self) -> str:
        """Return it as a model's name, without the prefix."""
        said = ",".join("+".join(map(str, attempt)) or "ok" for attempt in self.attempts) or "ok"
        return said + ("*" if self.for_ever else "")


def parse_plan(text: str) -> Plan:
    """Read a plan, with or without ``lab/`` before it.

    Raises:
        FaultError: If it is no plan: an unknown fault, a value without meaning.
    """
    said, *settings = text.removeprefix(PREFIX).split(";")
    attempts: list[Attempt] = []
    for_ever = False
    for one in said.split(",") if said.strip() else ():
        if for_ever:
            msg = f"{text!r}: nothing can follow an attempt that is repeated for ever (*)"
            raise FaultError(msg)
        faults, star, times = one.strip().partition("*")
        attempt = tuple(parse_fault(f) for f in faults.split("+") if f.strip() != "ok")
        if star and not times:
            for_ever = True
        if times and not (_TIMES.fullmatch(times) and 1 <= int(times) <= _MOST_REPEATS):
            msg = f"{text!r}: *{times} is no number of attempts from 1 to {_MOST_REPEATS:,}"
            raise FaultError(msg)
        attempts += [attempt] * int(times or 1)
    return Plan(attempts=tuple(attempts), for_ever=for_ever, settings=_settings(text, settings))


def parse_fault(text: str) -> Spec:
    """Read one fault, such as ``cut.rst@30t``.

    Raises:
        FaultError: If there is no such fault, or if it does not take what it is given.
    """
    name, *values = text.strip().split("@")
    if not _NAME.fullmatch(name):
        msg = f"{text!r} is no fault: write it as cut, cut.rst, cut@120, stall@30t@3s"
        raise FaultError(msg)
    name, _, how = name.partition(".")
    given: dict[str, Place | float | int] = {}
    for value in values:
        what, meant = _value(text, value)
        if what in given:
            msg = f"{text!r} has more than one {what}"
            raise FaultError(msg)
        given[what] = meant
    spec = Spec(name=name, how=how, **given)  # type: ignore[arg-type]  # each is what it is called
    check(spec)
    return spec


def _value(text: str, value: str) -> tuple[str, Place | float | int]:
    """Return what a value behind ``@`` is (place, seconds or count), and the value."""
    if value == "rand":
        return "place", Place(unit="random")
    known = _VALUE.fullmatch(value)
    if known is None:
        msg = f"{text!r}: {value!r} is no place (120, 12f, 30t, 0.5, rand), time (3s) or x5"
        if len(value) > _LONGEST_VALUE:
            msg = f"{text[:_LONGEST_VALUE]!r}...: a number has at most 12 digits"
        raise FaultError(msg)
    times, number, unit = known.groups()
    amount = float(number)
    if unit in ("s", "ms") and not times:
        return "seconds", amount / (1000 if unit == "ms" else 1)
    if times or unit not in ("%", "") or "." not in number:
        amount *= _BYTES.get(unit, 1)
    if times and unit in ("", "k", "M") and amount == int(amount):
        return "count", int(amount)
    share = unit == "%" or (unit == "" and "." in number)
    if times or not (share or amount == int(amount)):
        msg = f"{text!r}: {value!r} must be a whole number"
        raise FaultError(msg)
    if not share:
        return "place", Place(unit=_UNITS.get(unit, "bytes"), amount=amount)
    amount /= 100 if unit == "%" else 1
    if amount > 1:
        msg = f"{text!r}: a share of an answer is from 0 to 1"
        raise FaultError(msg)
    return "place", Place(unit="share", amount=amount)


def _settings(text: str, pairs: list[str]) -> dict[str, str]:
    known: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            msg = f"{text!r}: {pair!r} is no setting; write it as tokens=200"
            raise FaultError(msg)
        known[name.strip()] = value.strip()
    return known
