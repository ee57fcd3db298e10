"""Text whose every token carries its number.

A token is an invented word and a number, such as ``miloka17``. The word follows from number,
variant and seed, so a token that was cut, or glued together from two, is no token of the answer
any more, and no token of another answer passes for one of this. The last token ends in a full
stop, so the end of the answer can be told from its text alone. Some words hold letters of two and
four bytes, so that a cut can go through a letter.

Letters and digits, single spaces: it survives whoever keeps text, as it is or inside JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["LETTERS", "WORD", "Numbered", "word"]

_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"
_TWO_BYTES = "éüøñ"
_FOUR_BYTES = "🙂🚢"

LETTERS = "a-z" + _TWO_BYTES + _FOUR_BYTES
"""What words are written with, as the inside of a class of a regular expression."""


WORD = f"(?:[{_CONSONANTS}][{_VOWELS}]){{3}}[{_TWO_BYTES}]?[{_FOUR_BYTES}]?"
"""A regular expression that every word matches."""


def word(number: int, *, seed: int = 0, variant: int = 0) -> str:
    """Return the word that goes with a number."""
    digest = hashlib.blake2b(f"{seed}/{variant}/{number}".encode(), digest_size=8).digest()
    syllables = "".join(
        _CONSONANTS[digest[at] % len(_CONSONANTS)] + _VOWELS[digest[at + 1] % len(_VOWELS)]
        for at in (0, 2, 4)
    )
    if number % 5 == 2:
        syllables += _TWO_BYTES[digest[6] % len(_TWO_BYTES)]
    if number % 11 == 7:
        syllables += _FOUR_BYTES[digest[6] % len(_FOUR_BYTES)]
    return syllables


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """A numbered answer.

    Attributes:
        tokens: How many tokens it has, at least 1.
        seed: Chooses the words.
        variant: Which of the answers that a sampling model might give.
    """

    tokens: int = 200
    seed: int = 0
    variant: int = 0

    def __post_init__(self) -> None:
        if self.tokens < 1:
            msg = f"tokens must be at least 1, not {self.tokens}"
            raise ValueError(msg)

    def token(self, number: int) -> str:
        """Return a token, from 0, without the space before it."""
        end = "." if number == self.tokens - 1 else ""
        return f"{word(number, seed=self.seed, variant=self.variant)}{number}{end}"

    def __iter__(self) -> Iterator[str]:
        """Yield the tokens; joined by single spaces they are the text."""
        return map(self.token, range(self.tokens))

    @property
    def text(self) -> str:
        """The whole answer."""
        return " ".join(self)
