"""What the page shows, as JSON: the one place that knows both the health classes and the page."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from unbroken.telemetry.health.figures import Figures, Group
from unbroken.telemetry.health.histogram import Spread
from unbroken.telemetry.health.report import HealthReport, report_of
from unbroken.telemetry.health.rows import FaultRow, StreamRow
from unbroken.telemetry.page.history import KEEP_S, History, Recent
from unbroken.telemetry.page.remedies import advice_on, title_of

__all__ = ["Monitor", "Snapshots", "fault_part", "shown_id", "stream_part"]

MOST_ROWS: Final = 100
_MOST_KINDS = 10
_MOST_A_KIND = 4
_MOST_WEATHER = 12
# A share of failures in the last minutes from which on the weather is bad.
_STORM = 0.05


class Monitor(Protocol):
    """What the page asks of a `HealthMonitor`."""

    def figures(self) -> Figures:
        """Return the counters."""

    def active(self) -> list[StreamRow]:
        """Return the streams that run now."""

    def latest_faults(self) -> list[FaultRow]:
        """Return the latest faults."""


class Snapshots:
    """Turns figures and rows into the parts of the page.

    Args:
        monitor: This process's.
        figures: Figures of all workers; None: this process's are all there are to show.
        rows: Active streams of all workers.
        faults: Latest faults of all workers.
        workers: How many workers the figures are of; 0: of this one only, though there are more.
        wall_time: Seconds since the epoch.
    """

    def __init__(
        self,
        monitor: Monitor,
        *,
        figures: Callable[[], Figures] | None = None,
        rows: Callable[[], Sequence[StreamRow]] | None = None,
        faults: Callable[[], Sequence[FaultRow]] | None = None,
        workers: Callable[[], int] | None = None,
        wall_time: Callable[[], float] = time.time,
    ) -> None:
        self._figures = figures or monitor.figures
        self._rows = rows or monitor.active
        self._faults = faults or monitor.latest_faults
        self._all = figures is not None
        self._rows_all = rows is not None or figures is None
        self._workers = workers
        self._wall_time = wall_time
        self._history = History()
        self._now_figures = Figures()
        self._now_whole = Group()
        self._now_rows: Sequence[StreamRow] = ()
        self._taken = False

    def sample(self, *, rows: bool = True) -> dict[str, object]:
        """Read everything, and return the point for the charts.

        Args:
            rows: Read the streams' rows too, which takes longest and nobody needs unwatched.
        """
        self._now_figures = self._figures()
        self._now_whole = self._now_figures.total()
        stalled = None
        if rows:
            self._taken = True
            self._now_rows = self._rows()
            stalled = sum(row.stalled for row in self._now_rows)
        return dict(self._history.take(self._wall_time(), self._now_whole, stalled=stalled))

    def history(self) -> dict[str, object]:
        """Return the points so far."""
        return {"keep_s": KEEP_S, "columns": self._history.columns()}

    def report(self) -> HealthReport:
        """Return the report of the figures as they are now."""
        return report_of(self._figures(), at=self._wall_time())

    def scope(self) -> dict[str, object]:
        """Say whose figures these are."""
        workers = self._workers() if self._workers else 1
        if workers > 1 and self._all:
            text = f"Figures of all {workers} workers since they began."
            if not self._rows_all:
                text += " Streams and faults below are of this worker only."
        elif workers != 1 and not self._all:
            text = "Figures of this worker only; others run beside it."
        else:
            text = "Figures of this process since it began."
        return {"all": self._all or workers == 1, "workers": max(1, workers), "text": text}

    def parts(self) -> dict[str, object]:
        """Return the parts of the page as of the last `sample`."""
        if not self._taken:
            self.sample()
        rows = self._now_rows
        # Sorted by start: a row that stays where it is can be read.
        shown = sorted(rows, key=lambda row: (not row.stalled, row.started_at, row.id))[:MOST_ROWS]
        stalled = sum(row.stalled for row in rows)
        return {
            "scope": self.scope(),
            "warnings": self._warnings(),
            "figures": _figures(self._now_whole, stalled),
            "streams": {
                "rows": [stream_part(row) for row in shown],
                "total": len(rows),
                "stalled": stalled,
            },
            "faults": _by_kind(self._faults()),
            "weather": self._weather(),
        }

    def _warnings(self) -> list[dict[str, str]]:
        found = []
        for group in self._now_figures.by("provider"):
            if group.buffered:
                who = group.labels.provider or "an upstream"
                streams = "stream" if group.buffered == 1 else "streams"
                found.append(
                    {
                        "title": "A proxy holds events back",
                        "text": f"Events of {group.buffered} {streams} from {who} came in clumps"
                        " instead of one by one, as a buffering proxy hands them on. Turn its"
                        " buffering off for this path (nginx: proxy_buffering off; also look for"
                        " compression and content scanners).",
                    }
                )
        if self._now_whole.internal_errors:
            times = "once" if self._now_whole.internal_errors == 1 else "several times"
            found.append(
                {
                    "title": "Unbroken itself failed",
                    "text": f"It stepped aside {times}, and those streams went on unprotected."
                    " The log has the error; please report it.",
                }
            )
        return found

    def _weather(self) -> dict[str, object]:
        recent = self._history.recent(self._wall_time(), self._now_figures)
        groups = list(self._now_figures.by("provider", "model"))
        # The limit must not hide a storm; rows themselves stay in one order, to be read.
        groups.sort(key=lambda group: (not _stormy(recent[group.labels]), -group.started))
        shown = sorted(groups[:_MOST_WEATHER], key=lambda group: -group.started)
        return {
            "rows": [_weather(group, recent[group.labels]) for group in shown],
            "more": len(groups) - len(shown),
        }


def _figures(whole: Group, stalled: int) -> dict[str, object]:
    report = report_of(Figures(groups=[whole]), at=0.0)
    return {
        "active": report.active,
        "stalled": stalled,
        "total": report.total,
        "succeeded": report.succeeded,
        "failed": report.failed,
        "ended": sum(report.ended.values()) - report.ended.get("cancelled", 0),
        "cancelled": report.ended.get("cancelled", 0),
        "success_rate": report.success_rate,
        "commonest": report.faults[0].name if report.faults else "",
        "ttft": _spread(report.ttft_s),
        "gap": _spread(report.gap_s),
        "duration": _spread(report.duration_s),
        "size": _spread(report.size_bytes),
        "tokens": report.tokens,
        "counted_by_usage": report.tokens_counted.get("usage", 0),
        "counted_by_deltas": report.tokens_counted.get("deltas", 0),
        "bytes": report.bytes,
        "frames": report.frames,
        "retries": report.retries,
        "mean_retries": report.average_retries,
        "recoveries": sum(each.count for each in report.recoveries),
        # Those that wrote a part of an answer, whatever became of it after that.
        "healed": sum(each.count for each in report.recoveries if each.guarantee != "none"),
        "rungs": _rungs(report),
        "faults": sum(each.count for each in report.faults),
    }


def _rungs(report: HealthReport) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in report.recoveries:
        found[each.rung] = found.get(each.rung, 0) + each.count
    return found


def _stormy(recent: Recent) -> bool:
    return recent.ended > 0 and recent.failed >= _STORM * recent.ended


def _weather(group: Group, recent: Recent) -> dict[str, object]:
    part = report_of(Figures(groups=[group]), at=0.0)
    if _stormy(recent):
        sky, tone = "stormy", "bad"
    elif recent.failed or recent.recoveries:
        sky, tone = "unsettled", "warn"
    elif recent.ended:
        sky, tone = "clear", "good"
    else:
        sky, tone = "quiet", ""
    return {
        "provider": group.labels.provider,
        "model": group.labels.model,
        "sky": sky,
        "tone": tone,
        "total": part.total,
        "success_rate": part.success_rate,
        "failed": part.failed,
        "ttft": _spread(part.ttft_s),
        "gap": _spread(part.gap_s),
        "recoveries": sum(each.count for each in part.recoveries),
    }


def _spread(spread: Spread) -> dict[str, float] | None:
    if not spread.count:
        return None
    named = {"p50": spread.p50, "p90": spread.p90, "p99": spread.p99, "average": spread.average}
    return {name: float(f"{value:.3g}") for name, value in named.items()}


def stream_part(row: StreamRow) -> dict[str, object]:
    """Return what the page shows of one stream.

    Of a long id only the ends: whoever looks over a shoulder must not learn one whole.
    """
    if row.status != "active":
        state = row.status
    elif row.stalled:
        state = "stalled"
    elif row.phase == "recovering":
        state = "recovering"
    else:
        state = "client gone" if row.left else "running"
    return {
        "key": _key(row.id),
        "id": shown_id(row.id),
        "provider": row.provider or row.dialect,
        "model": row.model,
        "team": row.team,
        "state": state,
        "phase": row.phase,
        "gap_s": round(row.since_progress_s, 1),
        "age_s": round(row.duration_s, 1),
        "bytes": row.bytes,
        "tokens": row.tokens,
        "recoveries": len(row.recoveries),
        "rungs": row.recoveries,
        "seams": list(getattr(row, "seams", ())),
        "errors": [error.kind for error in row.errors],
    }


def _by_kind(faults: Sequence[FaultRow]) -> list[dict[str, object]]:
    """Return the faults by kind, the latest kind first: what to do about it is said once."""
    found: dict[str, list[FaultRow]] = {}
    for row in sorted(faults, key=lambda row: row.at, reverse=True):
        found.setdefault(title_of(row.kind, row.detail), []).append(row)
    groups: list[dict[str, object]] = []
    for kind, rows in list(found.items())[:_MOST_KINDS]:
        advice = advice_on(rows[0].kind, rows[0].detail, rows[0].provider)
        groups.append(
            {
                "kind": kind,
                "cause": advice.cause,
                "avoid": advice.avoid,
                "remedy": advice.remedy,
                "record": advice.record,
                "count": len(rows),
                "latest": [fault_part(row) for row in rows[:_MOST_A_KIND]],
            }
        )
    return groups


def fault_part(row: FaultRow) -> dict[str, object]:
    """Return what the page shows of one fault."""
    return {
        "key": _key(f"{row.stream} {row.at} {row.kind} {row.attempt}"),
        "id": shown_id(row.stream),
        "at": round(row.at, 1),
        "severity": row.severity,
        "detail": row.detail,
        "provider": row.provider,
        "model": row.model,
        "healed": row.rung,
    }


def _key(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=6).hexdigest()


def shown_id(stream_id: str) -> str:
    """Return a stream's id as the page shows it: enough to find it by, and no more."""
    return stream_id if len(stream_id) <= 12 else f"{stream_id[:6]}…{stream_id[-4:]}"
