"""How much a line looks like a known message, by its words and pairs of words.

Every signature and alias is a small document of features: words, and pairs of words that stand
together. A feature counts by how few records have it (its rarity, ``log(records / having it)``), so
numbers, addresses and words that every error has tell next to nothing. A document's likeness is the
share of its own rarity that the line holds, lowered for documents that say little, and for lines
that are mostly about something else.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from itertools import pairwise
from operator import itemgetter

from unbroken.knowledge.chains import EVERYDAY
from unbroken.knowledge.query import Line
from unbroken.knowledge.record import Record

__all__ = ["Similar", "features"]

_EVERYDAY_ERROR = re.compile(
    r"(?:uncaught )?(?:type|key|value|index|attribute|name|reference|range)error\b|cannot read "
)
_QUOTED = re.compile(r"['\"`]([\w.-]{1,40})['\"`]")
_OTHER_QUOTED = 0.4  # for an everyday error about something else than what is quoted
_TOKEN = re.compile(r"[a-z0-9_]+|[\u3400-\u9fff]")
# Words of errors and logs of every kind: rare among our records perhaps, but not in the world.
_EVERYDAY = frozenset(  # as a text, to be read
    """
    a access after again all already an and any are argument as at attribute attributeerror be been
    before but by call called can cannot command connect connection could default did directory do
    does error exception expected failed failure file for found from function got had has have host
    if in index indexerror instance int into invalid is it its key keyerror line list localhost log
    memory method missing module more must name no none nonetype not object of on one only open
    operation option or out over parameter path permission port process range read request response
    return returned run runtime runtimeerror server set should some str string such than that the
    then there this time timed timeout to too traceback try trying type typeerror unable unexpected
    unknown up use used user using valid value valueerror values version warning was were when which
    while will with without write you your properties property undefined reading null concatenate
    str subscriptable length panic runtime
    """.split()  # noqa: SIM905
)
_EVERYDAY_WORTH = 0.35
_FEW = 256  # records that may share a feature for it to find one of them
_ENOUGH = 14.0  # rarity of a document that says enough to be told by
_LEAST_SHARE = 0.4
_PART = 0.95  # of a line that must be in a message for the line to be a part of it
_LEAST = 0.18
_LEAST_RARE = 0.1  # of a message, or of a line, that must be shared in features that few have
_MOST_FOUND = 40  # documents that one line may be compared with
_MOST_WORDS_SHOWN = 5


def features(line: str) -> list[str]:
    """Return a line's words and pairs of neighbours. Long numbers are all alike."""
    words = ["#" if word.isdigit() and len(word) > 3 else word for word in _TOKEN.findall(line)]
    return words + [f"{a} {b}" for a, b in pairwise(words)]


def _worth(feature: str) -> float:
    """Return how much of its rarity a feature keeps: a pair as much as its better word."""
    return _EVERYDAY_WORTH if _EVERYDAY.issuperset(feature.split(" ")) else 1.0


class Similar:
    """Finds records whose signature or aliases look like a line.

    Args:
        records: The records, in the order that results refer to.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._of: list[int] = []  # the record of each document
        self._features: list[frozenset[str]] = []
        self._quoted: list[frozenset[str]] = []  # of everyday errors: what alone tells
        having: dict[str, set[int]] = defaultdict(set)
        documents: dict[str, list[int]] = defaultdict(list)
        for at, record in enumerate(records):
            texts = (record.signature, record.signature_zh, *record.aliases)
            for text in dict.fromkeys(text.lower() for text in texts if text):
                found = frozenset(features(text))
                if not found:
                    continue
                number = len(self._of)
                self._of.append(at)
                self._features.append(found)
                classes = record.structure.classes
                everyday = _EVERYDAY_ERROR.match(text) or (classes and EVERYDAY.issuperset(classes))
                self._quoted.append(frozenset(_QUOTED.findall(text)) if everyday else frozenset())
                for feature in found:
                    having[feature].add(at)
                    documents[feature].append(number)
        count = max(len(records), 16)  # of few records, a word in one alone is not yet rare
        self._unknown = math.log(count) + 0.5
        self._rarity = {
            feature: (math.log(count / len(at)) + 0.2) * _worth(feature)
            for feature, at in having.items()
        }
        self._documents = {f: d for f, d in documents.items() if len(having[f]) <= _FEW}
        self._whole = [self._sum(found) for found in self._features]

    def _sum(self, found: Iterable[str]) -> float:
        rarity = self._rarity
        return sum(max(0.05, rarity.get(f, 0.0)) for f in found)

    def rarity(self, text: str) -> float:
        """Return how much the words of a text tell, by how few records hold them."""
        words = {word for word in _TOKEN.findall(text.lower()) if not word.isdigit()}
        return sum(self._rarity.get(word, 1.0) for word in words)

    def find(self, lines: Iterable[Line]) -> Iterator[tuple[int, float, list[str], Line]]:
        """Yield each record that some line looks like: its place, likeness, words and the line."""
        best: dict[int, tuple[float, int, frozenset[str], Line]] = {}
        seen: set[frozenset[str]] = set()
        for line in sorted(lines, key=lambda line: -line.weight):
            held = frozenset(features(line.text))
            if not held or held in seen:
                continue
            seen.add(held)
            for document, likeness in self._like(held):
                likeness *= line.weight
                if any(name not in line.text for name in self._quoted[document]):
                    likeness *= _OTHER_QUOTED
                at = self._of[document]
                if likeness >= _LEAST and (at not in best or likeness > best[at][0]):
                    best[at] = (likeness, document, held, line)
        for at, (likeness, document, held, line) in best.items():
            shared = self._features[document] & held
            words = sorted((f for f in shared if " " not in f), key=lambda f: -self._rarity[f])
            yield at, likeness, words[:_MOST_WORDS_SHOWN], line

    def _like(self, held: frozenset[str]) -> Iterator[tuple[int, float]]:
        rarity = self._rarity
        points: dict[int, float] = defaultdict(float)
        for feature in held:
            if (documents := self._documents.get(feature)) is not None:
                worth = rarity[feature]
                for document in documents:
                    points[document] += worth
        likely = nlargest(_MOST_FOUND, points.items(), key=itemgetter(1))
        if not likely:
            return
        told = sum(rarity.get(f, self._unknown) for f in held)
        for document, worth in likely:
            if worth < _LEAST_RARE * min(self._whole[document], told):
                break  # sorted by worth; the rest shares less still
            shared = self._sum(self._features[document] & held)
            share = shared / self._whole[document]
            about_it = min(1.0, shared / told) if told > 0 else 1.0
            if about_it > _PART and told < self._whole[document]:
                # A part of the message, given as a question.
                yield document, about_it * min(1.0, told / _ENOUGH) * 0.9
            elif share >= _LEAST_SHARE:
                says_enough = min(1.0, self._whole[document] / _ENOUGH)
                yield document, share * says_enough * (0.7 + 0.3 * about_it)
