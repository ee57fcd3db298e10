"""What must hold of a stream that is over: the delivered bytes against the attempts' truths."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.oracle_more import judge_more, observed
from tests.simulation.oracle_status import PROVEN, judge_status
from tests.simulation.requests import asked
from tests.simulation.seen import is_json, parsed
from tests.simulation.speech import weight
from tests.simulation.watch import Tried, Watch
from unbroken.core.faults import FaultKind

__all__ = ["PROVEN", "judge"]

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
        yield from observed(watch)
        return
    yield from _requests(watch)
    yield from _text(watch)
    yield from _calls(watch)
    yield from _end(watch)
    yield from _first_bytes(watch)
    yield from judge_status(watch)
    yield from judge_more(watch)


# Requests and budgets -----------------------------------------------------------------------


def _requests(watch: Watch) -> Iterator[str]:
    options, outcome, first = watch.options, watch.outcome, watch.world.request
    assert outcome is not None
    tries = watch.tries
    if len(tries) > options.max_attempts:
        yield f"{len(tries)} requests with max_attempts {options.max_attempts}"
    if len(tries) > 1 and options.mode != "heal":
        yield "a prompt was sent twice"
    again = [tried for tried in tries[1:] if tried.request.method != "GET"]
    if again and not options.allow_resend:
        yield "a prompt was sent twice, and allow_resend is off"
    if len(tries) > 1 and not watch.world.permits:
        yield "a heal was made that was not permitted"
    if len(outcome.attempts) < len(tries):
        yield f"{len(tries)} requests, but {len(outcome.attempts)} are accounted for"
    answered = [
        tried
        for tried, record in zip(tries, outcome.attempts, strict=False)
        if record.status == 200 or tried is tries[-1]
    ]
    added = sum(len(tried.request.body) for tried in answered if tried.number > 1)
    said = sum(len(watch.consumer.text_of(at).encode()) for at in range(watch.world.choices))
    one = max([len(first.body) + said] + [len(t.request.body) for t in tries])
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
    place = world.place_of(tried.request)
    if (tried.request.method == "GET") != (rung == "cursor"):
        yield f"a {rung} sent a {tried.request.method}"
    if rung == "cursor":
        return
    if (place is not world.target) != (rung == "target"):
        yield f"a {rung} asked {tried.request.url}"
    if place is None:
        return
    if place.dialect != world.dialect.name:
        if heard or tried.calls_before or tried.contents_before:
            yield "another dialect took over after content"
        return
    sent, anchor = asked(world.dialect.name, tried.request.body, world.prompt)
    if rung == "target":
        rung = "retry" if sent is None else "user-turn" if anchor else "prefill"
        label = watch.outcome.attempts[tried.number - 1].target if watch.outcome else ""
        listed = {each.label: each for each in watch.options.targets}
        if label in listed and not listed[label].mid_answer and tried.contents_before:
            yield "a target took over in the middle of an answer, and was not meant to"
    elif rung in ("retry", "replay") and tried.request.body != world.request.body:
        yield f"a {rung} sent another request"
    if rung in ("retry", "replay"):
        if rung == "retry" and (heard or tried.calls_before):
            yield "an answer was begun again after content was delivered"
        if rung == "replay" and not (world.deterministic or len(heard) < 64):
            yield "a replay of an answer that is not known to repeat"
        return
    if sent is None:
        yield f"a {rung} did not show the begun answer"
        return
    if rung == "prefill" and not place.prefill:
        yield f"{place.model} takes no prefill"
    if rung == "prefill" and anchor:
        yield "a prefill with an instruction"
    if world.structured:
        yield "structured output was continued"
    if world.dialect.name in ("openai-responses", "gemini-interactions") and (
        world.kept or world.keeps
    ):
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
            if not _grows(watch, tried, whole=last and proven):
                yield (
                    f"attempt {tried.number} ({record.rung}) said {tried.reply.truth.text!r},"
                    f" {tried.root.text_before!r} grew to {tried.text_after!r}"
                )
            if after > before:
                expected.append((tried.number, before, after, record.rung))
    told = [(p.attempt, p.start, p.end, p.rung) for p in outcome.provenance]
    half = any("\ud800" <= piece[-1:] <= "\udbff" for piece in watch.consumer.pieces[-1:])
    if told != expected and not (overflowed or watch.cancelled or half):
        yield f"provenance {told}, but {expected} is what was delivered"
    yield from _guarantees(watch)
    thoughts = watch.consumer.reasoning
    if thoughts and not any(
        t.reply.truth is not None and t.reply.truth.reasoning.startswith(thoughts)
        for t in watch.tries
    ):
        yield "the thinking delivered is not one attempt's"


def _guarantees(watch: Watch) -> Iterator[str]:
    outcome = watch.outcome
    assert outcome is not None
    for entry in outcome.provenance:
        way = way_of(watch, watch.tries[entry.attempt - 1])
        due = {"prefill": "seam-verified", "user-turn": "seam-verified",
               "replay": "prefix-verified"}.get(way, "byte-exact")  # fmt: skip
        if entry.guarantee != due:
            yield f"{entry.rung} (a {way}) is called {entry.guarantee}"
        if (entry.anchor > 0) != (way in _LEAST_WEIGHT):
            yield f"a {entry.rung} (a {way}) with an anchor of {entry.anchor}"


def way_of(watch: Watch, tried: Tried) -> str:
    """Return how the body of an attempt relates to what was there before, whoever sent it."""
    assert watch.outcome is not None
    rung = watch.outcome.attempts[tried.root.number - 1].rung
    if rung != "target":
        return rung
    if tried.translated:
        return "retry"
    world = watch.world
    sent, anchor = asked(world.dialect.name, tried.root.request.body, world.prompt)
    return "retry" if sent is None else "user-turn" if anchor else "prefill"


def _grows(watch: Watch, tried: Tried, *, whole: bool) -> bool:
    """Whether the attempt's truth turns what was there into what is there, by its rung."""
    assert tried.reply.truth is not None
    truth, before = tried.reply.truth.text, tried.root.text_before
    after, way = tried.text_after, way_of(watch, tried)
    new = after[len(before) :]

    def fits(said: str) -> bool:
        return said == new if whole else said.startswith(new)

    if way not in _LEAST_WEIGHT:
        return truth.startswith(before) and fits(truth[len(before) :])
    said, had = truth.lstrip(), before.lstrip()
    if said.startswith(had) and fits(said[len(had) :]):
        return True  # an echo of everything
    return any(
        before.endswith(said[:size])
        and fits(said[size:])
        and weight(said[:size]) >= _LEAST_WEIGHT[way]
        for size in range(1, min(len(before), len(said)) + 1)
    )


