"""What `soak.py` reports: the result of a stream, and the sums over all."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

from soak_cases import LEFT_OUT

__all__ = ["GOOD", "Result", "Tally", "show"]

GOOD = ("healed", "honest error")
DAMAGE = ("lost", "repeated", "reordered", "invented")
MOST_ERRORS = 1_000  # listed by --json


@dataclass(kw_only=True)
class Result:
    """What became of one stream."""

    seed: int
    case: str
    drive: str
    verdict: str
    tokens: int = 0
    lost: int = 0
    lost_and_told: int = 0
    repeated: int = 0
    reordered: int = 0
    invented: int = 0
    requests: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    told: str = ""
    raised: str = ""
    error: str = ""
    duration_s: float = 0.0
    rss_mb: float = 0.0
    timeline: str = ""


@dataclass(kw_only=True)
class Tally:
    """The sums over all streams."""

    verdicts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    drives: Counter[str] = field(default_factory=Counter)
    raised: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    streams: int = 0
    struck: int = 0
    rss_mb: float = 0.0
    first_rss_mb: float = 0.0
    bad: list[Result] = field(default_factory=list)
    errors: list[Result] = field(default_factory=list)
    began_s: float = field(default_factory=time.monotonic)

    def add(self, result: Result) -> None:
        """Count a stream."""
        self.streams += 1
        self.verdicts[result.verdict] += 1
        self.drives[result.drive] += 1
        self.faults.update(result.faults)
        self.raised.update([result.raised] if result.raised else [])
        self.struck += bool(result.faults)
        for name in ("tokens", "requests", "lost_and_told", *DAMAGE):
            self.sums[name] += getattr(result, name)
        self.rss_mb = max(self.rss_mb, result.rss_mb)
        if self.streams <= 100:
            self.first_rss_mb = self.rss_mb
        if result.verdict not in (*GOOD, "not played"):
            self.bad.append(result)
        elif result.error and len(self.errors) < MOST_ERRORS:
            self.errors.append(result)

    @property
    def ok(self) -> bool:
        """Whether all ended well."""
        return not self.bad and self.streams > self.verdicts["not played"]

    def line(self) -> str:
        """Return where we are."""
        took_s = time.monotonic() - self.began_s
        return (
            f"{self.streams:,} streams, {self.streams / took_s:.1f}/s,"
            f" {self.verdicts['healed']:,} healed, {self.verdicts['honest error']:,} honest errors,"
            f" {len(self.bad)} bad, {self.rss_mb:.0f} MB"
        )

    def to_dict(self, seed: int, without: list[str]) -> dict[str, Any]:
        """Return the report as it is written by ``--json``."""
        took_s = time.monotonic() - self.began_s
        kinds = ("laundered", "corrupted", "hung", "crashed", "untrue outcome")
        return {
            "ok": self.ok,
            "seed": seed,
            "streams": self.streams,
            "streams_with_faults": self.struck,
            "faults": sum(self.faults.values()),
            "requests": self.sums["requests"],
            "tokens": self.sums["tokens"],
            "healed": self.verdicts["healed"],
            "honest_errors": self.verdicts["honest error"],
            **{name: self.sums[name] for name in DAMAGE},
            "lost_and_told": self.sums["lost_and_told"],
            **{name.replace(" ", "_"): self.verdicts[name] for name in kinds},
            "not_played": self.verdicts["not played"],
            "worst_rss_mb": self.rss_mb,
            "rss_mb_after_100": self.first_rss_mb,
            "duration_s": round(took_s, 1),
            "streams_per_s": round(self.streams / took_s, 1),
            "faults_by_kind": dict(self.faults.most_common()),
            "raised": dict(self.raised.most_common()),
            "clients": dict(self.drives.most_common()),
            "left_out": LEFT_OUT,
            "without": without,
            "failures": [asdict(result) for result in self.bad],
            "errors": [
                {name: getattr(one, name) for name in ("seed", "case", "verdict", "error")}
                for one in self.errors
            ],
        }


def show(report: dict[str, Any], out: TextIO) -> None:
    """Print a report for people."""
    again = " ".join(["python scripts/soak.py", *(f"--without {n}" for n in report["without"])])
    for failure in report["failures"]:
        print(
            f"\n{failure['verdict'].upper()}  seed {failure['seed']}  {failure['case']}", file=out
        )
        print(f"  {failure['told']}", file=out)
        print(f"  {failure['error']}" if failure["error"] else "", file=out)
        print("\n".join(f"  {line}" for line in failure["timeline"].splitlines()), file=out)
        if failure["seed"]:
            print(f"  again: {again} --only {failure['seed']}", file=out)
    print(file=out)
    for name, value in report.items():
        if name == "without":
            print(f"{name:<22}{', '.join(value) or 'nothing more'}", file=out)
        elif isinstance(value, dict):
            said = ", ".join(f"{key} {count}" for key, count in value.items())
            if name == "left_out":
                said = "; ".join(f"{key}: {why}" for key, why in value.items())
            print(f"{name.replace('_', ' '):<22}{said}", file=out)
        elif name not in ("failures", "errors"):
            shown = f"{value:,}" if not isinstance(value, bool) else ("no", "yes")[value]
            print(f"{name.replace('_', ' '):<22}{shown}", file=out)
