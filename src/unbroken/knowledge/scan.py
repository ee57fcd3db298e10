"""Many patterns over one long text, each run only on the lines that hold its words.

The text is seen as blocks of some kilobytes; for each word a bit mask says in which of them it is.
An index leads from a word that a pattern cannot do without to the pattern, and where the masks of
all its words meet are the few blocks whose lines are tried. So ten thousand patterns cost little
more than finding the words, and one telling line among many is found however many there are. What
is tried is bounded, the rarest first: a text that was made to cost time costs no more than another.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from unbroken.knowledge.patterns import (
    LEAST_LETTERS,
    Way,
    Word,
    alternatives,
    analysed,
    compiled,
)

__all__ = ["Scanner"]

_GRAM = LEAST_LETTERS
_BEFORE, _AFTER = 600, 1000  # of a long line, around a word, what a pattern sees
_BLOCK = 16 * 1024
_MOST_BLOCKS = 256  # of a longer text they are larger
_LONG_LINE = 4000  # a block ends with a line, unless that is longer
_FEW_BLOCKS = 24  # up to here they are looked at one by one, beyond the text as a whole
_MOST_WHOLE_LOOKS = 40  # over all patterns
_MOST_TRIED_BLOCKS = 24  # from the beginning of the text, and as many from its end
_MOST_LINES = 100_000  # that are looked at, over all patterns
_MOST_CHARACTERS = 1_500_000  # that are searched in one text, over all patterns
_MOST_UNINDEXED = 64 * 1024  # characters up to which a pattern without a word is tried
_RUNS = re.compile(rf"[a-z]{{{LEAST_LETTERS},}}")

_Places = list[tuple[int, int]]
_PART = "*"  # before a word that may be a part of a longer one


def _key(word: Word) -> str:
    """Return a word as one string, which hashes faster than a pair."""
    return word.text if word.whole else _PART + word.text


class _Way:
    """A way of a pattern, as the scan goes through it."""

    __slots__ = ("also", "either", "keys", "number", "part", "seek", "words")

    def __init__(self, number: int, part: int, way: Way) -> None:
        self.number = number
        self.part = part  # which alternative of the pattern
        self.keys = tuple(map(_key, sorted(way.words)))
        # What lines are found by: the longest literal, which may hold several of the words.
        self.seek = way.literal
        self.words = tuple(word.text for word in way.words if word.text not in way.literal)
        self.also = tuple(
            tuple(tuple(map(_key, sorted(words))) for words in part) for part in way.also
        )
        self.either = tuple(
            tuple(tuple(key.lstrip(_PART) for key in keys) for keys in part) for part in self.also
        )

    def is_in(self, text: str, start: int, end: int) -> bool:
        """Whether a line that holds the literal has the other words too."""
        find = text.find
        for word in self.words:
            if find(word, start, end) < 0:
                return False
        for part in self.either:
            for words in part:
                for word in words:
                    if find(word, start, end) < 0:
                        break
                else:
                    break  # this set of words is there
            else:
                return False
        return True


class Scanner:
    """Finds which of many patterns are in a text.

    Args:
        patterns: The patterns; an empty one is never found.

    Attributes:
        problems: The numbers of patterns that are not used, and why: what is no pattern, or could
            take for ever.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self.problems: list[tuple[int, str]] = []
        self._patterns = patterns
        self._made: dict[tuple[int, int], re.Pattern[str]] = {}
        self._parts_of: dict[int, list[str]] = {}
        wanted: list[tuple[int, list[tuple[int, Way]]]] = []
        for number, pattern in enumerate(patterns):
            if not pattern:
                continue
            # Each alternative by itself is far faster than all of them on each line for one's word.
            parts = alternatives(pattern)
            try:
                read = [analysed(part) for part in parts]
            except (re.error, OverflowError, RecursionError) as error:
                self.problems.append((number, f"it is no pattern: {error}"))
                continue
            if (why := next((why for _, why in read if why is not None), None)) is not None:
                self.problems.append((number, why))
                continue
            if len(parts) > 1:
                self._parts_of[number] = parts
            numbered = [(at, way) for at, (ways, _) in enumerate(read) for way in ways]
            wanted.append((number, numbered))
        common = Counter(word for _, ways in wanted for _, way in ways for word in way.words)
        self._whole: dict[str, list[_Way]] = defaultdict(list)
        self._parts: dict[str, list[_Way]] = defaultdict(list)
        self._unindexed: list[int] = []
        found: list[tuple[str, _Way]] = []
        for number, numbered in wanted:
            if not all(way.words for _, way in numbered):
                self._unindexed.append(number)
                continue
            for part, way in numbered:
                key = min(way.words, key=lambda word: (common[word], -len(word.text), word))
                if key.whole:
                    self._whole[key.text].append(_Way(number, part, way))
                else:
                    found.append((key.text, _Way(number, part, way)))
        grams = Counter(gram for text, _ in found for gram in _grams(text))
        for text, made in found:
            self._parts[min(_grams(text), key=lambda gram: grams[gram])].append(made)

    def find(self, text: str, *, everywhere: bool = False) -> Iterator[tuple[int, re.Match[str]]]:
        """Yield the number of each pattern that is in a text, and what it found.

        Args:
            text: In lower case, lines ended by LF.
            everywhere: All lines that match, as far as they are tried; else one a pattern.
        """
        words = _Words(text)
        left, lines, whole = _MOST_CHARACTERS, _MOST_LINES, _MOST_WHOLE_LOOKS
        done: set[int] = set()
        for _, mask, way in sorted(self._candidates(words), key=_in_order):
            if way.number in done and not everywhere:
                continue
            blocks = [words.blocks[number] for number in _numbers(mask)]
            if len(blocks) > _FEW_BLOCKS:
                whole -= 1
                if whole >= 0:
                    blocks = [(0, len(text))]
                elif len(blocks) > 2 * _MOST_TRIED_BLOCKS:
                    blocks = blocks[:_MOST_TRIED_BLOCKS] + blocks[-_MOST_TRIED_BLOCKS:]
            for start, end in (line for block in blocks for line in _lines(text, way.seek, block)):
                lines -= 1
                if lines < 0 or left < 0:
                    return
                if not way.is_in(text, start, end):
                    continue
                left -= end - start
                if (found := self._search(way.number, way.part, text, start, end)) is not None:
                    done.add(way.number)
                    yield way.number, found
                    if not everywhere:
                        break
        if len(text) <= _MOST_UNINDEXED:
            for number in self._unindexed:
                if (found := self._search(number, None, text, 0, len(text))) is not None:
                    yield number, found

    def _search(
        self, number: int, part: int | None, text: str, start: int, end: int
    ) -> re.Match[str] | None:
        key = number, -1 if part is None else part
        made = self._made.get(key)
        if made is None:
            parts = self._parts_of.get(number) if part is not None else None
            source = parts[part] if parts and part is not None else self._patterns[number]
            made = self._made[key] = compiled(source)
        found = made.search(text, start, end)
        if found is None or part is None or number not in self._parts_of:
            return found
        # What the pattern as a whole finds there is what counts, whichever of its words led to it.
        return self._search(number, None, text, start, end) or found

    def _candidates(self, words: _Words) -> Iterator[tuple[int, int, _Way]]:
        """Yield what may be in the text: in how many blocks, and in which."""
        for word in words.whole.keys() & self._whole.keys():
            yield from _possible(self._whole[word], words)
        if self._parts:
            for gram in words.grams.keys() & self._parts.keys():
                yield from _possible(self._parts[gram], words)


