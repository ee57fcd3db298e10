"""At least 20,000 seeds: what was delivered is what the attempts said, whatever goes wrong."""

from __future__ import annotations

import argparse
import os

import pytest

from tests.simulation.run import Tally, command, run_seed, run_seeds, spread
from tests.simulation.speech import CONTINUED, REPEATED
from tests.simulation.world import FAULTS
from unbroken.core.dialects import DIALECTS
from unbroken.core.faults import FaultKind

_SHARDS, _PER_SHARD = 36, 500
_COVERED = 3_000  # seeds behind those of the shards, counted for what they came across


def _fail_on_any(tally: Tally) -> None:
    told = [
        f"seed {seed}: {problems[0]}\n    {command(seed)}"
        for seed, problems in sorted(tally.failures.items())[:5]
    ]
    assert not told, "\n".join([f"{len(tally.failures)} seeds failed", *told])


@pytest.mark.parametrize("shard", range(_SHARDS))
def test_what_is_delivered_is_what_was_said(shard: int) -> None:
    _fail_on_any(run_seeds(shard * _PER_SHARD, _PER_SHARD))


_EXPECTED = {
    "dialect": list(DIALECTS),
    "mode": ["heal", "raise", "observe"],
    "rung": ["first", "retry", "replay", "prefill", "user-turn"],
    "healed-by": ["retry", "replay", "prefill", "user-turn"],
    "healed": list(DIALECTS),
    "guarantee": ["byte-exact", "prefix-verified", "seam-verified"],
    "status": ["complete", "limited", "filtered", "failed", "cancelled"],
    "reply": list(FAULTS),
    "model": ["first", *REPEATED, *CONTINUED],
    # What needs a variant or a shape of its own is in the tests of its check.
    "fault": [kind for kind in FaultKind if kind not in ("invalid-utf8", "missing-finish",
                                                         "slow-drip")],
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
    for dialect in DIALECTS:
        assert tally[f"healed:{dialect}"] > tally[f"dialect:{dialect}"] / 6


def test_a_seed_is_a_world() -> None:
    first, again = run_seed(11), run_seed(11)
    assert first.lines == again.lines
    assert bytes(first.data) == bytes(again.data)


@pytest.mark.soak
def test_as_many_seeds_as_asked() -> None:
    seeds = int(os.environ.get("SEEDS", "1000000"))  # make soak SEEDS=...
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
