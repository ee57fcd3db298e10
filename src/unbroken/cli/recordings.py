"""What commands that read recordings share: errors of files as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from unbroken.cli.screen import CliError, why_of
from unbroken.core.recording import RecordingError

__all__ = ["reading"]


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
