"""What the runs come to: figures by gateway, a table, and the goals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["GOALS", "figures", "goals", "table"]

Run = dict[str, Any]
BEHIND_SHARE = 0.97  # of the events that were due; less, and the gateway did not keep up

# (what, figure, against which other gateway, at most so many times its figure); no other: at most
GOALS = (
    ("paced: CPU an event against nginx", "paced", "us_per_event", "nginx", 3.0),
    ("full speed: CPU an event against nginx", "full", "us_per_event", "nginx", 4.0),
    ("full speed: CPU against TensorZero", "full", "us_per_event", "tensorzero", 1 / 4),
    ("full speed: CPU against Portkey", "full", "us_per_event", "portkey", 1 / 4),
    ("full speed: CPU against LiteLLM", "full", "us_per_event", "litellm", 1 / 100),
    ("paced: added delay p99, ms", "paced", "added_delay_p99_ms", "", 2.0),
    ("idle: KiB a stream beyond its request", "idle", "kib_beyond_request", "", 24.0),
)


def figures(runs: Iterable[Run], request_bytes: int) -> dict[str, dict[str, dict[str, float]]]:
    """Return figures by gateway and load: of each the least and the median over the rounds.

    The least is the better figure on a machine that is shared: noise only ever adds. What was
    *added* is the least against the least of the direct way, and the median against its median.
    """
    by: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        by.setdefault((run["gateway"], run["load"]), []).append(run)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (gateway, load), rounds in by.items():
        rows = [_row(run, request_bytes) for run in rounds]
        merged: dict[str, float] = {"rounds": len(rows)}
        for name in dict.fromkeys(name for row in rows for name in row):
            values = [row[name] for row in rows if name in row]
            best = max if name == "streams_per_s" else min
            merged[name] = best(values)
            merged[f"{name}.median"] = statistics.median(values)
        found.setdefault(gateway, {})[load] = merged
    for loads in found.values():
        for load, merged in loads.items():
            direct = found.get("direct", {}).get(load, {})
            timed = [name for name in merged if name.startswith(("first_", "delay_"))]
            for name in timed:
                if name in direct:
                    merged[f"added_{name}"] = merged[name] - direct[name]
    return found


def _row(run: Run, request_bytes: int) -> dict[str, float]:
    row: dict[str, float] = {"streams": run["streams"], "asked": run["asked"]}
    row["broken"] = run["cut"] + run["refused"]
    if run["load"] == "idle":
        kib = run["bytes_per_stream"] / 1024
        row |= {"kib_per_stream": kib, "kib_beyond_request": kib - request_bytes / 1024}
    elif run["pid"]:
        row |= {"us_per_event": run["us_per_event"], "cpu_share": run["cpu_share"]}
        row["kept_up"] = run["events_seen"] / max(run["events_due"], 1)
    if run["load"] in ("full", "each"):
        row["streams_per_s"] = run["streams_per_s"]
    for what, short in (("first_s", "first"), ("delay_s", "delay")):
        for point in ("p50", "p99") if run[what] else ():
            row[f"{short}_{point}_ms"] = run[what][point] * 1000
    return row


def goals(found: dict[str, dict[str, dict[str, float]]], name: str) -> list[dict[str, Any]]:
    """Return each goal that could be judged, by the least figures."""
    out = []
    for what, load, figure, other, most in GOALS:
        ours = found.get(name, {}).get(load, {}).get(figure)
        if ours is None:
            continue
        if other:
            theirs = found.get(other, {}).get(load, {}).get(figure)
            if not theirs:
                continue
            ours /= theirs
        out.append({"goal": what, "is": ours, "at_most": most, "met": ours <= most})
    return out


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _pair(row: dict[str, float], name: str) -> str:
    if name not in row:
        return "-"
    return f"{_number(row[name])} / {_number(row[f'{name}.median'])}"


def _columns(load: str) -> list[tuple[str, Callable[[dict[str, float], float | None], str]]]:
    def times(row: dict[str, float], floor: float | None) -> str:
        mine = row.get("us_per_event")
        return f"{mine / floor:.1f}" if mine and floor else "-"

    cpu: list[tuple[str, Callable[[dict[str, float], float | None], str]]] = [
        ("CPU µs/event", lambda row, _: _pair(row, "us_per_event")),
        ("× nginx", times),
    ]
    first: list[tuple[str, Callable[[dict[str, float], float | None], str]]] = [
        ("+TTFT p50 ms", lambda row, _: _pair(row, "added_first_p50_ms")),
        ("+TTFT p99 ms", lambda row, _: _pair(row, "added_first_p99_ms")),
    ]
    streams: list[tuple[str, Callable[[dict[str, float], float | None], str]]] = [
        ("streams", lambda row, _: _streams(row)),
    ]
    if load in ("full", "each"):
        return [*cpu, ("streams/s", lambda row, _: _pair(row, "streams_per_s")), *first]
    if load == "paced":
        delay = [
            ("+delay p50 ms", lambda row, _: _pair(row, "added_delay_p50_ms")),
            ("+delay p99 ms", lambda row, _: _pair(row, "added_delay_p99_ms")),
            ("CPU share", lambda row, _: f"{row['cpu_share']:.0%}" if "cpu_share" in row else "-"),
        ]
        return [*streams, *cpu, *delay, *first]
    return [
        *streams,
        ("KiB/stream", lambda row, _: _number(row.get("kib_per_stream"))),
        ("beyond its request", lambda row, _: _number(row.get("kib_beyond_request"))),
    ]


def _streams(row: dict[str, float]) -> str:
    notes = []
    if row["streams"] < row["asked"] or row["broken"]:
        notes.append(f"{row['asked'] - row['streams']:.0f} not opened, {row['broken']:.0f} broken")
    if row.get("kept_up", 1.0) < BEHIND_SHARE:
        notes.append("fell behind")
    return f"{row['streams']:,.0f}" + (f" ({'; '.join(notes)})" if notes else "")


def table(
    found: dict[str, dict[str, dict[str, float]]], labels: dict[str, str], load: str
) -> list[str]:
    """Return a Markdown table of one load; pairs are least / median over the rounds."""
    columns = _columns(load)
    floor = found.get("nginx", {}).get(load, {}).get("us_per_event")
    rows = [["gateway", *(name for name, _ in columns)]]
    for gateway, label in labels.items():
        row = found.get(gateway, {}).get(load)
        if row is not None and gateway != "direct":
            rows.append([label, *(show(row, floor) for _, show in columns)])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines
