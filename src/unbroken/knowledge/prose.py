"""Which records a text speaks of when it holds no known message: issue titles, users' own words.

Each record is one document: its id's words, tags, signature, aliases, cause, and what it says to do
and not to do, each field with a weight of its own (BM25F). Terms are stems of words, pairs of
Chinese characters, and concepts (`concepts`): "hangs" and "froze" are the same concept, and the
record of a fault kind has the concepts of what that kind looks like. A text must show a symptom;
otherwise nothing is found, however many words are shared. Whether it is about models and streams
at all, `field` says.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from unbroken.knowledge.concepts import CONCEPTS, CONTEXTS, LOOKS, TROUBLE
from unbroken.knowledge.record import Record

__all__ = ["Prose", "concepts_in", "only_kinds", "stem"]

_WORD = re.compile(
    r"[a-z][a-z0-9]+|(?<!\d)(?:[1-5]\d\d(?![\d.])|\d\d(?=[- ]?s(?:ec|\b)))|[\u3400-\u9fff]+"
)
_EACH_TIME = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d[t ]?[\d:.,z+-]*|\b\d\d:\d\d(?::\d\d)?[.,\d]*"  # times
    r"|\b[0-9a-f]{8}-[0-9a-f-]{20,}|\b0x[0-9a-f]+|\b(?=[a-z_]*\d)[0-9a-f]{9,}\b|#\d+"  # ids
    r"|\bv?\d+\.\d+[.\w]*|\bline \d+\b|:\d+:\d+"  # versions, places
    r"|\bsk-[\w*-]+|\b(?:req|msg|chatcmpl)[-_]\w+"
)
_STOP = frozenset(
    """
    the and for are but not you all any can had her was one our out has him his how its may
    new now old see two way who did get let put say she too use that with have this will your
    from they know want been good much some time very when come here just like long make many
    more only over such take than them well were what into about after again also because
    before being between both could does doing down during each few further having itself most
    nor off once other own same should so their then there these those through under until up
    where which while why would it is in on at to of a an as be by do if no or we me my he us
    am error errors exception failed failure fails fail bug issue feature fix feat request
    using used uses via
    """.split()  # noqa: SIM905
)
_ENDINGS = (
    "ingly", "edly", "ations", "ation", "ments", "ment", "ings", "ing", "ions", "ion", "ies", "ied",
    "ed", "es", "ly", "s", "e",
)  # fmt: skip
_LEAST_STEM = 4

_K, _B = 1.2, 0.4
_ABOUT = 0.6  # of the strongest document, from where one is about a term
_NAME, _TAG, _MESSAGE, _CAUSE, _ACTION = 2.5, 2.0, 1.6, 1.0, 0.4
_LOOK = 6.0  # of the first concept that a fault kind looks like; the next counts half, and so on
_KIND_PRIOR = 1.08  # who has no message more likely means the kind than a case of it
_SAID = 0.4  # of a word that said a concept
_LONGEST_SAID = 30
_MOST_TERMS_SHOWN = 5
_CONCEPT = 2.4  # how much more a concept tells than a word
_MOST_CONCEPTS_OF = 6000  # characters that are looked at


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Return a word without its ending: enough that forms of one word are alike."""
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _LEAST_STEM:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > _LEAST_STEM and word[-1] == word[-2] else word


_PATTERNS = {name: re.compile("|".join(patterns)) for name, patterns in CONCEPTS.items()}
_TROUBLE = re.compile(TROUBLE)


def concepts_in(text: str) -> frozenset[str]:
    """Return the concepts that a text in lower case speaks of."""
    text = text[:_MOST_CONCEPTS_OF]
    return frozenset(name for name, pattern in _PATTERNS.items() if pattern.search(text))


def _plain(text: str) -> str:
    """Return a text without what is different each time: times, ids, numbers of versions."""
    return _EACH_TIME.sub(" ", text)


def _without(text: str, concepts: Iterable[str]) -> str:
    """Return a text without the words that said its concepts, so that they do not count twice."""
    for name in concepts:
        text = _PATTERNS[name].sub(_blank, text)
    return text


def _blank(found: re.Match[str]) -> str:
    return " " if len(found.group()) <= _LONGEST_SAID else found.group()


