"""How well real messages find their records: precision at 1 and mean reciprocal rank.

The messages of ``held_out.jsonl`` were collected apart from the authors of the records, from issue
threads and from real SDKs, proxies and servers. What is missed tells what to mend in records or
matcher; nothing is ever changed here to make a miss go away.

Some rows are what a record has word for word too, since the commonest messages are found by
whoever looks. They prove nothing, and are left out of the figures.

Each row: ``text``; ``expect``, the ids that are right, the best first (more than one only where the
text itself leaves it open, none where no record is right); ``source``, a thread or what was run.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import unbroken
from unbroken.knowledge.load import base

ROWS = [
    json.loads(line)
    for line in Path(__file__).with_name("held_out.jsonl").read_text("utf-8").splitlines()
]
LEAST_PRECISION = 0.95
LEAST_RECIPROCAL_RANK = 0.97


class Scored(NamedTuple):
    """A row, and what was found for it."""

    text: str
    expect: list[str]
    source: str
    found: list[str]

    @property
    def first(self) -> bool:
        """The first that was found is right; of a foreign message, that nothing was found."""
        return self.found[0] in self.expect if self.found and self.expect else self.bare

    @property
    def bare(self) -> bool:
        return not self.found and not self.expect

    @property
    def reciprocal_rank(self) -> float:
        if not self.expect:
            return float(self.bare)
        ranks = [at for at, found in enumerate(self.found, 1) if found in self.expect]
        return 1 / ranks[0] if ranks else 0.0


def score(row: dict[str, Any]) -> Scored:
    matches = unbroken.explain(row["text"], limit=10).matches
    return Scored(**row, found=[match.record.id for match in matches])


@pytest.fixture(scope="module")
def scored() -> list[Scored]:
    known = {text for record in base().records for text in (record.signature, *record.aliases)}
    apart = [row for row in ROWS if row["text"].strip() not in known]
    assert len(apart) >= 150
    return [score(row) for row in apart]


def misses(scored: list[Scored]) -> str:
    """One block a miss, and the ids that are missed most."""
    missed = [row for row in scored if not row.first]
    most = Counter(row.expect[0] if row.expect else "(no record)" for row in missed)
    blocks = [
        f"expected {' or '.join(row.expect) or 'nothing'}\n"
        f"   found {', '.join(row.found[:3]) or 'nothing'}\n"
        f"    text {row.text.strip()[-240:]!r}\n"
        f"    from {row.source}"
        for row in missed
    ]
    return "\n".join([*blocks, "", *(f"{count:4} {id}" for id, count in most.most_common())])


def test_real_messages_find_their_records(scored: list[Scored]) -> None:
    precision = sum(row.first for row in scored) / len(scored)
    rank = sum(row.reciprocal_rank for row in scored) / len(scored)
    told = f"precision at 1: {precision:.3f}, mean reciprocal rank: {rank:.3f}, of {len(scored)}"
    print(f"{misses(scored)}\n{told}")
    assert precision >= LEAST_PRECISION, told
    assert rank >= LEAST_RECIPROCAL_RANK, told


def test_foreign_messages_find_nothing(scored: list[Scored]) -> None:
    wrong = [(row.text[:80], row.found[:1]) for row in scored if not row.expect and row.found]
    assert not wrong


def test_there_is_a_message_for_every_record() -> None:
    known = set(base().by_id)
    best = {row["expect"][0] for row in ROWS if row["expect"]}
    assert known - best == set(), "records without a held-out message"


def test_every_expected_record_is_there() -> None:
    expected = {id for row in ROWS for id in row["expect"]}
    assert expected - set(base().by_id) == set()


def test_the_rows_are_apart_and_sourced() -> None:
    assert len(ROWS) >= 150
    assert len({row["text"] for row in ROWS}) == len(ROWS)
    assert all(row["source"] and row["text"].strip() for row in ROWS)
    assert sum(not row["expect"] for row in ROWS) >= 30
