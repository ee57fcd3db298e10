"""The ladder: which way to recover is open, the one that proves most first.

Every rung is one function that returns a `Plan` or the reason why it is closed; an empty reason
says that there is no such rung here, which is not worth a word. The order of `_RUNGS` is the
order of the ladder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from unbroken.core.dialects import by_name
from unbroken.core.dialects.base import Dialect
from unbroken.core.faults import FaultKind
from unbroken.core.options import Options, Rung
from unbroken.core.outcome import Skipped
from unbroken.core.recovery.capabilities import capability_for
from unbroken.core.recovery.retarget import retarget
from unbroken.core.recovery.room import room_for, written
from unbroken.core.recovery.seam import AnchorMatch, Matcher, NoMatch, ReplayMatch, StopGuard
from unbroken.core.recovery.situation import Plan, Situation
from unbroken.core.recovery.words import grapheme_count, unique_anchor_start
from unbroken.core.request import Request
from unbroken.core.target import Target

__all__ = ["ANCHOR_LETTERS", "choose", "may_replay"]

ANCHOR_LETTERS = 8
"""Letters that a prefill's anchor must hold (an ideograph counts two); a user turn's twice."""
REPLAY_ALWAYS_BELOW = 64
"""Characters delivered under which the same request is worth sending again anyway."""
_TRIES: dict[str, int] = {"cursor": 3, "prefill": 2, "user-turn": 2}
"""How often a rung is tried at one place; the others end by `max_attempts`."""
_TARGET_TRIES = 2
_MOST_REFUSALS = 2
_SIGNATURE_S = 300
"""How long AWS takes a signed request (Signature Version 4)."""
_NO_SUCH_WAY = ""
_NOT_IN_MIDDLE = "this dialect does not say how an answer goes on in its middle"
_CAN_RESUME = frozenset(
    {
        FaultKind.TRUNCATED_BETWEEN_EVENTS,
        FaultKind.TRUNCATED_MID_EVENT,
        FaultKind.CONNECTION_RESET,
        FaultKind.EMPTY_STREAM,
        FaultKind.STALLED,
        FaultKind.SLOW_DRIP,
        # of a resume that failed itself
        FaultKind.HTTP_ERROR,
        FaultKind.CONNECT_FAILED,
    }
)
"""Faults of the connection: the provider may well have the rest of the answer."""

_INSTRUCTION = (
    "Your answer above was cut off by a lost connection. Continue it from exactly where it"
    " stopped. Begin with exactly: {anchor}\nThose are the last words that arrived; write them"
    " again letter by letter, then go on. No greeting, no apology, no summary, no quotation"
    " marks{tags} around it."
)
_TAGS = ("<cut>", "</cut>")
"""Around an anchor of several lines, of which it could not be told where it ends."""
_TOO_LONG = "the answer is longer than max_replay_bytes: too long to be sent again"


def choose(now: Situation) -> tuple[Plan | None, list[Skipped]]:
    """Return the next attempt to make, or None; and the rungs that were passed over."""
    closed = _closed_for_all(now)
    if closed is not None:
        return None, [Skipped(rung="all", why=closed)]
    skipped: list[Skipped] = []
    for rung, try_rung in _RUNGS.items():
        if rung != "cursor" and (closed := _closed_to_resending(now)) is not None:
            return None, [*skipped, Skipped(rung="all", why=closed)]
        found = _closed_for(rung, now) or try_rung(now)
        if isinstance(found, Plan):
            over = _not_now(found, now)
            if over is None:
                return found, skipped
            found = over
        if found:
            skipped.append(Skipped(rung=rung, why=found))
    return None, skipped


def _closed_for_all(now: Situation) -> str | None:
    if not now.fault.retryable and not (now.fault.elsewhere and now.options.targets):
        return f"the same request would fail again ({now.fault.kind})"
    if now.fault.kind is FaultKind.INVALID_TOOL_ARGUMENTS:
        return "the answer is whole; its arguments are what the model wrote"
    if now.attempts >= now.options.max_attempts:
        return f"max_attempts reached ({now.attempts} upstream requests)"
    if now.delivered.holed and now.delivered.characters:
        return "text is missing inside what was delivered, and nothing can be put in there"
    if len(now.delivered.finishes) >= now.facts.choices:
        return "the finish was delivered, and what follows it is not worth a second one"
    return None


def _closed_to_resending(now: Situation) -> str | None:
    """Return why no prompt can be sent again, or None. A cursor sends none."""
    if not now.options.allow_resend:
        return "allow_resend is off: a prompt is never sent twice"
    if now.open_call_delivered:
        return "part of a tool call was delivered, and nothing can be taken back"
    if now.delivered.overflowed:
        return f"more than max_replay_bytes ({now.options.max_replay_bytes}) was delivered"
    return None


def _closed_for(rung: Rung, now: Situation) -> str | None:
    if rung not in now.options.rungs:
        return "not in options.rungs"
    if rung != "target" and not now.fault.retryable:
        return f"the same request would fail again ({now.fault.kind})"
    if rung not in ("cursor", "target") and now.options.targets and now.refusals >= _MOST_REFUSALS:
        return f"{now.refusals} requests in a row got no stream, and other targets are listed"
    return _tried_enough(rung, now)


def _tried_enough(key: str, now: Situation, *, most: int | None = None) -> str | None:
    if key in now.refused:
        return "the provider refused it, or it led elsewhere"
    most = most or _TRIES.get(key)
    if most is not None and now.tries.get(key, 0) >= most:
        return f"tried {now.tries[key]} times at this place"
    return None


def _signature_spent(plan: Plan, now: Situation) -> str | None:
    """Return why a signed request cannot be sent, or None: sign it anew, or leave it as it is."""
    if now.options.authorize is not None or not now.request.signed or plan.target is not None:
        return None
    if plan.request is not now.request:
        return "the request is signed, and changed it would need another signature (authorize)"
    signed_at = now.request.signed_at
    if signed_at is None or now.wall_time is None:
        return "the request is signed, and nothing tells for how long (authorize)"
    age_s = now.wall_time - signed_at
    if age_s > _SIGNATURE_S:
        return f"its signature is {age_s:.0f} s old, and {_SIGNATURE_S} s are allowed (authorize)"
    return None


def _not_now(plan: Plan, now: Situation) -> str | None:
    """Return why a plan that is open cannot be carried out, or None."""
    return _over_budget(plan, now) or _signature_spent(plan, now) or now.blocked(plan.request)


def _over_budget(plan: Plan, now: Situation) -> str | None:
    """Compare with what one request of the prompt and the answer so far would hold."""
    one = max(1, len(now.request.body) + now.delivered.text_bytes)
    added = now.added_bytes + len(plan.request.body)
    most = now.options.max_added_input * max(one, len(plan.request.body))
    if added > most:
        return f"max_added_input: {added} bytes of requests over {most:.0f}"
    return None


def _cursor(now: Situation) -> Plan | str:
    """Rung 2: the provider has the answer, and goes on from the place that was reached."""
    if now.broken is None:
        return _NO_SUCH_WAY
    if now.fault.kind not in _CAN_RESUME:
        return f"the answer itself is at fault, not the connection ({now.fault.kind})"
    found = now.broken.kept
    if found is None:
        found = now.broken.dialect.cursor(now.broken.request, now.broken.place)
    if isinstance(found, str):
        return found
    return Plan(
        rung="cursor",
        request=found.request,
        matcher=NoMatch(),
        guarantee="byte-exact",
        spliced=False,
        cursor=found,
    )


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
    if not now.dialect.splices:
        return _NOT_IN_MIDDLE
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
    if not now.dialect.splices:
        return _NOT_IN_MIDDLE
    if content - {"text", "call", "reasoning"}:
        return "something other than text and tool calls was delivered"
    facts = now.facts
    if "call" in content and facts.server_state:
        return "the call's id belongs to the answer that broke, and the provider keeps another"
    if any(call.kind == "custom" and not call.complete for call in now.delivered.calls.values()):
        return "part of a custom tool's input was delivered, and nothing goes on inside a call"
    if facts.choices > 1 and not now.dialect.splices_choices:
        return "more than one choice was asked for, and they cannot be continued in this API"
    if facts.choices > 1 and not facts.deterministic:
        return "more than one choice was asked for, and they are not known to repeat"
    if not (facts.deterministic or now.capability.deterministic) and (
        now.delivered.characters >= REPLAY_ALWAYS_BELOW or "call" in content
    ):
        return "the answer is not known to repeat (no temperature 0, no seed)"
    spilled = now.delivered.spilled
    if spilled and now.dialect.repeats_text:
        return f"{_TOO_LONG} (this dialect says the whole text at its end)"
    text = now.delivered.pieces() if spilled else now.delivered.text
    return Plan(
        rung="replay",
        request=now.request,
        matcher=ReplayMatch(text),
        guarantee="prefix-verified",
    )


def may_replay(request: Request, dialect: Dialect, options: Options) -> bool:
    """Whether a replay may follow a long answer: else its text need not be remembered.

    Long answers of several choices are not compared: one would be delivered while another is
    still read back.
    """
    facts = dialect.facts(request)
    known = capability_for(
        dialect=dialect.family or dialect.name,
        host=request.host,
        path=request.path,
        model=facts.model,
        extra=options.capabilities,
    )
    return (
        options.mode == "heal"
        and options.allow_resend
        and "replay" in options.rungs
        and (facts.deterministic or known.deterministic)
        and facts.choices == 1
        and not dialect.repeats_text
        and (options.retry_server_tools or not facts.server_work)
    )


def _continuable(now: Situation) -> str | None:
    """Return why text cannot be continued by a new turn, or None if it can."""
    content = _content(now)
    if "text" not in content:
        return "no text was delivered"
    if not now.dialect.splices:
        return _NOT_IN_MIDDLE
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
    if now.delivered.spilled:
        return _TOO_LONG
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


def _reach(now: Situation) -> int:
    """Return how far an anchor must reach back: to where a stop sequence may have begun."""
    return max((len(each) for each in now.facts.stop), default=0)


def _anchored(rung: Rung, request: Request, at: int, now: Situation) -> Plan | str:
    """Return the plan of a rung whose request is made, with the tokens that are left."""
    text, facts = now.delivered.text, now.facts
    anchor = text[at:]
    if facts.max_tokens is not None:
        so_far = written(now.delivered, thinking_apart=now.dialect.counts_thinking_apart)
        room = room_for(facts.max_tokens, so_far, anchor)
        if isinstance(room, str):
            return room
        request = now.dialect.with_max_tokens(request, room)
    matcher: Matcher = AnchorMatch(sent=text[:at], anchor=anchor)
    if facts.stop:
        matcher = StopGuard(matcher, delivered=text[-_reach(now) :], stop=facts.stop)
    return Plan(
        rung=rung,
        request=request,
        matcher=matcher,
        guarantee="seam-verified",
        anchor=grapheme_count(anchor),
    )


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
    at = unique_anchor_start(text, letters=ANCHOR_LETTERS, reach=_reach(now))
    if at is None or not text[:at].strip():
        return _no_anchor(text)
    # Models write a word with the space before it, and Claude refuses one at the end: the
    # space was delivered, and the matcher does not ask for it again.
    sent = text[:at].rstrip()
    extra: dict[str, Any] = {"body": known.body, "message": known.message}
    request = now.dialect.prefill(now.request, sent, extra)
    if request is None:
        return "the request has no place for a begun turn"
    return _anchored("prefill", request, at, now)


def _user_turn(now: Situation) -> Plan | str:
    """Rung 6: the partial answer as history, and a user turn that asks to go on."""
    closed = _continuable(now)
    if closed is not None:
        return closed
    text = now.delivered.text
    at = unique_anchor_start(text, letters=2 * ANCHOR_LETTERS, reach=_reach(now))
    if at is None:
        return _no_anchor(text)
    anchor = text[at:]
    request = now.dialect.user_turn(now.request, text.rstrip(), _instruction(anchor))
    if request is None:
        return "the request has no place for a further turn"
    return _anchored("user-turn", request, at, now)


def _target(now: Situation) -> Plan | str:
    """Rung 7: another target of the user's list, in the order of that list."""
    if not now.options.targets:
        return _NO_SUCH_WAY
    closed: list[str] = []
    for target in now.options.targets:
        found = _by_target(target, now)
        if isinstance(found, Plan):
            found = replace(found, rung="target", like=found.rung, target=target)
            over = _not_now(found, now)
            if over is None:
                return found
            found = over
        closed.append(f"{target.label}: {found}")
    return "; ".join(closed)


