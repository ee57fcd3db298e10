"""The card for build servers: JUnit XML, a test case for each scenario.

A verdict worse than an honest error is a failure; what was not run, and what no client can know,
is skipped; a client that failed although nothing had gone wrong is an error, and so is a plan of
the user's own that the lab refused. Of a run that was stopped the property ``complete`` is false.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from unbroken.lab.score.results import Card, Result
from unbroken.lab.score.view_table import damage, facts_line

__all__ = ["junit"]

# What XML 1.0 cannot hold at all, however it is escaped.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(cards: list[Card]) -> bytes:
    """Return the XML of one or several cards."""
    root = ET.Element("testsuites", name="unbroken lab score")
    for card in cards:
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_clean(f"{card.label}.{card.suite}"),
            tests=str(len(card.results) + len(card.skipped)),
            failures=str(sum(_sort(result) == "failure" for result in card.results)),
            errors=str(
                sum(_sort(result) == "error" for result in card.results)
                + sum(skipped.mistake for skipped in card.skipped)
            ),
            skipped=str(
                sum(not skipped.mistake for skipped in card.skipped)
                + sum(_sort(result) == "skipped" for result in card.results)
            ),
            time=f"{card.duration_s:.3f}",
        )
        if card.started_at:
            suite.set("timestamp", card.started_at.removesuffix("+00:00"))
        if not card.complete:
            properties = ET.SubElement(suite, "properties")
            ET.SubElement(properties, "property", name="complete", value="false")
        for result in card.results:
            _case(suite, card, result)
        for skipped in card.skipped:
            case = ET.SubElement(
                suite, "testcase", classname=_class_of(card), name=skipped.scenario, time="0"
            )
            sort = "error" if skipped.mistake else "skipped"
            ET.SubElement(case, sort, message=_clean(skipped.why))
    ET.indent(root)
    xml = ET.tostring(root, "unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{xml}\n'.encode()


def _case(suite: ET.Element, card: Card, result: Result) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_class_of(card),
        name=_clean(result.scenario),
        time=f"{result.facts.duration_s:.3f}",
    )
    message = _clean(f"{result.verdict}: {damage(result)}".removesuffix(": "))
    sort = _sort(result)
    if sort:
        element = ET.SubElement(case, sort, message=message)
        if sort != "skipped":
            element.set("type", result.verdict)
            element.text = _clean(
                f"{result.life}\nmodel: {result.model}\n{facts_line(result.facts)}\n"
            )
    out = ET.SubElement(case, "system-out")
    out.text = _clean(f"{message}\n{facts_line(result.facts)}")
    if result.stderr_end and sort in ("failure", "error"):
        ET.SubElement(case, "system-err").text = _clean(result.stderr_end)


def _sort(result: Result) -> str:
    if result.ok:
        return "skipped" if result.undetectable and result.verdict != "healed" else ""
    return "error" if result.facts.unprovoked else "failure"


def _class_of(card: Card) -> str:
    return _clean(f"unbroken.lab.{card.suite}.{card.label}")


def _clean(text: str) -> str:
    return _NO_XML.sub("\ufffd", text)
