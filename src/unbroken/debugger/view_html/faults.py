"""What broke, with cause, dead ends and remedies."""

from __future__ import annotations

from collections.abc import Iterator

from unbroken.debugger.facts import FaultMark, Help, StreamReport
from unbroken.debugger.view_html.parts import SEVERITY_TONES, items, sentence, tag, text
from unbroken.debugger.words import amount, seconds

__all__ = ["fault_items"]

_MOST_STALLS = 12


def fault_items(stream: StreamReport) -> Iterator[str]:
    """Yield the list of faults and stalls, or nothing."""
    if not stream.faults and not stream.stalls:
        return
    broke = any(fault.severity == "fatal" for fault in stream.faults)
    yield f'<h2>{"What broke" if broke else "What was noticed"}</h2><ol class="faults">'
    seen: dict[tuple[str, int], int] = {}
    for fault in stream.faults:
        key = (fault.kind, fault.attempt)
        seen[key] = seen.get(key, 0) + 1
    told: set[tuple[str, int]] = set()
    helped: set[str] = set()
    for fault in stream.faults:
        key = (fault.kind, fault.attempt)
        if key in told:
            continue
        told.add(key)
        yield from _fault(stream, fault, seen[key])
        if fault.help is not None and fault.help.record not in helped:
            helped.add(fault.help.record)
            yield _help(fault.help)
        yield "</li>"
    for stall in stream.stalls[:_MOST_STALLS]:
        limit = "" if stall.limit_s is None else f" Its limit is {stall.limit_s:g} s."
        pings = f", with {amount(stall.pings, 'ping')} meanwhile" if stall.pings else ""
        yield (
            f"<li><h3>stall <small>at {seconds(stall.at_s)}</small> {tag('note', 'warn')}</h3>"
            f"<p>{seconds(stall.lasted_s)} in which the clock {text(stall.clock)} ran, phase"
            f" {text(stall.phase)}{pings}.{limit}</p></li>"
        )
    more = len(stream.stalls) - _MOST_STALLS
    if more > 0:
        yield f"<li><p>And {amount(more, 'more stall')}.</p></li>"
    yield "</ol>"


def _fault(stream: StreamReport, fault: FaultMark, times: int) -> Iterator[str]:
    where = f"{'at' if fault.exact else 'before'} {seconds(fault.at_s)}"
    if fault.at_byte is not None:
        where += f", byte {fault.at_byte:,}"
    if fault.frame is not None:
        where += f", event {fault.frame:,}"
    if len(stream.attempts) > 1:
        where += f", attempt {fault.attempt}"
    if times > 1:
        where += f"; {times} times"
    tone = SEVERITY_TONES.get(fault.severity, "")
    yield f"<li><h3>{text(fault.kind)} {tag(fault.severity, tone)}"
    if fault.recovered:
        yield " " + tag("made good by a later attempt", "good")
    yield f"<small>{text(where)}</small></h3>"
    if fault.detail:
        yield f"<p>{text(sentence(fault.detail))}.</p>"


def _help(known: Help) -> str:
    parts = [f"<div><h4>Why it happens</h4><p>{text(known.cause)}</p>"]
    parts.append(f'<p class="soft"><code>unbroken explain {text(known.record)}</code></p></div>')
    if known.do_not:
        parts.append(f"<div><h4>What does not help</h4>{items(known.do_not)}</div>")
    if known.remedies:
        parts.append(f"<div><h4>What helps</h4>{items(known.remedies)}</div>")
    return f'<div class="help">{"".join(parts)}</div>'
