"""20,000 seeds: what was delivered is what the attempts said, whatever goes wrong."""

from __future__ import annotations

import argparse
import os

import pytest

from tests.simulation.keeping import RESUMED
from tests.simulation.run import Tally, command, run_seed, run_seeds, spread
from tests.simulation.settings import TARGETS
from tests.simulation.speech import CONTINUED, REPEATED
from tests.simulation.world import FAULTS
from unbroken.core.faults import FaultKind
from unbroken.core.options import RUNGS

_SHARDS, _PER_SHARD = 18, 500
# Dialects with a resume of their own, and shapes that others do not have: seeds of their own.
_ALONE = ("openai-chat", "openai-completions", "openai-responses", "gemini-interactions")
_SHARDS_EACH = 4
_COVERED = 3_000  # seeds behind those of the shards, counted for what they came across


def _fail_on_any(tally: Tally, dialect: str | None = None) -> None:
    told = [
        f"seed {seed}: {problems[0]}\n    {command(seed, dialect)}"
        for seed, problems in sorted(tally.failures.items())[:5]
    ]
    assert not told, "\n".join([f"{len(tally.failures)} seeds failed", *told])


@pytest.mark.parametrize("shard", range(_SHARDS))
def test_what_is_delivered_is_what_was_said(shard: int) -> None:
    _fail_on_any(run_seeds(shard * _PER_SHARD, _PER_SHARD))


@pytest.mark.parametrize("shard", range(_SHARDS_EACH))
@pytest.mark.parametrize("dialect", _ALONE)
def test_what_one_dialect_delivers_is_what_was_said(dialect: str, shard: int) -> None:
    tally = run_seeds(shard * _PER_SHARD, _PER_SHARD, dialect=dialect)
    _fail_on_any(tally, dialect)


_EXPECTED = {
    "dialect": list(TARGETS),
    "mode": ["heal", "raise", "observe"],
    "rung": ["first", *RUNGS],
    "healed-by": list(RUNGS),
    "healed": list(TARGETS),
    "resumed": ["openai-chat", "openai-completions", "openai-responses", "gemini-interactions"],
    "translated": ["any"],
    "repaired": ["openai-responses"],
    "guarantee": ["byte-exact", "prefix-verified", "seam-verified"],
    "status": ["complete", "limited", "filtered", "failed", "cancelled"],
    "reply": [*FAULTS, *RESUMED],
    "model": ["first", *REPEATED, *CONTINUED, "elsewhere"],
    # What needs a variant or a shape of its own is in the tests of its check.
    "fault": [kind for kind in FaultKind if kind != "missing-finish"],
}  # fmt: skip


def test_the_run_is_not_hollow() -> None:
    tally = run_seeds(_SHARDS * _PER_SHARD, _COVERED)
    _fail_on_any(tally)
    missed = [
        f"{kind}:{name}"
        for kind, names in _EXPECTED.items()
        for name in names
        if not tally[f"{kind}:{name}"]
    ]
    assert not missed, f"never seen in {_COVERED} seeds: {missed}"
    healed = sum(count for name, count in tally.items() if name.startswith("healed-by:"))
    assert healed > _COVERED / 6
    assert tally["healed-by:cursor"] > _COVERED / 100
    assert tally["healed-by:target"] > _COVERED / 100
    for dialect in TARGETS:
        assert tally[f"healed:{dialect}"] > tally[f"dialect:{dialect}"] / 10


def test_a_seed_is_a_world() -> None:
    first, again = run_seed(11), run_seed(11)
    assert first.lines == again.lines
    assert bytes(first.data) == bytes(again.data)


@pytest.mark.soak
def test_as_many_seeds_as_asked() -> None:
    seeds = int(os.environ.get("SEEDS", "1000000"))  # make simulate SEEDS=...
    _fail_on_any(
        spread(
            argparse.Namespace(
                start=_SHARDS * _PER_SHARD + _COVERED,
                seeds=seeds,
                dialect=None,
                until_failure=False,
                workers=os.cpu_count() or 1,
            )
        )
    )
