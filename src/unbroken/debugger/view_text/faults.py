"""What broke, with cause, dead ends and remedies, in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from unbroken.debugger.facts import FaultMark, Help, StreamReport
from unbroken.debugger.view_text.paragraphs import wrapped
from unbroken.debugger.words import labelled, seconds

__all__ = ["faults"]

_MOST_KINDS, _MOST_DO_NOTS, _MOST_REMEDIES = 6, 2, 3
_SEVERITIES = {"fatal": "red", "warning": "yellow", "note": "cyan"}


def faults(stream: StreamReport, width: int) -> Iterator[Text]:
    """Yield the first fault of each kind, with what is known of it."""
    kinds: dict[tuple[str, int], list[FaultMark]] = {}
    for fault in stream.faults:
        kinds.setdefault((fault.kind, fault.attempt), []).append(fault)
    helped: set[str] = set()
    for alike in list(kinds.values())[:_MOST_KINDS]:
        yield from _fault(alike[0], len(alike), width)
        known = alike[0].help
        if known is not None and known.record not in helped:
            helped.add(known.record)
            yield from _help(known, width)
    if len(kinds) > _MOST_KINDS:
        yield from wrapped("", f"and {len(kinds) - _MOST_KINDS} more kinds of fault", width, "dim")


def _fault(fault: FaultMark, times: int, width: int) -> Iterator[Text]:
    style = _SEVERITIES.get(fault.severity, "")
    where = f"{'at' if fault.exact else 'before'} {seconds(fault.at_s)}"
    if fault.at_byte is not None:
        where += f", byte {fault.at_byte:,}"
    if fault.frame is not None:
        where += f", event {fault.frame:,}"
    if times > 1:
        where += f", and {times - 1:,} more"
    made_good = " (a later attempt made it good)" if fault.recovered else ""
    said = labelled(f"{fault.kind} {where}", fault.detail) + made_good
    yield from wrapped(fault.severity, said, width, style, label_style=style)


def _help(known: Help, width: int) -> Iterator[Text]:
    yield from wrapped("cause", known.cause, width, "")
    for number, sentence in enumerate(known.do_not[:_MOST_DO_NOTS]):
        yield from wrapped("not" if not number else "", f"- {sentence}", width, "", hang=2)
    for number, remedy in enumerate(known.remedies[:_MOST_REMEDIES]):
        yield from wrapped("remedy" if not number else "", f"- {remedy}", width, "green", hang=2)
    yield from wrapped("more", f"unbroken explain {known.record}", width, "dim")
