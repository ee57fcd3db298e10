"""Scenario suites: what can go wrong, as data in TOML files.

    [[scenario]]
    name = "cut-clean"
    plan = "cut@0.5"                 # the fault grammar, without lab/
    best = "whole"                   # what a careful client can do: "whole" or "error"
    life = "A proxy dies and the body ends as if it were done."

A suite may also draw scenarios by chance, from a seed: ``[draw]`` names the faults.
docs/reference/scorecard.md has all keys. A bad file is refused in one line that says which
file, which scenario, and what to do.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Literal

from unbroken.lab.injectors.base import INJECTORS, Spec, possible
from unbroken.lab.plan import parse_plan

__all__ = [
    "BUILT_IN",
    "PATIENCE_S",
    "Best",
    "Scenario",
    "Suite",
    "SuiteError",
    "choose",
    "load_suite",
]

Best = Literal["whole", "error"]

BUILT_IN = ("core", "full", "soak", "seed-003")
"""The suites that come with Unbroken."""

PATIENCE_S = 30.0
"""How long a client may take, where a suite does not say."""

_HIDDEN = "this wire has no numbers, and nothing else in the stream tells"


class SuiteError(ValueError):
    """A suite that cannot be read or understood; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way in which an answer goes wrong.

    Attributes:
        name: Unique in its suite; letters, digits and hyphens.
        plan: What goes wrong, in the fault grammar.
        best: The best that a careful client can do.
        life: How this happens in real life, in a sentence.
        tags: Words to choose it by.
        dialects: For which it makes sense; None for all.
        settings: Of the answer, as the fault grammar has them: ``tokens``, ``say``, ``tps``...
        patience_s: How long until the client is called hung, in seconds.
        copies: How many clients run it at the same time.
        undetectable: Why no client can know of the fault; None where one can. Its verdict is
            shown and does not count. `choose` fills it in for dialects where nothing in the
            stream tells.
    """

    name: str
    plan: str
    best: Best = "whole"
    life: str = ""
    tags: tuple[str, ...] = ()
    dialects: frozenset[str] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = PATIENCE_S
    copies: int = 1
    undetectable: str | None = None

    @property
    def say(self) -> str:
        """What is asked for: ``text``, ``tool`` or ``thinking``."""
        return self.settings.get("say", "text")

    @property
    def faultless(self) -> bool:
        """Whether nothing goes wrong in it at all."""
        return not any(parse_plan(self.plan).attempts)

    def full_plan(self, more: Mapping[str, str] | None = None) -> str:
        """Return the plan with its settings, as a session takes it; ``more`` wins."""
        pairs = {**self.settings, **(more or {})}
        return ";".join([self.plan, *(f"{name}={value}" for name, value in pairs.items())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Scenarios that belong together.

    Attributes:
        name: What it is called.
        title: What it is about.
        scenarios: In the order in which they are shown.
        file: The user's own file that it is from, where a plan that the lab refuses is a mistake;
            "" for those that come with Unbroken, where it says only that this cannot be in the
            client's dialect.
    """

    name: str
    title: str
    scenarios: tuple[Scenario, ...]
    file: str = ""


def load_suite(name: str | Path, *, seed: int = 0) -> Suite:
    """Read a suite, and make sure that every scenario in it can be played.

    Args:
        name: One of `BUILT_IN`, or the path of a TOML file.
        seed: Chooses what is drawn by chance, in suites that do so.

    Raises:
        SuiteError: In one line: which file, which scenario, and what to do.
    """
    from unbroken.lab.score.suite_file import parse  # it needs the classes of this module

    if str(name) in BUILT_IN:
        file = resources.files("unbroken.lab.score") / "suites" / f"{name}.toml"
        return parse(file.read_text("utf-8"), where=str(name), name=str(name), seed=seed)
    path = Path(name)
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        here = path.suffix == "" and path.parent == Path()
        hint = f"; the suites are {', '.join(BUILT_IN)}, or give a .toml file" if here else ""
        why = "no such suite" if here else (error.strerror or str(error)).lower()
        msg = f"{path}: {why}{hint}"
        raise SuiteError(msg) from None
    except UnicodeDecodeError as error:
        msg = f"{path}: not UTF-8 at byte {error.start}; save it as UTF-8"
        raise SuiteError(msg) from None
    return replace(parse(text, where=str(path), name=path.stem, seed=seed), file=str(path))


def choose(
    suite: Suite,
    *,
    only: Iterable[str] = (),
    dialect: str | None = None,
) -> tuple[list[Scenario], list[tuple[Scenario, str]]]:
    """Return the scenarios to run, and those that are left out, each with the reason.

    Args:
        suite: Where to choose from.
        only: Names, globs (``cut-*``) or tags (``tag:stall``); none chooses all.
        dialect: What the client speaks; None leaves out none for its dialect.

    Raises:
        SuiteError: If one of ``only`` fits no scenario.
    """
    wanted = list(only)
    for pattern in wanted:
        if not any(_fits(scenario, pattern) for scenario in suite.scenarios):
            raise SuiteError(_no_such(suite, pattern))
    chosen: list[Scenario] = []
    left: list[tuple[Scenario, str]] = []
    for scenario in suite.scenarios:
        if wanted and not any(_fits(scenario, pattern) for pattern in wanted):
            continue
        why = _senseless(scenario, dialect) if dialect else ""
        if why:
            left.append((scenario, why))
        elif dialect and scenario.undetectable is None and _hidden(scenario, dialect):
            chosen.append(replace(scenario, undetectable=_HIDDEN))
        else:
            chosen.append(scenario)
    return chosen, left


def _no_such(suite: Suite, pattern: str) -> str:
    names = [scenario.name for scenario in suite.scenarios]
    tags = list(dict.fromkeys(tag for scenario in suite.scenarios for tag in scenario.tags))
    close = difflib.get_close_matches(pattern, [*names, *(f"tag:{tag}" for tag in tags)], n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names[:5])}..."
    told = f" (its tags: {', '.join(tags)})" if tags else ""
    which = "has the tag" if pattern.startswith("tag:") else "is called"
    return (
        f"no scenario of suite {suite.name} {which} {pattern.removeprefix('tag:')!r}: {hint}"
        f"{told}; all of them: unbroken lab score --list --suite {suite.file or suite.name}"
    )


def _senseless(scenario: Scenario, dialect: str) -> str:
    """Return why a scenario cannot be played in a dialect; "" where it can."""
    if scenario.dialects is not None and dialect not in scenario.dialects:
        return f"makes no sense in {dialect}"
    for spec in _specs(scenario):
        known = possible(INJECTORS[spec.name], dialect)
        if not known or (spec.how and spec.how not in known):
            return f"{dialect} has no {spec.name}{'.' if spec.how else ''}{spec.how}"
    return ""


def _hidden(scenario: Scenario, dialect: str) -> bool:
    return any(INJECTORS[spec.name].is_hidden(spec.how, dialect) for spec in _specs(scenario))


def _specs(scenario: Scenario) -> Iterator[Spec]:
    for attempt in parse_plan(scenario.plan).attempts:
        yield from attempt


def _fits(scenario: Scenario, pattern: str) -> bool:
    if pattern.startswith("tag:"):
        return pattern.removeprefix("tag:") in scenario.tags
    return fnmatch.fnmatchcase(scenario.name, pattern)
