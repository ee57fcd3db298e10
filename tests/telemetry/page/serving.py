"""A real uvicorn and a real Chromium for the tests of the page and of its chat box."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

CHROMIUM = "/usr/bin/chromium"


class Server:
    """An ASGI application on a free port of loopback, in a thread."""

    def __init__(self, app: Any, *, log_level: str = "error") -> None:
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level=log_level, ws="none")
        self._server = uvicorn.Server(config)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(20), "uvicorn did not start"
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def _run(self) -> None:
        async def main() -> None:
            self.loop = asyncio.get_running_loop()
            serving = asyncio.create_task(self._server.serve())
            while not (self._server.started or serving.done()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            self._started.set()
            await serving

        asyncio.run(main())

    def call(self, function: Any) -> None:
        """Call a function on the server's loop."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(function)

    def stop(self, *, within_s: float = 10.0) -> bool:
        """Stop as a supervisor does; return whether it ended in time."""
        self._server.should_exit = True
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def kill(self) -> None:
        self._server.force_exit = True
        self.stop()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser, or a skip that names what is missing."""
    if shutil.which(CHROMIUM) is None:
        pytest.skip("needs chromium (Debian: apt install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A page of the browser that remembers what went wrong in it."""

    def __init__(self, browser: Any, origin: str, **context: Any) -> None:
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, **context}
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._console)
        self.context.on("request", lambda request: self._request(request.url, origin))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _request(self, url: str, origin: str) -> None:
        if not url.startswith((origin + "/", "data:", "blob:")):
            self.elsewhere.append(url)

    def wait_for(self, expression: str, *, within_s: float = 15.0) -> None:
        """Wait until JavaScript says so. Playwright's own way needs `eval`: barred."""
        until = time.monotonic() + within_s
        while not self.page.evaluate(expression):
            assert time.monotonic() < until, f"not within {within_s} s: {expression}"
            self.page.wait_for_timeout(50)

    def text(self, selector: str) -> str:
        return str(self.page.inner_text(selector))
