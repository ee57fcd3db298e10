"""One stream on the page: verdict, figures, charts' frames, faults, timeline, heads."""

from __future__ import annotations

from collections.abc import Iterator

from unbroken.debugger.facts import AttemptReport, Entry, Report, StreamReport, Verdict
from unbroken.debugger.view_html.faults import fault_items
from unbroken.debugger.view_html.parts import WHERE, items, sentence, tag, text, tone_of
from unbroken.debugger.words import amount, percent, seconds, size

__all__ = ["HELD_ROWS", "stream_section"]

_LEAST_READS = 3
HELD_ROWS = 400
"""Rows of a table; more would make the page slow, and nobody reads them."""


def stream_section(
    report: Report, index: int, stream: StreamReport, *, opened: bool = True
) -> Iterator[str]:
    """Yield a stream's section; where there are several, each folds."""
    number = stream.number
    last = stream.last
    word = "healed" if stream.healed else stream.status
    tone = tone_of(stream.status, stream.healed)
    about = [part for part in (last.dialect, stream.model) if part]
    about.append(seconds(stream.duration_s))
    if len(stream.attempts) > 1:
        about.append(amount(len(stream.attempts), "attempt"))
    name = f"Stream {number}" if report.total > 1 else "The stream"
    several = report.total > 1
    about_it = f'class="stream" id="s{number}" data-index="{index}"'
    if several:
        yield f"<details {about_it}{' open' if opened else ''}><summary>"
    else:
        yield f'<section {about_it} aria-labelledby="h{number}"><header>'
    yield f"<h2>{name} {tag(word, tone)}<span>{text(', '.join(about))}</span></h2>"
    headline = stream.verdict.headline
    yield f'<p class="headline" id="h{number}">{text(headline[:1].upper() + headline[1:])}.</p>'
    yield "</summary>" if several else "</header>"
    yield from _verdict(stream.verdict, tone)
    for note in stream.notes:
        yield f'<p class="notice">{text(note)}</p>'
    yield from _figures(stream)
    yield from _charts(stream)
    yield from fault_items(stream)
    yield from _timeline(stream)
    yield from _attempts(stream)
    yield "</details>" if several else "</section>"


def _verdict(verdict: Verdict, tone: str) -> Iterator[str]:
    if verdict.where == "none" and not verdict.evidence and not verdict.next:
        return
    sure = percent(verdict.confidence)
    shown = tone if verdict.where != "none" else "good"
    yield f'<div class="verdict" data-tone="{shown}"><div><h3>Where the fault lies</h3>'
    yield (
        f'<p class="where">{WHERE[verdict.where]} <meter min="0" max="1"'
        f' value="{verdict.confidence}" aria-label="confidence">{sure}</meter>'
        f'<span class="sure">{sure} sure</span></p>'
    )
    if verdict.evidence:
        yield "<h3>What shows it</h3>" + items(verdict.evidence)
    if verdict.suspects:
        yield "<h3>Time limits that fit</h3>" + items(verdict.suspects)
    yield "</div><div>"
    if verdict.next:
        yield f'<h3>What to do first</h3><p class="next">{text(sentence(verdict.next))}</p>'
    if verdict.others:
        said = [f"{WHERE[o.where]} ({percent(o.confidence)}): {o.why}" for o in verdict.others]
        yield f'<div class="others"><h3>What else it may be</h3>{items(said)}</div>'
    yield "</div></div>"


