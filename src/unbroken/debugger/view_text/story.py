"""The story of a stream in a terminal: a row of bars, and the timeline."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from unbroken.debugger.facts import Entry, StreamReport
from unbroken.debugger.view_text.paragraphs import LABEL, broken
from unbroken.debugger.words import amount, seconds

__all__ = ["activity", "timeline"]

_HEAD_LINES, _TAIL_LINES, _AROUND, _MOST_LINES = 8, 6, 5, 44
_STYLES = {"bad": "red", "warn": "yellow", "good": "green", "dim": "dim", "": ""}
_SIGNS = {
    "request": "→", "connected": "·", "response": "←", "reads": "▪", "pause": "…", "fault": "✗",
    "finish": "✓", "end": "■", "notice": "!", "consumer": "○", "seam": "~", "lost": "?",
}  # fmt: skip
_BARS = " ▁▂▃▄▅▆▇█"


def activity(stream: StreamReport, width: int) -> Iterator[Text]:
    """Yield a row of bars: how much came when, with the faults below it."""
    rates = stream.throughput
    values = rates.content if any(rates.content) else rates.size_bytes
    whole = stream.duration_s
    if not any(values) or whole <= 0:
        return
    columns = min(72, width - LABEL - 14)
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
    text = Text(f"  {'activity':<{LABEL}} ", "dim")
    text.append(drawn, "cyan")
    text.append(f" {seconds(whole)}", "dim")
    yield text
    marked = [fault for fault in stream.faults if fault.severity != "note"]
    if marked:
        row = [" "] * columns
        for fault in sorted(marked, key=lambda fault: fault.severity == "fatal"):
            sign = "✗" if fault.severity == "fatal" else "!"
            row[min(columns - 1, int(fault.at_s / whole * columns))] = sign
        text = Text(f"  {'':<{LABEL}} ", "dim")
        for sign in "".join(row).rstrip():
            text.append(sign, "bold red" if sign == "✗" else "yellow")
        yield text


def timeline(stream: StreamReport, width: int, full: bool) -> Iterator[Text]:
    """Yield the story line by line; of a long one what matters, unless it is wanted in full."""
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
    if entry.kind == "fault" and entry.tone != "bad":
        sign = "!"  # a warning or a note broke nothing
    indent = 15
    for number, piece in enumerate(broken(entry.text, width - indent)):
        if number:
            yield text
            text = Text(" " * indent)
        else:
            text.append(f"{sign}  ", style)
        text.append(piece, f"bold {style}" if entry.kind == "fault" else style)
    yield text
    if entry.preview:
        shown = Text(" " * indent)
        shown.append(entry.preview, "dim")
        shown.truncate(width, overflow="ellipsis")
        yield shown
