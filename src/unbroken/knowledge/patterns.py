"""What a record's pattern needs of a text, and whether it could take for ever.

`needs` reads from a pattern's syntax tree the literal words without which it cannot match. The
matcher keeps them in an index, so that a pattern runs only on lines that hold its words.
`trouble` finds in the same tree what makes Python's ``re`` try exponentially or polynomially many
ways: unbounded repeats within each other, or one behind another over the same characters.

Words are runs of at least four ASCII letters, in lower case. A word is *whole* if the pattern says
that no letter stands on either side; otherwise it may be a part of a longer word of the text.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from functools import lru_cache
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

__all__ = [
    "FLAGS",
    "LEAST_LETTERS",
    "Way",
    "Word",
    "alternatives",
    "analysed",
    "compiled",
    "needs",
    "trouble",
]

FLAGS = re.IGNORECASE | re.MULTILINE
LEAST_LETTERS = 4
_MOST_WAYS = 64  # alternatives of a sequence that are written out
_MOST_INNER_WAYS = 512  # the same of a group; beyond, it counts for nothing
_UNBOUNDED = 1000  # a repeat that may be longer than this counts as one without end
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT)
# Of a pattern that must stay whole: references, flags, names.
_TOGETHER = re.compile(r"\\[1-9]|\(\?(?:P|[aiLmsux-]|\(|#)")
# What is no literal: OPEN may be a letter or nothing, SHUT is neither.
_OPEN, _SHUT = "\ue000", "\ue001"
_MARKS = re.compile(f"[{_OPEN}{_SHUT}]+")


class Word(NamedTuple):
    """A literal that a text must hold, and whether no letter may stand beside it."""

    text: str
    whole: bool


def compiled(pattern: str) -> re.Pattern[str]:
    """Return the pattern as the matcher uses it: searched in a line, case ignored.

    Raises:
        re.error: If it is no pattern.
    """
    return re.compile(pattern, FLAGS)


def _tree(pattern: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sets that may mean something else one day
        return parser.parse(pattern, FLAGS)


class Way(NamedTuple):
    """One way in which a pattern can match.

    Attributes:
        words: All of these are in a match.
        literal: The longest text that is in it as it stands, in lower case, or ``""``.
        also: Of each of these groups, at least one set of words is in it as well.
    """

    words: frozenset[Word]
    literal: str = ""
    also: tuple[tuple[frozenset[Word], ...], ...] = ()


def analysed(pattern: str) -> tuple[list[Way], str | None]:
    """Return what `needs` and `trouble` say, for the price of one.

    Raises:
        re.error: If it is no pattern.
    """
    tree = _tree(pattern)
    repeats = any(mark in pattern for mark in "*+{")
    return list(dict.fromkeys(_needs(tree))), _trouble(tree, inside=False) if repeats else None


def alternatives(pattern: str) -> list[str]:
    """Return a pattern's alternatives, each a pattern; itself where they cannot stand alone."""
    if "|" not in pattern or _TOGETHER.search(pattern):
        return [pattern]
    found = [""]
    depth, within, at = 0, False, 0
    while at < len(pattern):
        piece = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
        at += len(piece)
        if within:
            within = piece != "]" or found[-1].endswith(("[", "[^"))
        elif piece == "[":
            within = True
        elif piece in "()":
            depth += 1 if piece == "(" else -1
        elif piece == "|" and depth == 0:
            found.append("")
            continue
        found[-1] += piece
    return found


def needs(pattern: str) -> list[Way]:
    """Return the ways in which a pattern can match, each with the words that it needs.

    A way without words is one that nothing tells beforehand.

    Raises:
        re.error: If it is no pattern.
    """
    return analysed(pattern)[0]


def _needs(items: Iterable[Any]) -> list[Way]:
    items = list(items)
    if len(items) == 1 and items[0][0] is sre.BRANCH:
        return [way for branch in items[0][1][1] for way in _needs(branch)]
    if len(items) == 1 and items[0][0] is sre.SUBPATTERN:
        return _needs(items[0][1][3])
    # Where a sequence of groups has too many ways, it is cut: each part must match by itself.
    parts: list[list[str]] = [[""]]
    for op, argument in items:
        ways = _ways(op, argument)
        if len(ways) * len(parts[-1]) > _MOST_WAYS:
            parts.append([_OPEN + way for way in ways])
        else:
            parts[-1] = [flow + way for flow in parts[-1] for way in ways]
    options = [[frozenset(_words(flow)) for flow in part] for part in parts]
    best = max(range(len(options)), key=lambda part: _telling(options[part]))
    also = tuple(
        tuple(dict.fromkeys(option))
        for part, option in enumerate(options)
        if part != best and all(option)  # a set without words would ask for nothing
    )
    return [
        Way(words, max(_MARKS.split(flow), key=len), also)
        for words, flow in zip(options[best], parts[best], strict=True)
    ]


