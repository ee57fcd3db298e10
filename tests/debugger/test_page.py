"""The page in a real Chromium: offline, without an error, the fault where it happened."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.debugger.recordings import PING, attempt, delta, finish, whole
from tests.telemetry.page.serving import Tab, chromium
from unbroken.core.recording import Line, RequestSent
from unbroken.debugger import report

pytest.importorskip("plotly", reason="plotly is not installed")
pytest.importorskip("playwright")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def broken() -> list[Line]:
    reads: list[tuple[float, bytes]] = [(0.5 + 0.05 * n, delta("word ")) for n in range(40)]
    reads += [(3.0 + n, PING) for n in range(12)]
    reads += [(15.0 + 0.05 * n, delta("word ")) for n in range(20)]
    return attempt([*reads, (16.2, b"data: {broken\n\n"), (16.3, delta("x"))], how="reset")


def opened(browser: Any, path: Path, lines: list[Line], *, charts: int = 5, **context: Any) -> Tab:
    path.write_text(report(lines).html(), "utf-8")
    tab = Tab(browser, f"file://{path.parent}", **context)
    tab.page.goto(f"file://{path}")
    tab.wait_for(f"() => document.querySelectorAll('.js-plotly-plot').length >= {charts}")
    tab.page.wait_for_timeout(200)
    return tab


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_from_elsewhere_and_no_error(browser: Any, tmp_path: Path, scheme: str) -> None:
    tab = opened(browser, tmp_path / "r.html", broken(), color_scheme=scheme)
    tab.page.mouse.wheel(0, 5000)
    tab.page.wait_for_timeout(200)
    assert tab.errors == []
    assert tab.elsewhere == []
    assert tab.page.title() == "flight recorder: what the stream did"
    assert "connection-reset" in tab.text(".faults")
    tab.context.close()


def test_the_faults_are_marked_where_they_happened(browser: Any, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path / "r.html", broken())
    marks = tab.page.evaluate(
        "() => { const p = document.querySelector('[data-chart=waterfall]');"
        " const t = p.data.find((d) => d.name === 'faults');"
        " const lines = p.layout.shapes.filter((s) => s.type === 'line').map((s) => s.x0);"
        " return { x: t.x, lines,"
        " stall: p.layout.shapes.filter((s) => s.type === 'rect').map((s) => [s.x0, s.x1]) }; }"
    )
    assert marks["x"] == pytest.approx([16.2, 16.31], abs=0.01)
    assert marks["lines"] == marks["x"]
    (from_s, to_s), *_ = marks["stall"]
    assert from_s == pytest.approx(2.45, abs=0.02)
    assert to_s == pytest.approx(15.0, abs=0.02)
    # And on the screen: the cross stands at its time's place on the axis.
    place = tab.page.evaluate(
        "() => { const p = document.querySelector('[data-chart=waterfall]');"
        " const names = p.data.map((d) => d.name), at = names.indexOf('faults');"
        " const traces = [...p.querySelectorAll('.scatterlayer .trace')];"
        " const scatter = p.data.filter((d) => d.type === 'scatter').map((d) => d.name);"
        " const path = traces[scatter.indexOf('faults')].querySelectorAll('path.point')[1];"
        " const box = path.getBoundingClientRect(), plot = p.querySelector('.plot-container')"
        ".getBoundingClientRect();"
        " const axis = p._fullLayout.xaxis;"
        " return [box.x + box.width / 2 - plot.x, axis._offset + axis.d2p(16.31)]; }"
    )
    assert place[0] == pytest.approx(place[1], abs=3)
    tab.context.close()


def test_buttons_and_keys_move_all_charts(browser: Any, tmp_path: Path) -> None:
    tab = opened(browser, tmp_path / "r.html", broken())
    ranges = (
        "() => ['waterfall', 'gaps', 'throughput', 'sizes'].map((name) =>"
        " document.querySelector(`[data-chart=${name}]`).layout.xaxis.range.map(Number))"
    )
    tab.page.get_by_role("button", name="connection-reset").click()
    tab.wait_for(f"() => ({ranges})()[3][0] > 10")
    at_fault = tab.page.evaluate(ranges)
    assert all(each == pytest.approx(at_fault[0]) for each in at_fault)
    assert at_fault[0][0] < 16.31 < at_fault[0][1]
    tab.page.locator("[data-chart=gaps]").focus()
    tab.page.keyboard.press("0")
    tab.wait_for(f"() => ({ranges})()[0][0] < 0.1")
    tab.page.keyboard.press("+")
    tab.wait_for(f"() => ({ranges})()[0][0] > 1")
    tab.page.keyboard.press("0")
    tab.wait_for(f"() => ({ranges})()[0][0] < 0.1")
    tab.page.keyboard.press("f")
    tab.wait_for(f"() => ({ranges})()[0][0] > 10")
    assert tab.errors == []
    tab.context.close()


def test_a_phone_scrolls_one_way(browser: Any, tmp_path: Path) -> None:
    lines = broken()
    for line in lines:
        if isinstance(line, RequestSent):
            line.url = "https://api.example.com/v1/" + "long-" * 40 + "path"
    tab = opened(
        browser, tmp_path / "r.html", lines, viewport={"width": 390, "height": 844}, is_mobile=True
    )
    assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
    tab.context.close()


def test_several_streams_are_listed_and_drawn_as_they_come_into_sight(
    browser: Any, tmp_path: Path
) -> None:
    lines = [line for n in range(1, 6) for line in attempt(whole("a", "b"), stream=n)]
    lines += attempt([delta("a")], stream=6)
    tab = opened(browser, tmp_path / "r.html", lines, charts=1)
    assert tab.page.locator(".list tbody tr").count() == 6
    tab.page.get_by_role("link", name="6", exact=True).click()
    tab.wait_for("() => document.querySelector('#s6 .js-plotly-plot') !== null")
    assert tab.errors == []
    tab.context.close()


def test_of_many_streams_a_few_stand_open(browser: Any, tmp_path: Path) -> None:
    lines = [
        line
        for n in range(1, 31)
        for line in attempt([delta("a")] if n % 3 == 0 else whole("a", "b"), stream=n)
    ]
    tab = opened(browser, tmp_path / "r.html", lines, charts=1)
    opened_ones = "() => [...document.querySelectorAll('.stream[open]')].map((s) => s.id)"
    assert tab.page.evaluate(opened_ones) == ["s3", "s6"]
    assert tab.page.evaluate("document.documentElement.scrollHeight") < 12_000
    tab.page.get_by_role("link", name="4", exact=True).click()
    tab.wait_for("() => document.querySelector('#s4 .js-plotly-plot') !== null")
    width = "() => document.querySelector('#s4 .js-plotly-plot').clientWidth"
    assert tab.page.evaluate(width) > 300
    assert tab.errors == []
    tab.context.close()


def test_names_of_bars_stand_apart_on_a_phone(browser: Any, tmp_path: Path) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True}
    tab = opened(browser, tmp_path / "r.html", broken(), **phone)
    boxes = tab.page.evaluate(
        "() => [...document.querySelectorAll('[data-chart=histogram] .xtick')].map((t) => {"
        " const b = t.getBoundingClientRect(); return [b.left, b.right]; })"
    )
    assert len(boxes) >= 2
    boxes.sort()
    assert all(right < left for (_, right), (left, _) in pairwise(boxes))
    tab.context.close()


def test_a_warning_is_drawn_as_one(browser: Any, tmp_path: Path) -> None:
    lines = attempt([(0.5, delta("a")), (0.6, delta("b")), (20.0, delta("c"))], how="left")
    lines[-1].at_s = 50.0  # type: ignore[union-attr]
    tab = opened(browser, tmp_path / "r.html", lines)
    symbols = tab.page.evaluate(
        "() => document.querySelector('[data-chart=waterfall]').data"
        ".find((d) => d.name === 'faults').marker.symbol"
    )
    assert symbols == ["triangle-up"]
    assert "30.0 s" in tab.text(".figures")
    tab.context.close()


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


def test_what_came_over_the_wire_is_text(browser: Any, tmp_path: Path) -> None:
    """Headers, URLs and previews are a peer's words: none may become a part of the page."""
    lines = attempt(
        [(0.5, delta(HOSTILE)), (0.6, finish() + b"data: [DONE]\n\n")],
        headers=[("content-type", "text/event-stream"), ("server", HOSTILE)],
        path="/v1/chat/completions",
    )
    for line in lines:
        if isinstance(line, RequestSent):
            line.url += HOSTILE
    path = tmp_path / "r.html"
    page = report(lines, previews=True).html()
    path.write_text(page, "utf-8")
    tab = Tab(browser, f"file://{tmp_path}")
    tab.page.on("dialog", lambda dialog: tab.errors.append(dialog.message))
    tab.page.goto(f"file://{path}")
    tab.wait_for("() => document.querySelectorAll('.js-plotly-plot').length >= 1")
    assert tab.page.locator("img").count() == 0
    assert tab.page.locator("script").count() == 3
    assert HOSTILE in tab.page.inner_text("main")
    assert tab.errors == []
    tab.context.close()


def test_without_scripts_the_facts_are_there(tmp_path: Path) -> None:
    page = report(broken()).html()
    body = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.DOTALL)
    for words in ("connection-reset", "malformed-json", "api.example.com", "Where the fault lies"):
        assert words in body
    assert not re.search(r"""\bsrc=|href="(?!#)|url\(|@import""", body)


def test_the_policy_names_scripts_by_hash() -> None:
    page = report(broken()).html()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'")
    assert policy[1].count("'sha256-") == 4
    assert "unsafe" not in policy[1]
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert json.loads(data[1])["streams"][0]["faults"]