def _by_target(target: Target, now: Situation) -> Plan | str:
    if now.fault.kind not in target.when:
        return f"not meant for {now.fault.kind} (when)"
    tried = _tried_enough(f"target {target.label}", now, most=_TARGET_TRIES)
    if tried is not None:
        return tried
    request = retarget(now.request, now.dialect, target)
    if isinstance(request, str):
        return request
    content = _content(now)
    if target.dialect not in (None, now.dialect.name):
        if content or now.delivered.skeleton:
            return f"it speaks {target.dialect}, and part of the answer was delivered"
        if _repeats_server_work(now):
            return "it may repeat work at the provider (retry_server_tools is off)"
        return Plan(
            rung="retry",
            request=request,
            matcher=NoMatch(),
            guarantee="byte-exact",
            dialect=by_name(target.dialect),
        )
    if content and not target.mid_answer:
        return "not meant for the middle of an answer (mid_answer)"
    there = replace(now, request=request)
    found: Plan | str = ""
    for try_rung in (_retry, _prefill, _user_turn):
        found = try_rung(there)
        if isinstance(found, Plan):
            break
    return found


_RUNGS: dict[Rung, Callable[[Situation], Plan | str]] = {
    "cursor": _cursor,
    "retry": _retry,
    "replay": _replay,
    "prefill": _prefill,
    "user-turn": _user_turn,
    "target": _target,
}
