"""What must hold beside text, calls and ends: usage, evidence, choices, stops, breakers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.simulation.faults import HEALTHY
from tests.simulation.oracle_status import PROVEN
from tests.simulation.requests import STOP, asked
from tests.simulation.settings import HOME_KEY
from tests.simulation.watch import Tried, Watch
from unbroken.core.faults import FaultKind

__all__ = ["judge_more", "observed"]

_OTHER_BYTES = ("corrupt", "replaced", "pings", "other", "lost", "empty")
_STATUS = re.compile(rb"event: ?interaction\.status_update\r?\ndata: ?.*\r?\n\r?\n")
_PRIVATE = ("street", "Übergröße", "code_name", "東京", "stone")
_HARMLESS = (*HEALTHY, "eof", "reset", "silence", "pings", "lost", "drip")


def judge_more(watch: Watch) -> Iterator[str]:
    """Yield what does not hold."""
    yield from _usage(watch)
    yield from _evidence(watch)
    yield from _choices(watch)
    yield from _policy(watch)
    yield from _one_body(watch)


def _usage(watch: Watch) -> Iterator[str]:
    """A bill is written for each body, under the attempt that saw the last of it."""
    outcome = watch.outcome
    assert outcome is not None
    for tried in watch.tries:
        record = outcome.attempts[tried.number - 1]
        later = [t for t in watch.tries if t.root is tried.root and t.number > tried.number]
        if later:
            if record.usage.input is not None or record.usage.output is not None:
                yield f"attempt {tried.number} is billed, and goes on as {later[0].number}"
            continue
        parts = [t for t in watch.tries if t.root is tried.root]
        if not tried.answered or any(t.reply.fault not in _HARMLESS for t in parts):
            continue
        told = tried.upstream.usage
        mine = {k: v for k in ("input", "output") if (v := getattr(record.usage, k)) is not None}
        if record.usage.estimated:
            mine.pop("output", None)
        waits = tried.renumbered or watch.cancelled or tried is not watch.last
        waits = waits or outcome.status not in PROVEN
        if mine != told and not (waits and mine.items() <= told.items()):
            yield f"attempt {tried.number} is billed {mine}, the provider told {told}"


def _evidence(watch: Watch) -> Iterator[str]:
    """No key, and no text unless asked for."""
    outcome, rule = watch.outcome, watch.options.log_raw
    assert outcome is not None
    keys = [HOME_KEY, *(each.key for each in watch.world.targets)]
    for record in outcome.attempts:
        shown = "".join(record.raw)
        if shown and rule == "never":
            yield "frames were kept that nobody asked for"
        if any(key in shown for key in keys):
            yield f"attempt {record.number} shows a key"
        if rule != "on-fault-with-contents" and any(word in shown for word in _PRIVATE):
            yield f"attempt {record.number} shows text: {shown!r}"
    for fault in outcome.faults:
        if any(word in fault.detail for word in (*_PRIVATE, *keys)):
            yield f"a fault quotes the answer: {fault.detail}"


def _choices(watch: Watch) -> Iterator[str]:
    """Of several choices, each is what its attempts said."""
    outcome, world = watch.outcome, watch.world
    assert outcome is not None
    for choice in range(1, world.choices):
        text = watch.consumer.text_of(choice)
        last = watch.last if watch.tries else None
        if last is None or last.reply.truth is None or not last.answered:
            continue
        truth = last.reply.truth.text_of(choice)
        before = last.root.texts_before[choice]
        if outcome.status in PROVEN and text != truth:
            yield f"choice {choice} is {text!r}, not {truth!r}"
        elif text != before and not truth.startswith(text):
            yield f"choice {choice} grew from {before!r} to {text!r}; said was {truth!r}"
        kept = outcome.texts.get(choice, "")
        if kept != text and not (outcome.overflowed or watch.cancelled):
            yield f"the outcome has {kept!r} for choice {choice}, the consumer {text!r}"


def _policy(watch: Watch) -> Iterator[str]:
    outcome, world, options = watch.outcome, watch.world, watch.options
    assert outcome is not None
    if world.stops and STOP in watch.text:
        yield "a stop sequence is in the answer"
    kinds = {fault.kind for fault in outcome.faults}
    if FaultKind.SLOW_DRIP in kinds and options.timing.floor_chars_per_s is None:
        yield "it was too slow, and no floor is set"
    if options.malformed == "raise" and FaultKind.MALFORMED_JSON in kinds:
        yield from _raised(watch, FaultKind.MALFORMED_JSON)
    if options.malformed == "raise" and FaultKind.INVALID_UTF8 in kinds:
        yield from _raised(watch, FaultKind.INVALID_UTF8)
    for tried in watch.tries[1:]:
        questions = world.asked_blocked[: tried.asked_before]
        answers = [why for _, request, why in questions if request == tried.request]
        if not answers or answers[-1] is not None:
            yield f"attempt {tried.number} was sent, and the breaker said {answers[-1:]}"
        label = outcome.attempts[tried.number - 1].target
        fault = outcome.attempts[tried.number - 2].fault
        listed = {each.label: each for each in options.targets}
        asked = listed.get(label) if tried.request.method != "GET" else None
        if asked is not None and fault is not None and fault.kind not in asked.when:
            yield f"{asked.label} took over at {fault.kind}, for which it is not meant"
        yield from _limit(watch, tried)
    yield from _blocked_by_the_provider(watch)
    yield from _tries(watch)


_LIMIT = re.compile(rb'"(?:max_tokens|maxOutputTokens|max_output_tokens|num_predict|maxTokens)": ?'
                    rb"(\d+)")  # fmt: skip


def _limit(watch: Watch, tried: Tried) -> Iterator[str]:
    """What was written counts against the limit of the answer."""
    world = watch.world
    if world.max_tokens is None or tried.request.method == "GET":
        return
    sent, anchor = asked(tried.upstream.dialect, tried.request.body, world.prompt)
    found = _LIMIT.search(tried.request.body)
    if sent is None or found is None or tried.translated:
        return
    # An eighth of the characters is half of what we would guess: a provider may count so.
    again = len(anchor) or len(tried.text_before) - len(sent)
    most = max(world.max_tokens - len(tried.text_before) // 8, 16) + again
    if int(found[1]) > most:
        yield f"attempt {tried.number} may write {found[1]!r} tokens of {world.max_tokens}"


def _raised(watch: Watch, kind: FaultKind) -> Iterator[str]:
    outcome = watch.outcome
    assert outcome is not None
    for record in outcome.attempts[:-1]:
        if record.fault is not None and record.fault.kind is kind:
            yield f"{kind} was healed, and is to be raised"


def _blocked_by_the_provider(watch: Watch) -> Iterator[str]:
    """An answer that a filter ended in what it was to repeat is not asked for again."""
    for tried, following in zip(watch.tries, watch.tries[1:], strict=False):
        truth = tried.reply.truth
        if truth is None or truth.finish != "filter" or tried.translated:
            continue
        told = tried.reply.whole and tried.upstream.finishes and tried.over
        if not told or tried.root.number == 1 or not tried.root.text_before:
            continue
        if tried.upstream.dialect in ("cohere", "gemini-interactions"):
            continue  # their writers have no word for it
        sent, anchor = asked(tried.upstream.dialect, tried.root.request.body, watch.world.prompt)
        due = tried.root.text_before
        if sent is not None:
            due = (anchor or due[len(sent) :]).lstrip()
        if due.startswith(truth.text if sent is None else truth.text.lstrip()):
            yield f"attempt {following.number} heals around a filter"


def _tries(watch: Watch) -> Iterator[str]:
    """Nobody is asked without end at one place."""
    counts: dict[tuple[str, str], int] = {}
    place = None
    outcome = watch.outcome
    assert outcome is not None
    for tried in watch.tries:
        if tried.contents_before != place:
            place, counts = tried.contents_before, {}
        record = outcome.attempts[tried.number - 1]
        if not tried.answered or tried.reply.status != 200:
            continue
        key = record.rung, record.target
        counts[key] = counts.get(key, 0) + 1
        most = {"cursor": 3, "prefill": 2, "user-turn": 2, "target": 2}.get(record.rung, 99)
        if counts[key] > most:
            yield f"{record.rung} {record.target} was tried {counts[key]} times at one place"


def _one_body(watch: Watch) -> Iterator[str]:
    """Over all connections, the bytes of one body that the upstream kept."""
    for tried in watch.tries:
        if not _resumed(watch, tried) or watch.spliced(tried) or watch.eased(tried):
            continue
        kept = tried.root.reply.kept
        if kept is None or tried.root.reply.fault not in ("eof", "reset", "silence"):
            continue
        # A status that had no mark of its own comes again.
        body, got = (_STATUS.sub(b"", each) for each in (kept.body, bytes(tried.delivered)))
        parts = [t for t in watch.tries if t.root is tried.root]
        if any(t.reply.fault in _OTHER_BYTES for t in parts):
            continue
        if not body.startswith(got) and not body.startswith(got.rstrip(b"\n")):
            yield "the bytes delivered over all connections are not those of the one body"


def _resumed(watch: Watch, tried: Tried) -> bool:
    return tried.root is not tried and tried.reply.status == 200


def observed(watch: Watch) -> Iterator[str]:
    """Yield what is not as without us."""
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
