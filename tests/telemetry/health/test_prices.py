"""What streams cost."""

from __future__ import annotations

import pytest

from unbroken.telemetry.health import Labels, Price, Prices, UsageTotals

PRICES = Prices(
    [
        Price(model="gpt-*-mini", input=0.25, output=2.0, cached_input=0.025),
        Price(provider="local", input=0.0, output=0.0),
        Price(provider="openai", input=1.25, output=10.0),
    ]
)


@pytest.mark.parametrize(
    ("provider", "model", "usage", "cost"),
    [
        ("openai", "gpt-5", UsageTotals(input=1_000_000, output=100_000), 2.25),
        ("openai", "gpt-5-mini", UsageTotals(input=1_000_000, cached_input=400_000), 0.16),
        ("openai", "gpt-5", UsageTotals(input=1_000_000, cached_input=400_000), 1.25),
        ("local", "llama", UsageTotals(input=5, output=5), 0.0),
        ("elsewhere", "m", UsageTotals(input=5, output=5), None),
    ],
)
def test_the_first_price_that_fits_counts(provider, model, usage, cost):
    found = PRICES.cost(Labels(provider=provider, model=model), usage)
    assert found == (None if cost is None else pytest.approx(cost))
