"""The last minutes as points of a chart, and what of each figure is recent."""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from unbroken.telemetry.health.figures import Figures, Group, Labels
from unbroken.telemetry.health.histogram import Histogram

__all__ = ["KEEP_S", "History", "Recent"]

KEEP_S: Final = 300
_WINDOW_S = 10.0  # over which a chart's percentiles are taken: one second has too few streams
_COLUMNS: Final = (
    "at", "active", "stalled", "ttft_p50", "ttft_p90", "gap_p50", "gap_p90", "faults",
    "recoveries",
)  # fmt: skip

_Point = dict[str, float | None]


class _Counted(NamedTuple):
    at: float
    ttft: dict[int, int]
    gap: dict[int, int]
    faults: int
    recoveries: int


class Recent(NamedTuple):
    """What a provider's model did in the last minutes.

    Attributes:
        ended: Streams that ended, cancelled ones left out.
        failed: Those of them that failed.
        recoveries: Further attempts.
    """

    ended: int
    failed: int
    recoveries: int


class History:
    """Points for the charts, and the recent past of each provider and model."""

    def __init__(self) -> None:
        self._points: deque[_Point] = deque(maxlen=KEEP_S + 1)
        self._counted: deque[_Counted] = deque()
        self._past: deque[tuple[float, dict[Labels, Recent]]] = deque()

    def take(self, now: float, whole: Group, *, stalled: int | None) -> _Point:
        """Add a point.

        Args:
            now: Seconds since the epoch.
            whole: All figures until now.
            stalled: Streams that are stalled now; None: nobody looked.
        """
        counted = _Counted(
            now,
            dict(whole.ttft_s.counts),
            dict(whole.gap_s.counts),
            sum(whole.faults.values()),
            sum(whole.recoveries.values()),
        )
        before = self._counted[-1] if self._counted else counted
        while len(self._counted) > 1 and self._counted[1].at <= now - _WINDOW_S:
            self._counted.popleft()
        oldest = self._counted[0] if self._counted else counted
        self._counted.append(counted)
        ttft = _since(whole.ttft_s, oldest.ttft)
        gap = _since(whole.gap_s, oldest.gap)
        point: _Point = {
            "at": round(now, 1),
            "active": whole.active,
            "stalled": stalled,
            "ttft_p50": _percentile(ttft, 0.5),
            "ttft_p90": _percentile(ttft, 0.9),
            "gap_p50": _percentile(gap, 0.5),
            "gap_p90": _percentile(gap, 0.9),
            # Never below 0: a worker whose file is gone takes its counts with it.
            "faults": max(0, counted.faults - before.faults),
            "recoveries": max(0, counted.recoveries - before.recoveries),
        }
        self._points.append(point)
        while now - (self._points[0]["at"] or 0.0) > KEEP_S:
            self._points.popleft()
        return point

    def columns(self) -> dict[str, list[float | None]]:
        """Return the points, oldest first, as columns."""
        return {name: [point[name] for point in self._points] for name in _COLUMNS}

    def recent(self, now: float, figures: Figures) -> dict[Labels, Recent]:
        """Return what each provider and model did in about the last `KEEP_S` seconds."""
        counts = {group.labels: _recent(group) for group in figures.by("provider", "model")}
        while len(self._past) > 1 and self._past[1][0] <= now - KEEP_S:
            self._past.popleft()
        # What was there when we began to look is as recent as it gets.
        earlier = self._past[0][1] if self._past and self._past[0][0] <= now - KEEP_S else {}
        if not self._past or now - self._past[-1][0] >= KEEP_S / 20:
            self._past.append((now, counts))
        nothing = Recent(0, 0, 0)
        return {
            labels: Recent(
                *(max(0, a - b) for a, b in zip(now_, earlier.get(labels, nothing), strict=True))
            )
            for labels, now_ in counts.items()
        }


def _recent(group: Group) -> Recent:
    ended = sum(group.ended.values()) - group.ended.get("cancelled", 0)
    return Recent(ended, group.ended.get("failed", 0), sum(group.recoveries.values()))


def _since(histogram: Histogram, before: dict[int, int]) -> Histogram:
    new = {bucket: count - before.get(bucket, 0) for bucket, count in histogram.counts.items()}
    return Histogram(
        counts={bucket: count for bucket, count in new.items() if count > 0},
        longest=histogram.longest,
    )


def _percentile(histogram: Histogram, share: float) -> float | None:
    return float(f"{histogram.percentile(share):.3g}") if histogram.counts else None
