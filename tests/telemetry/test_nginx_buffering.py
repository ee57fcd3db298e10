"""A real nginx that buffers is named; told not to buffer, it is not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import unbroken
from tests.real.nginx import Nginx, nginx_program
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.server.app import LabServer
from unbroken.telemetry import HealthMonitor
from unbroken.telemetry.health import StreamRow

pytestmark = pytest.mark.skipif(nginx_program() is None, reason="nginx is not installed")

TOKENS, TPS = 120, 100


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer(settings=AnswerSettings(tps=TPS, tokens=TOKENS, ttft_s=0.2)) as server:
        yield server


def watch(base_url: str, dialect: str = "openai-chat") -> StreamRow:
    monitor = HealthMonitor()
    with unbroken.stream(
        messages=[{"role": "user", "content": "hello"}],
        model="lab/ok", base_url=base_url, dialect=dialect, api_key="none", health=monitor,
    ) as stream:  # fmt: skip
        stream.text()
    assert monitor.report().buffered == monitor.ended()[0].buffered
    return monitor.ended()[0]


def test_nginx_as_shipped_is_named(lab: LabServer, tmp_path: Path) -> None:
    nginx = Nginx(tmp_path, f"http://127.0.0.1:{lab.port}")
    try:
        row = watch(nginx.base_url)
    finally:
        nginx.close()
    assert row.status == "complete"
    assert row.buffered, row


@pytest.mark.parametrize("settings", ["", "proxy_buffering off; proxy_http_version 1.1;"])
def test_nginx_that_passes_on_and_no_nginx_are_not(
    lab: LabServer, tmp_path: Path, settings: str
) -> None:
    if not settings:
        row = watch(f"http://127.0.0.1:{lab.port}/v1")
    else:
        nginx = Nginx(tmp_path, f"http://127.0.0.1:{lab.port}", settings)
        try:
            row = watch(nginx.base_url)
        finally:
            nginx.close()
    assert row.status == "complete"
    assert not row.buffered, row
