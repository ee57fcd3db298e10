"""Where commands read from: a file, standard input, or an address."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from unbroken.cli.screen import CliError

__all__ = ["is_url", "read_all", "reads_of"]

_READ_BYTES = 64 * 1024


def is_url(source: str) -> bool:
    """Whether the source is an address."""
    return source.lower().startswith(("http://", "https://"))


def reads_of(source: str) -> Iterator[bytes]:
    """Yield a file, or standard input for ``-``, read by read as the bytes come.

    Raises:
        CliError: If it cannot be read.
    """
    if source == "-" and sys.stdin is None:  # <&-
        message = "cannot read standard input: it is closed"
        raise CliError(message)
    try:
        # By the descriptor: a buffered reader would wait until it has a full buffer.
        number = sys.stdin.fileno() if source == "-" else os.open(source, os.O_RDONLY)
        try:
            while data := os.read(number, _READ_BYTES):
                yield data
        finally:
            if source != "-":
                os.close(number)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name, a closed stdin
        name = "standard input" if source == "-" else source
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        message = f"cannot read {name}: {why[:1].lower()}{why[1:]}"
        raise CliError(message) from None


def read_all(source: str) -> bytes:
    """Return the whole of a file, or of standard input for ``-``.

    Raises:
        CliError: If it cannot be read.
    """
    return b"".join(reads_of(source))
