"""The chat box as a section of the live page."""

from __future__ import annotations

import html
import string
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ChatSettings"]

_STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings:
    """What the chat box of the live page talks to; give it to `asgi_app` as ``chat=``.

    What is typed there goes through the gateway to the provider and is paid for like any other
    request. It is kept in the browser's tab and nowhere else.

    Attributes:
        models: Models to choose from; none: the name is typed.
        path: Path of an OpenAI-compatible chat endpoint, from the gateway's root.
        mount: Path of the page, from the gateway's root.
    """

    models: tuple[str, ...] = ()
    path: str = "/v1/chat/completions"
    mount: str = "/_unbroken"

    def __post_init__(self) -> None:
        for name, path in (("path", self.path), ("mount", self.mount)):
            if not path.startswith("/") or path.startswith("//") or "\\" in path:
                msg = f"{name} must be a path from the gateway's root, not {path!r}"
                raise ValueError(msg)

    @property
    def static(self) -> Path:
        """The folder of the chat box's files."""
        return _STATIC

    @property
    def style(self) -> str:
        """Its style sheet."""
        return "chat.css"

    @property
    def script(self) -> str:
        """Its ES module."""
        return "chat.js"

    @property
    def public(self) -> tuple[str, ...]:
        """The JavaScript client, for other people's pages; it imports its second file itself."""
        return ("unbroken.js", "unbroken-reading.js")

    @property
    def url(self) -> str:
        """The endpoint as seen from the page: relative, for gateways behind a path of a proxy."""
        depth = len([part for part in self.mount.split("/") if part])
        return "../" * depth + self.path.lstrip("/")

    def section(self) -> str:
        """Return the chat box's HTML."""
        if self.models:
            options = "".join(
                f'<option value="{html.escape(model)}">{html.escape(model)}</option>'
                for model in self.models
            )
            model = f'<select id="chat-model">{options}</select>'
        else:
            model = '<input id="chat-model" autocomplete="off" spellcheck="false" required>'
        template = string.Template((_STATIC / "chat.html").read_text("utf-8"))
        return template.substitute(url=html.escape(self.url), model=model)
