"""Reading on from a place that the log will never reach."""

from __future__ import annotations

from unbroken.journal.base import End, Head, Meta, WriterLostError

__all__ = ["LostReader"]


class LostReader:
    """A reader of a stream whose writer died before it had sent the bytes up to an offset.

    The client has had those bytes; all that is left to tell it is that no more comes.
    """

    end: End | None = None

    def __init__(self, meta: Meta, offset: int) -> None:
        self.meta = meta
        self.offset = offset

    async def head(self) -> Head | None:
        """Fail."""
        raise WriterLostError

    async def read(self) -> bytes:
        """Fail."""
        raise WriterLostError

    def read_now(self) -> bytes:
        """Fail."""
        raise WriterLostError

    async def wait(self) -> None:
        """Return at once: `read_now` says it all."""

    def wake(self) -> None:
        """Do nothing: nobody waits."""

    async def aclose(self) -> None:
        """Do nothing: it is attached to nothing."""
