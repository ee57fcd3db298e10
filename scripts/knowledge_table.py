"""Write docs/reference/knowledge.md: every record of the knowledge base, and its JSON Schema.

python scripts/knowledge_table.py
"""

# ruff: noqa: E501  a table cannot be wrapped
from __future__ import annotations

import re
from pathlib import Path

import msgspec

from unbroken.knowledge.load import DATA, Base, read_records
from unbroken.knowledge.record import Measured
from unbroken.knowledge.schema import schema
from unbroken.knowledge.told import Related, Told, told

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
PAGE = REFERENCE / "knowledge.md"
SCHEMA = REFERENCE / "knowledge.schema.json"

__all__ = ["PAGE", "SCHEMA", "page", "schema_text"]

_HEAD = """\
<!-- Written by scripts/knowledge_table.py from src/unbroken/knowledge/data: change that, then run `make docs`. -->
# The knowledge base

{count} records: what a failure means, what not to try, what to do. `unbroken explain` finds them by the text of
an error; exceptions, `unbroken check`, reports and the live page show them.
[How to use it and how to add to it](../how-to/explain-failures.md). The form of a record as a
[JSON Schema](knowledge.schema.json).

A rate with counts was measured by `make knowledge`, which plays the record's scenario in the lab; a rate in per
cent alone is a claim. *reproduced*: seen by running it; *sourced*: taken from what is linked.

| record | as one meets it | sure |
|---|---|---|
"""
_AREAS = {
    "llm": "What happens to streams",
    "sdk": "What SDKs and applications say",
    "proxy": "What stands in between",
    "provider": "What providers say",
}


def page() -> str:
    """Return the page."""
    records = [told(record) for record in Base(read_records(DATA)).records]
    known = {record.id for record in records}
    rows = [
        f"| [{each.id}](#{_anchor(each.id)}) | {_cell(each.signature)} | {each.tier} |"
        for each in records
    ]
    parts = [_HEAD.format(count=len(records)) + "\n".join(rows)]
    for area, title in _AREAS.items():
        parts.append(f"## {title}")
        parts += [_record(each, known) for each in records if each.id.startswith(f"{area}/")]
    return "\n\n".join(parts) + "\n"


def schema_text() -> str:
    """Return the JSON Schema of a record."""
    return msgspec.json.format(msgspec.json.encode(schema()), indent=2).decode() + "\n"


def _record(record: Told, known: set[str]) -> str:
    lines = [f"### {record.id}", "", f"`{_code(record.signature)}`", "", _text(record.cause)]
    about = [f"{record.tier}, confidence {record.confidence:.0%}"]
    if record.error_code:
        about.append(f"code `{_code(record.error_code)}`")
    if record.scenario:
        about.append(f"in the lab: `{_code(record.scenario)}`")
    if record.last_confirmed:
        about.append(f"last seen {record.last_confirmed}")
    if record.doc_url:
        about.append(f"[the vendor on it]({record.doc_url})")
    lines += ["", "; ".join(about) + ".", ""]
    lines += [
        f"- **Do not** {_text(end.action)}, because {_text(end.why_fails)}"
        f" (fails: {_rate(end.fail_rate, end.measured, failed=True)})."
        for end in record.dead_ends
    ]
    lines += [
        f"- **Do:** {_text(way.action)} (helps: {_rate(way.success_rate, way.measured, failed=False)}"
        + (f"; {_text(way.condition)}" if way.condition else "")
        + ")"
        for way in record.workarounds
    ]
    lines += _edges("Leads to", record.leads_to, known)
    lines += _edges("Comes after", record.preceded_by, known)
    lines += _edges("Easily taken for it", record.confused_with, known)
    return "\n".join(lines)


def _edges(title: str, edges: list[Related], known: set[str]) -> list[str]:
    if not edges:
        return []
    told_of = [
        (f"[{edge.id}](#{_anchor(edge.id)})" if edge.id in known else f"`{edge.id}`")
        + (
            f" ({_text(edge.distinction or edge.condition)})"
            if edge.distinction or edge.condition
            else ""
        )
        for edge in edges
    ]
    return [f"- {title}: " + "; ".join(told_of) + "."]


def _rate(claimed: float, measured: Measured | None, *, failed: bool) -> str:
    if measured is None or not measured.tries:
        return f"{claimed:.0%}"
    count = measured.tries - measured.worked if failed else measured.worked
    return f"{count} of {measured.tries}, measured {measured.date}"


def _anchor(record_id: str) -> str:
    return re.sub(r"[^a-z0-9_-]", "", record_id.lower())


def _text(text: str) -> str:
    """Return prose that Markdown leaves alone."""
    return re.sub(r"([<>\[\]|*_])", r"\\\1", " ".join(text.split()))


def _cell(text: str) -> str:
    return f"`{_code(text)}`".replace("|", "\\|")


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
    SCHEMA.write_text(schema_text(), "utf-8")
