"""What `soak.py` plays: one case a seed.

The seed alone decides everything, so a stream that failed can be played again by its number.
"""

from __future__ import annotations

import random
from collections.abc import Container
from dataclasses import dataclass

from unbroken.lab.injectors import INJECTORS, Injector

__all__ = ["DIALECTS", "LEFT_OUT", "Case", "draw"]

DIALECTS = {
    "openai": ("openai-chat", "openai-responses"),
    "anthropic": ("anthropic-messages",),
    "stream": (
        "openai-chat", "openai-responses", "anthropic-messages", "gemini", "ollama", "cohere",
    ),
    "astream": (
        "openai-chat", "openai-responses", "anthropic-messages", "gemini", "ollama", "cohere",
    ),
}  # fmt: skip
"""What each client speaks: openai's SDK (sync), anthropic's (async), and `unbroken.stream`."""


LEFT_OUT = {
    "drop": "a frame that a proxy swallows leaves no trace on wires without numbers",
    "duplicate": "a frame that came twice is as good as one that was meant so, without numbers",
    "reorder": "without numbers any order is a good order",
    "after-end": "in Gemini text may follow a finish, and is the answer's",
    "drop.before-numbering": (
        "a delta lost before it was numbered shows only when its text is repeated; until then"
        " what is delivered lacks it, and the end is an honest error"
    ),
    "endless.content": "an answer that goes on is an answer, until a limit that the user sets",
    "tool-cut": (
        "a call that is finished with half of its arguments is what the model wrote, as far as"
        " anybody can know; it is delivered, and outcome and callbacks say so"
    ),
}
"""Faults that no client can know of, and why; the first four only where the dialect hides them."""

_ALONE = {"after-end", "invalid-utf8"}  # others may make of these what nobody can know
_HONOURS = ("prefill", "anchor", "seed", "cursor", "idempotency")
_SHORT_S, _LONG_S = (0.02, 0.15), (2.0, 4.0)  # the clocks of soak_clients lie between
_LONG = {"stall"}
_SECONDS = {"drip": (0.0001, 0.01), "drip.byte": (0.00002, 0.0001)}  # a frame, or a byte
_COUNTS = {"bandwidth": (20_000, 400_000)}  # bytes a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One stream.

    Attributes:
        seed: Decides all else.
        drive: The client: a key of `DIALECTS`.
        dialect: What it speaks.
        plan: What goes wrong, with the settings of the answer.
        say: ``text``, ``tool`` or ``thinking``.
        policy: Which of the options of soak_clients.
        sampling: How the request asks for the same answer again: ``""``, ``temperature``,
            ``seed``.
        background: Of Responses, whether the provider keeps the answer for a cursor.
    """

    seed: int
    drive: str
    dialect: str
    plan: str
    say: str
    policy: str
    sampling: str
    background: bool

    def __str__(self) -> str:
        more = f"{self.drive}/{self.dialect}, {self.policy}"
        more += f", {self.sampling}" if self.sampling else ""
        return f"{more}{', background' if self.background else ''}: lab/{self.plan}"


def draw(seed: int, without: Container[str] = ()) -> Case:
    """Return the case of a seed, in which some faults, such as ``stall``, do not happen."""
    chance = random.Random(f"unbroken-soak/{seed}")
    drive = chance.choices(("openai", "anthropic", "stream", "astream"), (3, 3, 2, 2))[0]
    dialect = chance.choice(DIALECTS[drive])
    say = chance.choices(("text", "tool", "thinking"), (75, 15, 10))[0]
    broken = chance.choices((1, 2, 3, 0), (55, 25, 12, 8))[0]  # 0: every attempt
    attempts = [_attempt(chance, dialect, without, first=n == 0) for n in range(broken or 1)]
    plan = ",".join(attempts) + ("" if broken else "*")
    return Case(
        seed=seed,
        drive=drive,
        dialect=dialect,
        plan=";".join([plan, *_settings(chance, seed, say)]),
        say=say,
        policy=chance.choices(("default", "stream-tools", "spill", "no-resend"), (7, 1, 1, 1))[0],
        sampling=chance.choices(("", "temperature", "seed"), (6, 3, 1))[0],
        background=dialect == "openai-responses" and chance.random() < 0.4,
    )


def _settings(chance: random.Random, seed: int, say: str) -> list[str]:
    settings = {
        "tokens": str(chance.choice((chance.randint(12, 60), chance.randint(60, 400)))),
        "seed": str(seed % 1000),
        "say": say,
        "delta": chance.choices(("provider", "token", str(chance.randint(1, 60))), (4, 2, 2))[0],
    }
    if chance.random() < 0.3:
        settings["tps"] = str(chance.choice((300, 1000, 3000)))
        settings["jitter"] = str(chance.choice((0, 0.3, 0.9)))
        settings["burst"] = str(chance.choice((1, 5, 20)))
    if chance.random() < 0.2:
        settings["ttft"] = f"{chance.randint(1, 200)}ms"
    if chance.random() < 0.2:
        settings["usage"] = "off"
    if chance.random() < 0.35:
        refused = chance.sample(_HONOURS, chance.randint(1, len(_HONOURS)))
        settings["no"] = "-".join(refused)
    return [f"{name}={value}" for name, value in settings.items()]


def _attempt(chance: random.Random, dialect: str, without: Container[str], *, first: bool) -> str:
    together = 2 if chance.random() < 0.15 else 1
    names = [
        name
        for name in sorted(INJECTORS)
        if name not in without and _fits(INJECTORS[name], dialect)
    ]
    faults = chance.sample(names, together)
    faults = next(([name] for name in faults if name in _ALONE), faults)
    return "+".join(_fault(chance, name, dialect, first=first) for name in faults)


def _fits(injector: type[Injector], dialect: str) -> bool:
    return injector.name != "tool-cut" and bool(_hows(injector, dialect))


def _hows(injector: type[Injector], dialect: str) -> list[str]:
    """Return the variants that a client of this dialect can know of."""
    return [
        how
        for how in injector.hows_in(dialect)
        if not injector.is_hidden(how, dialect)
        and f"{injector.name}.{how}" not in LEFT_OUT
        # It takes numbers, which the lab's cursor does not know of.
        and (injector.name, how, dialect) != ("stall", "empty", "openai-responses")
    ]


def _fault(chance: random.Random, name: str, dialect: str, *, first: bool) -> str:
    injector = INJECTORS[name]
    said = name
    how = chance.choice(_hows(injector, dialect))
    said += f".{how}" if how else ""
    if "place" in injector.takes and chance.random() < 0.85:
        places = ["@rand", f"@{chance.randint(0, 100) / 100}"]
        if first:  # what comes after it may be a short rest, which has no such places
            places += [f"@{chance.randint(0, 4)}t", f"@{chance.randint(0, 6)}f"]
            places += [f"@{chance.randint(0, 400)}b"]
        said += chance.choice(places)
    if "seconds" in injector.takes:
        least, most = _SECONDS.get(f"{name}.{how}") or _SECONDS.get(name, _SHORT_S)
        if name in _LONG and chance.random() < 0.6:
            least, most = _LONG_S
        said += f"@{chance.uniform(least, most) * 1000:.3f}ms"
    if "count" in injector.takes and (name in _COUNTS or chance.random() < 0.3):
        said += f"@x{chance.randint(*_COUNTS.get(name, (1, 4)))}"
    return said
