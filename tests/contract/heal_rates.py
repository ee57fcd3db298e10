"""How often a broken answer is healed, by each rung, when the model only sometimes obeys.

A scripted model (`tests.support.model`) is asked over real sockets; its first answer is cut at
a place that a seed decides. When it is asked again it does as it is told with a set
probability, and else paraphrases, echoes, restarts or apologises. Simulated throughout: the
rates say how the ladder deals with such behaviour, not how often a real model shows it.

    tally = measure("prefill", obeys=0.9, streams=100)
    tally.rate, tally.wrong
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai

import unbroken
from tests.support.bodies import DIALECTS, Answer, tokens_of
from tests.support.faults import Break, breaking
from tests.support.faultserver import FaultServer
from tests.support.model import Attempt, Model

__all__ = ["ROWS", "Row", "Tally", "Wavering", "judge", "measure", "prose", "repeating"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to recover, measured by itself.

    Attributes:
        rungs: What the ladder may do.
        can: What the capability table is told of the model.
        least: Characters delivered before the cut: below it the rung is closed or needless.
        dialects: Those in which the rung exists.
    """

    rungs: tuple[str, ...]
    can: dict[str, Any]
    least: int = 64
    dialects: tuple[str, ...] = DIALECTS


_PREFILL = tuple(name for name in DIALECTS if name != "openai-responses")
ROWS: dict[str, Row] = {
    "prefill": Row(rungs=("prefill",), can={"prefill": True}, dialects=_PREFILL),
    "user-turn": Row(rungs=("user-turn",), can={}),
    # It gives no instruction: "obeys" means that the model writes the same again.
    "replay": Row(rungs=("replay",), can={"deterministic": True}),
    "all": Row(
        rungs=("retry", "replay", "prefill", "user-turn"),
        can={"prefill": True, "deterministic": True},
        least=0,
    ),
}
_QUESTION = "Tell me the story of the lighthouse keeper."
_ELSE = ("paraphrase", "echo", "echo-fused", "restart", "apologise")
_VOCABULARY = (
    "lamp", "ship", "evening", "ledger", "harbour", "keeper", "counted", "wrote", "names", "rope",
    "tide", "candle", "gull", "naïve", "café", "東京", "storm", "window", "sailed", "home",
)  # fmt: skip
_FAULTS = ("cut_clean", "cut_close", "cut_midline", "cut_fin")


class Wavering(Model):
    """A model that does not give the same answer twice: a replay too meets its behaviour."""

    def _attempt(self, asked: Any, rng: random.Random) -> Attempt:
        attempt = super()._attempt(asked, rng)
        if attempt.asked != "whole" or not self.attempts:
            return attempt
        behaviour = self._draw(rng)
        tokens = self._say(behaviour, 0, echo="", rng=rng)
        return Attempt(asked="whole", behaviour=behaviour, given="", tokens=tokens)


@dataclass(slots=True, kw_only=True)
class Tally:
    """What became of the streams of one row.

    Attributes:
        healed: Ended whole; the text is the model's one truth.
        failed: Ended with an exception, and a prefix of the truth.
        wrong: What was delivered is not what the provenance says, or not the truth.
        by_rung: Streams by the rung that healed them.
        asked: Further requests, by what the model took them for (`Attempt.asked`).
    """

    healed: int = 0
    failed: int = 0
    wrong: list[str] = field(default_factory=list)
    by_rung: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def streams(self) -> int:
        return self.healed + self.failed + len(self.wrong)

    @property
    def rate(self) -> float:
        return self.healed / self.streams


def prose(draw: random.Random) -> Answer:
    """An answer of some 60 words; half of them come back to their own words, as lists do."""
    lines = [" ".join(draw.choices(_VOCABULARY, k=draw.randint(5, 9))) for _ in range(9)]
    if draw.random() < 0.5:
        refrain = f"And the {lines[0]} again"
        lines = [each for line in lines[1:6] for each in (line, refrain)]
    between = draw.choice((". ", ".\n\n", "\n- ", ";\n    "))
    return Answer(tokens=tokens_of(between.join(lines) + "."))


def repeating(draw: random.Random) -> Answer:
    """An answer that says one thing over and over: its last words do not tell their place."""
    unit = draw.choice(
        ("tick tock ", "| --- | --- | 0.000 |\n", "Row one is done.\n", "- item\n- thing\n", "ha ")
    )
    text = unit * draw.randint(40, 60)
    return Answer(tokens=tokens_of(text if draw.random() < 0.5 else f"Once: {text}and the end."))


