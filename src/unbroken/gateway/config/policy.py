"""A route's policy: from plain values to `unbroken.Options`, with every name and value checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from unbroken.core.options import Clocks, Options
from unbroken.core.target import Target
from unbroken.gateway.config.problems import Problem, did_you_mean
from unbroken.gateway.config.settings import RouteConfig

__all__ = ["PLAIN_OPTIONS", "OnDisconnect", "options_of"]

_NOT_PLAIN = {
    "authorize": "it is a function, which a file cannot hold",
    "targets": "write the route's own targets",
    "mode": "write the route's own mode",
    "profile": "write the route's own profile",
}
PLAIN_OPTIONS: tuple[str, ...] = tuple(
    each.name for each in dataclasses.fields(Options) if each.name not in _NOT_PLAIN
)
"""The fields of `Options` that the table ``options`` of a route takes."""
_CLOCKS = tuple(each.name for each in dataclasses.fields(Clocks))
_KEEP = re.compile(r"keep\s+(\d+(?:\.\d+)?)\s*(s|m|min)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDisconnect:
    """What happens to a stream whose client went without Stop.

    Attributes:
        kind: ``cancel`` closes the upstream, ``drain`` reads on to the end, ``keep`` waits
            `keep_s` for the client to come back.
        keep_s: Seconds; 0 unless ``keep``.
    """

    kind: Literal["cancel", "drain", "keep"] = "cancel"
    keep_s: float = 0.0

    @classmethod
    def read(cls, text: str, *, resumable: bool = False) -> OnDisconnect:
        """Return what ``cancel``, ``drain``, ``keep 30s`` or ``auto`` means.

        Args:
            text: As the configuration has it.
            resumable: Whether the client asked to be able to resume the stream; decides
                what ``auto`` means.

        Raises:
            ValueError: If it means nothing.
        """
        match text.strip():
            case "auto":
                return cls(kind="keep", keep_s=30.0) if resumable else cls()
            case "cancel":
                return cls()
            case "drain":
                return cls(kind="drain")
            case other if found := _KEEP.fullmatch(other):
                unit_s = 60.0 if (found[2] or "s").startswith("m") else 1.0
                return cls(kind="keep", keep_s=float(found[1]) * unit_s)
        msg = 'write "cancel", "drain", "keep 30s" or "auto"'
        raise ValueError(msg)


def options_of(
    route: RouteConfig, at: str, *, mode: str, targets: tuple[Target, ...] = ()
) -> tuple[Options, list[Problem]]:
    """Return the options of a route, and what is wrong with its table ``options``.

    Args:
        route: The route.
        at: Its path in the configuration, as ``routes[2]``.
        mode: The mode of routes that name none.
        targets: Who may take over.

    Returns:
        The options, without those that are wrong, and a problem for each of these.
    """
    taken: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in route.options.items():
        key = f"{at}.options.{name}"
        if name in _NOT_PLAIN:
            problems.append(Problem(key=key, text="it cannot be set here", remedy=_NOT_PLAIN[name]))
        elif name not in PLAIN_OPTIONS:
            remedy = did_you_mean(name, PLAIN_OPTIONS)
            problems.append(Problem(key=key, text="there is no such option", remedy=remedy))
        elif name == "clocks":
            clocks, wrong = _clocks(value, key, route.profile)
            problems += wrong
            taken |= {} if clocks is None else {"clocks": clocks}
        else:
            _try(taken, name, value, key, problems)
    chosen: Any = route.mode or mode
    made = Options(mode=chosen, profile=route.profile, targets=targets, **taken)
    return made, problems


def _try(taken: dict[str, Any], name: str, value: Any, key: str, problems: list[Problem]) -> None:
    """Take a value if the options do; they know best what they can use."""
    value = None if value == "none" else tuple(value) if isinstance(value, list) else value
    try:
        Options(**{name: value})
    except (ValueError, TypeError) as problem:
        problems.append(_refused(key, problem))
    else:
        taken[name] = value


def _refused(key: str, problem: Exception) -> Problem:
    return Problem(key=key, text=str(problem), remedy="see docs/reference/options.md")


def _clocks(value: Any, at: str, profile: str) -> tuple[Clocks | None, list[Problem]]:
    """Return the profile's clocks with what a table changes of them."""
    if not isinstance(value, Mapping):
        return None, [Problem(key=at, text="it is not a table", remedy=f"write [{at}]")]
    known: Any = profile
    clocks, problems = Options(profile=known).timing, []
    for name, limit in value.items():
        key = f"{at}.{name}"
        if name not in _CLOCKS:
            remedy = did_you_mean(name, _CLOCKS)
            problems.append(Problem(key=key, text="there is no such clock", remedy=remedy))
            continue
        try:
            clocks = dataclasses.replace(clocks, **{name: None if limit == "none" else limit})
        except (ValueError, TypeError) as problem:
            problems.append(_refused(key, problem))
    return clocks, problems
