"""The report in a terminal: the verdict first, then the figures, then the story."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.text import Text

from unbroken.debugger.facts import (
    AttemptReport,
    Entry,
    FaultMark,
    Help,
    Report,
    StreamReport,
)
from unbroken.debugger.words import amount, percent, seconds, size, unbroken_units

__all__ = ["report_lines"]

_MOST_TOLD, _MOST_LISTED = 3, 24
_HEAD_LINES, _TAIL_LINES, _AROUND, _MOST_LINES = 8, 6, 5, 44
_LABEL = 10
_WHERE = {
    "provider": "the provider", "middlebox": "a middlebox on the way",
    "consumer": "your own side", "network": "the network", "model": "the model",
    "none": "nowhere", "unknown": "not known",
}  # fmt: skip
_STYLES = {"bad": "red", "warn": "yellow", "good": "green", "dim": "dim", "": ""}
_SEVERITIES = {"fatal": "red", "warning": "yellow", "note": "cyan"}
_SIGNS = {
    "request": "→", "connected": "·", "response": "←", "reads": "▪", "pause": "…", "fault": "✗",
    "finish": "✓", "end": "■", "notice": "!", "consumer": "○", "seam": "~", "lost": "?",
}  # fmt: skip


def report_lines(
    report: Report, *, width: int = 96, full: bool = False, only: int | None = None
) -> Iterator[Text]:
    """Yield the report line by line.

    Args:
        report: What to tell.
        width: Columns at which lines are broken; at least 60.
        full: The whole timeline of every stream that is told.
        only: The stream that was asked for: it alone is told.
    """
    width = max(60, width)
    yield from _top(report, width)
    told = _chosen(report, full=full, only=only)
    if report.total > 1 and only is None:
        yield from _list(report, width)
    for stream in told:
        if report.total > 1:
            yield Text()
        yield from _stream(report, stream, width, full)
    more = report.total - len(told)
    if more > 0 and only is None and report.total > 1:
        yield Text()
        yield Text(f"--stream N shows one stream ({amount(more, 'more', 'more')})", "dim")


def _chosen(report: Report, *, full: bool, only: int | None) -> list[StreamReport]:
    streams = report.streams
    if only is not None or full or report.total == 1:
        return streams
    broken = [s for s in streams if s.fault is not None and not s.healed]
    odd = [s for s in streams if s not in broken and s.verdict.where != "none"]
    return (broken + odd)[:_MOST_TOLD]


def _top(report: Report, width: int) -> Iterator[Text]:
    parts = [report.name or "recording", amount(report.total, "stream")]
    if report.size_bytes:
        parts.append(size(report.size_bytes))
    if report.side:
        parts.append(f"recorded by {report.side}")
    if report.contents != "kept":
        parts.append(f"contents {report.contents}")
    yield Text(", ".join(parts), "bold")
    for note in [report.note, *report.notes]:
        if note:
            yield from _wrapped("note", note, width, "yellow", label_style="yellow")


def _list(report: Report, width: int) -> Iterator[Text]:
    shown = report.listed
    if len(shown) > _MOST_LISTED:
        broken = [row for row in shown if row.status == "failed" or row.where != "none"]
        rest = [row for row in shown if row.status != "failed" and row.where == "none"]
        shown = sorted(
            [*broken[: _MOST_LISTED - 6], *rest[: max(6, _MOST_LISTED - len(broken))]],
            key=lambda row: row.number,
        )
    for row in shown:
        sign, style = _sign(row.status, row.healed)
        text = Text()
        text.append(f"{row.number:>6}  ", "dim")
        text.append(f"{sign} {'healed' if row.healed else row.status:<11}", style)
        text.append(f"{seconds(row.duration_s):>12}")
        text.append(f"{size(row.size_bytes):>10}  ")
        text.append(f"{row.dialect or '-':<19} ")
        said = ", ".join(row.faults)
        if row.where not in ("none", "unknown"):
            said = f"{row.where}{': ' + said if said else ''}"
        text.append(said, "red" if row.status == "failed" else "yellow")
        text.truncate(width, overflow="ellipsis")
        yield text
    if len(shown) < report.total:
        failed = sum(row.status == "failed" for row in report.listed)
        yield Text(
            f"        and {report.total - len(shown):,} more; of all {failed:,} failed", "dim"
        )


def _sign(status: str, healed: bool) -> tuple[str, str]:
    if status == "failed":
        return "✗", "bold red"
    if healed:
        return "✓", "bold yellow"
    if status in ("complete", "limited", "filtered", "paused", "plain"):
        return "✓", "bold green"
    return "?", "bold yellow"


# One stream ---------------------------------------------------------------------------------


def _stream(report: Report, stream: StreamReport, width: int, full: bool) -> Iterator[Text]:
    last = stream.last
    sign, style = _sign(stream.status, stream.healed)
    head = Text()
    word = "healed" if stream.healed else stream.status
    head.append(f"{sign} {word}", style)
    about = [f"stream {stream.number}"] if report.total > 1 else []
    about += [part for part in (last.dialect, stream.model) if part]
    if len(stream.attempts) > 1:
        about.append(amount(len(stream.attempts), "attempt"))
    about.append(seconds(stream.duration_s))
    head.append("  " + ", ".join(about))
    yield head
    yield from _verdict(stream, width)
    yield from _figures(stream, last, width)
    for note in stream.notes:
        yield from _wrapped("note", note, width, "yellow", label_style="yellow")
    helped: set[str] = set()
    for fault in _first_of_kind(stream.faults):
        yield from _fault(fault, width)
        if fault.help is not None and fault.help.record not in helped:
            helped.add(fault.help.record)
            yield from _help(fault.help, width)
    yield from _activity(stream, width)
    yield Text()
    yield from _timeline(stream, width, full)


def _verdict(stream: StreamReport, width: int) -> Iterator[Text]:
    verdict = stream.verdict
    if verdict.where == "none":
        yield from _wrapped("verdict", verdict.headline, width, "green")
        for sentence in verdict.evidence:
            yield from _wrapped("", sentence, width, "")
        return
    said = f"{_WHERE[verdict.where]} ({percent(verdict.confidence)} sure): {verdict.headline}"
    yield from _wrapped("fault lies", said, width, "bold")
    for number, sentence in enumerate(verdict.evidence):
        yield from _wrapped("because" if not number else "", f"- {sentence}", width, "", hang=2)
    for number, suspect in enumerate(verdict.suspects):
        yield from _wrapped("it fits" if not number else "", f"- {suspect}", width, "", hang=2)
    for other in verdict.others[:2]:
        said = f"{_WHERE[other.where]} ({percent(other.confidence)}): {other.why}"
        yield from _wrapped("or", said, width, "dim")
    if verdict.next:
        yield from _wrapped("do first", verdict.next, width, "green")


def _figures(stream: StreamReport, last: AttemptReport, width: int) -> Iterator[Text]:
    since = last.began_s
    times = [
        ("connected", last.connected_s), ("head", last.head_s), ("first byte", last.first_byte_s),
        ("first content", last.first_content_s), ("finish", last.finished_s),
        ("end", last.ended_s),
    ]  # fmt: skip
    said = [f"{name} {seconds(at - since)}" for name, at in times if at is not None]
    if len(stream.attempts) > 1:
        first = stream.first_content_s
        said = [f"end {seconds(stream.duration_s)}"]
        said[:0] = [] if first is None else [f"first content {seconds(first)}"]
    if said and last.method:
        yield from _wrapped("times", ", ".join(said), width, "")
    attempts = stream.attempts
    reads = sum(a.reads for a in attempts)
    if reads:
        yield from _wrapped("received", ", ".join(_received(stream)), width, "")
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
            yield from _wrapped("reads", told, width, "")
    spread = stream.histogram.spread
    if spread.count:
        worst = max(stream.gaps, key=lambda gap: gap.lasted_s, default=None)
        told = (
            f"half within {seconds(spread.p50)}, 99 % within {seconds(spread.p99)}, longest"
            f" {seconds(spread.longest)}"
        )
        if worst is not None and worst.lasted_s >= spread.longest:
            told += f" at {seconds(worst.at_s)}"
            if worst.pings:
                told += f" with {amount(worst.pings, 'ping')} in it"
        if stream.histogram.together:
            told += f"; {stream.histogram.together:,} came together with another"
        yield from _wrapped("between", told, width, "")
    for stall in stream.stalls[:4]:
        limit = "" if stall.limit_s is None else f" (limit {stall.limit_s:g} s)"
        pings = f", {amount(stall.pings, 'ping')} meanwhile" if stall.pings else ""
        told = (
            f"{seconds(stall.lasted_s)} from {seconds(stall.at_s)} on, phase {stall.phase}, clock"
            f" {stall.clock}{limit}{pings}"
        )
        yield from _wrapped("stall", told, width, "yellow", label_style="yellow")
    reader = stream.consumer
    if reader.measured and reader.busy_s >= 0.1:
        told = (
            f"took {seconds(reader.busy_s)} itself ({percent(reader.share)}), at most"
            f" {seconds(reader.longest_s)} at {seconds(reader.longest_at_s)}"
        )
        yield from _wrapped("reader", told, width, "")
    if last.status is not None:
        which = f"attempt {last.number}: " if len(stream.attempts) > 1 else ""
        yield from _wrapped("response", which + _response(last), width, "")


def _received(stream: StreamReport) -> list[str]:
    attempts = stream.attempts
    parts = [
        amount(sum(a.reads for a in attempts), "read"),
        size(sum(a.size_bytes for a in attempts)),
    ]
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


def _first_of_kind(faults: list[FaultMark]) -> Iterator[FaultMark]:
    seen: set[tuple[str, int]] = set()
    for fault in faults:
        if (fault.kind, fault.attempt) not in seen and len(seen) < 6:
            seen.add((fault.kind, fault.attempt))
            yield fault


def _fault(fault: FaultMark, width: int) -> Iterator[Text]:
    style = _SEVERITIES.get(fault.severity, "")
    where = f"at {seconds(fault.at_s)}"
    if fault.at_byte is not None:
        where += f", byte {fault.at_byte:,}"
    if fault.frame is not None:
        where += f", event {fault.frame:,}"
    made_good = " (a later attempt made it good)" if fault.recovered else ""
    said = f"{fault.kind} {where}: {fault.detail}{made_good}"
    yield from _wrapped(fault.severity, said, width, style, label_style=style)


def _help(known: Help, width: int) -> Iterator[Text]:
    yield from _wrapped("cause", known.cause, width, "")
    for number, sentence in enumerate(known.do_not[:2]):
        yield from _wrapped("not" if not number else "", f"- {sentence}", width, "", hang=2)
    for number, remedy in enumerate(known.remedies[:3]):
        yield from _wrapped("remedy" if not number else "", f"- {remedy}", width, "green", hang=2)
    yield from _wrapped("more", f"unbroken explain {known.record}", width, "dim")


# The story ----------------------------------------------------------------------------------

_BARS = " ▁▂▃▄▅▆▇█"


def _activity(stream: StreamReport, width: int) -> Iterator[Text]:
    """A row of bars: how much came when, with the faults below it."""
    rates = stream.throughput
    values = rates.content if any(rates.content) else rates.size_bytes
    whole = stream.duration_s
    if not any(values) or whole <= 0:
        return
    columns = min(72, width - _LABEL - 14)
    bars = [0.0] * columns
    each = rates.step_s / whole * columns  # columns that a step covers
    for index, value in enumerate(values):
        at, until = index * each, min(float(columns), (index + 1) * each)
        for column in range(int(at), min(columns, int(until) + 1)) if value else ():
            share = min(until, column + 1) - max(at, column)
            bars[column] += value * max(0.0, share) / each
    most = max(bars)
    drawn = "".join(
        _BARS[0] if not bar else _BARS[max(1, round(bar / most * (len(_BARS) - 1)))] for bar in bars
    )
    text = Text(f"  {'activity':<{_LABEL}} ", "dim")
    text.append(drawn, "cyan")
    text.append(f" {seconds(whole)}", "dim")
    yield text
    fatal = [fault for fault in stream.faults if fault.severity != "note"]
    if fatal:
        row = [" "] * columns
        for fault in fatal:
            row[min(columns - 1, int(fault.at_s / whole * columns))] = "✗"
        text = Text(f"  {'':<{_LABEL}} ", "dim")
        text.append("".join(row).rstrip(), "bold red")
        yield text


def _timeline(stream: StreamReport, width: int, full: bool) -> Iterator[Text]:
    entries = stream.timeline
    keep = range(len(entries)) if full else _shown(entries)
    shown = set(keep)
    digits = 3 if stream.duration_s < 100 else 1
    skipped = 0
    for index, entry in enumerate(entries):
        if index not in shown:
            skipped += 1
            continue
        if skipped:
            yield Text(f"{'':>11}  {amount(skipped, 'line')} left out (--full shows them)", "dim")
            skipped = 0
        yield from _entry(entry, width, digits)
    if stream.omitted:
        yield Text(f"{'':>11}  {amount(stream.omitted, 'line')} in the middle were not kept", "dim")


def _shown(entries: list[Entry]) -> set[int]:
    count = len(entries)
    if count <= _MOST_LINES:
        return set(range(count))
    shown = {*range(_HEAD_LINES), *range(count - _TAIL_LINES, count)}
    told = [index for index, entry in enumerate(entries) if entry.kind in ("fault", "seam", "end")]
    for index in [*told[:4], *told[-2:]]:
        shown |= set(range(max(0, index - _AROUND), min(count, index + 3)))
    pauses = sorted(
        (index for index, entry in enumerate(entries) if entry.until_s is not None),
        key=lambda index: (entries[index].until_s or 0) - entries[index].at_s,
    )
    shown |= {index for index in pauses[-4:] if entries[index].kind == "pause"}
    return shown


def _entry(entry: Entry, width: int, digits: int) -> Iterator[Text]:
    style = _STYLES[entry.tone]
    text = Text()
    text.append(f"{entry.at_s:>10.{digits}f}  ", "dim")
    sign = _SIGNS.get(entry.kind, " ")
    indent = 15
    for number, piece in enumerate(_broken(entry.text, width - indent)):
        if number:
            yield text
            text = Text(" " * indent)
        else:
            text.append(f"{sign}  ", style)
        text.append(piece, "bold red" if entry.kind == "fault" else style)
    yield text
    if entry.preview:
        shown = Text(" " * indent)
        shown.append(entry.preview, "dim")
        shown.truncate(width, overflow="ellipsis")
        yield shown


# Lines --------------------------------------------------------------------------------------


def _broken(text: str, width: int) -> list[str]:
    """Break a text into lines; a number stays with its unit."""
    lines = textwrap.wrap(unbroken_units(text), max(20, width), break_on_hyphens=False) or [""]
    return [line.replace("\xa0", " ") for line in lines]


def _wrapped(
    label: str, text: str, width: int, style: str, *, label_style: str = "dim", hang: int = 0
) -> Iterator[Text]:
    indent = _LABEL + 3
    clean = "".join(char if char.isprintable() else " " for char in text)
    for number, piece in enumerate(_broken(clean, width - indent - hang)):
        line = Text()
        line.append(f"  {label if not number else '':<{_LABEL}} ", label_style)
        line.append((" " * hang if number else "") + piece, style)
        yield line
