from __future__ import annotations

import random

import pytest

from unbroken.telemetry.health import EDGES, Histogram


def test_edges_rise_and_are_written_as_they_are_read() -> None:
    assert list(EDGES) == sorted(set(EDGES))
    for edge in (1e-05, 0.001, 0.02, 0.5, 1.0, 200.0, 1e8):
        assert edge in EDGES


def test_an_edge_belongs_to_the_bucket_below_it() -> None:
    histogram = Histogram()
    for value in (0.1, 0.100001, 0.2):
        histogram.add(value)
    assert histogram.up_to(0.1) == 1
    assert histogram.up_to(0.2) == 3


@pytest.mark.parametrize("scale", [1e-4, 0.02, 3.0, 50_000.0])
def test_percentiles_are_right_to_an_eighth(scale: float) -> None:
    chance = random.Random(5)
    values = sorted(chance.lognormvariate(0, 1) * scale for _ in range(20_000))
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    spread = histogram.spread()
    assert spread.average == pytest.approx(sum(values) / len(values))
    assert spread.longest == values[-1]
    for share, found in ((0.5, spread.p50), (0.9, spread.p90), (0.99, spread.p99)):
        assert found == pytest.approx(values[int(share * len(values))], rel=0.125)


def test_merging_is_counting_together() -> None:
    chance = random.Random(7)
    parts, whole = [Histogram() for _ in range(4)], Histogram()
    for _ in range(1000):
        value = chance.expovariate(1 / 300)
        chance.choice(parts).add(value)
        whole.add(value)
    merged = Histogram()
    for part in parts:
        merged.merge(part)
    assert merged.counts == whole.counts
    assert merged.total == pytest.approx(whole.total)
    assert merged.longest == whole.longest


def test_extremes_are_counted() -> None:
    histogram = Histogram()
    for value in (-1.0, 0.0, 1e300):
        histogram.add(value)
    assert histogram.count == 3
    assert histogram.percentile(1.0) == pytest.approx(1e300)
    assert Histogram().spread().p99 == 0.0
