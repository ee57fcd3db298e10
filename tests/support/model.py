"""A scripted language model: it can be asked again, and then behaves as models do.

`Model` is a script for `FaultServer`. It knows one answer (its truth). To a first request it
gives the whole of it. To a request that ends with the assistant's own words (a *prefill*), or
whose last user turn quotes words to begin with (an *anchor*), it answers as its `behaviour`
says:

| behaviour  | after a prefill                       | after an anchor in a user turn           |
|------------|---------------------------------------|------------------------------------------|
| obey       | what follows the prefill              | from the anchor on, anchor first         |
| echo       | the prefill again, then what follows  | from some words before the anchor on     |
| echo-fused | the same, the echo and the first new token in one frame | as echo, likewise fused |
| paraphrase | what follows, in other words          | the same                                 |
| restart    | the whole answer again                | the same                                 |
| apologise  | "Sorry, here's the rest: ", then as obey | the same                              |

All of it is decided by `seed` and the number of the request, so a run can be repeated.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.support.bodies import Answer, WireFrame, body, content_type, tokens_of
from tests.support.faultserver import Reply, Request

__all__ = ["APOLOGY", "BEHAVIOURS", "Attempt", "Model", "find_anchor", "turns_of"]

BEHAVIOURS = ("obey", "echo", "echo-fused", "paraphrase", "restart", "apologise")
APOLOGY = "Sorry, here's the rest: "

_WORDS = ("amber", "birch", "cobalt", "delta", "ember", "fennel", "garnet", "hazel", "indigo")
_QUOTES = (
    r'"((?:[^"\\]|\\.)+)"',
    r"`+([^`]+)`+",
    r"<[\w-]+>(.*?)</[\w-]+>",
    r"“([^”]+)”",
    r":\s*(\S[^\n]*)",  # bare, to the end of the line
)
_ECHOED_CHARS = 30  # how much an echo repeats before the anchor of a user turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request to the model, and what it said.

    Attributes:
        asked: ``whole``, ``prefill``, ``anchor``, or ``refused``.
        behaviour: How it behaved; for a whole answer ``obey``.
        given: The prefill or the anchor.
        tokens: The tokens it was going to send, before any fault.
    """

    asked: Literal["whole", "prefill", "anchor", "refused"]
    behaviour: str
    given: str
    tokens: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(self.tokens)


@dataclass(kw_only=True, eq=False)
class Model:
    """Answers requests of one dialect. Keeps what it said in `attempts`.

    Attributes:
        behaviour: One of `BEHAVIOURS`, or their probabilities, drawn anew each request.
        prefill: ``continue``; ``refuse`` answers 400, as Claude from 4.6 on; ``ignore`` takes
            it for history and answers anew, as OpenAI's models do.
        allow_trailing_space: False refuses a prefill that ends in white space, as Claude does.
        sampling: Word a whole answer differently each time, but for temperature 0 or a seed.
        thinks_again: Send the reasoning also with a continuation.
        anchor_in: Finds the anchor in a user turn; None where there is none.
    """

    dialect: str
    answer: Answer
    behaviour: str | Mapping[str, float] = "obey"
    prefill: Literal["continue", "refuse", "ignore"] = "continue"
    allow_trailing_space: bool = True
    sampling: bool = False
    thinks_again: bool = False
    seed: int = 0
    anchor_in: Callable[[str, str], str | None] | None = None

    def __post_init__(self) -> None:
        self.attempts: list[Attempt] = []

    def __call__(self, request: Request) -> Reply:
        frames = self.frames(request)
        if isinstance(frames, Reply):
            return frames
        return Reply(headers={"content-type": content_type(self.dialect)}, pieces=frames)

    def frames(self, request: Request) -> list[WireFrame] | Reply:
        """The wire frames of its answer to this request, or a refusal."""
        number = len(self.attempts)
        rng = random.Random(f"{self.seed}/{number}")
        attempt = self._attempt(request.json, rng)
        self.attempts.append(attempt)
        if attempt.asked == "refused":
            return _refusal(attempt.given)
        again = attempt.asked != "whole"
        answer = replace(
            self.answer,
            tokens=attempt.tokens,
            reasoning=() if again and not self.thinks_again else self.answer.reasoning,
            tag=str(number + 1),
            prompt_tokens=self.answer.prompt_tokens + len(tokens_of(attempt.given)),
        )
        return body(self.dialect, answer)

    def _attempt(self, asked: Any, rng: random.Random) -> Attempt:
        turns = turns_of(self.dialect, asked)
        behaviour = self._draw(rng)
        truth = self.answer.text
        role, last = turns[-1] if turns else ("user", "")
        if role == "assistant" and self.prefill != "ignore":
            reason = self._refuses(last)
            if reason is not None:
                return Attempt(asked="refused", behaviour=behaviour, given=reason, tokens=())
            start = _position_after(truth, last)
            tokens = self._say(behaviour, start, echo=last, rng=rng)
            return Attempt(asked="prefill", behaviour=behaviour, given=last, tokens=tokens)
        anchor = (self.anchor_in or find_anchor)(last, truth) if role == "user" else None
        if anchor is not None:
            partial = next((text for who, text in reversed(turns) if who == "assistant"), "")
            start = _nearest(truth, anchor, _position_after(truth, partial) - len(anchor))
            echo = truth[max(0, start - _ECHOED_CHARS) : start]
            tokens = self._say(behaviour, start, echo=echo, rng=rng)
            return Attempt(asked="anchor", behaviour=behaviour, given=anchor, tokens=tokens)
        tokens = self.answer.tokens
        if self.sampling and not _deterministic(asked):
            tokens = _paraphrase(tokens, rng)
        return Attempt(asked="whole", behaviour="obey", given="", tokens=tokens)

    def _draw(self, rng: random.Random) -> str:
        if isinstance(self.behaviour, str):
            return self.behaviour
        names, weights = zip(*self.behaviour.items(), strict=True)
        return str(rng.choices(names, weights)[0])

    def _refuses(self, prefill: str) -> str | None:
        if self.prefill == "refuse":
            return "This model does not support assistant message prefill."
        if not self.allow_trailing_space and prefill != prefill.rstrip():
            return "messages: final assistant content cannot end with trailing whitespace"
        return None

    def _say(self, behaviour: str, start: int, *, echo: str, rng: random.Random) -> tuple[str, ...]:
        rest = _tokens_from(self.answer.tokens, start)
        match behaviour:
            case "obey":
                return rest
            case "echo":
                return (*tokens_of(echo), *rest)
            case "echo-fused":
                return (echo + "".join(rest[:1]), *rest[1:])
            case "paraphrase":
                return _paraphrase(rest, rng)
            case "restart":
                return self.answer.tokens
            case "apologise":
                return (*tokens_of(APOLOGY), *rest)
        raise ValueError(f"no such behaviour: {behaviour}")