def _telling(ways: Sequence[frozenset[Word]]) -> tuple[int, int]:
    """Return how well a choice of words finds its pattern: by its least telling way."""
    least = min((max((len(word.text) for word in way), default=0) for way in ways), default=0)
    return least, -len(ways)


def _words(flow: str) -> Iterable[Word]:
    at, end = 0, len(flow)
    while at < end:
        if flow[at] not in _LETTERS:
            at += 1
            continue
        start = at
        while at < end and flow[at] in _LETTERS:
            at += 1
        if at - start >= LEAST_LETTERS:
            shut = start > 0 and flow[start - 1] != _OPEN and at < end and flow[at] != _OPEN
            yield Word(flow[start:at], shut)


def _flows(items: Iterable[Any]) -> list[str]:
    """Return what a sequence can be, as letters with marks for what lies between."""
    flows = [""]
    for op, argument in items:
        ways = _ways(op, argument)
        if len(ways) * len(flows) > _MOST_INNER_WAYS:
            ways = [_OPEN]
        flows = [flow + way for flow in flows for way in ways]
    return flows


def _ways(op: Any, argument: Any) -> list[str]:
    if op is sre.LITERAL:
        letter = chr(argument).lower()
        # Of others, lower case in a text may be longer, or the pattern may fold what that does not.
        return [letter if letter.isascii() else _SHUT]
    if op is sre.IN:
        return [_one_of(argument)]
    if op is sre.AT:
        return [_OPEN if argument is sre.AT_NON_BOUNDARY else _SHUT]
    if op is sre.SUBPATTERN:
        return _flows(argument[3])
    if op is sre.ATOMIC_GROUP:
        return _flows(argument)
    if op is sre.BRANCH:
        return list(dict.fromkeys(way for branch in argument[1] for way in _flows(branch)))
    if op in _REPEATS or op is sre.POSSESSIVE_REPEAT:
        least, most, body = argument
        if least == 0:
            return [_OPEN]
        ways = _flows(body)
        if most == 1 or ways == [_SHUT]:
            return ways
        return [way + _OPEN for way in ways]
    if op in (sre.ASSERT, sre.ASSERT_NOT):
        return [""]  # takes no character
    return [_OPEN]


def _one_of(members: Sequence[Any]) -> str:
    """Return what one character of a set means: a letter, never a letter, or either."""
    single: set[str] = set()
    for op, argument in members:
        if op is sre.LITERAL:
            single.add(chr(argument).lower())
        elif (
            op is sre.CATEGORY
            and argument
            in (
                sre.CATEGORY_SPACE,
                sre.CATEGORY_DIGIT,
                sre.CATEGORY_NOT_WORD,
            )
        ) or (op is sre.RANGE and (argument[1] < ord("A") or argument[0] > ord("z"))):
            single.add(" ")
        else:
            return _OPEN
    if not single & _LETTERS:
        return _SHUT
    return single.pop() if len(single) == 1 else _OPEN


# --- what could take for ever --------------------------------------------------------------------


def trouble(pattern: str) -> str | None:
    """Return why a pattern could take very long on some line, or None if it cannot.

    Raises:
        re.error: If it is no pattern.
    """
    return analysed(pattern)[1]


def _trouble(items: Any, *, inside: bool) -> str | None:
    """Look at a sequence; `inside` means that an unbounded repeat is around it."""
    open_sets: list[_Chars] = []  # of unbounded repeats that what follows could have been part of
    for op, argument in items:
        for body in _bodies(op, argument):
            unbounded = op in _REPEATS and _endless(argument)
            if unbounded and inside:
                return "a repeat without end inside another one"
            why = _trouble(body, inside=inside or unbounded)
            if why is not None:
                return why
        if op in _REPEATS and _endless(argument):
            chars = _chars(argument[2])
            if any(chars.meets(other) for other in open_sets):
                return "two repeats without end over the same characters, one behind the other"
            why = _ambiguous(argument[2])
            if why is not None:
                return why
            if argument[0] > 0:
                open_sets = []  # none of which it meets: what lies before is settled
            open_sets.append(chars)
        elif open_sets and not _may_be_nothing(op, argument):
            chars = _chars([(op, argument)])
            open_sets = [other for other in open_sets if other.meets(chars)]
    return None


def _bodies(op: Any, argument: Any) -> list[Any]:
    if op in _REPEATS or op is sre.POSSESSIVE_REPEAT:
        return [argument[2]]
    if op is sre.SUBPATTERN:
        return [argument[3]]
    if op is sre.BRANCH:
        return list(argument[1])
    if op is sre.ATOMIC_GROUP:
        return [argument]
    if op in (sre.ASSERT, sre.ASSERT_NOT):
        return [argument[1]]
    return []


