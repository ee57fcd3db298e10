"""The live page in a real Chromium, on a real uvicorn."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.telemetry.page.serving import Server, Tab
from tests.telemetry.page.traffic import cut, deliver, finish, reconnecting, stall
from unbroken.core.faults import Fault, FaultKind
from unbroken.telemetry.health import HealthMonitor
from unbroken.telemetry.page.remedies import advice_on

pytest.importorskip("playwright")


def figure(tab: Tab, name: str) -> str:
    return tab.page.locator("#figures div", has=tab.page.get_by_text(name, exact=True)).locator(
        ".value"
    ).inner_text()  # fmt: skip


def open_page(tab: Tab, server: Server) -> Any:
    tab.page.goto(server.url + "/")
    tab.page.wait_for_selector('#link[data-state="live"]')
    return tab.page


@pytest.mark.seed("003-health-dashboard")
def test_figures_move_and_rows_come_and_go(
    tab: Tab, server: Server, monitor: HealthMonitor
) -> None:
    page = open_page(tab, server)
    assert "No stream yet" in tab.text("#headline")

    health = monitor.start("s_0123456789abcdef", provider="openai", model="gpt-x", team="search")
    deliver(health, monitor.clock(), frames=40)
    row = page.wait_for_selector("#streams-rows tr")
    said = row.inner_text()
    assert "openai" in said
    assert "gpt-x" in said
    assert "running" in said
    assert "40" in said
    assert "s_0123456789abcdef" not in page.content()  # a whole id is nobody's to read here
    assert figure(tab, "Active") == "1"

    health.notice(stall())
    page.wait_for_selector('tr[data-state="stalled"] >> text=stalled')
    health.notice(reconnecting(cut()))
    page.wait_for_selector("#faults >> text=connection-reset")
    assert "continued by prefill" in tab.text("#faults")
    deliver(health, monitor.clock(), frames=2)
    finish(health, "complete", cut(), attempts=2)
    tab.wait_for("() => !document.querySelector('#streams-rows tr')")
    page.wait_for_selector("#headline >> text=1 continuation tried, which added text.")
    assert figure(tab, "Active") == "0"
    assert figure(tab, "Ended well") == "100 %"
    assert figure(tab, "Recoveries") == "1"
    assert "unsettled" in tab.text("#weather")


def test_a_fault_says_cause_and_remedy(tab: Tab, server: Server, monitor: HealthMonitor) -> None:
    page = open_page(tab, server)
    health = monitor.start(provider="anthropic", model="claude-x")
    finish(health, "failed", Fault.of(FaultKind.PROVIDER_ERROR, "overloaded_error after 3 frames"))
    page.wait_for_selector("#faults >> text=provider-error")
    said = tab.text("#faults")
    advice = advice_on("provider-error", "overloaded_error after 3 frames", "anthropic")
    assert advice.cause in said
    assert advice.avoid[1:] in said
    assert advice.remedy in said
    assert f"unbroken explain {advice.record}" in said
    assert "overloaded_error after 3 frames" in said
    assert "anthropic · claude-x" in said
    assert "0.0 %" not in figure(tab, "Ended well")
    assert figure(tab, "Ended well") == "0 %"
    assert page.get_attribute("#faults", "aria-live") == "polite"


def test_names_of_callers_are_text(tab: Tab, server: Server, monitor: HealthMonitor) -> None:
    """A model's name comes from whoever asks: it must never be HTML in somebody's browser."""
    page = open_page(tab, server)
    monitor.start(provider="p", model="<img src=x onerror=alert(1)>")
    page.wait_for_selector("#streams-rows >> text=<img src=x")
    assert page.locator("#streams-rows img").count() == 0


def test_charts_are_drawn(tab: Tab, server: Server, monitor: HealthMonitor) -> None:
    page = open_page(tab, server)
    for _ in range(3):
        monitor.start(provider="openai", model="gpt-x")
    page.wait_for_selector("#plot-active .main-svg")
    tab.wait_for("() => document.querySelector('#plot-active').ariaLabel.includes('3 running')")
    assert page.locator(".plot .main-svg").count() >= 4
    page.hover("#plot-active")
    # A time without streams is a gap, not a line through it.
    joined = "p => p.data.some(trace => trace.connectgaps)"
    assert page.evaluate(f"[...document.querySelectorAll('.plot')].filter({joined}).length") == 0


def test_continuations_are_not_called_healed(
    tab: Tab, server: Server, monitor: HealthMonitor
) -> None:
    finish(monitor.start(), "failed", cut(), attempts=3)
    for rung in ("prefill", "replay", "cursor", "target"):
        finish(monitor.start(), attempts=2, rung=rung)
    page = open_page(tab, server)
    page.wait_for_selector("#headline >> text=6 continuations tried, all of which added text.")
    assert "ealed" not in tab.text("#headline")
    name = page.get_by_text("Recoveries", exact=True)
    more = page.locator("#figures div", has=name).locator(".more").inner_text()
    assert sum(int(word) for word in more.split() if word.isdigit()) == 6
    assert more.endswith("2 by others")


def test_many_models_are_capped(tab: Tab, server: Server, monitor: HealthMonitor) -> None:
    for number in range(20):
        monitor.start(provider="p", model=f"m{number}")
    page = open_page(tab, server)
    page.wait_for_selector("#weather tr")
    assert page.locator("#weather tr").count() == 12
    assert tab.text("#weather-about").endswith("; and 8 more, not shown.")


def test_many_streams_are_capped(tab: Tab, server: Server, monitor: HealthMonitor) -> None:
    streams = [monitor.start(provider="p", model=f"m{number % 7}") for number in range(2000)]
    streams[-1].notice(stall())
    page = open_page(tab, server)
    page.wait_for_selector("#streams-rows tr")
    assert page.locator("#streams-rows tr").count() == 100
    assert "Showing 100 of 2,000" in tab.text("#streams-about")
    # The stalled one is the youngest of all, and the one to see.
    assert page.locator("#streams-rows tr").first.get_attribute("data-state") == "stalled"
    began = time.monotonic()
    page.evaluate("new Promise(requestAnimationFrame)")
    assert time.monotonic() - began < 2


def fill(monitor: HealthMonitor) -> None:
    health = monitor.start(provider="openai-compatible-gateway", model="a-model-" + "long-" * 12)
    deliver(health, monitor.clock(), frames=30)
    health.notice(reconnecting(cut()))
    monitor.start(provider="p", model="m").notice(stall())
    for kind in (FaultKind.PROVIDER_ERROR, FaultKind.TRUNCATED_MID_EVENT, FaultKind.STALLED):
        finish(monitor.start(provider="p", model="m"), "failed", Fault.of(kind, "after 3 frames"))


@pytest.mark.parametrize("width", [360, 768])
def test_nothing_scrolls_sideways(
    browser: Any, server: Server, monitor: HealthMonitor, width: int
) -> None:
    fill(monitor)
    tab = Tab(browser, server.url, viewport={"width": width, "height": 740})
    page = open_page(tab, server)
    page.wait_for_selector("#streams-rows tr")
    page.wait_for_selector("#plot-active .main-svg")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 360:  # rows are cards there, and nothing in them is cut off
        wide = page.evaluate(
            "[...document.querySelectorAll('.scroller')].filter(e => e.scrollWidth > e.clientWidth)"
            ".length"
        )
        assert wide == 0
    assert tab.errors == []
    tab.context.close()


# What a person sees must stand out from what lies behind it: WCAG 2.2 AA, 4.5 to 1.
_CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let each = node; each; each = each.parentElement) {
      const color = rgb(getComputedStyle(each).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim());
    if (!own || !node.checkVisibility() || node.closest('svg, .sr, noscript')) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(behind(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.push(`${node.tagName}.${node.className}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(
    browser: Any, server: Server, monitor: HealthMonitor, scheme: str
) -> None:
    fill(monitor)
    tab = Tab(browser, server.url, color_scheme=scheme)
    page = open_page(tab, server)
    page.wait_for_selector("#faults li")
    page.wait_for_selector("#plot-active .main-svg")
    assert page.evaluate(_CONTRAST) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) < 200) == (scheme == "dark")
    tab.context.close()


def test_keyboard_reaches_everything(tab: Tab, server: Server, monitor: HealthMonitor) -> None:
    fill(monitor)
    page = open_page(tab, server)
    page.wait_for_selector("#streams-rows tr")
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        now = page.evaluate(
            "(e => ({what: e.id || e.getAttribute('href') || e.className, outline:"
            " getComputedStyle(e).outlineStyle}))(document.activeElement)"
        )
        reached.add(now["what"])
        if now["what"] in ("streams-scroller", "weather-scroller", "metrics"):
            assert now["outline"] == "solid"
    assert {
        "#streams",
        "streams-scroller",
        "weather-scroller",
        "metrics",
        "figures.json",
    } <= reached


def test_tables_are_told_to_screen_readers(
    tab: Tab, server: Server, monitor: HealthMonitor
) -> None:
    fill(monitor)
    page = open_page(tab, server)
    page.wait_for_selector("#weather tr")
    assert page.locator("table caption").count() == page.locator("table").count() == 2
    assert page.locator("thead th:not([scope=col])").count() == 0
    assert page.locator("tbody tr:not(:has(th[scope=row]))").count() == 0
    assert page.locator("img:not([alt])").count() == 0


def test_without_javascript_it_says_so(browser: Any, server: Server) -> None:
    tab = Tab(browser, server.url, java_script_enabled=False)
    tab.page.goto(server.url + "/")
    assert "turned off" in tab.text("noscript")
    tab.context.close()


def test_it_comes_back_after_a_restart_of_the_feed(tab: Tab, server: Server) -> None:
    page = open_page(tab, server)
    feed = server._server.config.app.state.feed
    server.call(feed.close)
    tab.wait_for("() => document.querySelector('#link').dataset.state === 'lost'")
    assert page.inner_text("#link-text") != "live"
    server.call(feed.start)
    page.wait_for_selector('#link[data-state="live"]')
    # The browser itself reports the refusals in between; nothing of ours does.
    tab.errors = [error for error in tab.errors if "503" not in error]
