"""Run seeds: ``python -m tests.simulation.run --seeds 20000 [--start 0] [--dialect NAME]``.

A seed that fails prints the one command that repeats it, with the whole story.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.simulation.oracle import PROVEN, judge
from tests.simulation.play import play
from tests.simulation.watch import Watch
from tests.simulation.world import World

__all__ = ["Tally", "command", "run_seed", "run_seeds", "spread"]

_SHARD = 500


class Tally(Counter[str]):
    """What a run came across, counted: ``kind:name``."""

    failures: dict[int, list[str]]

    def __init__(self) -> None:
        super().__init__()
        self.failures = {}

    def __reduce__(self) -> tuple[object, ...]:
        return _tally, (dict(self), self.failures)

    def add(self, watch: Watch) -> None:
        world, outcome = watch.world, watch.outcome
        self[f"dialect:{world.dialect.name}"] += 1
        self[f"mode:{world.options.mode}"] += 1
        for tried in watch.tries:
            self[f"reply:{tried.reply.fault}"] += 1
            if tried.reply.truth is not None:
                self[f"model:{tried.reply.truth.manner}"] += 1
        if outcome is None:
            return
        self[f"status:{outcome.status}"] += 1
        for fault in outcome.faults:
            self[f"fault:{fault.kind}"] += 1
            if "repaired from" in fault.detail:
                self[f"repaired:{world.dialect.name}"] += 1
        for record in outcome.attempts:
            self[f"rung:{record.rung}"] += 1
        if outcome.status in PROVEN and len(outcome.attempts) > 1:
            self[f"healed:{world.dialect.name}"] += 1
            self[f"healed-by:{outcome.attempts[-1].rung}"] += 1
            if watch.last.root is not watch.last:
                self[f"resumed:{world.dialect.name}"] += 1
            if watch.last.translated:
                self["translated:any"] += 1
        for entry in outcome.provenance:
            self[f"guarantee:{entry.guarantee}"] += 1

    def merge(self, other: Tally) -> None:
        self.update(other)
        self.failures.update(other.failures)


def _tally(counts: dict[str, int], failures: dict[int, list[str]]) -> Tally:
    tally = Tally()
    tally.update(counts)
    tally.failures = failures
    return tally


def run_seed(seed: int, *, dialect: str | None = None) -> Watch:
    """Play one seed and judge it."""
    watch = play(World(seed, dialect=dialect))
    judge(watch)
    return watch


def run_seeds(start: int, count: int, *, dialect: str | None = None) -> Tally:
    """Play seeds one after the other, and count."""
    tally = Tally()
    for seed in range(start, start + count):
        watch = run_seed(seed, dialect=dialect)
        tally.add(watch)
        if watch.problems:
            tally.failures[seed] = watch.problems
    return tally


def command(seed: int, dialect: str | None = None) -> str:
    """Return the command that repeats a seed."""
    more = f" --dialect {dialect}" if dialect else ""
    return f"python -m tests.simulation.run --seed {seed}{more} -v"


def _story(watch: Watch) -> str:
    world = watch.world
    head = [
        f"seed {world.seed}: {world.dialect.name} at {world.request.url}",
        f"request: {world.request.body.decode()[:600]}",
        f"{world.options}",
        f"first truth: {world.first}",
        *(f"truth of attempt {t.number}: {t.reply.truth}" for t in watch.tries[1:]),
        "",
    ]
    return "\n".join([*head, *watch.lines])


def _one(seed: int, dialect: str | None, *, verbose: bool) -> int:
    watch = run_seed(seed, dialect=dialect)
    if verbose:
        print(_story(watch))
    for problem in watch.problems:
        print(f"seed {seed}: {problem}")
    if not watch.problems:
        print(f"seed {seed}: all held")
    return 1 if watch.problems else 0


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments ask for; 1 if something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--dialect", help="this dialect for all seeds")
    parser.add_argument("--until-failure", action="store_true", help="stop at the first failure")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-v", "--verbose", action="store_true", help="tell the story of --seed")
    asked = parser.parse_args(arguments)
    if asked.seed is not None:
        return _one(asked.seed, asked.dialect, verbose=asked.verbose)
    total = spread(asked)
    if asked.json:
        print(json.dumps({"failures": total.failures, "counts": dict(sorted(total.items()))}))
    else:
        for name, count in sorted(total.items()):
            print(f"{count:9d}  {name}")
    for seed, problems in sorted(total.failures.items())[:20]:
        print(f"seed {seed}: {problems[0]}\n    {command(seed, asked.dialect)}", file=sys.stderr)
    if total.failures:
        print(f"{len(total.failures)} seeds failed", file=sys.stderr)
    return 1 if total.failures else 0


def spread(asked: argparse.Namespace) -> Tally:
    """Play seeds on all cores, with progress on standard error."""
    total = Tally()
    began, done = time.monotonic(), 0
    with ProcessPoolExecutor(asked.workers) as pool:
        shards = {
            pool.submit(
                run_seeds, at, min(_SHARD, asked.start + asked.seeds - at), dialect=asked.dialect
            )
            for at in range(asked.start, asked.start + asked.seeds, _SHARD)
        }
        for shard in as_completed(shards):
            total.merge(shard.result())
            done += _SHARD
            rate = done / (time.monotonic() - began)
            print(
                f"\r{min(done, asked.seeds)} of {asked.seeds} seeds, {rate:.0f}/s,"
                f" {len(total.failures)} failed", end="", file=sys.stderr, flush=True,
            )  # fmt: skip
            if asked.until_failure and total.failures:
                pool.shutdown(wait=False, cancel_futures=True)
                break
    print(file=sys.stderr)
    return total


if __name__ == "__main__":
    sys.exit(main())