def measure(
    row: str,
    *,
    obeys: float,
    streams: int,
    seed: int = 0,
    sdk: bool = False,
    answer: Callable[[random.Random], Answer] = prose,
) -> Tally:
    """Break answers and count what becomes of them.

    Args:
        row: A name in `ROWS`.
        obeys: Probability that the model does as it is told; the rest is shared evenly.
        streams: How many; the dialects take turns.
        seed: Decides the answers, the places of the cuts, and what the model does.
        sdk: Through the openai SDK, in its dialect only, and not `unbroken.stream`.
        answer: Makes the model's answers.
    """
    tally, rungs = Tally(), ROWS[row]
    ask = _BySdk(rungs) if sdk else _Directly(rungs)
    with ask, FaultServer() as server:
        for number in range(streams):
            draw = random.Random(f"{seed}/{row}/{obeys}/{number}")
            dialect = "openai-chat" if sdk else rungs.dialects[number % len(rungs.dialects)]
            model = _model(dialect, answer(draw), obeys, draw)
            tokens = model.answer.tokens
            places = [at for at in range(len(tokens)) if len("".join(tokens[:at])) >= rungs.least]
            fault = Break(draw.choice(_FAULTS), at=draw.choice(places))
            server.script = breaking(model, fault)
            _count(tally, ask(dialect, server.url), model, number)
    return tally


def _model(dialect: str, answer: Answer, obeys: float, draw: random.Random) -> Model:
    behaviour = {"obey": obeys, **dict.fromkeys(_ELSE, (1.0 - obeys) / len(_ELSE))}
    return Wavering(dialect=dialect, answer=answer, behaviour=behaviour, seed=draw.getrandbits(32))


def _options(row: Row) -> unbroken.Options:
    return unbroken.Options(rungs=row.rungs, capabilities=(row.can,), heals_always=10**6)


@dataclass(frozen=True, slots=True)
class Seen:
    """What an application saw of one stream."""

    text: str
    error: Exception | None
    outcome: unbroken.Outcome


class _Directly:
    """Ask without an SDK, in any dialect."""

    def __init__(self, row: Row) -> None:
        self._options = _options(row)
        self._client = httpx2.Client(timeout=10.0, trust_env=False)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def __call__(self, dialect: str, url: str) -> Seen:
        more: dict[str, Any] = {"store": False} if dialect == "openai-responses" else {}
        text, error = "", None
        stream = unbroken.stream(
            _QUESTION,
            model="test-model",
            dialect=dialect,
            base_url=url,
            api_key="test-key",
            client=self._client,
            options=self._options,
            **more,
        )
        try:
            with stream:
                for piece in stream.iter_text():
                    text += piece
        except unbroken.StreamingError as raised:
            error = raised
        return Seen(text, error, stream.outcome)


class _BySdk:
    """Ask with the openai SDK over our transport."""

    def __init__(self, row: Row) -> None:
        self._outcomes: list[unbroken.Outcome] = []
        self._client = unbroken.http_client(
            options=_options(row), on_outcome=self._outcomes.append, trust_env=False
        )

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def __call__(self, _: str, url: str) -> Seen:
        sdk = openai.OpenAI(
            base_url=f"{url}/v1", api_key="test-key", max_retries=0, http_client=self._client
        )
        text, error = "", None
        try:
            events = sdk.chat.completions.create(
                model="test-model", messages=[{"role": "user", "content": _QUESTION}], stream=True
            )
            for event in events:
                text += "".join(choice.delta.content or "" for choice in event.choices)
        except openai.APIConnectionError as raised:
            error = raised
        return Seen(text, error, self._outcomes[-1])


def _count(tally: Tally, seen: Seen, model: Model, number: int) -> None:
    tally.asked.update(attempt.asked for attempt in model.attempts[1:])
    why = judge(seen.text, seen.error, seen.outcome, model)
    if why is not None:
        tally.wrong.append(f"stream {number} ({model.dialect}): {why}")
    elif seen.error is not None:
        tally.failed += 1
    else:
        tally.healed += 1
        tally.by_rung[seen.outcome.provenance[-1].rung] += 1


def judge(
    text: str, error: Exception | None, outcome: unbroken.Outcome, model: Model
) -> str | None:
    """Return what is wrong with what was delivered, or None.

    Compares with what each attempt was going to say, which only the model knows: every part
    must be a slice of its own attempt, at the place where that attempt comes to it.
    """
    parts = outcome.provenance
    truth = model.attempts[parts[0].attempt - 1].text if parts else ""
    if text != outcome.text:
        return "the outcome holds another text than the one delivered"
    if not truth.startswith(text):
        return f"delivered what the model never meant: {text!r}"
    if error is None and (text != truth or not outcome.complete):
        return f"a short text without an exception: {text!r}"
    at = 0
    for part in parts:
        if part.start != at or part.end <= part.start:
            return f"the provenance has holes: {parts}"
        at = part.end
        if not _is_own_slice(text, part, model.attempts[part.attempt - 1].text, error):
            return f"not what attempt {part.attempt} wrote: {text[part.start : part.end]!r}"
    return None if at == len(text) else "text without provenance"


def _is_own_slice(text: str, part: unbroken.Provenance, said: str, error: Exception | None) -> bool:
    written, before = text[part.start : part.end], text[: part.start]
    if part.rung in ("first", "retry"):
        return part.start == 0 and said.startswith(written)
    if part.guarantee == "prefix-verified":
        return said.startswith(before + written)
    # It wrote the last words of what was there again, and then this, to its own end; or, if
    # it failed too, a beginning of it.
    ends = [len(said)] if error is None else range(len(written), len(said) + 1)
    return any(
        said[:end].endswith(written)
        and before.endswith(head := said[: end - len(written)].lstrip())
        and sum(map(str.isalnum, head)) >= 4
        for end in ends
    )
