"""What a final text tells: whole, truncated or corrupted, and what exactly was done to it.

Only the text is needed. Numbers say which tokens are there, their words prove that they belong
to this answer, and the full stop proves the end. White space may have been trimmed, collapsed
or turned into line ends; but two tokens without any between them are glued, which is corrupt.
"""

from __future__ import annotations

import unicodedata
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from unbroken.lab.oracle._reading import Thing, find_answer, things_in
from unbroken.lab.oracle.numbered import Numbered

__all__ = ["Finding", "Report", "Verdict", "examine"]

Verdict = Literal["whole", "truncated", "corrupted", "empty"]

_SHOWN = 60
_LISTED = 6
_VARIANTS = 32
_KEPT = 5000  # pieces of foreign text


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Text that is no token of the answer.

    Attributes:
        why: ``foreign`` (it was never in the answer, or it is a token in pieces) or ``mixed``
            (a token of another variant, so of another answer to the same question).
        text: Its first 60 characters.
        at: Its place in the text, in characters.
        number: A mixed token's number, else -1.
        variant: A mixed token's variant, else -1.
    """

    why: Literal["foreign", "mixed"]
    text: str
    at: int
    number: int = -1
    variant: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a numbered answer. Numbers of tokens count from 0.

    Attributes:
        verdict: ``whole``: every token exactly once, in order, nothing else. ``truncated``: a
            clean beginning of it, perhaps up to the middle of a token. ``empty``: no text.
            ``corrupted``: all else.
        got: How many different tokens are there, whole.
        tokens: How many the answer has; None where neither the caller nor the text says.
        seed: Of the answer.
        variant: Of the answer.
        lost: Numbers that are missing before the highest one that is there.
        repeated: A number for each copy too many.
        reordered: The fewest tokens that would have to be moved to put the rest in order.
        invented: Text that is no token of the answer, in order of place; the first thousands.
        invented_more: How many more pieces of it there are.
        glued: How often the space between two tokens is missing.
        missing: How many tokens are missing at the end; 0 where the number is not known.
        ended: Whether the answer's last token is there, with its full stop.
        mid_token: The text ends inside a token.
        first_break: The number of the first token that is not where it belongs; None: whole.
        laundered: The answer's end is missing, and it was taken for a success.
        whole_object: Of tool arguments, whether they are one JSON object; else None.
    """

    verdict: Verdict
    got: int
    tokens: int | None
    seed: int
    variant: int
    lost: tuple[int, ...] = ()
    repeated: tuple[int, ...] = ()
    reordered: tuple[int, ...] = ()
    invented: tuple[Finding, ...] = ()
    invented_more: int = 0
    glued: int = 0
    missing: int = 0
    ended: bool = True
    mid_token: bool = False
    first_break: int | None = None
    laundered: bool = False
    whole_object: bool | None = None

    @property
    def whole(self) -> bool:
        """Every token once, in order, and nothing else."""
        return self.verdict == "whole"

    def describe(self) -> str:
        """Return one line with numbers, such as ``corrupted: tokens 17-20 lost, 41 repeated``."""
        said = [
            f"{_tokens(numbers)} {what}"
            for what, numbers in (
                ("lost", self.lost),
                ("repeated", self.repeated),
                ("reordered", self.reordered),
            )
            if numbers
        ]
        if mixed := [found for found in self.invented if found.why == "mixed"]:
            others = ", ".join(str(v) for v in sorted({found.variant for found in mixed}))
            numbers = tuple(found.number for found in mixed)
            said.append(f"{_tokens(numbers)} from another answer (variant {others})")
        if foreign := [found for found in self.invented if found.why == "foreign"]:
            first = foreign[0]
            said.append(
                f"{_count(len(foreign) + self.invented_more, 'piece')} of text invented"
                f" (first {first.text!r} at character {first.at:,})"
            )
        if self.glued:
            said.append(f"{_count(self.glued, 'space')} between tokens lost")
        if not self.ended and self.verdict != "empty":
            of = f" of {self.tokens:,}" if self.tokens is not None else ""
            inside = " inside a token" if self.mid_token else ""
            said.append(f"ends{inside} after {self.got:,}{of} tokens")
        if self.whole_object is False:
            said.append("not one whole JSON object")
        if self.verdict == "whole":
            said.append(f"{_count(self.got, 'token')}, each once, in order")
        line = self.verdict + (f": {', '.join(said)}" if said else "")
        return line + ("; taken for a success" if self.laundered else "")


