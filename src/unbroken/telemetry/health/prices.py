"""What tokens cost: by a table that the user gives, since prices change and contracts differ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from unbroken.telemetry.health.figures import Labels, UsageTotals

__all__ = ["Price", "Prices"]

_MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a million tokens of some models cost, in any currency.

    Attributes:
        provider: A pattern for the provider's name; ``*`` stands for any text.
        model: A pattern for the model's.
        input: Of prompts.
        output: Of answers, thinking included.
        cached_input: Of what the provider had cached of prompts; none: as `input`.
    """

    provider: str = "*"
    model: str = "*"
    input: float
    output: float
    cached_input: float | None = None


class Prices:
    """A price list; the first entry that fits a stream is its price."""

    def __init__(self, prices: Iterable[Price] = ()) -> None:
        self._prices = tuple(prices)

    def cost(self, labels: Labels, usage: UsageTotals) -> float | None:
        """Return what a stream's attempts cost together; None if there is no price for it.

        Where a provider said nothing, as of a cut or cancelled attempt, what it wrote is
        estimated and its prompt is not counted: the bill may be higher.
        """
        for price in self._prices:
            if _fits(price.provider, labels.provider) and _fits(price.model, labels.model):
                cached = min(usage.cached_input, usage.input)
                cached_price = price.input if price.cached_input is None else price.cached_input
                spent = (usage.input - cached) * price.input + cached * cached_price
                return (spent + usage.output * price.output) / _MILLION
        return None


def _fits(pattern: str, name: str) -> bool:
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
