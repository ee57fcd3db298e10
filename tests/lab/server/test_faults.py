"""Every fault goes through the server: it strikes, is logged, and harms only its stream."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Iterator

import pytest

from unbroken.lab.injectors import INJECTORS
from unbroken.lab.model import AnswerSettings
from unbroken.lab.server.app import LabServer

PATHS = {
    "openai-chat": "/v1/chat/completions",
    "openai-responses": "/v1/responses",
    "anthropic-messages": "/v1/messages",
    "ollama": "/api/chat",
    "cohere": "/v2/chat",
}
VARIANTS = [
    pytest.param(dialect, name, how, id=f"{dialect}-{name}.{how}")
    for dialect in PATHS
    for name, injector in sorted(INJECTORS.items())
    for how in injector.hows_in(dialect)
]
SILENCE_S, PATIENCE_S = 0.3, 1.0


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    with LabServer(settings=AnswerSettings(tokens=40, delta="token", say="text")) as server:
        yield server


@pytest.mark.parametrize(("dialect", "name", "how"), VARIANTS)
def test_every_fault_strikes(
    lab: LabServer, dialect: str, name: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    injector = INJECTORS[name]
    fault = f"{name}.{how}" if how else name
    fault += "@50ms" if "seconds" in injector.takes else ""
    say = ";say=tool" if name == "tool-cut" else ""
    session = lab.session(f"{fault}{say}")
    prompt = [{"role": "user", "content": "Hi"}]
    body = {"model": session.model, "stream": True, "messages": prompt, "input": "Hi",
            "max_tokens": 999}  # fmt: skip
    raw = json.dumps(body).encode()
    head = f"POST {PATHS[dialect]} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    leave_at = time.monotonic() + PATIENCE_S
    with caplog.at_level(logging.ERROR, logger="unbroken.lab"):
        with socket.create_connection(("127.0.0.1", lab.port)) as client:
            client.settimeout(SILENCE_S)
            client.sendall(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
            try:
                while client.recv(65536) and time.monotonic() < leave_at:
                    pass
            except (TimeoutError, ConnectionResetError):
                pass  # a stall, an endless stream, a reset: then we are the one who leaves
        assert session.wait_idle()
    (log,) = session.attempts
    assert not log.error
    assert not caplog.records
    assert log.dialect == dialect
    assert log.faults
    assert log.strikes, "it did not strike"
    assert log.at_s <= log.strikes[0][0] <= (log.ended_at_s or 0)
    assert log.ended
