"""The simulation proves something only if it goes red on cores that are broken."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import DIALECT_OF, MUTATIONS, broken
from tests.simulation.run import run_seed

_MOST_SEEDS = 3_000  # of those that `test_simulation` plays: of any dialect,
_MOST_OF_ONE = 2_000  # and of one


def test_there_are_sixty_of_them() -> None:
    assert len(MUTATIONS) >= 60


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_core_goes_red(name: str) -> None:
    dialect = DIALECT_OF.get(name)
    most = _MOST_OF_ONE if dialect else _MOST_SEEDS
    with broken(name):
        seeds = range(most)
        red = next((seed for seed in seeds if run_seed(seed, dialect=dialect).problems), None)
    assert red is not None, f"{name}: {most} seeds and nothing found"
    whole = run_seed(red, dialect=dialect)
    assert not whole.problems, f"seed {red} is red on the whole core too"
