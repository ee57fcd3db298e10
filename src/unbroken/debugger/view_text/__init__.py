"""The report in a terminal: the verdict first, then the figures, then the story."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from unbroken.debugger.facts import Report, StreamReport
from unbroken.debugger.view_text.faults import faults
from unbroken.debugger.view_text.figures import figures
from unbroken.debugger.view_text.paragraphs import wrapped
from unbroken.debugger.view_text.story import activity, timeline
from unbroken.debugger.words import amount, harmless, percent, seconds, size

__all__ = ["report_lines"]

_MOST_TOLD, _MOST_LISTED, _MOST_OTHERS = 3, 24, 3
_WHERE = {
    "provider": "the provider", "middlebox": "a middlebox on the way",
    "consumer": "your own side", "network": "the network", "model": "the model",
    "none": "nowhere", "unknown": "not known",
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
    for line in _lines(report, max(60, width), full, only):
        # What was recorded came from anywhere: nothing of it may move the cursor.
        line.plain = harmless(line.plain)
        yield line


def _lines(report: Report, width: int, full: bool, only: int | None) -> Iterator[Text]:
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
            yield from wrapped("note", note, width, "yellow", label_style="yellow")


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
    yield from figures(stream, width)
    for note in stream.notes:
        yield from wrapped("note", note, width, "yellow", label_style="yellow")
    yield from faults(stream, width)
    yield from activity(stream, width)
    yield Text()
    yield from timeline(stream, width, full)


def _verdict(stream: StreamReport, width: int) -> Iterator[Text]:
    verdict = stream.verdict
    if verdict.where == "none":
        yield from wrapped("verdict", verdict.headline, width, "green")
        for sentence in verdict.evidence:
            yield from wrapped("", sentence, width, "")
        return
    said = f"{_WHERE[verdict.where]} ({percent(verdict.confidence)} sure): {verdict.headline}"
    yield from wrapped("fault lies", said, width, "bold")
    for number, sentence in enumerate(verdict.evidence):
        yield from wrapped("because" if not number else "", f"- {sentence}", width, "", hang=2)
    for number, suspect in enumerate(verdict.suspects):
        yield from wrapped("it fits" if not number else "", f"- {suspect}", width, "", hang=2)
    for other in verdict.others[:_MOST_OTHERS]:
        said = f"{_WHERE[other.where]} ({percent(other.confidence)}): {other.why}"
        yield from wrapped("or", said, width, "dim")
    if len(verdict.others) > _MOST_OTHERS:
        yield from wrapped("", f"and {len(verdict.others) - _MOST_OTHERS} more", width, "dim")
    if verdict.next:
        yield from wrapped("do first", verdict.next, width, "green")
