"""What commands that read recordings share: errors of files as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from unbroken.cli.screen import CliError
from unbroken.core.recording import RecordingError

__all__ = ["reading", "why_of"]


def why_of(error: OSError) -> str:
    """Return the system's words for an error, as the end of a sentence."""
    why = error.strerror or str(error)
    return f"{why[:1].lower()}{why[1:]}"


@contextmanager
def reading() -> Iterator[None]:
    """Turn what is wrong with a file that is read into one line and exit code 2."""
    try:
        yield
    except RecordingError as error:
        raise CliError(str(error)) from None
    except OSError as error:
        if error.filename is None:
            raise
        msg = f"cannot read {error.filename}: {why_of(error)}"
        raise CliError(msg) from None