def examine(
    text: str,
    expected: Numbered | None = None,
    *,
    ended_well: bool = True,
    variants: bool | int = True,
) -> Report:
    """Tell from a final text what became of a numbered answer.

    Args:
        text: What the application ended with.
        expected: The answer that was sent; None finds seed, variant and number of tokens in the
            text itself (seeds 0 to 255; it takes a few tokens to be sure).
        ended_well: The application took it for a success.
        variants: Another variant than the expected one is as good, as long as it is one only. A
            number says how many are looked at; it is 32 for True.

    Returns:
        The report. Takes time linear in the text.
    """
    text = unicodedata.normalize("NFC", text)
    most = _VARIANTS if variants is True else int(variants)
    if most or expected is None:
        seed, variant = find_answer(text, expected, variants=max(most, 1))
    else:
        seed, variant = expected.seed, expected.variant
    tokens = expected.tokens if expected is not None else None
    read = _Read(things_in(text, seed=seed, variant=variant, tokens=tokens))
    numbers, mixed, there = read.numbers, read.mixed, set(read.numbers)
    above = max(there, default=-1) + 1
    if tokens is None and above - 1 in read.stops:  # the text itself tells: its last has a stop
        tokens = above
    ended = tokens is not None and tokens - 1 in there
    next_ones = Numbered(tokens=tokens or above + 2, seed=seed, variant=variant)
    cut = None if ended else _cut_token(read.last, read.following, next_ones)
    invented, more = read.invented(cut, tokens)
    lost = tuple(n for n in range(above) if n not in there and n not in mixed)
    repeated, reordered = _repeated(numbers), _reordered(numbers, there)
    verdict: Verdict
    if not read.count:
        verdict = "empty"
    elif lost or repeated or reordered or invented or read.glued:
        verdict = "corrupted"
    else:
        verdict = "whole" if ended else "truncated"
    return Report(
        verdict=verdict,
        got=len(there),
        tokens=tokens,
        seed=seed,
        variant=variant,
        lost=lost,
        repeated=repeated,
        reordered=reordered,
        invented=invented,
        invented_more=more,
        glued=read.glued,
        missing=len(set(range(above, tokens)) - mixed) if tokens is not None else 0,
        ended=ended,
        mid_token=cut is not None,
        first_break=None if verdict == "whole" else read.healthy,
        laundered=ended_well and not ended,
    )


class _Read:
    """What a text holds, told from its things as they come; foreign ones up to a limit.

    Attributes:
        count: How many things.
        numbers: Of the tokens, in order.
        mixed: Numbers of the tokens of other variants.
        stops: Numbers of the tokens with a full stop behind them.
        glued: How often the space between two tokens is missing.
        healthy: How many tokens are in order at the beginning, with nothing between them.
        following: The number behind that of the last token.
        last: The last thing and the one before it, the last one first.
    """

    def __init__(self, things: Iterable[Thing]) -> None:
        self.count = self.glued = self.healthy = self.following = 0
        self.numbers = array("q")
        self.mixed: set[int] = set()
        self.stops: set[int] = set()
        self._kept: list[Thing] = []
        self._more = 0  # pieces of foreign text that are not kept
        thing = before = None
        ends = -1  # of the last one that was not kept
        for following in things:
            before, thing = thing, following
            sort = thing.sort
            self.count += 1
            if sort == "token":
                if thing.number == self.healthy == self.count - 1:
                    self.healthy += 1
                self.following = thing.number + 1
                self.numbers.append(thing.number)
                continue
            if sort == "glue":
                self.glued += 1
                continue
            if sort == "mixed":
                self.mixed.add(thing.number)
            elif sort == "stop":
                self.stops.add(thing.number)
            if len(self._kept) < _KEPT:
                self._kept.append(thing)
            else:
                if thing.at != ends or sort == "mixed":
                    self._more += 1
                ends = thing.at + len(thing.text)
        self.last = (thing, before)

    def invented(self, cut: Thing | None, tokens: int | None) -> tuple[tuple[Finding, ...], int]:
        """Return what is no token, but for one that was cut; and how much more there is."""
        kept = _joined(
            thing
            for thing in self._kept
            if thing is not cut and (thing.sort != "stop" or thing.number + 1 != tokens)
        )
        whole_one = cut is not None and self._more > 0
        return kept, self._more - whole_one


