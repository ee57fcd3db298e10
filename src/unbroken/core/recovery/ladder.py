"""The ladder: which way to recover is open, the one that proves most first.

Every rung is one function that returns a `Plan` or the reason why it is closed. The order of
`_RUNGS` is the order of the ladder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from unbroken.core.dialects.base import Dialect, RequestFacts
from unbroken.core.faults import Fault, FaultKind
from unbroken.core.options import Options, Rung
from unbroken.core.outcome import Guarantee, Skipped
from unbroken.core.received import Received
from unbroken.core.recovery.capabilities import Capability, capability_for
from unbroken.core.recovery.seam import AnchorMatch, Matcher, NoMatch, ReplayMatch
from unbroken.core.recovery.words import grapheme_count, unique_anchor_start
from unbroken.core.request import Request

__all__ = ["ANCHOR_LETTERS", "Plan", "Situation", "choose"]

ANCHOR_LETTERS = 8
"""Letters that a prefill's anchor must hold (an ideograph counts two); a user turn's twice."""
REPLAY_ALWAYS_BELOW = 64
"""Characters delivered under which the same request is worth sending again anyway."""
_TRIES: dict[Rung, int] = {"prefill": 2, "user-turn": 2}
"""How often an anchored rung is tried at one place; the others end by `max_attempts`."""

_INSTRUCTION = (
    "Your answer above was cut off by a lost connection. Continue it from exactly where it"
    " stopped. Begin with exactly: {anchor}\nThose are the last words that arrived; write them"
    " again letter by letter, then go on. No greeting, no apology, no summary, no quotation"
    " marks{tags} around it."
)
_TAGS = ("<cut>", "</cut>")
"""Around an anchor of several lines, of which it could not be told where it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One more attempt: what to send, and what it must prove.

    Attributes:
        rung: The way.
        request: What to send.
        matcher: Decides whether its text continues what was delivered.
        guarantee: What holds once it does.
        anchor: Graphemes it must write again; 0 for none.
        spliced: Whether its frames must be written anew; False passes them as they come.
    """

    rung: Rung
    request: Request
    matcher: Matcher
    guarantee: Guarantee
    anchor: int = 0
    spliced: bool = True


@dataclass(slots=True, kw_only=True)
class Situation:
    """What is known when an attempt has failed.

    Attributes:
        request: The first attempt's request.
        dialect: Its dialect.
        options: The user's.
        delivered: What the consumer has.
        open_call_delivered: Part of a tool call is with the consumer.
        anything_arrived: Whether the failed attempt sent more than a status.
        fault: Why it failed.
        tries: How often each rung got an answer since something new was last delivered.
        refused: Rungs that the provider refused outright in this stream, and replay once its
            text was another.
        attempts: Upstream requests so far.
        added_bytes: Body bytes of all requests after the first.
    """

    request: Request
    dialect: Dialect
    options: Options
    delivered: Received
    fault: Fault
    open_call_delivered: bool = False
    anything_arrived: bool = True
    tries: dict[str, int] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    attempts: int = 1
    added_bytes: int = 0

    @property
    def facts(self) -> RequestFacts:
        """What the request asks for."""
        return self.dialect.facts(self.request)

    @property
    def capability(self) -> Capability:
        """What the target can do."""
        return capability_for(
            dialect=self.dialect.name,
            host=self.request.host,
            path=self.request.path,
            model=self.facts.model,
            extra=self.options.capabilities,
        )


def choose(now: Situation) -> tuple[Plan | None, list[Skipped]]:
    """Return the next attempt to make, or None; and the rungs that were passed over."""
    closed = _closed_for_all(now)
    if closed is not None:
        return None, [Skipped(rung="all", why=closed)]
    skipped: list[Skipped] = []
    for rung, try_rung in _RUNGS.items():
        found = _closed_for(rung, now) or try_rung(now)
        if isinstance(found, Plan):
            over = _over_budget(found, now)
            if over is None:
                return found, skipped
            found = over
        skipped.append(Skipped(rung=rung, why=found))
    return None, skipped


def _closed_for_all(now: Situation) -> str | None:
    if not now.fault.retryable:
        return f"the same request would fail again ({now.fault.kind})"
    if now.fault.kind is FaultKind.INVALID_TOOL_ARGUMENTS:
        return "the answer is whole; its arguments are what the model wrote"
    if not now.options.allow_resend:
        return "allow_resend is off: a prompt is never sent twice"
    if now.attempts >= now.options.max_attempts:
        return f"max_attempts reached ({now.attempts} upstream requests)"
    if now.open_call_delivered:
        return "part of a tool call was delivered, and nothing can be taken back"
    if now.delivered.finishes:
        return "the finish was delivered, and what follows it is not worth a second one"
    if now.delivered.overflowed:
        return f"more than max_replay_bytes ({now.options.max_replay_bytes}) was delivered"
    return None


def _closed_for(rung: Rung, now: Situation) -> str | None:
    if rung not in now.options.rungs:
        return "not in options.rungs"
    if rung in now.refused:
        return "the provider refused it, or it led elsewhere"
    if rung in _TRIES and now.tries.get(rung, 0) >= _TRIES[rung]:
        return f"tried {now.tries[rung]} times at this place"
    return None


def _over_budget(plan: Plan, now: Situation) -> str | None:
    """Compare with what one request of the prompt and the answer so far would hold."""
    one = max(1, len(now.request.body) + len(now.delivered.text.encode("utf-8", "replace")))
    added = now.added_bytes + len(plan.request.body)
    most = now.options.max_added_input * max(one, len(plan.request.body))
    if added > most:
        return f"max_added_input: {added} bytes of requests over {most:.0f}"
    return None


def _repeats_server_work(now: Situation) -> bool:
    return now.facts.server_work and now.anything_arrived and not now.options.retry_server_tools


def _content(now: Situation) -> set[str]:
    return set(now.delivered.sequence)


def _retry(now: Situation) -> Plan | str:
    """Rung 1: the same request, while nothing of the answer was delivered."""
    if _repeats_server_work(now):
        return "it may repeat work at the provider (retry_server_tools is off)"
    content = _content(now)
    if not content and now.delivered.skeleton:
        return "its opening was delivered, since too much came before any content"
    if not content:
        return Plan(
            rung="retry",
            request=now.request,
            matcher=NoMatch(),
            guarantee="byte-exact",
            spliced=False,
        )
    if content != {"reasoning"}:
        return "content was delivered"
    if now.delivered.open_blocks and not now.dialect.reissue_after_reasoning:
        return "reasoning was delivered, and this dialect cannot close it legally"
    if not now.dialect.reissue_after_reasoning:
        return "reasoning was delivered, and it belongs to the attempt that wrote it"
    if now.facts.choices > 1:
        return "more than one choice was asked for"
    return Plan(rung="retry", request=now.request, matcher=NoMatch(), guarantee="byte-exact")


def _replay(now: Situation) -> Plan | str:
    """Rung 4: the same request; what it repeats is suppressed while it is the same."""
    if _repeats_server_work(now):
        return "it may repeat work at the provider (retry_server_tools is off)"
    content = _content(now)
    if not content & {"text", "call"}:
        return "no text was delivered"
    if content - {"text", "call", "reasoning"}:
        return "something other than text and tool calls was delivered"
    facts = now.facts
    if facts.choices > 1:
        return "more than one choice was asked for"
    text = now.delivered.text
    if not (facts.deterministic or now.capability.deterministic) and (
        len(text) >= REPLAY_ALWAYS_BELOW or "call" in content
    ):
        return "the answer is not known to repeat (no temperature 0, no seed)"
    return Plan(
        rung="replay",
        request=now.request,
        matcher=ReplayMatch(text),
        guarantee="prefix-verified",
    )


def _continuable(now: Situation) -> str | None:
    """Return why text cannot be continued by a new turn, or None if it can."""
    content = _content(now)
    if "text" not in content:
        return "no text was delivered"
    if "call" in content:
        return "a tool call was delivered"
    if content - {"text", "reasoning"}:
        return "something other than text was delivered"
    facts = now.facts
    if facts.choices > 1:
        return "more than one choice was asked for"
    if facts.structured:
        return "structured output is never spliced in mid-value"
    if _repeats_server_work(now):
        return "it may repeat work at the provider (retry_server_tools is off)"
    if facts.server_state:
        return "the provider keeps the answer under an id that the application may send back"
    return None


def _no_anchor(text: str) -> str:
    return (
        f"the last words of the {len(text)} characters delivered are too few for an anchor, or"
        " repeat what came before"
    )


def _instruction(anchor: str) -> str:
    if "\n" not in anchor:
        return _INSTRUCTION.format(anchor=anchor, tags="")
    return _INSTRUCTION.format(anchor=anchor.join(_TAGS), tags=" or tags")


def _prefill(now: Situation) -> Plan | str:
    """Rung 5: the partial answer as the assistant's begun turn, less the anchor."""
    closed = _continuable(now)
    if closed is not None:
        return closed
    known = now.capability
    if not known.prefill:
        return f"not known to take a prefill ({known.note})"
    if not known.with_thinking and (now.facts.thinking or "reasoning" in _content(now)):
        return "a prefill does not go with thinking here"
    text = now.delivered.text
    at = unique_anchor_start(text, letters=ANCHOR_LETTERS)
    if at is None or not text[:at].strip():
        return _no_anchor(text)
    # Models write a word with the space before it, and Claude refuses one at the end: the
    # space was delivered, and the matcher does not ask for it again.
    sent = text[:at].rstrip()
    extra: dict[str, Any] = {"body": known.body, "message": known.message}
    request = now.dialect.prefill(now.request, sent, extra)
    if request is None:
        return "the request has no place for a begun turn"
    anchor = text[at:]
    return Plan(
        rung="prefill",
        request=request,
        matcher=AnchorMatch(sent=text[:at], anchor=anchor),
        guarantee="seam-verified",
        anchor=grapheme_count(anchor),
    )


def _user_turn(now: Situation) -> Plan | str:
    """Rung 6: the partial answer as history, and a user turn that asks to go on."""
    closed = _continuable(now)
    if closed is not None:
        return closed
    text = now.delivered.text
    at = unique_anchor_start(text, letters=2 * ANCHOR_LETTERS)
    if at is None:
        return _no_anchor(text)
    anchor = text[at:]
    request = now.dialect.user_turn(now.request, text.rstrip(), _instruction(anchor))
    if request is None:
        return "the request has no place for a further turn"
    return Plan(
        rung="user-turn",
        request=request,
        matcher=AnchorMatch(sent=text[:at], anchor=anchor),
        guarantee="seam-verified",
        anchor=grapheme_count(anchor),
    )


_RUNGS: dict[Rung, Callable[[Situation], Plan | str]] = {
    "retry": _retry,
    "replay": _replay,
    "prefill": _prefill,
    "user-turn": _user_turn,
}
