"""What a driver needs of an HTTP library; each transport provides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from unbroken.core.faults import Fault
from unbroken.core.outcome import Outcome
from unbroken.core.request import Request

__all__ = ["AsyncBody", "AsyncUpstream", "Body", "Upstream", "Wording"]


class Body(Protocol):
    """An open response, read by blocking calls."""

    status: int
    headers: Mapping[str, str]
    """With lower-case names."""

    @property
    def can_abort(self) -> bool:
        """Whether `abort` can work."""

    def read(self) -> bytes | None:
        """Return the next bytes as they came, or None at the end."""

    def abort(self) -> bool:
        """Wake a blocked `read` from another thread; False if there is no way."""

    def limit_reads(self, seconds: float) -> None:
        """Limit each read instead, where `abort` cannot work. Called before the first read."""

    def close(self) -> None:
        """Give the connection back, or close it if the body was not read to its end."""


class AsyncBody(Protocol):
    """An open response, read by an event loop."""

    status: int
    headers: Mapping[str, str]

    @property
    def can_abort(self) -> bool:
        """Whether `abort` can work."""

    async def read(self) -> bytes | None:
        """Return the next bytes as they came, at least one; None or ``b""`` at the end."""

    def abort(self) -> bool:
        """Wake a waiting `read`; False if there is no way."""

    async def aclose(self) -> None:
        """Give the connection back, or close it if the body was not read to its end."""


class Wording(Protocol):
    """How an HTTP library says that something failed."""

    def explain(self, error: Exception, *, connecting: bool) -> Fault:
        """Return the fault that an exception of the library is."""

    def abort(self) -> None:
        """Wake a `send` that waits, from any thread, if there is a way."""

    def exception(self, outcome: Outcome, fault: Fault, request: Request) -> Exception:
        """Return what to raise mid-body: a class that users of library and SDK already catch."""


class Upstream(Wording, Protocol):
    """Sends requests by blocking calls."""

    def send(self, request: Request, *, connect_s: float | None, head_s: float | None) -> Body:
        """Send a request; return its open response, whatever the status.

        Args:
            request: What to send.
            connect_s: Seconds for the connection.
            head_s: Seconds for the response head.
        """


class AsyncUpstream(Wording, Protocol):
    """Sends requests by an event loop."""

    async def send(
        self, request: Request, *, connect_s: float | None, head_s: float | None
    ) -> AsyncBody:
        """Send a request; return its open response, whatever the status.

        Args:
            request: What to send.
            connect_s: Seconds for the connection.
            head_s: Seconds for the response head.
        """