# Tool calls ---------------------------------------------------------------------------------


def _calls(watch: Watch) -> Iterator[str]:
    outcome, calls = watch.outcome, watch.consumer.calls
    assert outcome is not None
    truth = watch.last.reply.truth if watch.tries else None
    if outcome.status in PROVEN and truth is not None:
        wanted = [(name, parsed(arguments)) for name, arguments in truth.calls]
        if [(call.name, parsed(call.arguments)) for call in calls] != wanted:
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
        same = parsed(mine.arguments) == parsed(call.arguments)
        if mine.complete and not same:
            yield f"the outcome calls {mine.arguments!r} whole, the consumer has {call.arguments!r}"


def _is_part(name: str, arguments: str, truth: tuple[str, str], whole: bool) -> bool:
    if name and name != truth[0]:
        return False
    if not whole:
        return truth[1].startswith(arguments)
    return arguments == truth[1] or parsed(arguments) == parsed(truth[1])


# Ends ---------------------------------------------------------------------------------------


def _end(watch: Watch) -> Iterator[str]:
    outcome, consumer = watch.outcome, watch.consumer
    assert outcome is not None
    holed = any(tried.reply.holed for tried in watch.tries)  # then blocks may lack their ends
    for problem in consumer.problems:
        if not (holed and ("block" in problem or "without a stop" in problem)):
            yield f"on the wire: {problem}"
    if not watch.tries:
        return
    upstream = watch.last.upstream
    known = (None, upstream.response_id)
    if not consumer.same_ids and consumer.response_id not in known:
        yield f"it ends as {consumer.response_id}, which the provider does not know"
    if consumer.starts > 1:
        yield "it began twice"
    # Of several choices, an earlier attempt may have finished one.
    finished = set().union(*(tried.upstream.finished for tried in watch.tries))
    most = len(finished) if watch.world.choices > 1 else len(upstream.finishes)
    if not watch.last.translated and (
        consumer.ends > upstream.ends or len(consumer.finishes) > most
    ):
        yield (
            f"the consumer saw ends {consumer.finishes} and {consumer.ends} markers,"
            f" the last attempt sent {upstream.finishes} and {upstream.ends}"
        )
    if consumer.errors > (0 if watch.last.translated else upstream.errors):
        yield "an error frame was delivered that the last attempt did not send"
    # Arguments that are not JSON are the model's own: delivered, told, and not raised.
    loose = any(fault.kind is FaultKind.INVALID_TOOL_ARGUMENTS for fault in outcome.faults)
    proven = outcome.status in PROVEN
    kinds = {fault.kind for fault in outcome.faults if fault.attempt == watch.last.number}
    if proven:
        finishes = sorted(consumer.finishes)
        same = watch.last.translated or finishes == sorted(upstream.finishes)
        truth = watch.last.reply.truth
        empty = truth is not None and not (truth.text or truth.calls)
        unseen = watch.cancelled and empty  # all of it is held until its end is proven
        if (not same or len(finishes) != watch.world.choices) and not unseen:
            yield f"it is {outcome.status} and ended with {consumer.finishes}"
        marker = watch.world.dialect.last_marker
        unmarked = marker is not None and not consumer.ends and not watch.last.translated
        if unmarked and FaultKind.MISSING_TERMINATOR not in kinds and not watch.cancelled:
            yield "its last marker is missing, and nothing says so"
        if consumer.errors:
            yield f"it is {outcome.status} after an error"
        finish = watch.last.reply.truth.finish if watch.last.reply.truth else ""
        wanted = {"limit": "limited", "filter": "filtered"}.get(finish, "complete")
        if finish == "filter" and upstream.dialect in ("cohere", "gemini-interactions"):
            wanted = "complete"  # their writers have no word for it
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
    if loose and all(is_json(call.arguments) for call in consumer.calls):
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
    if watch.spliced(last) or last.renumbered or outcome.status not in PROVEN:
        return
    if watch.cancelled:
        return
    missing = last.upstream.consumed - watch.left_out(last) - len(last.delivered)
    if missing > 4 and not watch.eased(last):  # line ends, or what stands between elements
        yield f"{missing} bytes of whole frames were never delivered"
    for tried in watch.tries[:-1]:
        if any(t.root is tried.root and t is not tried for t in watch.tries):
            continue
        before_content = not tried.upstream.contents and not tried.contents_before
        if before_content and tried.delivered and not watch.eased(tried):
            yield f"attempt {tried.number} failed before content, and shows"