def _figures(stream: StreamReport) -> Iterator[str]:
    attempts, last = stream.attempts, stream.last
    reads = sum(a.reads for a in attempts)
    content = sum(a.content for a in attempts)
    pings = sum(a.pings for a in attempts)
    first, spread = stream.first_content_s, stream.histogram.spread
    yield '<dl class="figures">'
    head = "" if last.head_s is None else f"head after {seconds(last.head_s - last.began_s)}"
    unseen = next((a.unseen_s for a in attempts if a.unseen_s is not None), None)
    shown = "none" if first is None else seconds(first)
    if first is None and unseen is not None:
        shown, head = "not kept", f"nothing before {seconds(unseen)} was kept"
    yield _figure("First content", shown, head)
    worst, longest = stream.worst_gap, stream.longest_gap_s
    said = ""
    if worst is not None:
        said = f"at {seconds(worst.at_s)}" + (", up to the end" if worst.open else "")
        if worst.pings:
            said += f", {amount(worst.pings, 'ping')} in it"
    yield _figure(
        "Longest gap", seconds(longest) if longest > 0 else "none", said,
        "warn" if longest >= 10.0 else "",
    )  # fmt: skip
    usual = f"99 % within {seconds(spread.p99)}" if spread.count else ""
    yield _figure("Usual gap", seconds(spread.p50) if spread.count else "none", usual)
    lasted = stream.duration_s - (first or 0.0)
    rate = f"{content / lasted:.0f} a second" if content and lasted > 0.05 else ""
    yield _figure("Events with content", f"{content:,}", rate)
    more = f"{last.read_bytes.average:,.0f} B each" if last.read_bytes.count else ""
    yield _figure("Reads", f"{reads:,}", more)
    frames = sum(a.frames for a in attempts)
    lost = sum(a.lost_bytes for a in attempts)
    said = f"and {size(lost)} not kept" if lost else amount(frames, "event") + " in all"
    yield _figure("Received", size(sum(a.size_bytes for a in attempts)), said)
    yield _figure("Pings", f"{pings:,}", "signs of life without content")
    waits = last.read_wait_s
    if waits.count:
        yield _figure(
            "Wait for a read",
            seconds(waits.average),
            f"{seconds(waits.least)} to {seconds(waits.most)}",
        )
    reader = stream.consumer
    if reader.measured:
        tone = "warn" if reader.busy_s >= 1.0 and reader.share >= 0.5 else ""
        yield _figure(
            "Reader's own time", seconds(reader.busy_s), f"{percent(reader.share)} of it", tone
        )
    errors = sum(a.parse_errors for a in attempts)
    if errors:
        yield _figure("Parse errors", f"{errors:,}", "", "bad")
    reasons = list(dict.fromkeys(reason for a in attempts for reason in a.finish))
    finished = last.finished_s
    yield _figure(
        "Finish",
        ", ".join(reasons) if reasons else "none",
        "" if finished is None else f"at {seconds(finished)}",
        "" if reasons or not last.streamed or not last.decoded else "bad",
    )
    yield "</dl>"


def _figure(name: str, value: str, more: str, tone: str = "") -> str:
    return (
        f'<div data-tone="{tone}"><dt>{name}</dt><dd class="value">{text(value)}</dd>'
        f'<dd class="more">{text(more)}</dd></div>'
    )


def _charts(stream: StreamReport) -> Iterator[str]:
    if not stream.reads.at_s and not stream.bands:
        return
    number = stream.number
    yield f'<div class="charts"><figure class="wide"><figcaption><b id="w{number}">Waterfall</b>'
    yield f"<span>{text(_rows_said(stream))}</span></figcaption>"
    yield '<div class="bar"><button type="button" data-show="all">Whole stream</button>'
    if stream.first_content_s is not None:
        yield (f'<button type="button" data-show="{stream.first_content_s}">First content</button>')
    for fault in [f for f in stream.faults if f.severity != "note"][:3]:
        yield f'<button type="button" data-show="{fault.at_s}">{text(fault.kind)}</button>'
    phases = list(dict.fromkeys(band.phase for band in stream.bands))
    yield '<ul class="legend">'
    yield from (f'<li class="{phase}">{phase}</li>' for phase in phases)
    if stream.stalls:
        yield '<li class="stalled">stall</li>'
    yield "</ul></div>"
    yield _plot("waterfall", _waterfall_said(stream), "tall") + "</figure>"
    for kind, title, about, said in _others(stream):
        yield _chart(kind, title, about, said)
    yield "</div>"


def _others(stream: StreamReport) -> Iterator[tuple[str, str, str, str]]:
    """Yield the other charts, where there is something to draw."""
    many = len(stream.reads.at_s) >= _LEAST_READS
    sizes = stream.last.read_bytes
    if many:
        yield "gaps", "Time between reads", "log scale; pings as diamonds", _gaps_said(stream)
    if stream.histogram.spread.count:
        said = _spread_said(stream)
        yield "histogram", "Time between events with content", "how often which", said
    if many:
        said = "events and bytes by time"
        yield "throughput", "Throughput", "events a second; bytes dotted", said
        said = f"reads of {sizes.least:,.0f} to {sizes.most:,.0f} bytes"
        yield "sizes", "Size of reads", "bytes each, log scale", said


def _chart(kind: str, title: str, about: str, said: str) -> str:
    return (
        f"<figure><figcaption><b>{title}</b><span>{about}</span></figcaption>"
        f"{_plot(kind, said)}</figure>"
    )


def _plot(kind: str, said: str, extra: str = "") -> str:
    return (
        f'<div class="plot still {extra}" data-chart="{kind}" tabindex="0" role="img"'
        f' aria-label="{text(kind)}: {text(said)}">drawing</div>'
    )


