"""From a seed: a request, options, a consumer, and an upstream with its truths and faults."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from tests.simulation.bodies import WHOLE_CALLS, Style, encode
from tests.simulation.faults import FAULTS, break_reply, refusal
from tests.simulation.keeping import KEEPERS, Keeper
from tests.simulation.replies import NEVER, Reply
from tests.simulation.requests import STOP, asked, first_request, resume_in
from tests.simulation.settings import TARGETS, Target, draw_options, draw_targets
from tests.simulation.speech import Truth, continued, first_truth, repeated
from unbroken.core.dialects import DIALECTS
from unbroken.core.dialects.base import Dialect
from unbroken.core.options import RUNGS
from unbroken.core.request import Request

__all__ = ["FAULTS", "NEVER", "WALL_TIME", "Reply", "World", "asked"]

WALL_TIME = 1_800_000_000.0  # the epoch's seconds at the world's time 0: 15 Jan 2027 08:00 UTC
_ALTERED = ("pings", "empty", "corrupt", "replaced", "oversized")
_WITHOUT_CALLS = ("openai-completions",)
_STOPPING = ("openai-chat", "openai-completions", "anthropic-messages")
_CONTENT_TYPES = {
    "ndjson": "application/x-ndjson",
    "sse": "text/event-stream",
    "json-array": "application/json",
    "aws-event-stream": "application/vnd.amazon.eventstream",
}


class World:
    """Everything that one seed decides. The same seed, the same world."""

    def __init__(self, seed: int, *, dialect: str | None = None) -> None:
        self.seed = seed
        self.draw = draw = Random(seed)
        name = dialect or draw.choice(sorted(TARGETS))
        self.dialect: Dialect = DIALECTS[name]
        self.target = draw.choice(TARGETS[name])
        self.targets = draw_targets(draw, self.target)
        self.options = draw_options(draw, self.targets)
        plain = name in _WITHOUT_CALLS
        self.tools = draw.random() < 0.3 and not plain
        self.thinking = draw.random() < 0.25 and not plain
        self.structured = draw.random() < 0.07
        self.deterministic = draw.random() < 0.4
        # What is too long for memory goes to a spill, which may fail.
        self.spill = draw.choice((None, "good", "good", "full", "unreadable"))
        self.long = draw.random() < 0.06
        if self.long:
            self._too_long_for_memory()
        self.kept = draw.random() < 0.4  # the provider keeps the answer under its id
        self.keeps = name in KEEPERS and draw.random() < 0.45  # and gives the rest of it
        self.choices = 1
        if name == "openai-chat" and not (self.keeps or self.long) and draw.random() < 0.3:
            self.choices, self.tools, self.thinking = draw.choice((2, 3)), False, False
            self.deterministic = draw.random() < 0.8
        self.max_tokens = draw.choice((40, 300, 2000)) if draw.random() < 0.15 else None
        self.stops = name in _STOPPING and self.choices == 1 and draw.random() < 0.2
        self.request = first_request(self)
        self.sent = draw.random() < 0.5
        self.permits = draw.random() < 0.95
        self.pauses = draw.choice((0.0, 0.0, 0.1, 0.5))
        self.leaves_after = draw.randrange(1, 20) if draw.random() < 0.08 else None
        self.blocks = draw.choice((None, None, None, None, (0.0, 3.0), (1.0, 1e9)))
        self.first = self.fresh_truth()
        self.calm = draw.random() < 0.5  # later attempts are healthy and obedient
        self.stubborn = draw.random() < 0.05  # later attempts fail again and again
        self.keeper = Keeper(self)
        self.asked_blocked: list[tuple[float, Request, str | None]] = []

    def _too_long_for_memory(self) -> None:
        """A long answer, that may be asked for again: it goes to a spill."""
        least = self.draw.choice((30, 500, 700, 1000))
        self.options = replace(
            self.options, max_replay_bytes=least, mode="heal", rungs=RUNGS, max_attempts=5,
            max_frame_bytes=1 << 20, max_added_input=9.0, max_recovery_s=120.0,
        )  # fmt: skip
        self.targets, self.deterministic = self.targets[:1], True
        self.options = replace(self.options, targets=self.options.targets[:1])
        self.tools = self.structured = False

    def fresh_truth(self) -> Truth:
        """Return what a model says that is asked for the first time."""
        return first_truth(
            self.draw,
            tools=self.tools,
            thinking=self.thinking,
            structured=self.structured,
            loose=self.dialect.name not in WHOLE_CALLS,
            choices=self.choices,
            stop=STOP if self.stops else "",
            long=self.long,
        )

    def jitter(self) -> float:
        return self.draw.random()

    def blocked(self, now: float, request: Request) -> str | None:
        """A circuit breaker of the user's, open for a while."""
        closed = self.blocks is None or not self.blocks[0] <= now < self.blocks[1]
        why = None if closed else "the breaker is open"
        self.asked_blocked.append((now, request, why))
        return why

    def place_of(self, request: Request) -> Target | None:
        """Return who is asked by a request; None if it is nobody who is known."""
        key = ""
        for name, value in request.headers:
            if name.lower() in ("authorization", "x-api-key", "x-goog-api-key", "api-key"):
                key = value.removeprefix("Bearer ")
        model = request.json.get("model")
        for each in (self.target, *self.targets):
            if request.url == each.url and key == each.key and model in (None, each.model):
                return each
        return None

    # The upstream ---------------------------------------------------------------------------

    def reply(self, number: int, request: Request, heard: str) -> Reply:
        """Return how the upstream answers one attempt.

        Args:
            number: The attempt, from 1.
            request: What is sent.
            heard: The answer text that the consumer has.
        """
        draw = self.draw
        if (resume := resume_in(request)) is not None:
            return self.keeper.resume(number, resume)
        place = self.place_of(request) or self.target
        dialect = DIALECTS[place.dialect]
        later = number > 1
        fault = self._fault(later=later, dialect=dialect)
        head_s = draw.choice((0.0, 0.05, 0.4, 2.0))
        if fault == "connect":
            return Reply(None, {}, head_s, fault=fault)
        if fault == "connect-hang":
            return Reply(None, {}, NEVER, fault=fault)
        if fault == "http":
            return refusal(draw, head_s)
        kind = _CONTENT_TYPES[dialect.wire]
        headers = {"content-type": kind, "x-request-id": f"req-{number}"}
        truth = self._truth(number, request, heard, place)
        keeps = self.keeps and place.url == self.target.url
        style = Style.of(draw, dialect.name, number, kept=keeps)
        frames = encode(draw, dialect, truth, style)
        hopeless = fault in ("final-error", "account-error", "safety")
        reply = Reply(200, headers, head_s, truth=truth, fault=fault, hopeless=hopeless)
        reply.dialect = dialect.name
        reply.longest_frame = max(map(len, frames))
        if keeps:
            self.keeper.keep(frames, reply, number)
        break_reply(self, reply, frames, dialect=dialect.name)
        return reply

    def _fault(self, *, later: bool, dialect: Dialect) -> str:
        draw = self.draw
        weights = [pair[later] for pair in FAULTS.values()]
        fault = draw.choices(list(FAULTS), weights)[0]
        if not later and self.long and draw.random() < 0.7:
            fault = draw.choice(("eof", "reset", "silence"))
        if not later and self.options.malformed == "skip" and draw.random() < 0.4:
            fault = draw.choice(("corrupt", "replaced", "replaced"))
        if later and self.stubborn:
            fault = draw.choice(("empty", "eof", "reset", "error", "http"))
        if not later and self.targets and draw.random() < 0.4:
            fault = draw.choice(("account-error", "final-error", "http", "safety"))
        if later and self.calm and draw.random() < 0.7:
            fault = "none"
        if not later and self.sent and fault in ("http", "connect"):
            fault = "eof"
        if fault in ("swapped", "lost") and not dialect.numbered:
            fault = "eof"
        if self.keeps and KEEPERS[self.dialect.name] == "byte" and fault in _ALTERED:
            fault = "eof"  # what is kept is what was sent
        if fault == "checksum" and dialect.wire != "aws-event-stream":
            fault = "reset"
        return fault

    def _truth(self, number: int, request: Request, heard: str, place: Target) -> Truth:
        if number == 1:
            return self.first
        if place.dialect != self.dialect.name:
            truth = first_truth(self.draw, tools=self.tools, thinking=False, structured=False,
                                loose=False)  # fmt: skip
            return replace(truth, manner="elsewhere")
        sent, anchor = asked(self.dialect.name, request.body, self.prompt)
        if sent is None:
            return self.first if self.calm else repeated(self.draw, self.first)
        obeys: Any = self.draw if not self.calm else _Obedient(self.draw)
        return continued(
            obeys, self.first, heard=heard, sent=sent, anchor=anchor, tools=self.tools,
            stop=STOP if self.stops else "",
        )  # fmt: skip

    @property
    def prompt(self) -> str:
        """The prompt of a text completion."""
        prompt = self.request.json.get("prompt")
        return prompt if isinstance(prompt, str) else ""


class _Obedient:
    """A draw that always takes the first choice of manners, and else draws."""

    def __init__(self, draw: Random) -> None:
        self._draw = draw

    def choices(self, options: tuple[str, ...], weights: tuple[int, ...]) -> list[str]:
        return [self._draw.choice((options[0], options[0], options[3]))]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._draw, name)
