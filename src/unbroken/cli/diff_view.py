"""The terminal's view of a difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.text import Text

from unbroken.cli.screen import amount, line
from unbroken.debugger.comparing import AttemptDiff, Diff, Difference, Figures, Place

__all__ = ["diff_lines"]

_WIDTH = 18
_MOST_KINDS = 12


def diff_lines(found: Diff) -> Iterator[Text]:
    """Yield the lines that tell a difference."""
    first = found.stream_a == found.stream_b == 1
    where = "" if first else f" (streams {found.stream_a} and {found.stream_b})"
    if found.equal and found.texts:
        yield line(("equal", "bold green"), f"{where}: the same meaning, and the same end")
    elif found.equal:
        yield line(
            ("equal", "bold green"), f"{where} as far as a recording without contents can tell"
        )
    else:
        yield line(("different", "bold red"), where)
    if not found.texts:
        yield line(
            (f"  {found.why_no_texts}: texts cannot be compared,", "yellow"),
            (" only structure, sizes, pace and ends are", "yellow"),
        )
    if found.attempts_a != found.attempts_b:
        counts = amount(found.attempts_a, "attempt"), amount(found.attempts_b, "attempt")
        yield line(f"  A has {counts[0]}, B {counts[1]}")
    for number, pair in enumerate(found.attempts, 1):
        if len(found.attempts) > 1:
            yield line((f"attempt {number}", "bold"))
        yield from _attempt(pair)
    if found.between:
        yield line(("if A was recorded before a middlebox, and B behind it", "bold"))
        for said in found.between:
            yield line(f"  - {said}")
    for note in found.notes:
        yield line((f"note: {note}", "dim"))


def _attempt(pair: AttemptDiff) -> Iterator[Text]:
    for name, difference in (
        ("meaning", pair.meaning),
        ("frame", pair.frame),
        ("byte", pair.bytes),
    ):
        if difference is not None:
            yield from _difference(name, difference)
    for kind, characters in pair.common.items():
        a, b = pair.a.characters.get(kind, 0), pair.b.characters.get(kind, 0)
        same = "all" if characters == a == b else f"{characters:,}"
        yield line(f"  {kind}: {same} of {a:,} and {b:,} characters in common from the start")
    for who, kinds in (("A", pair.only_a), ("B", pair.only_b)):
        if kinds:
            names = [f"{kind} × {n:,}" if n > 1 else kind for kind, n in kinds.items()]
            more = f" and {len(names) - _MOST_KINDS} more" if len(names) > _MOST_KINDS else ""
            yield line(f"  only in {who}: {', '.join(names[:_MOST_KINDS])}{more}")
    yield line((f"  {'':{_WIDTH}}{'A':>26}{'B':>26}", "dim"))
    for name, mine, other in _rows(pair.a, pair.b):
        style = "" if mine == other else "yellow"
        yield line((f"  {name:{_WIDTH}}{mine:>26}{other:>26}", style))
    for who, figures in (("A", pair.a), ("B", pair.b)):
        if figures.unread:
            yield line((f"  {who} could only be compared by its bytes: {figures.unread}", "yellow"))


def _difference(name: str, found: Difference) -> Iterator[Text]:
    at = "" if found.at_character is None else f" at character {found.at_character:,}"
    yield line((f"  first {name} that differs{at}", "bold"))
    for who, place in (("A", found.a), ("B", found.b)):
        yield line(f"    {who}: {_place(place)}")


def _place(place: Place) -> str:
    parts = [place.what]
    if place.frame is not None:
        parts.append(f"in frame {place.frame:,}")
    if place.at_byte is not None:
        parts.append(f"at byte {place.at_byte:,}")
    said = " ".join(parts)
    return said if place.shown is None else f"{said}: {place.shown!r}"


def _rows(a: Figures, b: Figures) -> Iterator[tuple[str, str, str]]:
    for name, told in _ROWS:
        if name != "first fault" or a.faults or b.faults:
            yield name, told(a), told(b)


def _plain(value: int | None) -> str:
    return "no response" if value is None else str(value)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"


_ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("ended", lambda side: side.ended or "not recorded"),
    ("verdict", lambda side: side.verdict or "-"),
    ("first fault", lambda side: side.faults[0] if side.faults else "-"),
    ("status", lambda side: _plain(side.status)),
    ("head", lambda side: _seconds(side.head_s)),
    ("first byte", lambda side: _seconds(side.first_byte_s)),
    ("first content", lambda side: _seconds(side.first_content_s)),
    ("lasted", lambda side: _seconds(side.lasted_s)),
    ("gap, median", lambda side: _seconds(side.gaps.p50 if side.gaps.count else None)),
    ("gap, longest", lambda side: _seconds(side.gaps.longest if side.gaps.count else None)),
    ("reads", lambda side: f"{side.reads:,}"),
    ("frames", lambda side: f"{side.frames:,}"),
    ("frames a read", lambda side: f"{side.frames_a_read:.1f}"),
    ("pings", lambda side: f"{side.pings:,}"),
    ("bytes", lambda side: f"{side.size_bytes:,}"),
)
