"""The page's addresses, headers and feed, without a browser."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.telemetry.page.serving import Server
from tests.telemetry.page.traffic import deliver, finish
from unbroken.telemetry.health import HealthMonitor
from unbroken.telemetry.page import asgi_app


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


@pytest.mark.parametrize("path", ["/", "/figures.json", "/metrics", "/row", "/plotly.js", "/no"])
def test_nothing_of_other_hosts_may_run(server: Server, path: str) -> None:
    headers = httpx.get(server.url + path).headers
    if path == "/no":
        return
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_page_has_only_relative_addresses(server: Server) -> None:
    text = httpx.get(server.url + "/").text
    addresses = re.findall(r'(?:src|href|data-plotly)="([^"]*)"', text)
    assert addresses
    assert not [each for each in addresses if each.startswith("/") or ":" in each]
    assert "<style" not in text
    assert not re.search(r"<script(?![^>]*src=)", text)
    assert 'name="unbroken-page" content="the-token"' in text


def test_files_are_kept_by_their_version(server: Server) -> None:
    text = httpx.get(server.url + "/").text
    for name in re.findall(r'"(static/[^"]+)"', text):
        answer = httpx.get(f"{server.url}/{name}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
    other = httpx.get(f"{server.url}/static/000000000000/app.js")
    assert other.headers["cache-control"] == "no-store"
    assert httpx.get(f"{server.url}/static/x/..%2fapp.py").status_code == 404
    assert httpx.get(f"{server.url}/static/x/index.html").status_code == 404


def test_plotly_comes_from_its_package(server: Server) -> None:
    pytest.importorskip("plotly")
    text = httpx.get(server.url + "/").text
    (path,) = re.findall(r'data-plotly="([^"]+)"', text)
    packed = httpx.get(f"{server.url}/{path}")
    assert packed.headers["content-encoding"] == "gzip"
    assert "immutable" in packed.headers["cache-control"]
    plain = httpx.get(f"{server.url}/plotly.js", headers={"Accept-Encoding": "identity"})
    assert plain.content == packed.content
    assert b"plotly.js v" in plain.content[:100]
    assert len(gzip.compress(plain.content, 1)) < len(plain.content)


def test_metrics_and_figures(server: Server, monitor: HealthMonitor) -> None:
    finish(monitor.start(provider="openai", model="gpt-x"))
    metrics = httpx.get(server.url + "/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "unbroken_streams_total{" in metrics.text
    figures = httpx.get(server.url + "/figures.json").json()
    assert figures["report"]["total"] == 1
    assert figures["scope"]["all"] is True


def test_one_row_by_its_whole_id(server: Server, monitor: HealthMonitor) -> None:
    monitor.start("s_0123456789abcdef", provider="openai", model="gpt-x")
    ask = lambda name: httpx.get(server.url + "/row", headers={"X-Unbroken-Stream": name})  # noqa: E731
    assert ask("s_0123456789abcdef").json()["state"] == "running"
    assert ask("s_0123").status_code == 404
    monitor.complete("s_0123456789abcdef")
    assert ask("s_0123456789abcdef").json()["state"] == "complete"


def test_the_feed_sends_all_and_then_what_changed(server: Server, monitor: HealthMonitor) -> None:
    with httpx.stream("GET", server.url + "/feed", timeout=10) as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["x-accel-buffering"] == "no"
        news = events(response)
        first = next(news)
        assert first["full"] is True
        assert {"history", "figures", "streams", "faults", "weather", "scope"} <= first.keys()
        assert first["streams"]["total"] == 0
        quiet = next(news)
        assert quiet.keys() == {"point"}  # nothing happened
        deliver(monitor.start(provider="p", model="m"), monitor.clock(), frames=3)
        for change in news:
            if "streams" in change:
                break
        assert change["streams"]["rows"][0]["tokens"] == 3
        assert change["figures"]["active"] == 1
        assert "faults" not in change
        assert "history" not in change


def test_readers_are_limited_and_leaving_frees_a_place(monitor: HealthMonitor) -> None:
    app = asgi_app(monitor, max_readers=1)
    server = Server(app)
    try:
        with httpx.stream("GET", server.url + "/feed") as first:
            news = events(first)  # kept: letting go of it would close the connection
            next(news)
            refused = httpx.get(server.url + "/feed")
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "5"
        for _ in range(100):
            if app.state.feed.readers == 0:
                break
            time.sleep(0.05)
        assert app.state.feed.readers == 0
    finally:
        server.kill()


def test_closing_the_feed_lets_a_server_stop(server: Server) -> None:
    with httpx.stream("GET", server.url + "/feed", timeout=10) as response:
        news = events(response)
        next(news)
        server.call(server._server.config.app.state.feed.close)
        assert list(news) == []  # a proper end: no error while reading it
        assert server.stop()


def test_mounted_in_somebody_elses_app(monitor: HealthMonitor) -> None:
    """Below a path, in an application whose lifespan knows nothing of us."""
    from starlette.applications import Starlette
    from starlette.routing import Mount

    server = Server(Starlette(routes=[Mount("/ops/streams", asgi_app(monitor, title="A & B"))]))
    try:
        answer = httpx.get(server.url + "/ops/streams", follow_redirects=True)
        assert answer.url.path == "/ops/streams/"
        assert "<title>A &amp; B</title>" in answer.text
        with httpx.stream("GET", server.url + "/ops/streams/feed", timeout=10) as response:
            news = events(response)
            next(news)
            assert "point" in next(news)
    finally:
        server.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_sigterm_ends_an_open_feed(tmp_path: Any) -> None:
    """uvicorn waits for open answers, and tells the application nothing before they ended."""
    program = tmp_path / "serve.py"
    program.write_text(
        textwrap.dedent(
            """
            import uvicorn
            from unbroken.telemetry.health import HealthMonitor
            from unbroken.telemetry.page import asgi_app

            class Server(uvicorn.Server):
                async def startup(self, sockets=None):
                    await super().startup(sockets)
                    print(self.servers[0].sockets[0].getsockname()[1], flush=True)

            app = asgi_app(HealthMonitor())
            Server(uvicorn.Config(app, port=0, log_level="error")).run()
            """
        )
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as run:
        try:
            assert run.stdout is not None
            port = int(run.stdout.readline())
            with httpx.stream("GET", f"http://127.0.0.1:{port}/feed", timeout=10) as response:
                news = events(response)
                next(news)
                os.kill(run.pid, signal.SIGTERM)
                list(news)
            # uvicorn hands the signal on to the default handler once it has shut down.
            assert run.wait(10) in (0, -signal.SIGTERM)
        finally:
            run.kill()
