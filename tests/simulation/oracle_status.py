"""Is the word for the end the right one: healthy, failed, cancelled?"""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.faults import HEALTHY
from tests.simulation.seen import is_json
from tests.simulation.watch import Watch
from unbroken.core.faults import FaultKind

__all__ = ["PROVEN", "judge_status"]

PROVEN = ("complete", "limited", "filtered", "paused")


def _stamps(watch: Watch) -> bool:
    """Whether a bare stop without counts is no proof: some servers write one on every frame."""
    return watch.world.dialect.name.startswith("gemini") and not watch.last.upstream.usage


def judge_status(watch: Watch) -> Iterator[str]:
    """Yield where the word for the end does not fit what happened."""
    outcome, options = watch.outcome, watch.options
    assert outcome is not None
    if watch.cancelled and outcome.status not in ("cancelled", "failed", *PROVEN):
        yield f"cancelled, and {outcome.status}"
    if not watch.tries:
        return
    reply = watch.last.reply
    loose = any(not is_json(call.arguments) for call in watch.consumer.calls)
    clocks = options.timing
    patience = min(
        clocks.silence_s or 0, clocks.progress_text_s or 0, clocks.progress_slow_s or 0,
        clocks.first_event_s or 0, clocks.connect_s or 0, options.max_recovery_s,
    )  # fmt: skip
    slow = sum(gap for gap, _ in reply.reads) + reply.head_s + reply.end_s >= patience
    big = len(watch.last.sent) > options.max_frame_bytes
    empty = reply.truth is not None and not (reply.truth.text or reply.truth.calls)
    unusual = reply.fault == "swapped" and (
        options.reorder_window < 8 or options.reorder_wait_s < 5
    )
    big = big or (reply.fault == "swapped" and options.max_held_bytes < 4000)
    if (
        len(watch.tries) == 1
        and reply.whole
        and reply.fault in HEALTHY
        and not (empty and (options.empty_answer != "accept" or _stamps(watch)))
        and not unusual
        and not clocks.floor_chars_per_s
        and not (slow or big or watch.cancelled or clocks.total_s)
        and outcome.status not in PROVEN
        and not loose
    ):
        yield f"a healthy answer is called {outcome.status}"
    unexplained = outcome.status == "failed" and options.mode == "heal" and not outcome.skipped
    stalled = watch.fault is not None and watch.fault.kind is FaultKind.STALLED
    if unexplained and not (watch.cancelled or loose or stalled):
        yield "it failed, and nothing says why it was not healed"
