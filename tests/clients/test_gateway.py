"""Both clients through a real gateway (``unbroken serve``) in front of the lab's model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

import unbroken
from tests.clients.javascript import NODE, PACKAGE
from unbroken.lab.model.settings import AnswerSettings
from unbroken.lab.server.app import LabServer

pytest.importorskip("uvicorn")
pytest.importorskip("aiohttp")
_START_S = 20.0


@pytest.fixture(scope="module")
def gateway() -> Iterator[tuple[str, str]]:
    """The gateway's address, and the text that its model answers."""
    settings = AnswerSettings(tokens=120)
    with LabServer(settings=settings) as lab:
        command = [sys.executable, "-m", "unbroken.cli", "serve"]
        options = ["--upstream", lab.url, "--listen", "127.0.0.1:0"]
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith("UNBROKEN_")
        }
        with subprocess.Popen(
            [*command, *options],
            env=clean,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                url = _address(process)
                text = unbroken.stream(
                    "Go", model="lab/", base_url=f"{lab.url}/v1", api_key="k"
                ).text()
                yield url, text
            finally:
                process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    said, until = "", time.monotonic() + _START_S
    while time.monotonic() < until and (line := process.stderr.readline()):
        said += line
        if found := re.search(r"listening on (http://[\w.:]+)", line):
            return found[1]
    pytest.fail(f"the gateway did not start: {said}")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_javascript_client(gateway: tuple[str, str]) -> None:
    assert NODE is not None
    url, text = gateway
    ran = subprocess.run(
        [NODE, "--test", "test/gateway.test.js"],
        cwd=PACKAGE,
        env={**os.environ, "UNBROKEN_TEST_GATEWAY": url, "UNBROKEN_TEST_WORDS": text},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    assert "# skipped 0" in ran.stdout


class _Cutting(httpx2.HTTPTransport):
    """Breaks the first connections after so many bytes."""

    def __init__(self, *cuts: int) -> None:
        super().__init__()
        self.cuts = list(cuts)
        self.methods: list[str] = []

    def handle_request(self, request: Any) -> Any:
        self.methods.append(request.method)
        response = super().handle_request(request)
        if self.cuts:
            response.stream = _Cut(response.stream, self.cuts.pop(0))
        return response


class _Cut(httpx2.SyncByteStream):
    def __init__(self, inner: Any, left: int) -> None:
        self._inner, self._left = inner, left

    def __iter__(self) -> Iterator[bytes]:
        for data in self._inner:
            yield data[: self._left]
            self._left -= len(data)
            if self._left <= 0:
                msg = "cut by the test"
                raise httpx2.ReadError(msg)

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        ("openai-chat", "/v1"),
        ("openai-responses", "/v1"),
        ("anthropic-messages", ""),
        ("gemini", ""),
        ("ollama", ""),
    ],
)
def test_the_python_client(gateway: tuple[str, str], dialect: str, path: str) -> None:
    url, text = gateway
    cutting = _Cutting(1500, 2000, 700)
    with httpx2.Client(transport=cutting) as client:
        stream = unbroken.stream(
            "Go",
            model=f"lab/;id=py-{dialect}",
            dialect=dialect,
            base_url=url + path,
            api_key="sk-test",
            client=client,
            resume=True,
        )
        assert stream.text() == text
    assert cutting.methods == ["POST", "GET", "GET", "GET"]
    assert [each.rung for each in stream.outcome.attempts[1:]] == ["cursor"] * 3
    assert stream.outcome.status == "complete"


def test_an_sdk_that_asks_for_it(gateway: tuple[str, str]) -> None:
    openai = pytest.importorskip("openai")
    url, text = gateway
    outcomes: list[unbroken.Outcome] = []
    cutting = _Cutting(1500, 2000)
    with httpx2.Client(transport=cutting) as http:
        client = openai.OpenAI(api_key="sk-test", base_url=f"{url}/v1", http_client=http)
        client = unbroken.wrap(client, on_outcome=outcomes.append)
        answer = client.chat.completions.create(
            model="lab/;id=py-sdk",
            messages=[{"role": "user", "content": "Go"}],
            stream=True,
            extra_headers={"X-Unbroken-Resume": "1", "Idempotency-Key": "of-this-answer"},
        )
        assert "".join(unbroken.iter_text(answer)) == text
    assert cutting.methods == ["POST", "GET", "GET"]
    assert [each.rung for each in outcomes[0].attempts[1:]] == ["cursor", "cursor"]
