"""How fast a log is matched against many records.

    python bench/knowledge.py [--records 10000] [--log-kb 1024] [--best-of 5] [--json]

The records are the package's own, again and again with other ids and other literals: each copy's
words of four letters or more get letters of their own, in signature, aliases and pattern alike. The
first copy is left as it is, so that the log's failures are found. The logs:

- ``quiet``: requests served, no failure at all
- ``failing``: the same with a traceback or an error of the package's records every hundred lines
- ``noisy``: every line is an error, half of them known
- ``one line``: all of the noisy one as a single line

Times are of this process alone, so that a busy machine does not count. The goal is for the first
two; the others must stay bounded. Beside it stands what is usually done: each pattern searched in
the whole log (with ``--rival``, since it takes minutes). Making the index is told apart; it is done
once in a process.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import re
import statistics
import sys
import time
from typing import Any

import msgspec

from unbroken.core.faults import Fault, FaultKind
from unbroken.knowledge import Base, base, explain
from unbroken.knowledge.explain import explain_fault
from unbroken.knowledge.record import Record

GOAL_MS = 100.0  # for logs as there are
BOUND_MS = 500.0  # for logs that nothing but failures or one line makes long
LOGS_AS_THERE_ARE = ("quiet", "failing")
GOAL_FAULT_US = 50.0
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")


def varied(record: Record, number: int) -> Record:
    """Return a copy with another id and other words."""
    tail = "".join(chr(97 + int(digit)) for digit in f"{number:03}")

    def change(text: str) -> str:
        return _WORD.sub(lambda found: found[0] + tail, text)

    return msgspec.structs.replace(
        record,
        id=f"{record.id}-{number}",
        signature=change(record.signature),
        aliases=[change(alias) for alias in record.aliases],
        regex=change(record.regex),
        error_code=record.error_code and change(record.error_code),
        structure=msgspec.structs.replace(
            record.structure,
            classes=[change(name) for name in record.structure.classes],
            details=[change(word) for word in record.structure.details],
        ),
    )


def make_base(count: int) -> Base:
    own = base().records
    copies = -(-count // len(own))
    records = [
        record if number == 0 else varied(record, number)
        for number in range(copies)
        for record in own
    ]
    return Base(records[:count])


def make_logs(size: int, *, seed: int = 3) -> dict[str, str]:
    rng = random.Random(seed)
    known = [alias for record in base().records for alias in (record.signature, *record.aliases)]
    words = ("session", "token", "cache", "shard", "worker", "queue", "latency", "budget", "tenant")

    def quiet() -> str:
        return (
            f"2026-11-2{rng.randint(0, 9)}T12:{rng.randint(10, 59)}:07Z INFO {rng.choice(words)}"
            f" request={rng.getrandbits(64):016x} POST /v1/chat/completions 200"
            f" {rng.choice(words)}={rng.randint(1, 9999)} stream closed after {rng.random():.3f}s"
        )

    def error() -> str:
        what = rng.choice(known) if rng.random() < 0.5 else f"{rng.choice(words)} failed to start"
        return f"2026-11-21T12:00:00Z ERROR app.{rng.choice(words)} Traceback: {what}"

    def fill(share: float, between: str = "\n") -> str:
        lines, length = [], 0
        while length < size:
            lines.append(error() if rng.random() < share else quiet())
            length += len(lines[-1]) + 1
        return between.join(lines)[:size]

    return {
        "quiet": fill(0.0),
        "failing": fill(0.01),
        "noisy": fill(1.0),
        "one line": fill(1.0, between=" "),
    }


def milliseconds(of: Any, best_of: int) -> float:
    times = []
    for _ in range(best_of):
        start = time.process_time()
        of()
        times.append((time.process_time() - start) * 1000)
    return min(times)


def rival(records: Base, log: str) -> float:
    """Return the milliseconds of every pattern searched in the whole log."""
    patterns = [re.compile(r.regex, re.IGNORECASE) for r in records.records if r.regex]
    start = time.process_time()
    for pattern in patterns:
        pattern.search(log)
    return (time.process_time() - start) * 1000


def fault_us(rounds: int = 20_000) -> float:
    """Return the microseconds of one look-up beside a live stream."""
    fault = Fault.of(
        FaultKind.STALLED, "no content moved for 120.0 s in phase text (clock progress)"
    )
    explain_fault(fault)
    runs = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(rounds):
            explain_fault(fault, provider="anthropic")
        runs.append((time.process_time() - start) / rounds * 1e6)
    return statistics.median(runs)


def main() -> int:
    """Measure, print, and return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=10_000, help="how many records")
    parser.add_argument("--log-kb", type=int, default=1024, help="size of the log")
    parser.add_argument("--best-of", type=int, default=5, help="rounds; the best one counts")
    parser.add_argument("--rival", action="store_true", help="measure the usual way as well")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    if min(args.records, args.log_kb, args.best_of) < 1:
        parser.error("--records, --log-kb and --best-of must be at least 1")
    if not base().records:
        parser.error("the package has no records")
    records = make_base(args.records)
    start = time.process_time()
    _ = records.matcher
    index_s = time.process_time() - start
    gc.collect()
    gc.freeze()  # an index that stays is no garbage; without this, one match pays for looking
    rows: dict[str, float] = {}
    found: dict[str, int] = {}
    for name, log in make_logs(args.log_kb * 1024).items():
        first = explain(log, limit=None, records=records)
        found[name] = len(first.matches)
        rows[name] = milliseconds(lambda log=log: explain(log, records=records), args.best_of)
    live_us = fault_us()
    goals = {name: GOAL_MS if name in LOGS_AS_THERE_ARE else BOUND_MS for name in rows}
    met = all(ms <= goals[name] for name, ms in rows.items()) and live_us <= GOAL_FAULT_US
    usual = rival(records, make_logs(args.log_kb * 1024)["failing"]) if args.rival else None
    if args.json:
        told = {"records": len(records), "log_kb": args.log_kb, "index_s": round(index_s, 2)}
        rounded = {name: round(ms, 1) for name, ms in rows.items()}
        more = {
            "ms": rounded,
            "found": found,
            "usual_ms": usual,
            "explain_fault_us": round(live_us, 1),
        }
        print(json.dumps({**told, **more, "met": met}))
    else:
        print(f"{len(records)} records, index made in {index_s:.2f} s; a log of {args.log_kb} KiB")
        for name, ms in rows.items():
            print(
                f"  {name:10} {ms:8.1f} ms  {found[name]:5} records fit (goal {goals[name]:g} ms)"
            )
        if usual is not None:
            print(f"  every pattern over the failing log, as is usual: {usual:,.0f} ms")
        print(f"  explain_fault {live_us:.1f} us (goal {GOAL_FAULT_US:g})")
        print("met" if met else "MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