def _endless(argument: Any) -> bool:
    return bool(argument[1] is sre.MAXREPEAT or argument[1] > _UNBOUNDED)


def _may_be_nothing(op: Any, argument: Any) -> bool:
    if op in (sre.AT, sre.ASSERT, sre.ASSERT_NOT):
        return True
    if op in _REPEATS or op is sre.POSSESSIVE_REPEAT:
        return argument[0] == 0 or all(_may_be_nothing(*item) for item in argument[2])
    if op is sre.SUBPATTERN:
        return all(_may_be_nothing(*item) for item in argument[3])
    if op is sre.BRANCH:
        return any(all(_may_be_nothing(*item) for item in branch) for branch in argument[1])
    return False


def _ambiguous(body: Any) -> str | None:
    """Say so if a repeat has alternatives that begin alike, or are both nothing: ``(a|a)*``."""
    for op, argument in body:
        if op is sre.BRANCH:
            seen: list[_Chars] = []
            nothing = 0
            for branch in argument[1]:
                first = _chars(list(branch)[:1])
                nothing += all(_may_be_nothing(*item) for item in branch)
                if nothing > 1 or any(first.meets(other) for other in seen):
                    return "a repeat without end whose alternatives begin alike"
                seen.append(first)
        for inner in _bodies(op, argument):
            if (why := _ambiguous(inner)) is not None:
                return why
    return None


class _Chars(NamedTuple):
    """A set of characters: of ASCII each, of the others by what they are."""

    ascii: frozenset[int]
    other: frozenset[str]  # of "space", "digit", "word", "rest"

    def meets(self, more: _Chars) -> bool:
        return bool(self.ascii & more.ascii or self.other & more.other)


_NOTHING = _Chars(frozenset(), frozenset())
_ALL = _Chars(frozenset(range(128)), frozenset(("space", "digit", "word", "rest")))
_CATEGORY_CHARS = {
    name: _Chars(
        frozenset(code for code in range(128) if re.match(category, chr(code))),
        frozenset(other),
    )
    for name, category, other in (
        (sre.CATEGORY_SPACE, r"\s", ("space",)),
        (sre.CATEGORY_NOT_SPACE, r"\S", ("digit", "word", "rest")),
        (sre.CATEGORY_DIGIT, r"\d", ("digit",)),
        (sre.CATEGORY_NOT_DIGIT, r"\D", ("space", "word", "rest")),
        (sre.CATEGORY_WORD, r"\w", ("digit", "word")),
        (sre.CATEGORY_NOT_WORD, r"\W", ("space", "rest")),
    )
}


def _joined(parts: Iterable[_Chars]) -> _Chars:
    parts = list(parts)
    return _Chars(
        frozenset[int]().union(*(part.ascii for part in parts)),
        frozenset[str]().union(*(part.other for part in parts)),
    )


def _chars(items: Iterable[Any]) -> _Chars:
    """Return all characters that a sequence may hold."""
    return _joined(_chars_of(op, argument) for op, argument in items)


def _chars_of(op: Any, argument: Any) -> _Chars:
    if op is sre.LITERAL:
        return _of_code(argument)
    if op is sre.NOT_LITERAL:
        return _Chars(_ALL.ascii - {argument}, _ALL.other)
    if op is sre.ANY:
        return _Chars(_ALL.ascii - {10}, _ALL.other)
    if op is sre.IN:
        negated = bool(argument) and argument[0][0] is sre.NEGATE
        inside = _chars(argument[1:] if negated else argument)
        return _Chars(_ALL.ascii - inside.ascii, _ALL.other) if negated else inside
    if op is sre.CATEGORY:
        return _CATEGORY_CHARS.get(argument, _ALL)
    if op is sre.RANGE:
        first, last = argument
        codes = _joined(_of_code(code) for code in range(first, min(last, 127) + 1))
        return _joined((codes, _Chars(frozenset(), _ALL.other))) if last >= 128 else codes
    if op in (sre.AT, sre.ASSERT, sre.ASSERT_NOT):
        return _NOTHING
    bodies = _bodies(op, argument)
    return _joined(_chars(body) for body in bodies) if bodies else _ALL


@lru_cache(maxsize=1024)
def _of_code(code: int) -> _Chars:
    both = {char for char in (chr(code).lower(), chr(code).upper()) if len(char) == 1}
    return _Chars(
        frozenset(ord(char) for char in both if char.isascii()),
        frozenset(_kind(char) for char in both if not char.isascii()),
    )


def _kind(char: str) -> str:
    if char.isspace():
        return "space"
    if char.isdigit():
        return "digit"
    return "word" if char.isalnum() else "rest"
