"""The figures of a stream in a terminal: times, amounts, gaps, stalls, the reader, the response."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from unbroken.debugger.facts import AttemptReport, StreamReport
from unbroken.debugger.view_text.paragraphs import wrapped
from unbroken.debugger.words import amount, percent, seconds, size

__all__ = ["figures"]

_MOST_STALLS = 4


def figures(stream: StreamReport, width: int) -> Iterator[Text]:
    """Yield the figures of a stream."""
    last = stream.last
    since = last.began_s
    times = [
        ("connected", last.connected_s), ("head", last.head_s), ("first byte", last.first_byte_s),
        ("first content", last.first_content_s), ("finish", last.finished_s),
        ("end", last.ended_s),
    ]  # fmt: skip
    said = [f"{name} {seconds(at - since)}" for name, at in times if at is not None]
    if last.unseen_s is not None:
        said.append(f"before {seconds(last.unseen_s - since)}: not kept")
    if len(stream.attempts) > 1:
        first = stream.first_content_s
        said = [f"end {seconds(stream.duration_s)}"]
        said[:0] = [] if first is None else [f"first content {seconds(first)}"]
    if said and last.method:
        yield from wrapped("times", ", ".join(said), width, "")
    attempts = stream.attempts
    reads = sum(a.reads for a in attempts)
    if reads:
        yield from wrapped("received", ", ".join(_received(stream)), width, "")
        sizes = last.read_bytes
        if sizes.count > 1:
            told = (
                f"{sizes.average:,.0f} B a read on average,"
                f" {sizes.least:,.0f} to {sizes.most:,.0f} B"
            )
            waits = last.read_wait_s
            if waits.count:
                told += (
                    f"; waited {seconds(waits.average)} for one on average,"
                    f" {seconds(waits.least)} to {seconds(waits.most)}"
                )
            yield from wrapped("reads", told, width, "")
    yield from _between(stream, width)
    for stall in stream.stalls[:_MOST_STALLS]:
        limit = "" if stall.limit_s is None else f" (limit {stall.limit_s:g} s)"
        pings = f", {amount(stall.pings, 'ping')} meanwhile" if stall.pings else ""
        told = (
            f"{seconds(stall.lasted_s)} from {seconds(stall.at_s)} on, phase {stall.phase}, clock"
            f" {stall.clock}{limit}{pings}"
        )
        yield from wrapped("stall", told, width, "yellow", label_style="yellow")
    yield from _more(len(stream.stalls) - _MOST_STALLS, width)
    reader = stream.consumer
    if reader.measured and reader.busy_s >= 0.1:
        told = (
            f"took {seconds(reader.busy_s)} itself ({percent(reader.share)}), at most"
            f" {seconds(reader.longest_s)} at {seconds(reader.longest_at_s)}"
        )
        yield from wrapped("reader", told, width, "")
    if last.status is not None:
        which = f"attempt {last.number}: " if len(stream.attempts) > 1 else ""
        yield from wrapped("response", which + _response(last), width, "")


def _between(stream: StreamReport, width: int) -> Iterator[Text]:
    """How long it took from one event with content to the next, and at most."""
    spread, worst = stream.histogram.spread, stream.worst_gap
    parts = []
    if spread.count:
        parts.append(f"half within {seconds(spread.p50)}, 99 % within {seconds(spread.p99)}")
    if stream.longest_gap_s > 0:
        said = f"longest {seconds(stream.longest_gap_s)}"
        if worst is not None:
            said += f" at {seconds(worst.at_s)}"
            said += ", up to the end" if worst.open else ""
            said += f", with {amount(worst.pings, 'ping')} in it" if worst.pings else ""
        parts.append(said)
    if not parts:
        return
    told = ", ".join(parts)
    if stream.histogram.together:
        told += f"; {stream.histogram.together:,} came together with another"
    yield from wrapped("between", told, width, "")


def _more(count: int, width: int) -> Iterator[Text]:
    if count > 0:
        yield from wrapped("", f"and {count:,} more", width, "dim")


def _received(stream: StreamReport) -> list[str]:
    attempts = stream.attempts
    parts = [
        amount(sum(a.reads for a in attempts), "read"),
        size(sum(a.size_bytes for a in attempts)),
    ]
    lost = sum(a.lost_bytes for a in attempts)
    if lost:
        parts[-1] += f" kept (and {size(lost)} not)"
    frames = sum(a.frames for a in attempts)
    if frames:
        parts.append(amount(frames, "event"))
        parts.append(f"{sum(a.content for a in attempts):,} with content")
    pings = sum(a.pings for a in attempts)
    if pings:
        parts.append(amount(pings, "ping"))
    errors = sum(a.parse_errors for a in attempts)
    if errors:
        parts.append(amount(errors, "parse error"))
    reasons = [reason for a in attempts for reason in a.finish]
    if reasons:
        parts.append(f"finish {', '.join(dict.fromkeys(reasons))}")
    return parts


_TOLD_HEADERS = (
    "content-type", "content-encoding", "server", "via", "x-request-id", "request-id", "cf-ray",
    "retry-after", "x-accel-buffering", "content-length",
)  # fmt: skip


def _response(attempt: AttemptReport) -> str:
    parts = [f"{attempt.status} {attempt.reason}".rstrip(), attempt.framing]
    told = ((name, attempt.header(name)) for name in _TOLD_HEADERS)
    parts += [f"{name}: {value[:60]}" for name, value in told if value]
    more = len(attempt.response_headers) - (len(parts) - 2)
    if more > 0:
        parts.append(f"and {amount(more, 'header')}")
    return ", ".join(part for part in parts if part)
