from __future__ import annotations

from typing import Any

import pytest

from unbroken.core.outcome import AttemptRecord, Outcome, Provenance
from unbroken.core.received import Usage
from unbroken.telemetry.health.bill import bill_of


def attempt(number: int, rung: str, output: int | None, *, estimated: bool = False) -> Any:
    usage = Usage(input=10, output=output, estimated=estimated)
    return AttemptRecord(number=number, rung=rung, usage=usage)


def part(number: int, start: int, end: int, rung: str, guarantee: Any) -> Provenance:
    return Provenance(attempt=number, start=start, end=end, rung=rung, guarantee=guarantee)


FIRST = attempt(1, "first", 25, estimated=True)
BEGUN = part(1, 0, 100, "first", "byte-exact")
CASES: list[tuple[str, list[Any], list[Any], str, int, int]] = [
    ("one attempt", [attempt(1, "first", 100)], [part(1, 0, 400, "first", "byte-exact")],
     "complete", 0, 0),
    ("a retry before content", [attempt(1, "first", None), attempt(2, "retry", 100)],
     [part(2, 0, 400, "retry", "byte-exact")], "complete", 0, 0),
    ("a retry after thinking that was billed",
     [attempt(1, "first", 70), attempt(2, "retry", 100)],
     [part(2, 0, 400, "retry", "byte-exact")], "complete", 70, 0),
    ("a replay buys the beginning again", [FIRST, attempt(2, "replay", 100)],
     [BEGUN, part(2, 100, 400, "replay", "prefix-verified")], "complete", 25, 0),
    ("a prefill keeps it", [FIRST, attempt(2, "prefill", 75)],
     [BEGUN, part(2, 100, 400, "prefill", "seam-verified")], "complete", 0, 25),
    ("a cursor keeps it", [FIRST, attempt(2, "cursor", 100)],
     [BEGUN, part(2, 100, 400, "cursor", "byte-exact")], "complete", 0, 25),
    ("a replay that diverged, then a prefill",
     [FIRST, attempt(2, "replay", 40), attempt(3, "prefill", 75)],
     [BEGUN, part(3, 100, 400, "prefill", "seam-verified")], "complete", 40, 25),
    ("a prefill, then a replay from the beginning",
     [FIRST, attempt(2, "prefill", 20, estimated=True), attempt(3, "target", 100)],
     [BEGUN, part(2, 100, 200, "prefill", "seam-verified"),
      part(3, 200, 400, "target", "prefix-verified")], "complete", 50, 0),
    ("the last one delivered a call and no text", [FIRST, attempt(2, "retry", 60)], [],
     "complete", 0, 0),
    ("nothing came of the last one", [FIRST, attempt(2, "prefill", 60)], [BEGUN],
     "failed", 60, 0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("attempts", "provenance", "status", "wasted", "saved"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_wasted_and_saved(
    attempts: list[Any], provenance: list[Any], status: Any, wasted: int, saved: int
) -> None:
    outcome = Outcome(status=status, attempts=attempts, provenance=provenance)
    bill = bill_of(outcome, tokens=100)
    assert (bill.wasted_tokens, bill.saved_tokens) == (wasted, saved)
    assert bill.usage.input == 10 * len(attempts)
    assert len(bill.recoveries) == len(attempts) - 1


def test_recoveries_say_what_was_proven() -> None:
    outcome = Outcome(
        attempts=[FIRST, attempt(2, "replay", 40), attempt(3, "prefill", 75)],
        provenance=[BEGUN, part(3, 100, 400, "prefill", "seam-verified")],
    )
    assert bill_of(outcome, tokens=1).recoveries == ["replay none", "prefill seam-verified"]
