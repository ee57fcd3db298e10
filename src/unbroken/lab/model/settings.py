"""How the scripted model answers: what it says, how fast, and what it honours."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from unbroken.lab.injectors.base import FaultError

__all__ = ["HONOURS", "AnswerSettings", "Honour", "Say"]

Say = Literal["text", "tool", "thinking"]
Honour = Literal["prefill", "anchor", "seed", "cursor", "idempotency"]

HONOURS: frozenset[Honour] = frozenset(get_args(Honour))
"""What a model, or its service, may do for who must go on with a broken answer."""

_MOST_TOKENS = 200_000
_MOST_COMMENTS = 1_000
# Answers are written in the server's loop, and all streams wait for it: this many content
# frames take some seconds, and the suites ask for answers of 20,000 tokens.
_MOST_FRAMES = 100_000
_CHARS_A_TOKEN = 13  # of numbered tokens, about
_PROVIDER_DELTA = 4  # characters, about, of the providers that cut smallest
_OF_THE_SESSION = frozenset({"id"})
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(s|ms|)")
_INTEGER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSettings:
    """How the model answers.

    Attributes:
        tokens: Numbered tokens of the whole answer.
        seed: Chooses the words, the sizes of deltas, and the jitter.
        say: ``text``, a ``tool`` call whose arguments hold the text, or ``thinking`` before it.
        text: What to answer in place of a numbered text; None: a numbered one.
        generator: Name of a registered generator that writes the text; ``""``: none.
        recording: Name of the recording to play, where recordings are played; ``""``: the next.
        variant: Which of the answers that a sampling model might give, always; None: by seed
            and attempt.
        delta: Size of a delta: as the ``provider`` cuts, a whole ``token``, or so many characters.
        ttft_s: Time to the first content, in seconds.
        tps: Content frames a second; None: as fast as it goes.
        jitter: How much the gaps vary, as a share of them, from 0 to 1.
        burst: Content frames that come together.
        pings_s: The provider's pings in gaps that are longer than this; None: only those that
            it sends at its beginning.
        comments: Comments before the first frame, as OpenRouter sends them while it waits.
        usage: Whether the tokens are counted.
        honours: What works: going on after a ``prefill``, beginning with a quoted ``anchor``,
            the same answer for the same ``seed``, reading on by a ``cursor``, and the same
            answer for the same ``idempotency`` key.
    """

    tokens: int = 200
    seed: int = 0
    say: Say = "text"
    text: str | None = None
    generator: str = ""
    recording: str = ""
    variant: int | None = None
    delta: Literal["provider", "token"] | int = "provider"
    ttft_s: float = 0.0
    tps: float | None = None
    jitter: float = 0.0
    burst: int = 1
    pings_s: float | None = None
    comments: int = 0
    usage: bool = True
    honours: frozenset[Honour] = HONOURS

    def __post_init__(self) -> None:
        for problem in (
            not 1 <= self.tokens <= _MOST_TOKENS and f"tokens is from 1 to {_MOST_TOKENS:,}",
            self.say not in get_args(Say) and f"say is one of {', '.join(get_args(Say))}",
            isinstance(self.delta, int) and self.delta < 1 and "delta is at least 1 character",
            isinstance(self.delta, str)
            and self.delta not in ("provider", "token")
            and "delta is provider, token, or a number of characters",
            self.ttft_s < 0 and "ttft is a time",
            self.tps is not None and self.tps <= 0 and "tps is more than 0",
            not 0 <= self.jitter <= 1 and "jitter is a share from 0 to 1",
            self.burst < 1 and "burst is at least 1",
            self.pings_s is not None and self.pings_s <= 0 and "pings is more than 0 seconds",
            not 0 <= self.comments <= _MOST_COMMENTS
            and f"comments is a number from 0 to {_MOST_COMMENTS:,}",
            not (math.isfinite(self.tps or 0) and math.isfinite(self.ttft_s))
            and "tps and ttft are finite",
            self.variant is not None and self.variant < 0 and "variant is a number from 0 on",
            bool(self.honours - HONOURS) and f"honours is of {', '.join(sorted(HONOURS))}",
        ):
            if problem:
                raise FaultError(problem)
        frames = self._frames()
        if frames > _MOST_FRAMES:
            msg = (
                f"an answer of about {frames:,} content frames; at most {_MOST_FRAMES:,}: "
                "take fewer tokens or a larger delta"
            )
            raise FaultError(msg)

    def _frames(self) -> int:
        """Return about how many content frames an answer has, at most."""
        chars = self.tokens * _CHARS_A_TOKEN if self.text is None else len(self.text)
        match self.delta:
            case "token":
                return self.tokens if self.text is None else (chars + 1) // 2
            case "provider":
                return chars // _PROVIDER_DELTA
            case size:
                return chars // size

    @classmethod
    def from_plan(cls, settings: Mapping[str, str], base: AnswerSettings) -> AnswerSettings:
        """Return the settings that a plan changes, on top of others.

        Beside the attributes' names (``ttft``, ``pings`` without their unit) there are
        ``honours=prefill-seed`` for these alone (or ``none``), and ``no=cursor-seed`` for all
        but these. ``id`` is the session's and is passed over.

        Raises:
            FaultError: If there is no such setting, or its value cannot be.
        """
        changed: dict[str, Any] = {}
        for name, value in settings.items():
            if name in _OF_THE_SESSION:
                continue
            read = _READERS.get(name)
            if read is None:
                known = ", ".join(sorted({*_READERS, *_OF_THE_SESSION}))
                msg = f"no setting is called {name!r}; the settings are {known}"
                raise FaultError(msg)
            field, reader = read
            try:
                changed[field] = reader(value)
            except ValueError as error:
                msg = f"{name}={value} cannot be: {error}"
                raise FaultError(msg) from None
        without = changed.pop("no", frozenset())
        if without:
            changed["honours"] = changed.get("honours", base.honours) - without
        return replace(base, **changed)


def _integer(value: str) -> int:
    if not _INTEGER.fullmatch(value):
        msg = "it is no whole number"
        raise ValueError(msg)
    return int(value)


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        msg = "it is no number"
        raise ValueError(msg) from None


def _seconds(value: str) -> float:
    known = _DURATION.fullmatch(value)
    if known is None:
        msg = "it is no time, such as 0.5s or 200ms"
        raise ValueError(msg)
    return float(known[1]) / (1000 if known[2] == "ms" else 1)


def _share(value: str) -> float:
    return _number(value.removesuffix("%")) / (100 if value.endswith("%") else 1)


def _flag(value: str) -> bool:
    known = {"1": True, "on": True, "yes": True, "true": True,
             "0": False, "off": False, "no": False, "false": False}  # fmt: skip
    if value.lower() not in known:
        msg = "it is neither on nor off"
        raise ValueError(msg)
    return known[value.lower()]


def _delta(value: str) -> str | int:
    return _integer(value) if _INTEGER.fullmatch(value) else value


def _honours(value: str) -> frozenset[str]:
    names = frozenset() if value in ("", "none") else frozenset(value.split("-"))
    if unknown := names - HONOURS:
        msg = f"{', '.join(sorted(unknown))} is none of {', '.join(sorted(HONOURS))}"
        raise ValueError(msg)
    return names


_READERS: dict[str, tuple[str, Any]] = {
    "tokens": ("tokens", _integer),
    "seed": ("seed", _integer),
    "say": ("say", str),
    "text": ("text", str),
    "generator": ("generator", str),
    "recording": ("recording", str),
    "variant": ("variant", _integer),
    "delta": ("delta", _delta),
    "ttft": ("ttft_s", _seconds),
    "tps": ("tps", _number),
    "jitter": ("jitter", _share),
    "burst": ("burst", _integer),
    "pings": ("pings_s", _seconds),
    "comments": ("comments", _integer),
    "usage": ("usage", _flag),
    "honours": ("honours", _honours),
    "no": ("no", _honours),
}
