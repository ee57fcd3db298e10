"""A text taken apart into numbered tokens and whatever else is in it; in linear time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from unbroken.lab.oracle.numbered import WORD, Numbered, word

__all__ = ["Sort", "Thing", "find_answer", "things_in"]

Sort = Literal["token", "mixed", "other", "stop", "glue"]
"""``token``: a whole token of the answer. ``mixed``: one of another variant. ``other``: anything
else but white space. ``stop``: the full stop behind a token, while it is unknown which token is
the last. ``glue``: no white space between two tokens."""

# White space that text may be laid out with; any other sign between words is foreign.
_WORDS = re.compile(r"[^ \t\r\n\u00a0]+")
# What might be a token: letters as words have them, then digits. Linear on any text.
_CANDIDATE = re.compile(rf"({WORD})([0-9]++)")
_MOST_DIGITS = 9
_SAMPLE = 24
_FEW = 4
_VARIANTS = 32
_SEEDS = 256
_MOST_TRIES = 500


class Thing(NamedTuple):  # there may be millions, and these are made fast
    """Something found in a text.

    Attributes:
        sort: What it is.
        at: Its place in the text, in characters.
        text: As it stands there.
        number: The token's number; -1 where it is none.
        variant: Of a ``mixed`` token, the variant it belongs to.
    """

    sort: Sort
    at: int
    text: str
    number: int = -1
    variant: int = -1


def find_answer(
    text: str,
    expected: Numbered | None,
    *,
    seeds: Iterable[int] = range(_SEEDS),
    variants: int = _VARIANTS,
) -> tuple[int, int]:
    """Return the seed and variant to which most of the text's tokens belong.

    Where none belongs to any, the expected ones, or 0.
    """
    hint = (expected.seed, expected.variant) if expected is not None else (0, 0)
    candidates = _CANDIDATE.finditer(text)
    found = [(match[1], match[2]) for match, _ in zip(candidates, range(100_000), strict=False)]
    step = max(1, len(found) // _SAMPLE)
    sample = found[::step]
    best, best_hits = hint, sum(_number(*one, *hint) is not None for one in sample)
    if best_hits * 2 > len(sample) or not sample:
        return best
    few = sample if expected is not None else sample[:: max(1, len(sample) // _FEW)]
    for seed in (hint[0],) if expected is not None else seeds:
        for variant in range(variants):
            if all(_number(*one, seed, variant) is None for one in few):
                continue
            hits = sum(_number(*one, seed, variant) is not None for one in sample)
            if hits > best_hits:
                best, best_hits = (seed, variant), hits
                if hits * 2 > len(sample):
                    return best
    return best


def things_in(text: str, *, seed: int, variant: int, tokens: int | None) -> Iterator[Thing]:
    """Yield what a text holds, in its order, white space left out.

    Args:
        text: The text.
        seed: Of the answer.
        variant: Of the answer.
        tokens: How many tokens the answer has; None: unknown. Where it is known, the last one
            counts as whole only with its full stop.
    """
    answer = Numbered(tokens=tokens or 1, seed=seed, variant=variant)
    others = _Others(answer, tokens)
    following = 0  # the number that a healthy text has next
    due = answer.token(0) if tokens is not None else ""
    for match in _WORDS.finditer(text):
        found = match[0]
        if found == due:
            yield Thing("token", match.start(), found, following)
            following += 1
            due = answer.token(following) if tokens is not None and following < tokens else ""
            continue
        if _CANDIDATE.search(found) is None:
            yield Thing("other", match.start(), found)
            continue
        for thing in _inside(found, match.start(), answer, tokens, others):
            yield thing
            if thing.sort == "token":
                following = thing.number + 1
                due = answer.token(following) if tokens is not None and following < tokens else ""


@lru_cache(maxsize=1 << 15)
def _word(number: int, seed: int, variant: int) -> str:
    return word(number, seed=seed, variant=variant)


class _Others:
    """Looks for tokens of other variants, with bounded effort on text that is just foreign."""

    def __init__(self, answer: Numbered, tokens: int | None) -> None:
        self._answer = answer
        self._tokens = tokens
        self._met: list[int] = []
        self._tries = _MOST_TRIES

    def find(self, letters: str, digits: str) -> tuple[tuple[int, int, int] | None, int]:
        """Return what `_number` says of another variant, and which."""
        self._tries -= 1
        for variant in self._met if self._tries < 0 else (*self._met, *range(_VARIANTS)):
            known = _number(letters, digits, self._answer.seed, variant, self._tokens)
            if known is not None and variant != self._answer.variant:
                if variant not in self._met:
                    self._met.append(variant)
                    self._tries = _MOST_TRIES
                return known, variant
        return None, -1


def _inside(
    found: str, at: int, answer: Numbered, tokens: int | None, others: _Others
) -> Iterator[Thing]:
    """Yield what is in a run of characters without white space."""
    done = 0
    for match in _CANDIDATE.finditer(found):
        known = _number(match[1], match[2], answer.seed, answer.variant, tokens)
        variant = answer.variant
        if known is None:
            known, variant = others.find(match[1], match[2])
        if known is None:
            continue
        number, begins, ends = known
        start, end = match.start(1) + begins, match.start(2) + ends
        stops = ends == len(match[2]) and found[end : end + 1] == "."
        if tokens is not None and number == tokens - 1:
            if not stops:
                continue  # the last token without its full stop is not whole
            end += 1
        if start > done:
            yield Thing("other", at + done, found[done:start])
        elif done:
            yield Thing("glue", at + start, "")
        sort: Sort = "token" if variant == answer.variant else "mixed"
        yield Thing(sort, at + start, found[start:end], number, variant)
        if tokens is None and stops:
            yield Thing("stop", at + end, ".", number)
            end += 1
        done = end
    if done < len(found):
        yield Thing("other", at + done, found[done:])


def _number(
    letters: str, digits: str, seed: int, variant: int, below: int | None = None
) -> tuple[int, int, int] | None:
    """Return the number whose word these letters end in, where it begins, and its digits.

    That is its place in ``letters``, and how many of the digits are the number's. Only numbers
    ``below`` are looked for.
    """
    for ends in range(min(len(digits), _MOST_DIGITS), 0, -1):
        if digits[0] == "0" and ends > 1:
            continue
        number = int(digits[:ends])
        if below is not None and number >= below:
            continue
        its_word = _word(number, seed, variant)
        if letters.endswith(its_word):
            return number, len(letters) - len(its_word), ends
    return None
