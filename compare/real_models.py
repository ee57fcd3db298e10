r"""How often a real model goes on where it was cut: the part of healing that no script can show.

    python -m compare.real_models --base-url https://api.openai.com --model NAME --yes
    python -m compare.real_models --dialect anthropic-messages \
        --base-url https://api.anthropic.com --model NAME --runs 20 --yes

Each run asks one question through a fault proxy on this machine, which cuts the answer at a drawn
place, and Unbroken goes on from there. It sends real requests and costs real tokens, so it says
what it is going to do and does it only with ``--yes``. The key comes from the variable that the
vendor's SDK reads. No prompt or answer is kept, only how each run ended and by which guarantee.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass

import unbroken
from unbroken.lab.proxy.app import FaultProxy

_QUESTIONS = (
    "Explain in about 200 words how a lighthouse works.",
    "Write a numbered list of twelve practical tips for a first marathon, one line each.",
    "Write a Python function that merges overlapping intervals, with a docstring and comments.",
    "Tell a story of about 200 words about a baker and a clock.",
    "Compare three kinds of tea in a Markdown table with five rows, then conclude in a sentence.",
)
_MAX_TOKENS = 400
_EARLIEST, _LATEST = 20, 120  # content frames before the cut
_BASE_PATHS = {"openai-chat": "/v1", "openai-responses": "/v1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How one cut answer ended.

    Attributes:
        cut_at: After how many content frames it was cut; 0 where the answer ended before.
        status: See `unbroken.Outcome.status`.
        rungs: The ways by which it went on, with their guarantees.
        skipped: Why other ways were not taken.
        requests: Upstream requests in all.
        output_tokens: What they wrote, as the provider counted, or an estimate.
    """

    question: int
    cut_at: int
    status: str
    rungs: list[str]
    skipped: list[str]
    requests: int
    output_tokens: int


def main() -> int:
    """Run it; 1 if an answer was neither healed nor an honest error, 2 if it was not allowed to."""
    parser = argparse.ArgumentParser(prog="python -m compare.real_models", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--base-url", required=True, help="the provider's root, without /v1")
    parser.add_argument("--model", required=True)
    parser.add_argument("--dialect", default="openai-chat")
    parser.add_argument("--runs", type=int, default=10, help="answers to cut (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="draws the places")
    parser.add_argument("--json", action="store_true", help="print the runs as JSON")
    parser.add_argument("--yes", action="store_true", help="really send the requests")
    asked = parser.parse_args()
    most = asked.runs * unbroken.Options().max_attempts
    print(
        f"{asked.runs} answers of {asked.model} through a proxy that cuts each once: at most "
        f"{most} requests of up to {_MAX_TOKENS} tokens each, usually {2 * asked.runs}",
        file=sys.stderr,
    )
    if not asked.yes:
        print("nothing was sent; add --yes to do it", file=sys.stderr)
        return 2
    draw = random.Random(asked.seed)
    runs = []
    with FaultProxy(asked.base_url) as proxy:
        for number in range(asked.runs):
            cut_at = draw.randint(_EARLIEST, _LATEST)
            run = _one(proxy, asked.dialect, asked.model, number % len(_QUESTIONS), cut_at)
            runs.append(run)
            said = ", ".join(run.rungs) or "; ".join(run.skipped) or "nothing to heal"
            print(f"{number + 1}/{asked.runs} {run.status}: {said}", file=sys.stderr)
    print(json.dumps([asdict(run) for run in runs], indent=1) if asked.json else _table(runs))
    return 0 if all(run.status in ("complete", "limited", "failed") for run in runs) else 1


def _one(proxy: FaultProxy, dialect: str, model: str, question: int, cut_at: int) -> Run:
    proxy.set_plan(f"cut.rst@{cut_at}t")
    stream = unbroken.stream(
        _QUESTIONS[question],
        model=model,
        base_url=proxy.url + _BASE_PATHS.get(dialect, ""),
        dialect=dialect,
        **_limit(dialect),
    )
    try:
        with stream:
            for _ in stream:
                pass
        outcome = stream.outcome
    except unbroken.StreamingError as error:
        outcome = error.outcome
    assert outcome is not None
    was_cut = any(entry.strikes for entry in proxy.log.entries()[-len(outcome.attempts) :])
    return Run(
        question=question,
        cut_at=cut_at if was_cut else 0,
        status=outcome.status,
        rungs=[
            f"{part.rung} ({part.guarantee})" for part in outcome.provenance if part.rung != "first"
        ],
        skipped=[f"{each.rung}: {each.why}" for each in outcome.skipped],
        requests=len(outcome.attempts),
        output_tokens=sum(attempt.usage.output or 0 for attempt in outcome.attempts),
    )


def _limit(dialect: str) -> dict[str, object]:
    match dialect:
        case "openai-responses":
            return {"max_output_tokens": _MAX_TOKENS, "store": False}
        case "anthropic-messages" | "openai-chat":
            return {"max_tokens": _MAX_TOKENS}
        case _:
            return {}


def _table(runs: list[Run]) -> str:
    cut = [run for run in runs if run.cut_at]
    healed = [run for run in cut if run.status in ("complete", "limited")]
    ways = Counter(way for run in healed for way in run.rungs)
    lines = [f"cut: {len(cut)} of {len(runs)} answers (the others ended before their cut)"]
    lines.append(f"healed: {len(healed)}, honest errors: {len(cut) - len(healed)}")
    lines += [f"  {count:3}  {way}" for way, count in ways.most_common()]
    lines.append(f"requests: {sum(run.requests for run in runs)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