def _cut_token(
    ends: tuple[Thing | None, Thing | None], following: int, answer: Numbered
) -> Thing | None:
    """Return the beginning of the next token, where the text ends inside it."""
    last, before = ends
    if last is None or last.sort != "other":
        return None
    if before is not None and before.at + len(before.text) == last.at:
        return None
    begun = last.text.rstrip("\ufffd")  # half a letter, as lenient decoders show it
    if following < answer.tokens and answer.token(following).startswith(begun):
        return last
    return None


def _joined(things: Iterable[Thing]) -> tuple[Finding, ...]:
    """Return findings, neighbours without white space between them as one."""
    found: list[Finding] = []
    ends = -1
    for thing in things:
        if thing.sort == "mixed":
            found.append(
                Finding(
                    why="mixed",
                    text=thing.text,
                    at=thing.at,
                    number=thing.number,
                    variant=thing.variant,
                )
            )
            ends = -1
        elif thing.at == ends:
            last = found.pop()
            found.append(Finding(why="foreign", text=(last.text + thing.text)[:_SHOWN], at=last.at))
            ends = thing.at + len(thing.text)
        else:
            found.append(Finding(why="foreign", text=thing.text[:_SHOWN], at=thing.at))
            ends = thing.at + len(thing.text)
    return tuple(found)


def _repeated(numbers: Sequence[int]) -> tuple[int, ...]:
    seen: set[int] = set()
    again: list[int] = []
    for number in numbers:
        if number in seen:
            again.append(number)
        seen.add(number)
    return tuple(sorted(again))


def _reordered(numbers: Sequence[int], there: set[int]) -> tuple[int, ...]:
    """Return the tokens outside the longest part that is in order; of copies one may stand."""
    ends: list[int] = []  # ends[k]: the smallest number that a rising part of k + 1 ends in
    at: list[int] = []
    before = array("q")
    for place, number in enumerate(numbers):
        length = bisect_left(ends, number)
        before.append(at[length - 1] if length else -1)
        if length == len(ends):
            ends.append(number)
            at.append(place)
        else:
            ends[length], at[length] = number, place
    left = set(there)
    place = at[-1] if at else -1
    while place >= 0:
        left.discard(numbers[place])
        place = before[place]
    return tuple(sorted(left))


def _tokens(numbers: tuple[int, ...]) -> str:
    """Return ``token 5`` or ``tokens 17-20, 41 (5 in all)``."""
    ranges: list[list[int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    said = [f"{a:,}-{b:,}" if a != b else f"{a:,}" for a, b in ranges[:_LISTED]]
    more = "..." if len(ranges) > _LISTED else ""
    listed = ", ".join(said) + (f", {more}" if more else "")
    total = (
        f" ({len(numbers):,} in all)" if len(ranges) > 1 or len(set(numbers)) < len(numbers) else ""
    )
    return f"{'token' if len(numbers) == 1 else 'tokens'} {listed}{total}"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
