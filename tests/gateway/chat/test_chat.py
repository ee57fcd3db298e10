"""The chat box in a real Chromium, against a stand-in that speaks the resume protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.gateway.chat.stand_in import TOKEN, WORDS, Gateway
from tests.telemetry.page.serving import Server, Tab, chromium
from unbroken.gateway.chat import ChatSettings

pytest.importorskip("playwright")

WHOLE = "".join(WORDS)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def server(gateway: Gateway) -> Iterator[Server]:
    server = Server(gateway.app, log_level="critical")
    yield server
    server.kill()


@pytest.fixture
def tab(browser: Any, server: Server) -> Iterator[Tab]:
    tab = Tab(browser, server.url)
    tab.page.goto(server.url + "/_unbroken/")
    yield tab
    tab.context.close()
    # The browser's own word on a connection that was cut; scripts' errors are ours.
    ours = [error for error in tab.errors if "net::ERR" not in error and "status of 4" not in error]
    assert ours == []
    assert tab.elsewhere == []


def send(tab: Tab, model: str, text: str = "why do streams break?") -> Any:
    tab.page.select_option("#chat-model", model)
    tab.page.fill("#chat-text", text)
    tab.page.press("#chat-text", "Enter")
    return tab.page


def words(tab: Tab) -> str:
    """What stands there of the last answer, its marks left out."""
    return str(
        tab.page.evaluate(
            "() => [...document.querySelectorAll('.turn.assistant')].at(-1)"
            ".querySelector('.words').cloneNode(true)"
            ".childNodes.values().filter(n => n.nodeType === 3).map(n => n.data).toArray().join('')"
        )
    )


def wait_for_end(tab: Tab, state: str) -> str:
    tab.page.wait_for_selector(f'.turn.assistant[data-state="{state}"]')
    return str(tab.page.locator(".turn.assistant .end").last.inner_text())


@pytest.mark.seed("003-handler-browser")
def test_an_answer_comes_whole(tab: Tab, gateway: Gateway) -> None:
    send(tab, "plain")
    assert wait_for_end(tab, "complete") == "✓ complete"
    assert words(tab) == WHOLE
    assert gateway.posts[0]["messages"] == [{"role": "user", "content": "why do streams break?"}]
    send(tab, "plain", "and then?")
    tab.wait_for("() => document.querySelectorAll('[data-state=complete]').length === 2")
    assert [each["role"] for each in gateway.posts[1]["messages"]] == [  # type: ignore[index]
        "user", "assistant", "user",
    ]  # fmt: skip


def test_a_healed_answer_shows_where(tab: Tab) -> None:
    page = send(tab, "heal")
    said = wait_for_end(tab, "complete")
    assert "✓ complete" in said
    page.wait_for_selector(".seam")
    assert "broken and healed once" in tab.text(".turn.assistant .end")
    assert words(tab) == WHOLE
    before = page.evaluate("() => document.querySelector('.seam').previousSibling.data")
    assert before == "".join(WORDS[:3])
    assert "healed (prefill)" in str(page.get_attribute(".seam", "aria-label"))
    # The mark is seen, and whoever copies the answer gets the answer.
    shown = "getComputedStyle(document.querySelector('.seam'), '::before').content"
    assert "healed" in page.evaluate(shown)
    page.evaluate(
        "getSelection().selectAllChildren([...document.querySelectorAll('.words')].at(-1))"
    )
    assert page.evaluate("getSelection().toString()") == WHOLE


@pytest.mark.parametrize(
    ("row", "seams"),
    [
        # The gateway's word is exact, and counts code points: 🙂 is one, and two in JavaScript.
        (
            {"recoveries": 1, "rungs": ["prefill"], "seams": [[4, "prefill"]]},
            [{"at": 5, "rung": "prefill", "exact": True}],
        ),
        # Too fast to see a pause: healed, but nobody knows where.
        (
            {"recoveries": 1, "rungs": ["replay"], "seams": []},
            [{"at": None, "rung": "replay", "exact": False}],
        ),
        ({"recoveries": 0, "rungs": [], "seams": []}, None),
    ],
)
def test_seams_are_where_the_gateway_says(tab: Tab, row: object, seams: object) -> None:
    found = tab.page.evaluate(
        """async (row) => {
          const path = document.querySelector('script[src*="chat.js"]').src;
          const { Seams } = await import(path.replace('chat.js', 'seams.js'));
          let found = null;
          const seams = new Seams({ask: async () => row, onSeams: (list) => { found = list; }});
          await seams.look('ab🙂d and more');
          seams.end();
          return found;
        }""",
        row,
    )
    assert found == seams


@pytest.mark.seed("003-handler-browser")
def test_a_failure_is_told(tab: Tab, gateway: Gateway) -> None:
    page = send(tab, "fail")
    said = wait_for_end(tab, "failed")
    assert said.startswith("✕ not complete")
    assert said.splitlines()[0] == "✕ not complete · connection-reset"  # the gateway's own code
    assert "do not treat" not in said  # folded away
    page.click(".turn.assistant .end summary")
    assert "after 900 bytes; do not treat" in tab.text(".turn.assistant .end p")
    assert words(tab) == "".join(WORDS[:3])
    page.select_option("#chat-model", "plain")
    page.click("#chat-retry")
    assert wait_for_end(tab, "complete") == "✓ complete"
    assert page.locator(".turn.assistant").count() == 1
    assert len(gateway.posts) == 2
    assert gateway.posts[1]["messages"] == gateway.posts[0]["messages"]


def test_stop_stops_the_stream_for_good(tab: Tab, gateway: Gateway) -> None:
    page = send(tab, "slow")
    tab.wait_for("() => document.querySelector('.turn.assistant .words')?.textContent.length > 5")
    page.click("#chat-stop")
    said = wait_for_end(tab, "stopped")
    assert said == "■ stopped · the provider was cut off too"
    (stream,) = gateway.streams.values()
    assert stream.status == "cancelled"
    assert not page.is_visible("#chat-stop")
    assert page.is_visible("#chat-retry")


def test_a_lost_connection_is_read_on(tab: Tab, gateway: Gateway) -> None:
    send(tab, "drop")
    said = wait_for_end(tab, "complete")
    assert "nothing of the answer was" in said
    assert words(tab) == WHOLE
    assert len(gateway.posts) == 1
    assert gateway.reads[0] is not None


def test_a_reload_in_mid_answer_goes_on(tab: Tab, gateway: Gateway) -> None:
    page = send(tab, "slow")
    tab.wait_for("() => document.querySelector('.turn.assistant .words')?.textContent.length > 20")
    page.reload()
    assert wait_for_end(tab, "complete") == "✓ complete"
    assert words(tab) == WHOLE
    assert len(gateway.posts) == 1
    assert gateway.reads[0] is not None
    assert gateway.reads[0] != "0-0"
    # And once more, after the end: the conversation is still there.
    page.reload()
    assert words(tab) == WHOLE


def test_a_reload_keeps_the_model(tab: Tab) -> None:
    page = send(tab, "heal")
    wait_for_end(tab, "complete")
    page.reload()
    assert page.input_value("#chat-model") == "heal"
    page.select_option("#chat-model", "slow")
    page.click("#chat-clear")
    page.reload()
    assert page.input_value("#chat-model") == "slow"


@pytest.mark.parametrize("name", ["unbroken.js", "unbroken-reading.js"])
def test_the_client_has_an_address_that_stays(server: Server, name: str) -> None:
    url = f"{server.url}/_unbroken/{name}"
    answer = httpx.get(url)
    assert answer.text == (ChatSettings().static / name).read_text("utf-8")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert answer.headers["cache-control"] == "no-cache"
    again = httpx.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = httpx.get(url, headers={"If-None-Match": '"another"'})
    assert other.status_code == 200


def test_the_client_runs_from_there(tab: Tab) -> None:
    kind = "async () => typeof (await import('/_unbroken/unbroken.js')).stream"
    assert tab.page.evaluate(kind) == "function"


def test_a_reload_whose_place_is_gone_reads_from_the_beginning(tab: Tab, gateway: Gateway) -> None:
    page = send(tab, "slow")
    tab.wait_for("() => document.querySelector('.turn.assistant .words')?.textContent.length > 20")
    gateway.expired = True
    page.reload()
    wait_for_end(tab, "complete")
    assert words(tab) == WHOLE
    assert gateway.reads[-1] is None


def test_a_reload_whose_stream_is_gone_says_so(tab: Tab, gateway: Gateway) -> None:
    page = send(tab, "slow")
    tab.wait_for("() => document.querySelector('.turn.assistant .words')?.textContent.length > 20")
    had = words(tab)
    gateway.streams.clear()
    page.reload()
    assert "✕ not complete" in wait_for_end(tab, "failed")
    assert words(tab).startswith(had)


def test_keys_are_not_kept(tab: Tab) -> None:
    page = tab.page
    page.click(".chat summary")
    page.fill("#chat-key", "sk-very-secret")
    send(tab, "plain")
    wait_for_end(tab, "complete")
    kept = page.evaluate("() => JSON.stringify({...sessionStorage, ...localStorage})")
    assert "why do streams break?" in kept
    assert "sk-very-secret" not in kept
    page.click("#chat-clear")
    assert "why do" not in page.evaluate("() => JSON.stringify({...sessionStorage})")


def test_the_chat_fits_a_phone_and_keyboard(browser: Any, server: Server) -> None:
    tab = Tab(browser, server.url, viewport={"width": 360, "height": 740})
    page = tab.page
    page.goto(server.url + "/_unbroken/")
    send(tab, "plain", "a-long-word-" * 20)
    wait_for_end(tab, "complete")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    page.focus("#chat-text")
    reached = set()
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("() => document.activeElement.id || document.activeElement.tagName")
        )
    assert {"chat-model", "SUMMARY", "chat-clear", "chat-retry", "chat-send"} <= reached
    tab.context.close()


def test_the_token_is_in_the_page_and_nowhere_else(server: Server, browser: Any) -> None:
    tab = Tab(browser, server.url)
    tab.page.goto(server.url + "/_unbroken/")
    assert tab.page.get_attribute('meta[name="unbroken-page"]', "content") == TOKEN
    answer = tab.page.evaluate(
        "() => fetch('../v1/chat/completions', {method: 'POST', body: '{}',"
        " headers: {'Content-Type': 'application/json'}}).then(r => r.status)"
    )
    assert answer == 403
    tab.context.close()


@pytest.mark.parametrize("path", ["https://elsewhere.example/v1", "//elsewhere.example", "v1"])
def test_only_paths_of_the_gateway(path: str) -> None:
    with pytest.raises(ValueError, match="path from the gateway's root"):
        ChatSettings(path=path)


def test_addresses_are_relative_and_escaped() -> None:
    assert ChatSettings().url == "../v1/chat/completions"
    assert ChatSettings(mount="/a/b").url == "../../v1/chat/completions"
    assert "<b>" not in ChatSettings(models=("<b>",)).section()
    assert "<select" not in ChatSettings().section()