def _rows_said(stream: StreamReport) -> str:
    merged = stream.reads.merged
    signs = "▶ head, ◇ first byte, ★ first content, ● finish, ✕ fault"
    return signs if merged == 1 else f"{signs}; each tick stands for up to {merged} reads"


def _waterfall_said(stream: StreamReport) -> str:
    parts = [f"{band.phase} from {seconds(band.from_s)} to {seconds(band.to_s)}" for band in
             stream.bands[:12]]  # fmt: skip
    parts += [f"{fault.kind} at {seconds(fault.at_s)}" for fault in stream.faults[:6]]
    return "; ".join(parts)


def _gaps_said(stream: StreamReport) -> str:
    worst = sorted(stream.gaps, key=lambda gap: -gap.lasted_s)[:3]
    return "longest: " + ", ".join(f"{seconds(g.lasted_s)} at {seconds(g.at_s)}" for g in worst)


def _spread_said(stream: StreamReport) -> str:
    spread = stream.histogram.spread
    if not spread.count:
        return "none"
    return (
        f"half within {seconds(spread.p50)}, 99 percent within {seconds(spread.p99)}, longest"
        f" {seconds(spread.longest)}; {stream.histogram.together} together with another"
    )


def _timeline(stream: StreamReport) -> Iterator[str]:
    number = stream.number
    yield f'<h2 id="t{number}">Timeline</h2><div class="scroller" tabindex="0" role="region"'
    yield f' aria-labelledby="t{number}"><table class="timeline"><thead><tr><th class="n">s</th>'
    yield "<th>what</th><th>in words</th></tr></thead><tbody>"
    shown = stream.timeline
    if len(shown) > HELD_ROWS:
        half = HELD_ROWS // 2
        faults = [e for e in shown[half:-half] if e.kind == "fault"][:50]
        shown = [*shown[:half], *faults, *shown[-half:]]
    for entry in shown:
        yield _entry(entry)
    left_out = stream.omitted + len(stream.timeline) - len(shown)
    if left_out:
        yield f'<tr data-tone="dim"><td></td><td></td><td>{left_out:,} lines of the middle are'
        yield " left out</td></tr>"
    yield "</tbody></table></div>"


def _entry(entry: Entry) -> str:
    preview = f'<span class="preview">{text(entry.preview)}</span>' if entry.preview else ""
    until = ""
    if entry.until_s is not None and entry.kind == "reads":
        until = f" <span class='soft'>until {entry.until_s:.3f}</span>"
    words = entry.text if entry.kind == "fault" else sentence(entry.text)
    return (
        f'<tr data-tone="{entry.tone}"><td>{entry.at_s:.3f}</td><td>{text(entry.kind)}</td>'
        f"<td>{text(words)}{until}{preview}</td></tr>"
    )


def _attempts(stream: StreamReport) -> Iterator[str]:
    yield "<h2>Requests and responses</h2>"
    only = len(stream.attempts) == 1
    for attempt in stream.attempts:
        yield f"<details{' open' if only else ''}><summary>{text(_attempt_line(attempt))}"
        end = f"ended: {attempt.how}" if attempt.how else "its end was not recorded"
        yield f'<small>{text(end)}</small></summary><div class="inside heads">'
        yield f"<div><h4>Request, {size(attempt.request_bytes)}</h4>"
        yield _headers([("url", attempt.url), *attempt.request_headers])
        if attempt.request_preview:
            yield f"<pre>{text(attempt.request_preview)}</pre>"
        yield "</div><div>"
        status = f"HTTP {attempt.status} {attempt.reason}" if attempt.status else "No response"
        framing = f", framing {attempt.framing}" if attempt.framing else ""
        yield f"<h4>{text(status)}{text(framing)}</h4>{_headers(attempt.response_headers)}"
        if attempt.detail:
            yield f"<p>{text(attempt.detail)}</p>"
        yield "</div></div></details>"


def _attempt_line(attempt: AttemptReport) -> str:
    how = "" if attempt.rung == "first" else f", by {attempt.rung}"
    return (
        f"Attempt {attempt.number}{how}: {attempt.method} {attempt.url.partition('?')[0]} →"
        f" {attempt.status or 'no answer'}"
    )


def _headers(headers: list[tuple[str, str]]) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{text(name)}</th><td>{text(value)}</td></tr>"
        for name, value in headers
        if value
    )
    return f"<table><tbody>{rows}</tbody></table>"
