"""The scenarios that the pytest plugin's marker ``llm_faults`` names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from unbroken.lab.plan import parse_plan
from unbroken.lab.score.suite import BUILT_IN, Scenario, Suite, SuiteError, choose, load_suite

__all__ = ["scenarios_of"]


def scenarios_of(
    suite: str | Path | Sequence[str] = "core",
    *,
    beside: Path,
    only: str | Sequence[str] = (),
    dialect: str | None = None,
    say: Literal["text", "tool", "thinking", "any"] = "text",
    seed: int = 0,
    undetectable: bool = False,
) -> list[Scenario]:
    """Return the scenarios that a marker names.

    Args:
        suite: A suite's name, a TOML file, or plans in a list.
        beside: The folder in which a TOML file's name is looked up first.
        only: Names, globs (``cut-*``) or tags (``tag:stall``) to choose by.
        dialect: What the client speaks; None leaves out none for its dialect.
        say: What the application asks for; scenarios of other answers are left out.
        seed: Of suites that draw by chance.
        undetectable: Take also those that no client can know of.

    Raises:
        SuiteError: In one line, if they cannot be read or none is left.
    """
    if isinstance(suite, (str, Path)):
        loaded = load_suite(_found(suite, beside), seed=seed)
    else:
        for plan in suite:
            parse_plan(plan)
        named = {plan.removeprefix("lab/"): plan for plan in suite}
        scenarios = tuple(Scenario(name=name, plan=plan) for name, plan in named.items())
        loaded = Suite(name="plans", title="plans", scenarios=scenarios)
    chosen, _ = choose(loaded, only=[only] if isinstance(only, str) else only, dialect=dialect)
    if isinstance(suite, (str, Path)):
        chosen = [
            one
            for one in chosen
            if (undetectable or one.undetectable is None) and say in (one.say, "any")
        ]
    if not chosen:
        msg = f"suite {loaded.name} has no scenario that answers with {say} among those"
        raise SuiteError(msg)
    return chosen


def _found(suite: str | Path, beside: Path) -> str | Path:
    if str(suite) in BUILT_IN or not str(suite).endswith(".toml"):
        return suite
    return beside / suite if (beside / suite).exists() else suite
