"""What another layer may add to the page; the gateway adds its chat box."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

__all__ = ["Addition"]


class Addition(Protocol):
    """A section of the page with files of its own."""

    @property
    def static(self) -> Path:
        """The folder of its files, served beside the page's own."""

    @property
    def style(self) -> str:
        """The name of its style sheet in `static`, or ``""``."""

    @property
    def script(self) -> str:
        """The name of its ES module in `static`, or ``""``."""

    @property
    def public(self) -> tuple[str, ...]:
        """Names of files in `static` that are also served beside the page, for others to use.

        Their addresses stay the same from release to release.
        """

    def section(self) -> str:
        """Return its HTML: whole, escaped, without scripts and styles in it."""
