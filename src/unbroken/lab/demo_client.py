"""The application of the demo: a streaming chat call as most people write it.

With the openai SDK where it is installed, else by hand with httpx2. Both sides of the
demo run the same code; only the HTTP client differs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Protocol

__all__ = ["Application", "HandWritten", "OpenAIApplication", "application"]

OnText = Callable[[str], None]


class Application(Protocol):
    """An application that asks a question and shows the answer.

    Attributes:
        name: What it is.
        library: The HTTP library that its client is of.
        plain_code: How its client is made without Unbroken.
        healed_code: The same with Unbroken.
    """

    name: str
    library: str
    plain_code: str
    healed_code: str

    def ask(
        self, base_url: str, request: dict[str, Any], on_text: OnText, http_client: Any = None
    ) -> str | None:
        """Stream one answer; return its finish reason, if one came."""


class OpenAIApplication:
    """The openai SDK."""

    plain_code = "openai.OpenAI()"
    healed_code = "openai.OpenAI(\n http_client=unbroken.http_client())"

    def __init__(self) -> None:
        self._openai: Any = import_module("openai")
        self.name = f"the openai SDK {version('openai')}"
        # The SDK took httpx up to 2.x and takes httpx2 from 3.x on.
        bases = self._openai.DefaultHttpxClient.__mro__
        self.library: str = next(
            base.__module__.partition(".")[0] for base in bases if base.__name__ == "Client"
        )

    def ask(
        self, base_url: str, request: dict[str, Any], on_text: OnText, http_client: Any = None
    ) -> str | None:
        finish_reason = None
        client = self._openai.OpenAI(
            base_url=base_url, api_key="not-a-key", http_client=http_client
        )
        with client:
            for event in client.chat.completions.create(**request, stream=True):
                for choice in event.choices:
                    on_text(choice.delta.content or "")
                    finish_reason = choice.finish_reason or finish_reason
        return finish_reason


class HandWritten:
    """The loop that is in so many programs, for where the openai SDK is not installed."""

    name = "a ten-line httpx2 loop (the openai SDK is not installed)"
    library = "httpx2"
    plain_code = "httpx2.Client()"
    healed_code = "unbroken.http_client()"

    def ask(
        self, base_url: str, request: dict[str, Any], on_text: OnText, http_client: Any = None
    ) -> str | None:
        finish_reason = None
        client = http_client or import_module("httpx2").Client()
        with (
            client,
            client.stream(
                "POST", f"{base_url}/chat/completions", json={**request, "stream": True}
            ) as response,
        ):
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    for choice in json.loads(line[6:])["choices"]:
                        on_text(choice["delta"].get("content") or "")
                        finish_reason = choice.get("finish_reason") or finish_reason
        return finish_reason


def application() -> Application:
    """Return the openai SDK where it is installed, and the loop by hand elsewhere."""
    if find_spec("openai") is not None:
        try:
            return OpenAIApplication()
        except (ImportError, AttributeError, StopIteration):
            pass  # half an installation, or one too old: the loop shows the same
    return HandWritten()
