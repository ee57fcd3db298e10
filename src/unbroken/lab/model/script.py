"""What is said: which answer, from where on, and how much of it.

A prefill or a quoted anchor is looked for in the answers that the model may have given before,
those of all variants: the latest attempt's first, since that is what broke. What is found goes
on exactly there. What is not found, and what is not honoured, is answered as if for the first
time, as a model does that takes the assistant's words for history.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from unbroken.lab.injectors.base import FaultError
from unbroken.lab.model.asks import TOKEN, Asked
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.oracle.numbered import Numbered

__all__ = [
    "GENERATORS",
    "Generator",
    "Script",
    "Way",
    "numbered_for",
    "register_generator",
    "tokens_of",
    "write_script",
]

Way = Literal["whole", "prefill", "anchor", "cursor", "repeat", "refused", "plain"]
"""How an answer came about: ``repeat`` is the same again for an idempotency key, ``plain`` no
answer at all (a list of models)."""

Generator = Callable[[Asked, AnswerSettings, int], str]
"""Gives the text of an answer, from what was asked, the settings and the variant."""

GENERATORS: dict[str, Generator] = {}
"""Generators by the name that the setting ``generator`` takes."""

_MOST_VARIANTS = 16
_MOST_DIGITS = 10
_LEAST_TAIL = 4  # characters of an answer that a prompt's end is told by
_TOKEN = re.compile(TOKEN)
# What a turn that quotes asks for; both words stand in many that ask to begin with a quotation.
_BEGIN = re.compile(r"\b(?:begin|start)\w*\b[^.\n]{0,40}\bwith\b", re.IGNORECASE)
_CONTINUE = re.compile(r"\bcontinu|\bleft off\b|\bgo on\b|\bresume", re.IGNORECASE)
_PARTS = re.compile(r"\s*\S+|\s+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What one answer says.

    Attributes:
        text: The whole answer that it is, or is the rest of.
        start: Where in it this one begins, in characters.
        way: How it came about.
        variant: Which of the model's answers it is.
        numbered: The same as numbered text; None for another text.
    """

    text: str
    start: int = 0
    way: Way = "whole"
    variant: int = 0
    numbered: Numbered | None = None

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens that this answer says, each with the space before it."""
        return tokens_of(self.text[self.start :])


def register_generator(name: str, generator: Generator) -> None:
    """Make a text that another package writes known under a name, for ``generator=NAME``.

    It must be pure: the same text for the same arguments, so that an answer can be gone on
    with.

    Raises:
        ValueError: If the name is taken.
    """
    if name in GENERATORS:
        msg = f"a generator is called {name!r} already"
        raise ValueError(msg)
    GENERATORS[name] = generator


def tokens_of(text: str) -> tuple[str, ...]:
    """Return words with the space before each; joined they are the text."""
    return tuple(_PARTS.findall(text))


def numbered_for(settings: AnswerSettings, variant: int = 0) -> Numbered:
    """Return the numbered answer of a variant."""
    return Numbered(tokens=settings.tokens, seed=settings.seed, variant=variant)


def write_script(asked: Asked, settings: AnswerSettings, variant: int) -> Script:
    """Decide what is said.

    Args:
        asked: What was asked.
        settings: How the model answers.
        variant: The number of the attempt, from 0: a model that samples says something else
            each time.

    Raises:
        FaultError: If the settings name a generator that there is not.
    """
    own = _variant(asked, settings, variant)
    if settings.say != "tool":  # partial arguments are never gone on with
        found = _continued(asked, settings, own, variant)
        if found is not None:
            return found
    return _script(asked, settings, own)


def _variant(asked: Asked, settings: AnswerSettings, variant: int) -> int:
    if settings.variant is not None:
        return settings.variant
    fixed = asked.seed is not None or asked.temperature == 0
    return 0 if fixed and "seed" in settings.honours else variant


def _script(
    asked: Asked, settings: AnswerSettings, variant: int, start: int = 0, way: Way = "whole"
) -> Script:
    numbered = None
    if settings.generator:
        generator = GENERATORS.get(settings.generator)
        if generator is None:
            known = ", ".join(sorted(GENERATORS)) or "there is none"
            msg = f"no generator is called {settings.generator!r}: {known}"
            raise FaultError(msg)
        text = generator(asked, settings, variant)
    elif settings.text is not None:
        text = settings.text
    else:
        numbered = numbered_for(settings, variant)
        text = _text_of(numbered)
    return Script(text=text, start=start, way=way, variant=variant, numbered=numbered)


@lru_cache(maxsize=64)
def _text_of(numbered: Numbered) -> str:
    return numbered.text


# Going on ---------------------------------------------------------------------------------


def _continued(asked: Asked, settings: AnswerSettings, own: int, attempt: int) -> Script | None:
    begun = (asked.prompt or asked.prefill) if "prefill" in settings.honours else ""
    quoted = asked.quoted if "anchor" in settings.honours else ""
    if not begun.strip() and not quoted:
        return None
    for variant in _variants(settings, own, attempt):
        if not _may_be(begun, quoted, settings, variant):
            continue
        script = _script(asked, settings, variant)
        way: Way = "prefill" if begun else "anchor"
        at = (
            _after_prefill(begun, script.text, whole_turn=not asked.prompt)
            if begun
            else _at_anchor(quoted, script.text, begun_before=bool(asked.partial))
        )
        if at is not None:
            return _script(asked, settings, variant, at, way)
    return None


def _may_be(begun: str, quoted: str, settings: AnswerSettings, variant: int) -> bool:
    """Whether a variant may have been begun or quoted: told without writing all of it."""
    if settings.text is not None or settings.generator:
        return True
    numbered = numbered_for(settings, variant)
    if begun:
        first = numbered.token(0)
        return first[:_LEAST_TAIL] in begun or first.startswith(begun.rstrip())
    return any(
        number < settings.tokens and numbered.token(number).removesuffix(".") == token
        for token, number in _numbered_in(quoted)
    )


def _numbered_in(quoted: str) -> Iterator[tuple[str, int]]:
    for found in _TOKEN.finditer(quoted):
        token = found[0].removesuffix(".")
        digits = re.search(r"\d+\Z", token)
        if digits is not None and len(digits[0]) < _MOST_DIGITS:
            yield token, int(digits[0])


def _variants(settings: AnswerSettings, own: int, attempt: int) -> Iterator[int]:
    """Yield the variants that may have been given, the likeliest first."""
    if settings.text is not None:
        yield own
        return
    fixed = [own] if own != attempt or settings.variant is not None else []
    latest = range(attempt - 1, max(-1, attempt - 1 - _MOST_VARIANTS), -1)
    yield from dict.fromkeys([*fixed, *latest, own, *range(_MOST_VARIANTS)])


def _after_prefill(begun: str, text: str, *, whole_turn: bool) -> int | None:
    """Return where the answer goes on behind its beginning, or None if it is not begun there.

    White space at the end may be more or less than the answer has.
    """
    if whole_turn and (at := _prefix(begun, text)) is not None:
        return at
    # An application may have begun the turn itself, and a prompt holds the question as well.
    head = text[:_LEAST_TAIL]
    at_head = begun.find(head) if head else -1
    while at_head >= 0:
        at = _prefix(begun[at_head:], text)
        if at is not None:
            return at
        at_head = begun.find(head, at_head + 1)
    return None


def _prefix(begun: str, text: str) -> int | None:
    for known in (begun, begun.rstrip()):
        if known and text.startswith(known):
            return len(known)
    return None


def _at_anchor(quoted: str, text: str, *, begun_before: bool) -> int | None:
    """Return where a turn that quotes from the answer wants it to go on, or None.

    The last numbered token of the turn tells the place; as far as turn and answer agree around
    it, they are the quotation, which may begin and end inside a token. Asked to begin with these
    words, behind the answer that broke, the model writes them again; asked to continue, it goes
    on behind them.
    """
    begins = _BEGIN.search(quoted) is not None
    if not (begun_before if begins else _CONTINUE.search(quoted)):
        return None
    for found in reversed(list(_TOKEN.finditer(quoted))):
        token = found[0].removesuffix(".")
        place = re.search(rf"(?<!\S){re.escape(token)}(?=\s|\.?\Z)", text)
        if place is None:
            continue
        agreed = place.start() - _agreement(quoted[: found.start()], text[: place.start()], -1)
        if begins:
            return agreed + len(text[agreed:]) - len(text[agreed:].lstrip())
        behind = found.start() + len(token)
        return place.end() + _agreement(quoted[behind:], text[place.end() :], 1)
    return None


def _agreement(one: str, other: str, step: int) -> int:
    """Return in how many characters two texts agree, from the start or (-1) from the end."""
    count = 0
    for left, right in zip(one[::step], other[::step], strict=False):
        if left != right:
            break
        count += 1
    return count
