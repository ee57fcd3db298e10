"""Reads a suite's TOML file, and refuses a bad one in a line that says where and what to do."""

from __future__ import annotations

import difflib
import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from unbroken.core.dialects import DIALECTS
from unbroken.lab.injectors.base import FaultError
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.plan import parse_plan
from unbroken.lab.score.suite import PATIENCE_S, Scenario, Suite, SuiteError

__all__ = ["parse"]

_SUITE_KEYS = {"title", "patience_s", "settings", "scenario", "draw"}
_SCENARIO_KEYS = {
    "name", "plan", "best", "life", "tags", "dialects", "not_dialects", "settings", "patience_s",
    "copies", "undetectable", "reason",
}  # fmt: skip
_DRAW_KEYS = {"scenarios", "attempts", "faults", "together", "life"}
_MOST_COPIES = 64
_MOST_DRAWN = 10_000


def parse(text: str, *, where: str, name: str, seed: int = 0) -> Suite:
    """Return the suite that a file's text describes.

    Args:
        text: TOML.
        where: What to call the file in errors.
        name: What to call the suite.
        seed: Chooses what is drawn by chance.

    Raises:
        SuiteError: In one line: which file, which scenario, and what to do.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        msg = f"{where}: not TOML: {str(error)[:1].lower()}{str(error)[1:]}"
        raise SuiteError(msg) from None
    if "scenarios" in data and "scenario" not in data:
        msg = (
            f"{where}: [scenarios] is how files for unbroken lab serve --scenarios name plans, "
            'NAME = "PLAN" in each line; a suite to score with has [[scenario]] for each, and '
            'below it name = "NAME" and plan = "PLAN"'
        )
        raise SuiteError(msg)
    _known(data, _SUITE_KEYS, where)
    patience_s = _number(data.get("patience_s", PATIENCE_S), f"{where}: patience_s")
    settings = _settings(data.get("settings", {}), where)
    scenarios: list[Scenario] = []
    items = data.get("scenario", [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        msg = f"{where}: write each scenario under a line [[scenario]], in double brackets"
        raise SuiteError(msg)
    for number, item in enumerate(items, 1):
        called = item.get("name")
        place = f"{where}: scenario {called!r}" if called else f"{where}: scenario {number}"
        scenario = _scenario(item, place, settings, patience_s)
        if any(other.name == scenario.name for other in scenarios):
            msg = f"{place}: there are two of this name; rename one"
            raise SuiteError(msg)
        scenarios.append(scenario)
    if "draw" in data:
        scenarios += _drawn(data["draw"], f"{where}: [draw]", settings, patience_s, seed)
    if not scenarios:
        msg = f"{where}: no scenarios; add one with [[scenario]], name and plan"
        raise SuiteError(msg)
    return Suite(name=name, title=str(data.get("title", name)), scenarios=tuple(scenarios))


def _scenario(
    item: Mapping[str, Any], place: str, settings: Mapping[str, str], patience_s: float
) -> Scenario:
    _known(item, _SCENARIO_KEYS, place)
    name, plan = item.get("name"), item.get("plan")
    if not isinstance(name, str) or not name.replace("-", "").replace(".", "").isalnum():
        msg = f"{place}: give it a name of letters, digits and hyphens"
        raise SuiteError(msg)
    if not isinstance(plan, str):
        msg = f'{place}: give it a plan, such as plan = "cut@0.5"'
        raise SuiteError(msg)
    best = item.get("best", "whole")
    if best not in ("whole", "error"):
        msg = f'{place}: best is "whole" or "error", not {best!r}'
        raise SuiteError(msg)
    undetectable = item.get("undetectable", False)
    reason = item.get("reason", "")
    if undetectable not in (True, False) or bool(undetectable) != bool(reason):
        msg = f'{place}: undetectable = true and reason = "why" go together'
        raise SuiteError(msg)
    copies = item.get("copies", 1)
    if not isinstance(copies, int) or not 1 <= copies <= _MOST_COPIES:
        msg = f"{place}: copies is a number from 1 to {_MOST_COPIES}, not {copies!r}"
        raise SuiteError(msg)
    scenario = Scenario(
        name=name,
        plan=plan,
        best=best,
        life=" ".join(str(item.get("life", "")).split()),
        tags=tuple(_words(item.get("tags", []), f"{place}: tags")),
        dialects=_dialects(item, place),
        settings={**settings, **_settings(item.get("settings", {}), place)},
        patience_s=_number(item.get("patience_s", patience_s), f"{place}: patience_s"),
        copies=copies,
        undetectable=str(reason) if undetectable else None,
    )
    _playable(scenario, place)
    return scenario


def _playable(scenario: Scenario, place: str) -> None:
    """Refuse a plan or setting that the lab would refuse when the client already waits."""
    try:
        plan = parse_plan(scenario.full_plan())
        _check_settings(plan.settings)
    except FaultError as error:
        msg = f"{place}: {error}"
        raise SuiteError(msg) from None


def _check_settings(settings: Mapping[str, str]) -> None:
    AnswerSettings.from_plan(settings, AnswerSettings())


def _drawn(
    draw: Any, place: str, settings: Mapping[str, str], patience_s: float, seed: int
) -> list[Scenario]:
    """Return scenarios by chance: how many attempts break, how, and with what together."""
    if not isinstance(draw, dict):
        msg = f"{place}: write it as a table with faults and scenarios"
        raise SuiteError(msg)
    _known(draw, _DRAW_KEYS, place)
    faults = _words(draw.get("faults", []), f"{place}: faults")
    count = draw.get("scenarios", 100)
    least, most = _range(draw.get("attempts", [1, 2]), f"{place}: attempts", 1)
    together = draw.get("together", 0.0)
    if not faults:
        msg = f'{place}: name faults to draw from, such as faults = ["cut.rst@rand"]'
        raise SuiteError(msg)
    if not isinstance(count, int) or not 1 <= count <= _MOST_DRAWN:
        msg = f"{place}: scenarios is a number from 1 to {_MOST_DRAWN:,}, not {count!r}"
        raise SuiteError(msg)
    if not isinstance(together, (int, float)) or not 0 <= together <= 1:
        msg = f"{place}: together is a share from 0 to 1, not {together!r}"
        raise SuiteError(msg)
    chance = random.Random(f"unbroken/{seed}")
    base = Scenario(
        name="", plan="", life=str(draw.get("life", "")), tags=("drawn",), patience_s=patience_s
    )
    scenarios = []
    for number in range(count):
        attempts = []
        for _ in range(chance.randint(least, most)):
            both = 2 if len(faults) > 1 and chance.random() < together else 1
            attempts.append("+".join(chance.sample(faults, both)))
        scenario = replace(
            base,
            name=f"seed{seed}-{number:04d}",
            plan=",".join(attempts),
            settings={**settings, "seed": str(seed * _MOST_DRAWN + number)},
        )
        _playable(scenario, f"{place}: {scenario.plan}")
        scenarios.append(scenario)
    return scenarios


def _known(item: Mapping[str, Any], keys: set[str], place: str) -> None:
    for key in item:
        if key not in keys:
            close = difflib.get_close_matches(key, sorted(keys), n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(keys))}"
            msg = f"{place}: unknown key {key!r}: {hint}"
            raise SuiteError(msg)


def _settings(item: Any, place: str) -> dict[str, str]:
    if not isinstance(item, dict) or any(isinstance(v, (dict, list)) for v in item.values()):
        msg = f"{place}: settings is a table of single values, such as {{ tokens = 200 }}"
        raise SuiteError(msg)
    return {str(name): _as_said(value) for name, value in item.items()}


def _as_said(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _dialects(item: Mapping[str, Any], place: str) -> frozenset[str] | None:
    named = _words(item.get("dialects", []), f"{place}: dialects")
    without = _words(item.get("not_dialects", []), f"{place}: not_dialects")
    for name in (*named, *without):
        if name not in DIALECTS:
            msg = f"{place}: no dialect is called {name!r}; there are {', '.join(DIALECTS)}"
            raise SuiteError(msg)
    if named and without:
        msg = f"{place}: give dialects or not_dialects, not both"
        raise SuiteError(msg)
    if named:
        return frozenset(named)
    return frozenset(DIALECTS) - frozenset(without) if without else None


def _words(value: Any, place: str) -> Sequence[str]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        msg = f'{place}: write it as a list of words, such as ["one", "two"]'
        raise SuiteError(msg)
    return value


def _number(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        msg = f"{place}: a number of seconds above 0, not {value!r}"
        raise SuiteError(msg)
    return float(value)


def _range(value: Any, place: str, least: int) -> tuple[int, int]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(isinstance(number, int) for number in value)
        or not least <= value[0] <= value[1]
    ):
        msg = f"{place}: two numbers, least and most, such as [1, 3]"
        raise SuiteError(msg)
    return value[0], value[1]