def turns_of(dialect: str, asked: Any) -> list[tuple[str, str]]:
    """The conversation of a request body as (role, text); the model's role is `assistant`."""
    if dialect == "gemini":
        raw = [(turn.get("role", "user"), turn.get("parts")) for turn in asked["contents"]]
    elif dialect == "openai-responses":
        items = asked["input"]
        if isinstance(items, str):
            return [("user", items)]
        raw = [(item.get("role", ""), item.get("content")) for item in items]
    else:
        raw = [(turn["role"], turn.get("content")) for turn in asked["messages"]]
    return [("assistant" if role == "model" else role, _text_of(content)) for role, content in raw]


def find_anchor(turn: str, truth: str) -> str | None:
    """The words of `truth` that a user turn asks to begin with: quoted, after "exactly"."""
    told = turn[turn.lower().rfind("exactly") :] if "exactly" in turn.lower() else ""
    found: list[str] = []
    for quote in _QUOTES:
        for words in re.findall(quote, told, re.DOTALL):
            found += [words, words.strip()]
            with contextlib.suppress(ValueError):  # it may be quoted as a JSON string
                found.append(json.loads(f'"{words}"'))
    known = [words for words in found if words.strip() and words in truth]
    return max(known, key=len, default=None)


def _text_of(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text") or "" for part in content)


def _deterministic(asked: Any) -> bool:
    settings = asked | asked.get("options", {}) | asked.get("generationConfig", {})
    return settings.get("temperature") == 0 or settings.get("seed") is not None


def _position_after(truth: str, said: str) -> int:
    """Where `truth` goes on after `said`: exactly, but for white space, or else about there."""
    if truth.startswith(said):
        return len(said)
    bare = said.rstrip()
    if truth.startswith(bare):
        return len(bare)
    for size in range(min(len(bare), 60), 3, -1):
        found = truth.find(bare[-size:])
        if found >= 0:
            return found + size
    return min(len(said), len(truth))


def _nearest(truth: str, words: str, position: int) -> int:
    starts = [m.start() for m in re.finditer(f"(?={re.escape(words)})", truth)]
    return min(starts, key=lambda start: abs(start - position))


def _tokens_from(tokens: tuple[str, ...], start: int) -> tuple[str, ...]:
    """The tokens from a character on; one that is cut through keeps its second part."""
    for number, token in enumerate(tokens):
        if start < len(token):
            return (token[start:], *tokens[number + 1 :])
        start -= len(token)
    return ()


def _paraphrase(tokens: tuple[str, ...], rng: random.Random) -> tuple[str, ...]:
    """As many tokens, other words: no word stays, the white space does."""

    def reword(token: str) -> str:
        space = token[: len(token) - len(token.lstrip())]
        return space + rng.choice([word for word in _WORDS if word != token.strip()])

    return tuple(reword(token) for token in tokens)


def _refusal(message: str) -> Reply:
    error = {"type": "invalid_request_error", "message": message, "code": 400}
    return Reply(
        status=400,
        headers={"content-type": "application/json"},
        pieces=[json.dumps({"type": "error", "error": error}).encode()],
        framing="length",
    )
