"""The command line: one file a command; each parses, calls and prints."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; what ``unbroken`` starts."""
    from unbroken.cli.app import run  # not above: typer and rich are for this alone

    raise SystemExit(run())
