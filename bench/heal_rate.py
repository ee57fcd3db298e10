"""How often a broken answer is healed, by rung, when the model only sometimes obeys. Simulated.

    python -m bench.heal_rate [--streams 500] [--seed 0] [--sdk] [--json]

A scripted model answers over real sockets on this machine; its first answer is cut at a random
place. Asked again, it does as it is told with the probability of the column, and else
paraphrases, echoes, restarts or apologises, evenly. "wrong" counts streams of which a part is
not what its attempt wrote, or where the text is not one answer: it must be 0. The rates say how
the ladder deals with such behaviour; how often a real model shows it is not known from here.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from tests.contract.heal_rates import ROWS, Tally, measure, repeating

OBEYS = (1.0, 0.9, 0.5, 0.0)
GOAL = 0.95
WITH_A_GOAL = ("prefill", "user-turn", "all")


def main() -> int:
    """Measure, print, and return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=200, help="for each field of the table")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sdk", action="store_true", help="through the openai SDK")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    began = time.monotonic()
    tallies: dict[str, dict[float, Tally]] = {}
    for name in [*ROWS, "all, repeating text"]:
        row, _, repeats = name.partition(", ")
        more = {"answer": repeating} if repeats else {}
        tallies[name] = {
            obeys: measure(
                row, obeys=obeys, streams=given.streams, seed=given.seed, sdk=given.sdk, **more
            )
            for obeys in OBEYS
        }
    seconds = time.monotonic() - began
    missed = [name for name in WITH_A_GOAL if tallies[name][0.9].rate < GOAL]
    wrong = [why for row in tallies.values() for tally in row.values() for why in tally.wrong]
    if given.json:
        rates = {
            name: {str(obeys): tally.rate for obeys, tally in row.items()}
            for name, row in tallies.items()
        }
        print(json.dumps({"simulated": True, "healed": rates, "wrong": len(wrong)}))
    else:
        _show(tallies, given.streams, seconds)
        for name in missed:
            print(f"MISSED: {name} heals under {GOAL:.0%} where the model obeys 9 times in 10")
        for why in wrong[:5]:
            print(f"WRONG: {why}")
    return 1 if missed or wrong else 0


def _show(tallies: dict[str, dict[float, Tally]], streams: int, seconds: float) -> None:
    print(f"simulated: a scripted model, one cut a stream, {streams} streams a field;")
    print("healed whole, of them (the rest fails with an exception); requests added a stream")
    heads = "".join(f"   obeys {obeys:4.0%}  " for obeys in OBEYS)
    print(f"  {'rungs':22}{heads}wrong")
    for name, row in tallies.items():
        fields = "".join(
            f"  {tally.rate:7.1%} {tally.asked.total() / tally.streams:4.2f} "
            for tally in row.values()
        )
        print(f"  {name:22}{fields}  {sum(len(tally.wrong) for tally in row.values())}")
    print(f"  ({seconds:.0f} s)")


if __name__ == "__main__":
    sys.exit(main())
