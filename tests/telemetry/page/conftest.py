"""A browser for all tests of the page, and the page under a fresh monitor for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.telemetry.page.serving import Server, Tab, chromium
from unbroken.telemetry.health import HealthMonitor
from unbroken.telemetry.page import asgi_app


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def monitor() -> HealthMonitor:
    return HealthMonitor()


@pytest.fixture
def server(monitor: HealthMonitor) -> Iterator[Server]:
    server = Server(asgi_app(monitor, page_token="the-token"))
    yield server
    server.kill()


@pytest.fixture
def tab(browser: Any, server: Server) -> Iterator[Tab]:
    tab = Tab(browser, server.url)
    yield tab
    tab.context.close()
    assert tab.errors == []
    assert tab.elsewhere == []
