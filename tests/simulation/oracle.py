"""What must hold of a stream that is over: the delivered bytes against the attempts' truths."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.simulation.speech import weight
from tests.simulation.watch import Tried, Watch
from tests.simulation.world import asked
from unbroken.core.faults import FaultKind

__all__ = ["PROVEN", "judge"]

PROVEN = ("complete", "limited", "filtered", "paused")
_LEAST_WEIGHT = {"prefill": 8, "user-turn": 16}


def judge(watch: Watch) -> list[str]:
    """Return everything that did not hold, what the watch saw included."""
    if watch.outcome is not None and not watch.problems:
        for found in _judge(watch):
            watch.problem(found)
    return watch.problems


def _judge(watch: Watch) -> Iterator[str]:
    outcome = watch.outcome
    assert outcome is not None
    if watch.options.mode == "observe":
        yield from _observed(watch)
        return
    yield from _requests(watch)
    yield from _text(watch)
    yield from _calls(watch)
    yield from _end(watch)
    yield from _first_bytes(watch)
    yield from _status(watch)


def _observed(watch: Watch) -> Iterator[str]:
    # Without an SDK there is nobody else to say what any reader would have noticed.
    seen = ("http-error", "connect-failed", "connection-reset", "stalled")
    if watch.fault is not None and (watch.world.sent or watch.fault.kind not in seen):
        yield "observe: an exception of ours"
    if len(watch.tries) > 1:
        yield "observe: a second request was sent"
    if watch.tries and watch.last.delivered != watch.last.sent:
        yield "observe: other bytes than came"
    reads = watch.last.reply.reads if watch.tries else []
    sent = sum(len(data) for _, data in reads)
    total_s = None if watch.world.sent else watch.options.timing.total_s
    ended = watch.cancelled or (total_s is not None and watch.now >= total_s)
    if not ended and watch.tries and len(watch.last.delivered) != sent:
        yield f"observe: only {len(watch.last.delivered)} of {sent} bytes were passed on"


# Requests and budgets -----------------------------------------------------------------------


def _requests(watch: Watch) -> Iterator[str]:
    options, outcome, first = watch.options, watch.outcome, watch.world.request
    assert outcome is not None
    tries = watch.tries
    if len(tries) > options.max_attempts:
        yield f"{len(tries)} requests with max_attempts {options.max_attempts}"
    if len(tries) > 1 and (options.mode != "heal" or not options.allow_resend):
        yield "a prompt was sent twice"
    if len(tries) > 1 and not watch.world.permits:
        yield "a heal was made that was not permitted"
    if len(outcome.attempts) < len(tries):
        yield f"{len(tries)} requests, but {len(outcome.attempts)} are accounted for"
    added = sum(len(tried.request.body) for tried in tries[1:])
    one = max([len(first.body) + len(watch.text.encode())] + [len(t.request.body) for t in tries])
    if added > options.max_added_input * one:
        yield f"{added} bytes of input were added, with max_added_input {options.max_added_input}"
    for tried, record in zip(tries, outcome.attempts, strict=False):
        if tried.number == 1:
            continue
        yield from _rung(watch, tried, record.rung)
        if record.bytes != len(tried.sent):
            yield f"attempt {tried.number} had {len(tried.sent)} bytes, not {record.bytes}"
    spent = watch.recovered_s
    if watch.recovering_since is not None and len(tries) > 1:
        ended = tries[-1].ended_at
        spent += max(0.0, (ended or 0.0) - watch.recovering_since)
    if spent > options.max_recovery_s + 0.01 and not watch.cancelled and len(tries) > 1:
        yield f"recoveries took {spent:.1f} s, with max_recovery_s {options.max_recovery_s}"


def _rung(watch: Watch, tried: Tried, rung: str) -> Iterator[str]:
    world, heard = watch.world, tried.text_before
    if rung not in watch.options.rungs:
        yield f"rung {rung} was taken and is not allowed"
    sent, anchor = asked(world.dialect.name, tried.request.body)
    if rung in ("retry", "replay"):
        if tried.request.body != world.request.body:
            yield f"a {rung} sent another request"
        if rung == "retry" and (heard or tried.calls_before):
            yield "an answer was begun again after content was delivered"
        if rung == "replay" and not (world.deterministic or len(heard) < 64):
            yield "a replay of an answer that is not known to repeat"
        return
    if sent is None:
        yield f"a {rung} did not show the begun answer"
        return
    if rung == "prefill" and not world.target.prefill:
        yield f"{world.target.model} takes no prefill"
    if rung == "prefill" and anchor:
        yield "a prefill with an instruction"
    if world.structured:
        yield "structured output was continued"
    if world.dialect.name == "openai-responses" and world.kept:
        yield "an answer that the provider keeps was continued"
    if not heard.startswith(sent):
        yield f"the {rung} showed another answer than was delivered"
    if rung == "user-turn" and (not anchor or not heard.endswith(anchor)):
        yield "the instruction quotes other words than the last ones"
    if tried.calls_before:
        yield f"a {rung} after a tool call"


# Text ---------------------------------------------------------------------------------------


def _text(watch: Watch) -> Iterator[str]:
    outcome, text = watch.outcome, watch.text
    assert outcome is not None
    proven = outcome.status in PROVEN
    overflowed = len(watch.data) > watch.options.max_replay_bytes  # then not all is kept
    if watch.cancelled and len(outcome.text) >= len(text):
        # What was ready when the consumer left was received, and is not the consumer's.
        text = outcome.text
    if outcome.text != text and not (overflowed and text.startswith(outcome.text)):
        yield f"the outcome has the text {outcome.text!r}, the consumer {text!r}"
    expected = []
    for tried in watch.tries:
        before, after = len(tried.text_before), len(tried.text_after)
        if tried.reply.truth is None:
            if after > before:
                yield f"attempt {tried.number} said nothing, and text was delivered"
            continue
        last = tried is watch.last
        if after > before or (last and proven):
            record = outcome.attempts[tried.number - 1]
            if not _grows(tried, tried.text_after, record.rung, whole=last and proven):
                yield (
                    f"attempt {tried.number} ({record.rung}) said {tried.reply.truth.text!r},"
                    f" {tried.text_before!r} grew to {tried.text_after!r}"
                )
            if after > before:
                expected.append((tried.number, before, after, record.rung))
    told = [(p.attempt, p.start, p.end, p.rung) for p in outcome.provenance]
    half = any("\ud800" <= piece[-1:] <= "\udbff" for piece in watch.consumer.pieces[-1:])
    if told != expected and not (overflowed or watch.cancelled or half):
        yield f"provenance {told}, but {expected} is what was delivered"
    for entry in outcome.provenance:
        due = {"first": "byte-exact", "retry": "byte-exact", "replay": "prefix-verified"}
        if entry.guarantee != due.get(entry.rung, "seam-verified"):
            yield f"{entry.rung} is called {entry.guarantee}"
        if (entry.anchor > 0) != (entry.rung in _LEAST_WEIGHT):
            yield f"a {entry.rung} with an anchor of {entry.anchor}"
    thoughts = watch.consumer.reasoning
    if thoughts and not any(
        t.reply.truth is not None and t.reply.truth.reasoning.startswith(thoughts)
        for t in watch.tries
    ):
        yield "the thinking delivered is not one attempt's"


def _grows(tried: Tried, after: str, rung: str, *, whole: bool) -> bool:
    """Whether the attempt's truth turns what was there into what is there, by its rung."""
    assert tried.reply.truth is not None
    truth, before = tried.reply.truth.text, tried.text_before
    new = after[len(before) :]

    def fits(said: str) -> bool:
        return said == new if whole else said.startswith(new)

    if rung not in _LEAST_WEIGHT:
        return truth.startswith(before) and fits(truth[len(before) :])
    said, had = truth.lstrip(), before.lstrip()
    if said.startswith(had) and fits(said[len(had) :]):
        return True  # an echo of everything
    return any(
        before.endswith(said[:size])
        and fits(said[size:])
        and weight(said[:size]) >= _LEAST_WEIGHT[rung]
        for size in range(1, min(len(before), len(said)) + 1)
    )