def _terms(text: str) -> Iterator[str]:
    for word in _WORD.findall(text):
        if word[0] >= "\u3400":
            yield from (word[at : at + 2] for at in range(len(word) - 1))
        elif (len(word) > 2 and word not in _STOP) or word.isdigit():
            yield stem(word)


def only_kinds(record: Record) -> bool:
    """Whether a record is of a fault kind as such, and not of some case of it."""
    structure = record.structure
    return bool(structure.fault_kinds) and not (
        structure.classes or structure.statuses or structure.details or structure.providers
    )


class Prose:
    """Finds records by what a text speaks of.

    Args:
        records: The records, in the order that results refer to.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        counts: list[dict[str, float]] = [_document(record) for record in records]
        lengths = [sum(count.values()) for count in counts]
        average = sum(lengths) / max(1, len(lengths)) or 1.0
        strongest: dict[str, float] = defaultdict(float)
        for count in counts:
            for term, weight in count.items():
                strongest[term] = max(strongest[term], weight)
        having: dict[str, float] = defaultdict(float)
        for count in counts:  # who only mentions it hardly counts beside those who are about it
            for term, weight in count.items():
                having[term] += min(1.0, weight / (_ABOUT * strongest[term]))
        many = max(len(records), 16)
        self._rarity = {
            term: math.log(1 + (many - number + 0.5) / (number + 0.5))
            for term, number in having.items()
        }
        self._prior = [_KIND_PRIOR if only_kinds(record) else 1.0 for record in records]
        self._postings: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for at, count in enumerate(counts):
            norm = _K * (1 - _B + _B * lengths[at] / average)
            for term, weight in count.items():
                self._postings[term].append((at, weight * (_K + 1) / (weight + norm)))

    def find(self, text: str) -> dict[int, tuple[float, list[str]]]:
        """Return points for the records that a text in lower case speaks of, and by what."""
        text = _plain(text)
        concepts = concepts_in(text)
        if not concepts or (concepts <= CONTEXTS and not _TROUBLE.search(text)):
            return {}
        own = dict.fromkeys(_terms(text), 1.0)
        rest = set(_terms(_without(text, concepts)))
        terms = {term: weight if term in rest else _SAID for term, weight in own.items()}
        terms.update(dict.fromkeys((f"={name}" for name in concepts), _CONCEPT))
        points: dict[int, float] = defaultdict(float)
        why: dict[int, list[tuple[float, str]]] = defaultdict(list)
        for term, weight in sorted(terms.items()):
            rarity = self._rarity.get(term)
            if rarity is None:
                continue
            for at, much in self._postings[term]:
                worth = weight * rarity * much
                points[at] += worth
                why[at].append((worth, term))
        return {
            at: (
                worth * self._prior[at],
                [term.lstrip("=") for _, term in sorted(why[at], reverse=True)[:5]],
            )
            for at, worth in points.items()
        }


def _told(why: list[tuple[float, str]]) -> list[str]:
    return [term.lstrip("=") for _, term in sorted(why, reverse=True)[:_MOST_TERMS_SHOWN]]


def _document(record: Record) -> dict[str, float]:
    count: dict[str, float] = defaultdict(float)
    name = record.id.rpartition("/")[2].replace("-", " ")
    actions = [end.action for end in record.dead_ends] + [way.action for way in record.workarounds]
    fields = (
        (name, _NAME),
        (" . ".join(record.tags).lower(), _TAG),
        ("\n".join((record.signature, record.signature_zh, *record.aliases)).lower(), _MESSAGE),
        (f"{record.root_cause} \n {record.root_cause_zh}".lower(), _CAUSE),
        ("\n".join(actions).lower(), _ACTION),
    )
    for text, weight in fields:
        for term in _terms(text):
            count[term] += weight if count[term] < 2 * weight else 0.2 * weight
        if weight > _ACTION:  # what is done about it is no symptom
            for concept in concepts_in(text):
                count[f"={concept}"] += weight
    if only_kinds(record):
        for kind in record.structure.fault_kinds[:1]:
            for place, concept in enumerate(LOOKS.get(kind, ())):
                count[f"={concept}"] += _LOOK / (1 + place)
    return count