def _in_order(candidate: tuple[int, int, _Way]) -> tuple[int, int, int]:
    """Sort the rarest first, and otherwise always alike."""
    return candidate[0], candidate[2].number, candidate[2].part


def _possible(ways: list[_Way], words: _Words) -> Iterator[tuple[int, int, _Way]]:
    for way in ways:
        mask = words.meet(way.keys)
        for part in way.also:
            if not mask:
                break
            either = 0
            for keys in part:
                either |= words.meet(keys)
                if either & mask == mask:
                    break
            mask &= either
        if mask:
            yield mask.bit_count(), mask, way


def _numbers(mask: int) -> list[int]:
    return [number for number in range(mask.bit_length()) if mask >> number & 1]


def _grams(word: str) -> list[str]:
    return [word[at : at + _GRAM] for at in range(len(word) - _GRAM + 1)]


class _Words(dict[str, int]):
    """In which blocks of a text words are; of a part of words, in which it may be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.blocks = _blocks(text)
        whole: dict[str, int] = defaultdict(int)
        for number, (start, end) in enumerate(self.blocks):
            bit = 1 << number
            for word in set(_RUNS.findall(text, start, end)):
                whole[word] |= bit
        self.whole = whole
        self.grams: dict[str, int] = defaultdict(int)
        for word, mask in whole.items():
            for gram in _grams(word):
                self.grams[gram] |= mask

    def __missing__(self, key: str) -> int:
        if key.startswith(_PART):
            mask = -1
            for gram in _grams(key[1:]):
                mask &= self.grams.get(gram, 0)
                if not mask:
                    break
        else:
            mask = self.whole.get(key, 0)
        self[key] = mask
        return mask

    def meet(self, keys: tuple[str, ...]) -> int:
        """Return the blocks that may hold all of these."""
        mask, get = -1, self.get
        for key in keys:
            known = get(key)
            mask &= self[key] if known is None else known
            if not mask:
                break
        return mask


def _blocks(text: str) -> _Places:
    """Cut a text at the ends of lines; in very long ones anywhere, with an overlap."""
    size = max(_BLOCK, len(text) // _MOST_BLOCKS + 1)
    found: _Places = []
    start = 0
    while start < len(text):
        end = text.find("\n", start + size, start + size + _LONG_LINE)
        following = end + 1
        if end < 0:
            end, following = start + size + _AFTER, start + size
        found.append((start, min(end, len(text))))
        start = following
    return found


def _lines(text: str, seek: str, block: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the lines of a block that hold a literal, each cut to what is around it."""
    at = text.find(seek, *block)
    while at >= 0:
        start = max(0, at - _BEFORE)
        start = text.rfind("\n", start, at) + 1 or start
        end = text.find("\n", at, at + _AFTER)
        if end < 0:
            end = min(len(text), at + _AFTER)
        yield start, end
        at = text.find(seek, max(end, at + 1), block[1])
