"""The simulation proves something only if it goes red on cores that are broken."""

from __future__ import annotations

import pytest

from tests.simulation.mutations import MUTATIONS, broken
from tests.simulation.run import run_seed

_MOST_SEEDS = 3_000


def test_there_are_twenty_of_them() -> None:
    assert len(MUTATIONS) >= 20


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_core_goes_red(name: str) -> None:
    with broken(name):
        red = next((seed for seed in range(_MOST_SEEDS) if run_seed(seed).problems), None)
    assert red is not None, f"{name}: {_MOST_SEEDS} seeds and nothing found"
    assert not run_seed(red).problems, f"seed {red} is red on the whole core too"