# Tool calls ---------------------------------------------------------------------------------


def _calls(watch: Watch) -> Iterator[str]:
    outcome, calls = watch.outcome, watch.consumer.calls
    assert outcome is not None
    truth = watch.last.reply.truth if watch.tries else None
    if outcome.status in PROVEN and truth is not None:
        wanted = [(name, _parsed(arguments)) for name, arguments in truth.calls]
        if [(call.name, _parsed(call.arguments)) for call in calls] != wanted:
            yield f"calls {calls} were delivered, not {wanted}"
    said = [t.reply.truth.calls for t in watch.tries if t.reply.truth is not None]
    for at, call in enumerate(calls):
        if not any(
            at < len(theirs) and _is_part(call.name, call.arguments, theirs[at], call.whole)
            for theirs in said
        ):
            yield f"call {at} ({call.name}, {call.arguments!r}) is no attempt's"
    ids = [call.id for call in calls if call.id]
    if len(set(ids)) != len(ids):
        yield f"two calls have the same id: {ids}"
    told = outcome.tool_calls
    if len(told) != len(calls) and not watch.cancelled:
        yield f"the outcome has {len(told)} calls, the consumer {len(calls)}"
    for mine, call in zip(told, calls, strict=False):
        same = _parsed(mine.arguments) == _parsed(call.arguments)
        if mine.complete and not same:
            yield f"the outcome calls {mine.arguments!r} whole, the consumer has {call.arguments!r}"


def _is_json(arguments: str) -> bool:
    return not arguments or not isinstance(_parsed(arguments), str)


