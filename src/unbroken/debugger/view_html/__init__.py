"""The report as one HTML file: it opens without a network, and loads nothing from anywhere.

All facts are in the page as text and tables; the charts are drawn beside them by Plotly, which is
put into the file. Its content policy names each script by its hash, so that nothing that came
over a wire could ever run.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from importlib import resources
from typing import Any

import msgspec

from unbroken.debugger.facts import Report
from unbroken.debugger.view_html.parts import WHERE, tag, text, tone_of
from unbroken.debugger.view_html.stream import HELD_ROWS, stream_section
from unbroken.debugger.words import amount, seconds, size
from unbroken.telemetry.plotly_script import STYLE, Plotly, plotly

__all__ = ["page"]


_MOST_OPEN = 2
"""Of many streams so many stand open, the broken ones first; a click opens any other."""


def page(report: Report) -> str:
    """Return the page.

    Args:
        report: What it tells.

    Raises:
        ImportError: If Plotly is not installed; says how to install it.
    """
    library = plotly()
    if library is None:
        msg = 'the page\'s charts need Plotly: pip install "unbroken[report]"'
        raise ImportError(msg)
    script = library.path.read_text("utf-8")
    ours = _asset("page.js")
    css = _asset("page.css") + STYLE.read_text("utf-8")
    # The empty style is Plotly's: it fills it by rules, which a policy by hashes allows.
    policy = (
        f"default-src 'none'; script-src {_hash(script)} {_hash(ours)};"
        f" style-src {_hash(css)} {_hash('')};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            '<meta name="referrer" content="no-referrer">',
            f"<title>{text(_title(report))}</title><style>{css}</style></head><body>",
            '<a class="skip" href="#main">To the report</a>',
            *_guards(library),
            *_top(report),
            '<main id="main" tabindex="-1">',
            *_list(report),
            *_sections(report),
            "</main>",
            *_footer(report),
            f'<script type="application/json" id="data">{_data(report)}</script>',
            f"<script>{script}</script><script>{ours}</script></body></html>\n",
        ]
    )  # fmt: skip


def _sections(report: Report) -> Iterator[str]:
    worst = [s for s in report.streams if s.fault is not None and not s.healed]
    odd = [s for s in report.streams if s not in worst and s.verdict.where != "none"]
    opened = {stream.number for stream in (worst or odd)[:_MOST_OPEN]}
    for index, stream in enumerate(report.streams):
        yield from stream_section(report, index, stream, opened=stream.number in opened)


def _asset(name: str) -> str:
    return (resources.files("unbroken.debugger") / "page" / name).read_text("utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _guards(library: Plotly) -> Iterator[str]:
    for each in library.guards:
        yield f'<i id="{each}" hidden></i>'


def _data(report: Report) -> str:
    """What the charts are drawn from, as JSON that cannot end its element."""
    streams: list[dict[str, Any]] = []
    for stream in report.streams:
        told: dict[str, Any] = {
            name: msgspec.to_builtins(getattr(stream, name))
            for name in (
                "number", "duration_s", "bands", "marks", "faults", "stalls", "gaps", "reads",
                "histogram", "throughput",
            )
        }  # fmt: skip
        for fault in told["faults"]:
            fault.pop("help")
        told["attempts"] = [{"number": attempt.number} for attempt in stream.attempts]
        told["timeline"] = [
            {"kind": e.kind, "at_s": e.at_s, "text": e.text, "lasted": (e.until_s or 0) - e.at_s}
            for e in stream.timeline
            if e.kind == "consumer"
        ]
        streams.append(told)
    raw = msgspec.json.encode({"streams": streams}).decode()
    return raw.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _title(report: Report) -> str:
    return f"{report.name or 'recording'}: what the stream did"


def _top(report: Report) -> Iterator[str]:
    about = [amount(report.total, "stream")]
    if report.size_bytes:
        about.append(size(report.size_bytes))
    if report.side:
        about.append(f"recorded by {report.side}")
    if report.started_at:
        about.append(time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.started_at)))
    about.append("contents " + report.contents)
    yield f'<header class="top"><h1>{text(report.name or "recording")}</h1>'
    yield f"<p>{text(', '.join(about))}</p></header>"
    for note in [report.note, *report.notes]:
        if note:
            yield f'<p class="notice">{text(note)}</p>'


def _footer(report: Report) -> Iterator[str]:
    by = f" The recording was made by {text(report.made_by)}." if report.made_by else ""
    yield (
        f"<footer><p>Written by unbroken report.{by} Times are seconds since the stream's first"
        " request. Keys on a chart: ← and → move, + and − zoom, 0 shows all, f goes to the next"
        " fault.</p></footer>"
    )


def _list(report: Report) -> Iterator[str]:
    if report.total < 2:
        return
    told = {stream.number for stream in report.streams}
    yield '<h2 id="all">All streams</h2><div class="scroller" tabindex="0" role="region"'
    yield ' aria-labelledby="all"><table class="list"><thead><tr><th class="n">stream</th>'
    yield '<th>status</th><th>fault lies with</th><th class="wide-only">faults</th>'
    yield '<th class="n">lasted</th><th class="n wide-only">size</th>'
    yield '<th class="wide-only">dialect</th></tr></thead><tbody>'
    for row in report.listed[:HELD_ROWS]:
        name = (
            f'<a href="#s{row.number}">{row.number}</a>' if row.number in told else str(row.number)
        )
        word = "healed" if row.healed else row.status
        where = "" if row.where == "none" else WHERE[row.where].lower()
        yield (
            f'<tr><td class="n">{name}</td><td>{tag(word, tone_of(row.status, row.healed))}</td>'
            f'<td>{text(where)}</td><td class="wide-only">{text(", ".join(row.faults))}</td>'
            f'<td class="n">{seconds(row.duration_s)}</td>'
            f'<td class="n wide-only">{size(row.size_bytes)}</td>'
            f'<td class="wide-only">{text(row.dialect)}</td></tr>'
        )
    yield "</tbody></table></div>"
    if report.total > HELD_ROWS:
        failed = sum(row.status == "failed" for row in report.listed)
        said = f"and {report.total - HELD_ROWS:,} more; of all {failed:,} failed"
        yield f'<p class="soft">{said}. unbroken report --stream N shows any of them.</p>'