def _parsed(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _is_part(name: str, arguments: str, truth: tuple[str, str], whole: bool) -> bool:
    if name and name != truth[0]:
        return False
    if not whole:
        return truth[1].startswith(arguments)
    return arguments == truth[1] or _parsed(arguments) == _parsed(truth[1])


# Ends ---------------------------------------------------------------------------------------


def _end(watch: Watch) -> Iterator[str]:
    outcome, consumer = watch.outcome, watch.consumer
    assert outcome is not None
    for problem in consumer.problems:
        yield f"on the wire: {problem}"
    if not watch.tries:
        return
    known = (None, watch.last.upstream.response_id)
    if not consumer.same_ids and consumer.response_id not in known:
        yield f"it ends as {consumer.response_id}, which the provider does not know"
    if consumer.starts > 1:
        yield "it began twice"
    upstream = watch.last.upstream
    if consumer.ends > upstream.ends or len(consumer.finishes) > len(upstream.finishes):
        yield (
            f"the consumer saw ends {consumer.finishes} and {consumer.ends} markers,"
            f" the last attempt sent {upstream.finishes} and {upstream.ends}"
        )
    if consumer.errors > upstream.errors:
        yield "an error frame was delivered that the last attempt did not send"
    # Arguments that are not JSON are the model's own: delivered, told, and not raised.
    loose = any(fault.kind is FaultKind.INVALID_TOOL_ARGUMENTS for fault in outcome.faults)
    proven = outcome.status in PROVEN
    kinds = {fault.kind for fault in outcome.faults if fault.attempt == watch.last.number}
    if proven:
        if consumer.finishes != upstream.finishes or len(consumer.finishes) != 1:
            yield f"it is {outcome.status} and ended with {consumer.finishes}"
        unmarked = watch.world.dialect.last_marker is not None and not consumer.ends
        if unmarked and FaultKind.MISSING_TERMINATOR not in kinds and not watch.cancelled:
            yield "its last marker is missing, and nothing says so"
        if consumer.errors:
            yield f"it is {outcome.status} after an error"
        finish = watch.last.reply.truth.finish if watch.last.reply.truth else ""
        wanted = {"limit": "limited", "filter": "filtered"}.get(finish, "complete")
        if finish == "filter" and watch.world.dialect.name == "ollama":
            wanted = "complete"  # it has no word for it
        if outcome.status != wanted:
            yield f"it is {outcome.status}, not {wanted}"
        if watch.fault is not None:
            yield f"it is {outcome.status} and raises {watch.fault.kind}"
        if watch.cancelled:
            return
        if outcome.complete is not True:
            yield f"it is {outcome.status} and not complete"
    elif outcome.complete and outcome.status != "cancelled" and not loose:
        yield f"it is {outcome.status} and complete"
    if loose and all(_is_json(call.arguments) for call in consumer.calls):
        yield "arguments are called invalid that are not"
    if outcome.status == "failed" and watch.fault is None and not (watch.cancelled or loose):
        yield "it failed and nothing is raised"


def _first_bytes(watch: Watch) -> Iterator[str]:
    """An attempt that nothing of came before is delivered as it was sent."""
    outcome = watch.outcome
    assert outcome is not None
    if not watch.tries:
        return
    last = watch.last
    if watch.spliced(last) or last.reply.renumbered or outcome.status not in PROVEN:
        return
    if watch.cancelled:
        return
    missing = last.upstream.consumed - len(last.delivered)
    if missing > 2 and not watch.eased(last):
        yield f"{missing} bytes of whole frames were never delivered"
    for tried in watch.tries[:-1]:
        before_content = not tried.upstream.contents and not tried.contents_before
        if before_content and tried.delivered and not watch.eased(tried):
            yield f"attempt {tried.number} failed before content, and shows"


def _status(watch: Watch) -> Iterator[str]:
    outcome, options = watch.outcome, watch.options
    assert outcome is not None
    if watch.cancelled and outcome.status not in ("cancelled", "failed", *PROVEN):
        yield f"cancelled, and {outcome.status}"
    if not watch.tries:
        return
    reply = watch.last.reply
    loose = any(not _is_json(call.arguments) for call in watch.consumer.calls)
    clocks = options.timing
    patience = min(
        clocks.silence_s or 0, clocks.progress_text_s or 0, clocks.progress_slow_s or 0,
        clocks.first_event_s or 0, clocks.connect_s or 0, options.max_recovery_s,
    )  # fmt: skip
    slow = sum(gap for gap, _ in reply.reads) + reply.head_s + reply.end_s >= patience
    big = len(watch.last.sent) > options.max_frame_bytes
    if (
        len(watch.tries) == 1
        and reply.whole
        and reply.fault in ("none", "linger", "swapped")
        and not (slow or big or watch.cancelled or clocks.total_s)
        and outcome.status not in PROVEN
        and not loose
    ):
        yield f"a healthy answer is called {outcome.status}"
    unexplained = outcome.status == "failed" and options.mode == "heal" and not outcome.skipped
    stalled = watch.fault is not None and watch.fault.kind is FaultKind.STALLED
    if unexplained and not (watch.cancelled or loose or stalled):
        yield "it failed, and nothing says why it was not healed"
